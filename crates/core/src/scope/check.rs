//! Checks: whether a set of permissions allows something, on something.

use super::raw::ScopeName;
use super::set::{Filters, Reach, ScopeSet};
use super::table::Scope;
use crate::names::GroupName;

/// On what a scope is needed. Names are as a request gives them: they need not exist or even be valid.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// On everything, or on nothing in particular.
    Any,
    /// On a user.
    User {
        /// The user's name.
        name: &'a str,
        /// The groups that the user is in; empty for a user who does not exist.
        groups: &'a [GroupName],
    },
    /// On a user's server.
    Server {
        /// The name of the server's owner.
        user: &'a str,
        /// The server's name, empty for the default server.
        server: &'a str,
        /// The groups that the server's owner is in.
        groups: &'a [GroupName],
    },
    /// On a group.
    Group(&'a str),
    /// On a service.
    Service(&'a str),
}

/// The answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Go ahead.
    Allowed,
    /// The scope is held, but for other things: answer 404, so that names cannot be probed.
    NotThisOne,
    /// The scope is not held: answer 403.
    Denied,
}

impl Access {
    /// Whether to go ahead.
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}

/// Which things a list may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing<'a> {
    /// All of them.
    Everything,
    /// Those that these filters name; with `groups`, the groups' members too.
    Only(&'a Filters),
    /// The scope is not held: answer 403.
    Denied,
}

impl Filters {
    /// Whether a target is among these things: named itself, or through its user or group.
    pub fn covers(&self, target: Target<'_>) -> bool {
        let by_group = |groups: &[GroupName]| groups.iter().any(|name| self.groups.contains(name));
        match target {
            Target::Any => false,
            Target::User { name, groups } => self.users.contains(name) || by_group(groups),
            Target::Server {
                user,
                server,
                groups,
            } => {
                self.users.contains(user)
                    || by_group(groups)
                    || self
                        .servers
                        .iter()
                        .any(|s| s.user.as_str() == user && s.server.as_str() == server)
            }
            Target::Group(name) => self.groups.contains(name),
            Target::Service(name) => self.services.contains(name),
        }
    }
}

impl Reach {
    /// Whether a target is within reach.
    pub fn covers(&self, target: Target<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Some(filters) => filters.covers(target),
        }
    }
}

impl ScopeSet {
    /// Whether `scope` is held on `target` (JupyterHub `scopes.needs_scope`).
    pub fn check(&self, scope: Scope, target: Target<'_>) -> Access {
        self.check_any(&[scope], target)
    }

    /// Whether any of `scopes` is held on `target`.
    pub fn check_any(&self, scopes: &[Scope], target: Target<'_>) -> Access {
        let mut held = false;
        for reach in scopes.iter().filter_map(|scope| self.reach(*scope)) {
            if reach.covers(target) {
                return Access::Allowed;
            }
            held = true;
        }
        if held && !matches!(target, Target::Any) {
            Access::NotThisOne
        } else {
            Access::Denied
        }
    }

    /// Whether a scope, built-in or custom, is held on `target`.
    pub fn allows(&self, scope: &ScopeName, target: Target<'_>) -> bool {
        self.reach_of(scope)
            .is_some_and(|reach| reach.covers(target))
    }

    /// Which things a list that needs `scope` may show.
    ///
    /// Which kinds of filter make sense is the list's own affair: users are listed by
    /// `users` and `groups`, and a token with server filters only gets 403.
    pub fn listing(&self, scope: Scope) -> Listing<'_> {
        match self.reach(scope) {
            None => Listing::Denied,
            Some(Reach::All) => Listing::Everything,
            Some(Reach::Some(filters)) => Listing::Only(filters),
        }
    }
}
