//! What the configuration declares beside settings: custom scopes, roles, groups and services, all of it checked.

use serde_json::{Map, Value};

use crate::names::{GroupName, ServiceName, UserName};
use crate::scope::{Catalogue, RoleName};
use crate::service::ServiceSpec;

/// Everything that is declared.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// All scopes that exist: the built-in ones, and those that are declared.
    pub catalogue: Catalogue,
    /// The roles, each name once.
    pub roles: Vec<DeclaredRole>,
    /// The groups, each name once.
    pub groups: Vec<DeclaredGroup>,
    /// The services, each name once.
    pub services: Vec<ServiceSpec>,
}

/// A role. What is `None` was not said: for a default role it stays what it is by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredRole {
    /// The name.
    pub name: RoleName,
    /// What it is for.
    pub description: Option<String>,
    /// Its scopes, as written; each exists.
    pub scopes: Option<Vec<String>>,
    /// Exactly who holds it, if that is said.
    pub users: Option<Vec<UserName>>,
    /// Exactly which groups hold it, if that is said.
    pub groups: Option<Vec<GroupName>>,
    /// Exactly which services hold it, if that is said; each is declared.
    pub services: Option<Vec<ServiceName>>,
}

/// A group: its members are only ever added.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredGroup {
    /// The name.
    pub name: GroupName,
    /// Who is put in.
    pub users: Vec<UserName>,
    /// Its properties, which replace those that it has; `None` leaves them.
    pub properties: Option<Map<String, Value>>,
}
