//! Makes what is declared (custom scopes, roles, groups, services) out of its text, and finds all that is wrong with it.

mod places;
mod roles;
mod services;
mod sites;
mod visitors;

use std::collections::BTreeMap;

use lyceum_core::GroupName;
use lyceum_core::declared::{Declared, DeclaredGroup, DeclaredRole};
use lyceum_core::scope::{Catalogue, CustomScope, CustomScopeError, Scope, ScopeError};
use lyceum_gateway::Site;
use thiserror::Error;

use super::Config;
use crate::catalog;
use crate::tree::Step;

/// What is declared cannot be used: told at the start only if a file has changed since the configuration was checked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("what the configuration declares cannot be used: {0}")]
pub struct DeclarationError(String);

/// Something that is wrong with what is declared, and where.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) path: Vec<Step>,
    /// Whether the key itself is at fault, and not what stands behind it.
    pub(crate) is_key: bool,
    pub(crate) is_warning: bool,
    pub(crate) title: String,
    pub(crate) label: String,
    pub(crate) help: Option<String>,
    /// Another place that belongs to it, with what is to be said there.
    pub(crate) other: Option<(Vec<Step>, String)>,
}

impl Fault {
    fn at(path: impl Into<Vec<Step>>, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            is_key: false,
            is_warning: false,
            title: title.into(),
            label: label.into(),
            help: None,
            other: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Writes the way to a value.
macro_rules! way {
    ($($step:expr),+ $(,)?) => { [$($crate::tree::Step::from($step)),+] };
}
use way;

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Config {
    /// Everything that is declared. Reads the files with services' tokens, so it blocks.
    pub fn declared(&self) -> Result<Declared, DeclarationError> {
        self.read_all().map(|(declared, _)| declared)
    }

    /// The services that the gateway needs to know, as they are not reached by routes. Reads the same files.
    pub fn sites(&self) -> Result<Vec<Site>, DeclarationError> {
        self.read_all().map(|(_, sites)| sites)
    }

    fn read_all(&self) -> Result<(Declared, Vec<Site>), DeclarationError> {
        let (declared, sites, faults) = self.read_declared();
        let errors: Vec<_> = faults
            .into_iter()
            .filter(|fault| !fault.is_warning)
            .map(|fault| format!("{} ({})", fault.title, fault.label))
            .collect();
        if errors.is_empty() {
            Ok((declared, sites))
        } else {
            Err(DeclarationError(errors.join("; ")))
        }
    }

    /// What of it can be used, and all that is wrong.
    pub(crate) fn read_declared(&self) -> (Declared, Vec<Site>, Vec<Fault>) {
        let mut reader = Reader {
            config: self,
            catalogue: Catalogue::built_in(),
            sites: Vec::new(),
            faults: Vec::new(),
        };
        reader.catalogue = reader.custom_scopes();
        let (services, mut own_roles) = reader.services();
        let mut roles = reader.roles();
        own_roles.retain(|own| {
            let taken = roles.iter().position(|role| role.name == own.role.name);
            if let Some(other) = taken {
                let title = format!("the role `{}` is there twice", own.role.name);
                let mut fault = Fault::at(
                    way!["services", own.index, "scopes"],
                    title,
                    "these scopes make a role of this name",
                );
                fault.other = Some((
                    way!["roles", other, "name"].into(),
                    "here as well".to_owned(),
                ));
                reader
                    .faults
                    .push(fault.help("give the role in `[[roles]]` another name"));
            }
            taken.is_none()
        });
        roles.extend(own_roles.into_iter().map(|own| own.role));
        let groups = reader.groups();
        reader.server_scopes();
        let declared = Declared {
            catalogue: reader.catalogue,
            roles,
            groups,
            services,
        };
        (declared, reader.sites, reader.faults)
    }
}

/// A role that a service has for itself.
struct OwnRole {
    index: usize,
    role: DeclaredRole,
}

struct Reader<'a> {
    config: &'a Config,
    catalogue: Catalogue,
    sites: Vec<Site>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn custom_scopes(&mut self) -> Catalogue {
        let definitions: BTreeMap<String, CustomScope> = self
            .config
            .custom_scopes
            .iter()
            .map(|(name, scope)| {
                let scope = CustomScope {
                    description: scope.description.clone(),
                    subscopes: scope.subscopes.clone(),
                };
                (name.clone(), scope)
            })
            .collect();
        let errors = match Catalogue::with_custom(definitions.clone()) {
            Ok(catalogue) => return catalogue,
            Err(errors) => errors,
        };
        for error in errors {
            let fault = self.custom_scope_fault(&error);
            self.faults.push(fault);
        }
        // Enough to check the rest with: a scope that is wrongly defined is defined.
        let names = definitions.into_keys().map(|name| {
            let scope = CustomScope {
                description: name.clone(),
                subscopes: Vec::new(),
            };
            Catalogue::with_custom([(name.clone(), scope.clone())]).map(|_| (name, scope))
        });
        Catalogue::with_custom(names.filter_map(Result::ok)).unwrap_or_default()
    }

    fn custom_scope_fault(&self, error: &CustomScopeError) -> Fault {
        let section = "custom_scopes";
        match error {
            CustomScopeError::Name(name) | CustomScopeError::Redefined(name) => Fault {
                is_key: true,
                ..Fault::at(
                    way![section, name.as_str()],
                    error.to_string(),
                    "not a name for a custom scope",
                )
            },
            CustomScopeError::NoDescription(name) => Fault::at(
                way![section, name.as_str(), "description"],
                error.to_string(),
                "says nothing",
            )
            .help("for example `description = \"Read the forum.\"`"),
            CustomScopeError::NotCustom { scope, subscope }
            | CustomScopeError::Undefined { scope, subscope } => {
                let index = self
                    .config
                    .custom_scopes
                    .get(scope)
                    .and_then(|scope| scope.subscopes.iter().position(|name| name == subscope));
                Fault::at(
                    way![
                        section,
                        scope.as_str(),
                        "subscopes",
                        index.unwrap_or_default()
                    ],
                    error.to_string(),
                    "cannot be contained",
                )
            }
        }
    }

    /// Checks scopes; those that exist are kept as they are written.
    fn scopes(&mut self, path: &[Step], scopes: &[String]) -> Vec<String> {
        let mut good = Vec::new();
        for (index, scope) in scopes.iter().enumerate() {
            match self.catalogue.parse(scope) {
                Ok(_) => good.push(scope.clone()),
                Err(error) => {
                    let mut path = path.to_vec();
                    path.push(index.into());
                    self.faults.push(scope_fault(path, scope, &error));
                }
            }
        }
        good
    }

    fn groups(&mut self) -> Vec<DeclaredGroup> {
        let mut groups = Vec::new();
        for (typed, group) in &self.config.groups {
            let name = match GroupName::parse(typed) {
                Ok(name) => name,
                Err(error) => {
                    let title = format!("`{typed}` is not the name of a group");
                    self.faults.push(Fault {
                        is_key: true,
                        ..Fault::at(way!["groups", typed.as_str()], title, error.to_string())
                    });
                    continue;
                }
            };
            let users = self.users(&way!["groups", typed.as_str(), "users"], &group.users);
            groups.push(DeclaredGroup {
                name,
                users,
                properties: group.properties.clone(),
            });
        }
        groups
    }

    /// The scopes of users' servers stand elsewhere, but need the same catalogue.
    fn server_scopes(&mut self) {
        let hub = &self.config.hub;
        if let Some(scopes) = &hub.server_token_scopes {
            self.scopes(&way!["hub", "server_token_scopes"], scopes);
        }
        self.scopes(
            &way!["hub", "oauth_client_allowed_scopes"],
            &hub.oauth_client_allowed_scopes,
        );
    }
}

fn scope_fault(path: Vec<Step>, scope: &str, error: &ScopeError) -> Fault {
    let label = match error {
        ScopeError::Unknown(_) => "no such scope".to_owned(),
        ScopeError::FilterName(_, reason) => reason.to_string(),
        _ => "not a scope".to_owned(),
    };
    let name = scope.split('!').next().unwrap_or_default();
    let near = || catalog::nearest(name, Scope::ALL.iter().map(|scope| scope.name()));
    let help = match error {
        ScopeError::Unknown(_) => near().map(|near| format!("did you mean `{near}`?")),
        _ => None,
    };
    Fault {
        help,
        ..Fault::at(path, error.to_string(), label)
    }
}
