//! Expanded scopes: per scope, either everything or some users, servers, groups and services.
//!
//! A set holds no order and no duplicates, so equal permissions compare equal; it is made once per
//! owner or token and is cheap to ask and to keep in a cache.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::raw::{Filter, RawScope, ScopeName};
use super::table::Scope;
use crate::names::{GroupName, ServerRef, ServiceName, UserName};

/// How far a scope reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// To everything.
    All,
    /// To some things only.
    Some(Filters),
}

/// The things to which a filtered scope reaches; never empty inside a [`ScopeSet`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// These users, and their servers.
    pub users: BTreeSet<UserName>,
    /// These servers.
    pub servers: BTreeSet<ServerRef>,
    /// These groups, their members, and the members' servers.
    pub groups: BTreeSet<GroupName>,
    /// These services.
    pub services: BTreeSet<ServiceName>,
}

impl Filters {
    /// Whether nothing is reached.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.servers.is_empty()
            && self.groups.is_empty()
            && self.services.is_empty()
    }

    /// Adds a filter; the short forms and [`Filter::None`] must be resolved before and add nothing here.
    fn insert(&mut self, filter: Filter) {
        match filter {
            Filter::User(name) => drop(self.users.insert(name)),
            Filter::Server(server) => drop(self.servers.insert(server)),
            Filter::Group(name) => drop(self.groups.insert(name)),
            Filter::Service(name) => drop(self.services.insert(name)),
            Filter::None | Filter::OwnUser | Filter::OwnServer | Filter::OwnService => {}
        }
    }

    /// Gives each filter by itself.
    fn iter(&self) -> impl Iterator<Item = Filter> {
        let users = self.users.iter().cloned().map(Filter::User);
        let servers = self.servers.iter().cloned().map(Filter::Server);
        let groups = self.groups.iter().cloned().map(Filter::Group);
        let services = self.services.iter().cloned().map(Filter::Service);
        users.chain(servers).chain(groups).chain(services)
    }
}

/// Permissions: expanded scopes with resolved filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSet {
    scopes: BTreeMap<ScopeName, Reach>,
}

impl ScopeSet {
    /// No permission at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is permitted.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// How far a scope reaches; `None` if it is not held at all.
    pub fn reach(&self, scope: Scope) -> Option<&Reach> {
        self.scopes.get(&ScopeName::BuiltIn(scope))
    }

    /// Whether a scope is held for anything at all; `read:metrics` needs no more.
    pub fn holds(&self, scope: Scope) -> bool {
        self.reach(scope).is_some()
    }

    /// The names of all scopes held, with how far they reach.
    pub fn iter(&self) -> impl Iterator<Item = (&ScopeName, &Reach)> {
        self.scopes.iter()
    }

    /// The groups that filters name; who asks for an intersection or a check must know their members.
    pub fn groups_mentioned(&self) -> BTreeSet<&GroupName> {
        self.scopes
            .values()
            .filter_map(|reach| match reach {
                Reach::All => None,
                Reach::Some(filters) => Some(&filters.groups),
            })
            .flatten()
            .collect()
    }

    /// Adds one scope as it is, without its subscopes; a short filter (`!user`) adds nothing.
    pub fn insert(&mut self, scope: RawScope) {
        let RawScope { name, filter } = scope;
        match filter {
            Filter::None => {
                self.scopes.insert(name, Reach::All);
            }
            Filter::OwnUser | Filter::OwnServer | Filter::OwnService => {}
            filter => match self.scopes.entry(name) {
                Entry::Vacant(entry) => {
                    let mut filters = Filters::default();
                    filters.insert(filter);
                    entry.insert(Reach::Some(filters));
                }
                Entry::Occupied(mut entry) => {
                    if let Reach::Some(filters) = entry.get_mut() {
                        filters.insert(filter);
                    }
                }
            },
        }
    }

    /// Puts a reach in place; an empty one leaves the scope out.
    pub(super) fn set_reach(&mut self, name: ScopeName, reach: Reach) {
        if !matches!(&reach, Reach::Some(filters) if filters.is_empty()) {
            self.scopes.insert(name, reach);
        }
    }

    /// How far a scope reaches, built-in or custom.
    pub(super) fn reach_of(&self, name: &ScopeName) -> Option<&Reach> {
        self.scopes.get(name)
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &Self) {
        for scope in other.to_raw() {
            self.insert(scope);
        }
    }

    /// Gives the set as single scopes, each with at most one filter.
    pub fn to_raw(&self) -> BTreeSet<RawScope> {
        self.scopes
            .iter()
            .flat_map(|(name, reach)| {
                let filters: Vec<Filter> = match reach {
                    Reach::All => vec![Filter::None],
                    Reach::Some(filters) => filters.iter().collect(),
                };
                filters.into_iter().map(|filter| RawScope {
                    name: name.clone(),
                    filter,
                })
            })
            .collect()
    }

    /// Gives the set as texts, sorted as JupyterHub's API sorts them.
    pub fn to_strings(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.to_raw().iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        texts
    }
}

impl FromIterator<RawScope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = RawScope>>(scopes: I) -> Self {
        let mut set = Self::new();
        for scope in scopes {
            set.insert(scope);
        }
        set
    }
}
