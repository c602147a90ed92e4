//! Expansion: from raw scopes to a [`ScopeSet`], for an owner and an issuing OAuth client.

use std::collections::BTreeSet;

use super::custom::Catalogue;
use super::raw::{Filter, RawScope, ScopeName};
use super::set::ScopeSet;
use super::table::Scope;
use crate::names::{ServerRef, ServiceName, UserName};

/// Who holds a role or a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner<'a> {
    /// A user.
    User(&'a UserName),
    /// A service.
    Service(&'a ServiceName),
}

/// To what an OAuth client belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientOf<'a> {
    /// To a user's server.
    Server(&'a ServerRef),
    /// To a service.
    Service(&'a ServiceName),
}

/// What short filters (`!user`, `!server`, `!service`) and `self` mean while expanding.
///
/// A short filter for which there is nobody drops its scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Expansion<'a> {
    /// Who holds the scopes; a group's roles are expanded for the member.
    pub owner: Option<Owner<'a>>,
    /// Which client issued the token, unless it was the hub itself.
    pub client: Option<ClientOf<'a>>,
}

impl<'a> Expansion<'a> {
    /// For scopes that a user or service holds by role.
    pub fn of(owner: Owner<'a>) -> Self {
        Self {
            owner: Some(owner),
            client: None,
        }
    }

    /// For scopes of a token that a client issued.
    #[must_use]
    pub fn by(mut self, client: Option<ClientOf<'a>>) -> Self {
        self.client = client;
        self
    }

    /// Expands raw scopes (JupyterHub `scopes.expand_scopes`): subscopes of subscopes, `self`, short filters.
    pub fn expand<'s>(
        self,
        catalogue: &Catalogue,
        scopes: impl IntoIterator<Item = &'s RawScope>,
    ) -> ScopeSet {
        let mut set = ScopeSet::new();
        for scope in scopes {
            if scope.name == ScopeName::BuiltIn(Scope::Itself) {
                if let Some(Owner::User(user)) = self.owner {
                    for scope in Scope::SELF_SCOPES {
                        let filter = Filter::User(user.clone());
                        add(catalogue, &mut set, &(*scope).into(), &filter);
                    }
                }
            } else if let Some(filter) = self.resolve(&scope.filter) {
                add(catalogue, &mut set, &scope.name, &filter);
            }
        }
        set
    }

    /// Replaces a short filter by what it means here; `None` if it means nobody.
    fn resolve(self, filter: &Filter) -> Option<Filter> {
        match filter {
            Filter::OwnUser => match self.owner {
                Some(Owner::User(user)) => Some(Filter::User(user.clone())),
                _ => None,
            },
            Filter::OwnServer => match self.client {
                Some(ClientOf::Server(server)) => Some(Filter::Server(server.clone())),
                _ => None,
            },
            Filter::OwnService => match (self.client, self.owner) {
                (Some(ClientOf::Service(service)), _) | (_, Some(Owner::Service(service))) => {
                    Some(Filter::Service(service.clone()))
                }
                _ => None,
            },
            other => Some(other.clone()),
        }
    }
}

/// Adds a scope with all that it contains, each with the same filter.
fn add(catalogue: &Catalogue, set: &mut ScopeSet, name: &ScopeName, filter: &Filter) {
    let mut seen = BTreeSet::new();
    let mut open = vec![name.clone()];
    while let Some(name) = open.pop() {
        // Custom scopes may contain each other in a circle.
        if !seen.insert(name.clone()) {
            continue;
        }
        match &name {
            ScopeName::BuiltIn(scope) => {
                open.extend(scope.subscopes().iter().map(|&sub| ScopeName::from(sub)));
                if filter.is_server() && scope.refuses_server_filter() {
                    continue;
                }
            }
            ScopeName::Custom(custom) => open.extend(catalogue.custom_subscopes(custom)),
        }
        set.insert(RawScope {
            name,
            filter: filter.clone(),
        });
    }
}

/// The scopes that let a token's bearer learn who owns it; every token has them.
pub fn identify_scopes(owner: Owner<'_>) -> Vec<RawScope> {
    match owner {
        Owner::User(user) => [Scope::ReadUsersName, Scope::ReadUsersGroups]
            .map(|scope| RawScope::filtered(scope, Filter::User(user.clone())))
            .into(),
        Owner::Service(service) => vec![RawScope::filtered(
            Scope::ReadServicesName,
            Filter::Service(service.clone()),
        )],
    }
}

/// The scope that one needs to use what a client belongs to.
pub fn access_scope(client: ClientOf<'_>) -> RawScope {
    match client {
        ClientOf::Server(server) => {
            RawScope::filtered(Scope::AccessServers, Filter::Server(server.clone()))
        }
        ClientOf::Service(service) => {
            RawScope::filtered(Scope::AccessServices, Filter::Service(service.clone()))
        }
    }
}
