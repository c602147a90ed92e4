//! Makes what is declared (custom scopes, roles, groups, services) out of its text, and finds all that is wrong with it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use lyceum_core::declared::{Declared, DeclaredGroup, DeclaredRole};
use lyceum_core::scope::{
    Catalogue, CustomScope, CustomScopeError, RoleName, Scope, ScopeError, default_role,
};
use lyceum_core::service::{ServiceDraft, ServiceSpec};
use lyceum_core::{GroupName, Secret, ServiceName, UserName, slug};
use lyceum_spawn::service::Account;
use thiserror::Error;

use super::{Config, RoleConfig, ServiceConfig};
use crate::catalog;
use crate::tree::Step;

/// The longest file with a token that is read, in bytes.
const MAX_TOKEN_FILE: u64 = 4096;

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
    fn at(path: Vec<Step>, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            path,
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
    ($($step:expr),+ $(,)?) => { vec![$(Step::from($step)),+] };
}

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
        let (declared, faults) = self.read_declared();
        let errors: Vec<_> = faults
            .into_iter()
            .filter(|fault| !fault.is_warning)
            .map(|fault| format!("{} ({})", fault.title, fault.label))
            .collect();
        if errors.is_empty() {
            Ok(declared)
        } else {
            Err(DeclarationError(errors.join("; ")))
        }
    }

    /// What of it can be used, and all that is wrong.
    pub(crate) fn read_declared(&self) -> (Declared, Vec<Fault>) {
        let mut reader = Reader {
            config: self,
            catalogue: Catalogue::built_in(),
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
                fault.other = Some((way!["roles", other, "name"], "here as well".to_owned()));
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
        (declared, reader.faults)
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

    fn services(&mut self) -> (Vec<ServiceSpec>, Vec<OwnRole>) {
        let mut specs: Vec<ServiceSpec> = Vec::new();
        let mut roles = Vec::new();
        let mut seen = HashMap::new();
        for (index, service) in self.config.services.iter().enumerate() {
            let api_token = self.api_token(index, service);
            let scopes = self.scopes(&way!["services", index, "scopes"], &service.scopes);
            let draft = draft(service, api_token);
            let spec = match draft.check(&self.catalogue) {
                Ok(spec) => spec,
                Err(faults) => {
                    for fault in faults {
                        let mut path = way!["services", index, fault.key];
                        path.extend(fault.index.map(Step::from));
                        let title = format!(
                            "`{}` of the service `{}` cannot be used",
                            fault.key, service.name
                        );
                        self.faults
                            .push(Fault::at(path, title, fault.message).help(fault.hint));
                    }
                    continue;
                }
            };
            if let Some(user) = spec
                .process
                .as_ref()
                .and_then(|process| process.user.as_deref())
                && let Err(error) = Account::find(user)
            {
                let title = format!("`user` of the service `{}` cannot be used", spec.name);
                let fault = Fault::at(way!["services", index, "user"], title, error.to_string());
                self.faults.push(
                    fault.help("leave it out, and the service runs under the account of Lyceum"),
                );
            }
            if let Some(first) = seen.insert(spec.name.clone(), index) {
                let title = format!("the service `{}` is there twice", spec.name);
                let mut fault = Fault::at(way!["services", index, "name"], title, "and again here");
                fault.other = Some((way!["services", first, "name"], "here".to_owned()));
                self.faults.push(fault);
                continue;
            }
            if !scopes.is_empty()
                && let Some(name) = own_role_name(&spec.name)
            {
                let role = DeclaredRole {
                    name,
                    description: Some(format!("What the service {} may do", spec.name)),
                    scopes: Some(scopes),
                    users: None,
                    groups: None,
                    services: Some(vec![spec.name.clone()]),
                };
                roles.push(OwnRole { index, role });
            }
            specs.push(spec);
        }
        (specs, roles)
    }

    fn api_token(&mut self, index: usize, service: &ServiceConfig) -> Option<Secret<String>> {
        let inline = service.api_token.as_ref().map(|token| token.0.clone());
        let Some(file) = &service.api_token_file else {
            return inline;
        };
        if inline.is_some() {
            let title = format!("the service `{}` has two tokens", service.name);
            let mut fault = Fault::at(way!["services", index, "api_token"], title, "one here");
            fault.other = Some((
                way!["services", index, "api_token_file"],
                "another in this file".to_owned(),
            ));
            self.faults.push(fault.help("leave one of the two out"));
            return inline;
        }
        match read_token(file) {
            Ok(token) => Some(token),
            // That the file is not there, or is everybody's, is told by the rule for all files with secrets.
            Err(None) => None,
            Err(Some(reason)) => {
                let title = format!("the token of the service `{}` cannot be used", service.name);
                let path = way!["services", index, "api_token_file"];
                self.faults.push(
                    Fault::at(path, title, reason)
                        .help("write the token into the first line of the file"),
                );
                None
            }
        }
    }

    fn roles(&mut self) -> Vec<DeclaredRole> {
        let mut roles = Vec::new();
        let mut seen = HashMap::new();
        for (index, role) in self.config.roles.iter().enumerate() {
            let name = match RoleName::parse(&role.name) {
                Ok(name) => name,
                Err(error) => {
                    let path = way!["roles", index, "name"];
                    let title = format!("`{}` cannot be the name of a role", role.name);
                    let (_, rule) = error.to_string().split_once(": ").map_or_else(
                        || (String::new(), error.to_string()),
                        |(head, rule)| (head.to_owned(), rule.to_owned()),
                    );
                    self.faults.push(Fault::at(path, title, rule));
                    continue;
                }
            };
            if let Some(first) = seen.insert(name.clone(), index) {
                let title = format!("the role `{name}` is there twice");
                let mut fault = Fault::at(way!["roles", index, "name"], title, "and again here");
                fault.other = Some((way!["roles", first, "name"], "here".to_owned()));
                self.faults
                    .push(fault.help("put both together into one entry"));
                continue;
            }
            let role = self.role(index, role, name);
            roles.push(role);
        }
        roles
    }

    fn role(&mut self, index: usize, role: &RoleConfig, name: RoleName) -> DeclaredRole {
        for (key, is_set) in [
            ("scopes", role.scopes.is_some()),
            ("description", role.description.is_some()),
        ] {
            if is_set && name.as_str() == "admin" {
                let title = format!("`{key}` of the role `admin` cannot be changed");
                self.faults.push(
                    Fault::at(way!["roles", index, key], title, "always the same")
                        .help("make a role of another name for those who may do less"),
                );
            }
        }
        let default = default_role(name.as_str());
        if default.is_none() && role.scopes.as_ref().is_none_or(Vec::is_empty) {
            let title = format!("the role `{name}` has no scopes, so that it allows nothing");
            let mut fault = Fault::at(way!["roles", index, "name"], title, "needs `scopes`");
            fault.is_warning = true;
            self.faults.push(fault);
        }
        if let ("user", Some(scopes)) = (name.as_str(), &role.scopes)
            && !scopes.iter().any(|scope| scope == "self")
        {
            let title = "the role `user` lacks the scope `self`, so that users may not start their own servers";
            let mut fault = Fault::at(way!["roles", index, "scopes"], title, "without `self`");
            fault.is_warning = true;
            self.faults.push(fault);
        }
        let scopes = role
            .scopes
            .as_ref()
            .map(|scopes| self.scopes(&way!["roles", index, "scopes"], scopes));
        let users = role
            .users
            .as_ref()
            .map(|names| self.users(&way!["roles", index, "users"], names));
        let groups = role
            .groups
            .as_ref()
            .map(|names| self.group_names(&way!["roles", index, "groups"], names));
        let services = role
            .services
            .as_ref()
            .map(|names| self.service_names(index, names));
        DeclaredRole {
            name,
            description: role.description.clone(),
            scopes,
            users,
            groups,
            services,
        }
    }

    fn users(&mut self, path: &[Step], names: &[String]) -> Vec<UserName> {
        let mut good = Vec::new();
        for (index, typed) in names.iter().enumerate() {
            match UserName::normalize(typed) {
                Ok(name) if good.contains(&name) => {}
                Ok(name) => good.push(name),
                Err(error) => self.bad_name(path, index, "user", typed, &error),
            }
        }
        good
    }

    fn group_names(&mut self, path: &[Step], names: &[String]) -> Vec<GroupName> {
        let mut good = Vec::new();
        for (index, typed) in names.iter().enumerate() {
            match GroupName::parse(typed) {
                Ok(name) if good.contains(&name) => {}
                Ok(name) => good.push(name),
                Err(error) => self.bad_name(path, index, "group", typed, &error),
            }
        }
        good
    }

    fn bad_name(
        &mut self,
        path: &[Step],
        index: usize,
        kind: &str,
        typed: &str,
        error: &lyceum_core::NameError,
    ) {
        let mut path = path.to_vec();
        path.push(index.into());
        let title = format!("`{typed}` is not the name of a {kind}");
        self.faults.push(Fault::at(path, title, error.to_string()));
    }

    fn service_names(&mut self, index: usize, names: &[String]) -> Vec<ServiceName> {
        let mut good = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let known = self
                .config
                .services
                .iter()
                .map(|service| service.name.as_str());
            match ServiceName::parse(name) {
                Ok(parsed) if known.clone().any(|known| known == name) => {
                    if !good.contains(&parsed) {
                        good.push(parsed);
                    }
                }
                _ => {
                    let help = match catalog::nearest(name, known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "each service needs an entry in `[[services]]`".to_owned(),
                    };
                    let title = format!("there is no service `{name}`");
                    let path = way!["roles", index, "services", position];
                    self.faults
                        .push(Fault::at(path, title, "not in `[[services]]`").help(help));
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

fn draft(service: &ServiceConfig, api_token: Option<Secret<String>>) -> ServiceDraft {
    ServiceDraft {
        name: service.name.clone(),
        admin: service.admin,
        url: service.url.clone(),
        command: service.command.clone(),
        user: service.user.clone(),
        cwd: service.cwd.clone(),
        environment: service.environment.clone(),
        api_token,
        oauth_client_id: service.oauth_client_id.clone(),
        oauth_redirect_uri: service.oauth_redirect_uri.clone(),
        oauth_client_allowed_scopes: service.oauth_client_allowed_scopes.clone(),
        oauth_no_confirm: service.oauth_no_confirm,
        display: service.display,
        info: service.info.clone(),
    }
}

/// The name of the role that a service has for itself.
fn own_role_name(service: &ServiceName) -> Option<RoleName> {
    RoleName::parse(&format!("service-{service}"))
        .ok()
        .or_else(|| {
            let slug = slug::unique_server_name(service.as_str())?;
            RoleName::parse(&format!("service-{slug}")).ok()
        })
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

/// Reads the first line of a file; the inner `None` if the file cannot be read at all.
fn read_token(file: &Path) -> Result<Secret<String>, Option<String>> {
    use std::io::Read as _;

    // Whole at once, so that growing leaves no copy of a secret behind.
    let mut content =
        String::with_capacity(usize::try_from(MAX_TOKEN_FILE).unwrap_or_default() + 1);
    let metadata = std::fs::metadata(file).map_err(|_| None)?;
    if !metadata.is_file() {
        return Err(None);
    }
    std::fs::File::open(file)
        .and_then(|file| file.take(MAX_TOKEN_FILE).read_to_string(&mut content))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => Some("it is not text".to_owned()),
            // Who checks the configuration need not be who runs Lyceum.
            _ => None,
        })?;
    let content = Secret::new(content);
    match content.expose().lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned().into()),
        _ => Err(Some("its first line is empty".to_owned())),
    }
}
