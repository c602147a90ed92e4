//! Who may come, as far as the configuration says.

use std::fmt::Write as _;

use lyceum_core::service::{Chosen, ServiceSpec, Visitors};
use lyceum_core::{GroupName, UserName};
use lyceum_gateway::Site;

use super::Test;

impl Test<'_> {
    /// Who may come to a site, and whether whoever asks may.
    pub(super) fn access(&self, site: &Site, spec: Option<&ServiceSpec>) -> String {
        let mut text = "\nwho may come\n".to_owned();
        let from = self.question.from;
        if !site.access.networks.is_empty() {
            let is_in = site
                .access
                .networks
                .iter()
                .any(|network| network.contains(Some(from)));
            let networks: Vec<String> = site
                .access
                .networks
                .iter()
                .map(ToString::to_string)
                .collect();
            let verdict = if is_in { "yes" } else { "no, status 403" };
            let _ = writeln!(text, "  from {}: {from}: {verdict}", networks.join(", "));
        }
        let Some(visitors) = spec.and_then(|spec| spec.visitors.as_ref()) else {
            return text;
        };
        let rule = match visitors {
            Visitors::Everybody => "everybody, without a login".to_owned(),
            Visitors::Users => "every user, after a login".to_owned(),
            Visitors::Some(chosen) => described(chosen),
        };
        let _ = writeln!(text, "  {rule}");
        if visitors.need_login() {
            let _ = writeln!(text, "  {}", self.verdict(visitors, site));
        }
        text
    }

    fn verdict(&self, visitors: &Visitors, site: &Site) -> String {
        let Some(user) = &self.question.user else {
            return "not logged in: pages lead to the login, programs get status 401 (try --as USER)"
                .to_owned();
        };
        if self.config.access.admin_users.contains(user) {
            return format!("{user}: yes, as an administrator");
        }
        let groups = self.groups_of(user);
        let roles = self.roles_of(user, &groups);
        let scopes = [
            "access:services".to_owned(),
            format!("access:services!service={}", site.name),
        ];
        let opening = self.declared.roles.iter().find(|role| {
            roles.contains(&role.name.as_str())
                && role
                    .scopes
                    .iter()
                    .flatten()
                    .any(|scope| scopes.contains(scope))
        });
        if visitors.admit(user, &groups, roles.iter().copied()) {
            format!("{user}: yes")
        } else if let Some(role) = opening {
            format!("{user}: yes, by the role `{}`", role.name)
        } else {
            format!(
                "{user}: no, status 403, unless a group or role of theirs that is not in the configuration allows it"
            )
        }
    }

    /// The groups of the configuration that a user is put into.
    pub(super) fn groups_of(&self, user: &UserName) -> Vec<GroupName> {
        let groups = self.declared.groups.iter();
        groups
            .filter(|group| group.users.contains(user))
            .map(|group| group.name.clone())
            .collect()
    }

    fn roles_of(&self, user: &UserName, groups: &[GroupName]) -> Vec<&str> {
        let held = self.declared.roles.iter().filter(|role| {
            let by_name = role.users.iter().flatten().any(|name| name == user);
            let of_groups = role.groups.iter().flatten();
            by_name || of_groups.into_iter().any(|group| groups.contains(group))
        });
        held.map(|role| role.name.as_str())
            .chain(["user"])
            .collect()
    }
}

fn described(chosen: &Chosen) -> String {
    let list = |what: &str, names: Vec<String>| {
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let parts = [
        list(
            "users",
            chosen.users.iter().map(ToString::to_string).collect(),
        ),
        list(
            "members of",
            chosen.groups.iter().map(ToString::to_string).collect(),
        ),
        list(
            "holders of the role",
            chosen.roles.iter().map(ToString::to_string).collect(),
        ),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        "administrators only".to_owned()
    } else {
        format!("{}; administrators", parts.join("; "))
    }
}
