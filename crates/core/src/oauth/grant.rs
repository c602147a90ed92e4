//! What a client gets: which scopes a login grants, and whether the user is asked first.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::names::{GroupName, UserName};
use crate::scope::{
    Catalogue, ClientOf, Expansion, Filter, Membership, Owner, RawScope, Scope, ScopeSet, Target,
    access_scope, resolve_requested,
};

/// Who grants scopes to whom.
#[derive(Clone, Copy)]
pub struct Grantor<'a> {
    /// All scopes that exist.
    pub catalogue: &'a Catalogue,
    /// Who is logged in.
    pub user: &'a UserName,
    /// The raw scopes of the user's roles, its groups' roles included.
    pub user_scopes: &'a BTreeSet<RawScope>,
    /// To what the asking client belongs.
    pub client: ClientOf<'a>,
    /// What the client may ask for at most, beyond what every client gets.
    pub client_allowed: &'a [RawScope],
    /// Who is in which group.
    pub membership: &'a dyn Membership,
}

impl std::fmt::Debug for Grantor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grantor")
            .field("user", &self.user)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// Nothing was said: all that the client may have.
    Default,
    /// These scopes or roles, by name; none means that knowing the user is enough.
    These(&'a [String]),
}

/// A scope was asked for that does not exist or that the client may not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the application may not ask for scope {0}")]
pub struct InvalidScope(pub String);

/// The raw scopes that every login grants: who the user is, and access to the client's own server or service.
pub fn required_scopes(client: ClientOf<'_>) -> BTreeSet<RawScope> {
    [
        RawScope::filtered(Scope::ReadUsersName, Filter::OwnUser),
        RawScope::filtered(Scope::ReadUsersGroups, Filter::OwnUser),
        access_scope(client),
    ]
    .into()
}

/// Whether a user may use what a client belongs to; if not, the login ends with a 403 page.
///
/// `owner_groups` are the groups of the server's owner; a service needs none.
pub fn may_open(client: ClientOf<'_>, scopes: &ScopeSet, owner_groups: &[GroupName]) -> bool {
    let (scope, target) = match client {
        ClientOf::Server(server) => (
            Scope::AccessServers,
            Target::Server {
                user: server.user.as_str(),
                server: server.server.as_str(),
                groups: owner_groups,
            },
        ),
        ClientOf::Service(service) => (Scope::AccessServices, Target::Service(service.as_str())),
    };
    scopes.check(scope, target).is_allowed()
}

/// Finds the raw scopes that a login grants.
///
/// Each name in `asked` is a scope, or a role that is among `roles` (the caller looks up the names that are
/// asked for). What the client may not have is an error; what the user does not have is left out.
pub fn resolve_grant(
    grantor: &Grantor<'_>,
    asked: Asked<'_>,
    roles: &BTreeMap<String, Vec<RawScope>>,
) -> Result<BTreeSet<RawScope>, InvalidScope> {
    let required = required_scopes(grantor.client);
    let mut allowed: BTreeSet<RawScope> = grantor.client_allowed.iter().cloned().collect();
    allowed.extend(required.iter().cloned());
    let requested = match asked {
        Asked::Default => allowed.clone(),
        Asked::These(names) => {
            let mut requested = required.clone();
            for name in names {
                // The only scope of JupyterHub 1; it means nothing beyond the required ones.
                if name == "identify" {
                    continue;
                }
                match (grantor.catalogue.parse(name), roles.get(name)) {
                    (Ok(scope), _) => drop(requested.insert(scope)),
                    (Err(_), Some(scopes)) => requested.extend(scopes.iter().cloned()),
                    (Err(_), None) => return Err(InvalidScope(name.clone())),
                }
            }
            requested
        }
    };
    let resolve = |held: &BTreeSet<RawScope>| {
        let expansion = Expansion::of(Owner::User(grantor.user)).by(Some(grantor.client));
        resolve_requested(
            grantor.catalogue,
            &requested,
            held,
            expansion,
            grantor.membership,
        )
    };
    if let Some(scope) = resolve(&allowed).1.first() {
        return Err(InvalidScope(scope.to_string()));
    }
    let mut held = grantor.user_scopes.clone();
    held.extend(required);
    held.insert(RawScope::unfiltered(Scope::Inherit));
    Ok(resolve(&held).0)
}

/// Whether the user must agree before a client gets `granted`.
///
/// Nobody is asked for their own server, for clients that the administrator trusts, and again for what the
/// user's unexpired tokens of this client have already (`authorized`, all their raw scopes together).
pub fn needs_confirmation(
    own_server: bool,
    no_confirm: bool,
    granted: &BTreeSet<RawScope>,
    authorized: &BTreeSet<RawScope>,
) -> bool {
    let agreed_before = !authorized.is_empty() && granted.is_subset(authorized);
    !(own_server || no_confirm || agreed_before)
}

/// What the confirm page shows and sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The hidden `scopes` fields of the form.
    pub fields: Vec<RawScope>,
    /// What is described; empty if the client only learns who the user is.
    pub described: Vec<RawScope>,
}

impl Offer {
    /// Prepares the page for a grant; `inherit` stands for everything else.
    pub fn of(granted: &BTreeSet<RawScope>, client: ClientOf<'_>) -> Self {
        if let Some(inherit) = granted.iter().find(|scope| scope.is_inherit()) {
            return Self {
                fields: vec![inherit.clone()],
                described: vec![inherit.clone()],
            };
        }
        let required = required_scopes(client);
        Self {
            fields: granted.iter().cloned().collect(),
            described: granted.difference(&required).cloned().collect(),
        }
    }
}
