//! Roles, and the names of those who hold them.

use std::collections::HashMap;

use lyceum_core::declared::DeclaredRole;
use lyceum_core::scope::{RoleName, default_role};
use lyceum_core::{GroupName, NameError, ServiceName, UserName};

use super::{Fault, Reader, way};
use crate::catalog;
use crate::settings::RoleConfig;
use crate::tree::Step;

impl Reader<'_> {
    pub(super) fn roles(&mut self) -> Vec<DeclaredRole> {
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
                fault.other = Some((way!["roles", first, "name"].into(), "here".to_owned()));
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

    pub(super) fn users(&mut self, path: &[Step], names: &[String]) -> Vec<UserName> {
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

    pub(super) fn group_names(&mut self, path: &[Step], names: &[String]) -> Vec<GroupName> {
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
        error: &NameError,
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
}
