//! Scopes and roles: what may be done, by whom, to what.
//!
//! A *raw* scope is what roles, tokens and OAuth clients carry: `servers`, `read:users!user`, `self`. With its
//! owner and issuing client it *expands* to a [`ScopeSet`]: every subscope, with every filter resolved. Checks are
//! made on such sets only. The rules are those of JupyterHub 6 (`scopes.py`, `roles.py`); the names of scopes
//! and the printed form of sets are part of the API. Nothing here asks a database: who is in which
//! group comes in through [`Membership`].

mod check;
mod custom;
mod describe;
mod expand;
mod intersect;
mod raw;
mod role;
mod set;
mod table;

pub use check::{Access, Listing, Target};
pub use custom::{Catalogue, CustomScope, CustomScopeError};
pub use describe::{Description, describe};
pub use expand::{ClientOf, Expansion, Owner, access_scope, identify_scopes};
pub use intersect::{KnownMembers, Membership};
pub use raw::{Filter, RawScope, ScopeError, ScopeName};
pub use role::{
    DefaultRole, RoleName, RoleNameError, Shares, default_role, default_roles, resolve_requested,
    server_token_scopes, session_scopes, token_owner_scopes, token_scopes,
};
pub use set::{Filters, Reach, ScopeSet};
pub use table::Scope;

#[cfg(test)]
mod observed;
#[cfg(test)]
mod tests;
