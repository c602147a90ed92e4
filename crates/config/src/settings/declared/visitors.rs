//! Who may come to a service that logs nobody in itself.

use lyceum_core::scope::{RoleName, default_role};
use lyceum_core::service::{Chosen, Visitors};
use lyceum_gateway::Network;

use super::{Fault, Reader, way};
use crate::catalog;
use crate::settings::{AccessRule, AccessWord, ServiceAccess, ServiceConfig};

/// What is read of `access`.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) visitors: Visitors,
    pub(super) networks: Vec<Network>,
}

impl Reader<'_> {
    pub(super) fn access(&mut self, index: usize, service: &ServiceConfig) -> Access {
        let visitors = match &service.access {
            None | Some(ServiceAccess::Word(AccessWord::Users)) => Visitors::Users,
            Some(ServiceAccess::Word(AccessWord::Public)) => Visitors::Everybody,
            Some(ServiceAccess::Rule(rule)) => self.rule(index, service, rule),
        };
        let networks = match &service.access {
            Some(ServiceAccess::Rule(rule)) => self.networks(index, service, rule),
            _ => Vec::new(),
        };
        Access { visitors, networks }
    }

    fn rule(&mut self, index: usize, service: &ServiceConfig, rule: &AccessRule) -> Visitors {
        let at = |key: &'static str| way!["services", index, "access", key];
        let lists = [
            ("users", rule.users.as_ref()),
            ("groups", rule.groups.as_ref()),
            ("roles", rule.roles.as_ref()),
        ];
        let set: Vec<_> = lists.iter().filter(|(_, list)| list.is_some()).collect();
        if let (true, Some((key, _))) = (rule.public, set.first()) {
            let title = format!(
                "`access` of the service `{}` names some, and lets everybody in",
                service.name
            );
            let mut fault = Fault::at(at(key), title, "these alone");
            fault.other = Some((at("public").into(), "everybody".to_owned()));
            self.faults.push(fault.help("leave one of the two out"));
        }
        if rule.public {
            return Visitors::Everybody;
        }
        if set.is_empty() {
            return Visitors::Users;
        }
        if set.iter().all(|(_, list)| list.is_some_and(Vec::is_empty)) {
            let title = format!(
                "only administrators may come to the service `{}`",
                service.name
            );
            let mut fault = Fault::at(way!["services", index, "access"], title, "names nobody");
            fault.is_warning = true;
            self.faults
                .push(fault.help("`access = \"users\"` lets in whoever can log in"));
        }
        let users = self.users(&at("users"), rule.users.as_deref().unwrap_or_default());
        let groups = self.group_names(&at("groups"), rule.groups.as_deref().unwrap_or_default());
        let roles = self.known_roles(index, rule.roles.as_deref().unwrap_or_default());
        Visitors::Some(Chosen {
            users: users.into_iter().collect(),
            groups: groups.into_iter().collect(),
            roles: roles.into_iter().collect(),
        })
    }

    fn known_roles(&mut self, index: usize, names: &[String]) -> Vec<RoleName> {
        let mut good = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let path = way!["services", index, "access", "roles", position];
            let Ok(role) = RoleName::parse(name) else {
                let title = format!("`{name}` is not the name of a role");
                self.faults
                    .push(Fault::at(path, title, "no role has such a name"));
                continue;
            };
            let known = || self.config.roles.iter().map(|role| role.name.as_str());
            if default_role(name).is_none() && !known().any(|known| known == name) {
                // A login method may tell of roles, too.
                let near = catalog::nearest(name, known().chain(["user", "admin"]));
                let help = near.map(|near| format!("did you mean `{near}`?"));
                let title = format!("there is no role `{name}` in `[[roles]]`");
                let mut fault = Fault::at(path, title, "not configured");
                fault.is_warning = true;
                fault.help = help;
                self.faults.push(fault);
            }
            good.push(role);
        }
        good
    }

    fn networks(
        &mut self,
        index: usize,
        service: &ServiceConfig,
        rule: &AccessRule,
    ) -> Vec<Network> {
        let Some(texts) = &rule.networks else {
            return Vec::new();
        };
        let path = way!["services", index, "access", "networks"];
        if texts.is_empty() {
            let title = format!("nobody could come to the service `{}`", service.name);
            self.faults.push(
                Fault::at(path.clone(), title, "names no network")
                    .help("leave it out, and people may come from everywhere"),
            );
        }
        let mut good = Vec::new();
        for (position, text) in texts.iter().enumerate() {
            match text.parse::<Network>() {
                Ok(network) => good.push(network),
                Err(error) => {
                    let path = way!["services", index, "access", "networks", position];
                    let title = format!("`{text}` cannot be used as a network");
                    self.faults.push(Fault::at(path, title, error.to_string()));
                }
            }
        }
        good
    }
}
