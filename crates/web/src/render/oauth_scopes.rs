//! OAuth scopes in words for the person who is asked to grant them.

use serde::Serialize;

/// A scope on the page that asks for consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopeLine {
    /// The scope as it is granted, with its filter.
    pub value: String,
    /// The scope without its filter.
    pub name: String,
    /// The key of its text, if it is one of the hub's own scopes.
    pub key: Option<String>,
    /// What an administrator wrote about it, if it is a custom scope.
    pub description: Option<String>,
    /// What it reaches.
    pub reach: Reach,
    /// Whose or which, if the reach has a name.
    pub target: Option<String>,
}

/// What a scope reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Everything and everybody.
    All,
    /// What belongs to the person who is asked.
    Own,
    /// One user.
    User,
    /// One server.
    Server,
    /// The members of one group.
    Group,
    /// One service.
    Service,
    /// It is not said of anything (custom scopes).
    Unsaid,
}

/// The hub's scopes. The key of a text is `scope-` and the name with `-` in place of `:` and `_`.
const KNOWN: &[&str] = &[
    "access:servers",
    "access:services",
    "admin-ui",
    "admin:auth_state",
    "admin:groups",
    "admin:server_state",
    "admin:servers",
    "admin:services",
    "admin:users",
    "delete:groups",
    "delete:servers",
    "delete:users",
    "groups",
    "groups:shares",
    "inherit",
    "list:groups",
    "list:services",
    "list:users",
    "proxy",
    "read:groups",
    "read:groups:name",
    "read:groups:shares",
    "read:hub",
    "read:metrics",
    "read:roles",
    "read:roles:groups",
    "read:roles:services",
    "read:roles:users",
    "read:servers",
    "read:services",
    "read:services:name",
    "read:shares",
    "read:tokens",
    "read:users",
    "read:users:activity",
    "read:users:groups",
    "read:users:name",
    "read:users:shares",
    "self",
    "servers",
    "shares",
    "shutdown",
    "start:servers",
    "tokens",
    "users",
    "users:activity",
    "users:shares",
];

impl ScopeLine {
    /// Puts a scope into words for the user `viewer`. `description` is that of a custom scope.
    pub fn new(scope: &str, viewer: &str, description: Option<String>) -> Self {
        let (name, filter) = match scope.split_once('!') {
            Some((name, filter)) => (name, Some(filter)),
            None => (scope, None),
        };
        let known = KNOWN.contains(&name);
        let (reach, target) = match filter {
            None if known && !matches!(name, "self" | "inherit") => (Reach::All, None),
            None => (Reach::Unsaid, None),
            Some(filter) => reach(filter, viewer),
        };
        Self {
            value: scope.to_owned(),
            name: name.to_owned(),
            key: known.then(|| text_key(name)),
            description,
            reach,
            target,
        }
    }
}

fn text_key(name: &str) -> String {
    format!("scope-{}", name.replace([':', '_'], "-"))
}

fn reach(filter: &str, viewer: &str) -> (Reach, Option<String>) {
    let (kind, target) = filter.split_once('=').unwrap_or((filter, ""));
    let named = |reach| (reach, (!target.is_empty()).then(|| target.to_owned()));
    match kind {
        "user" if target.is_empty() || target == viewer => (Reach::Own, None),
        "user" => named(Reach::User),
        // The default server of a user is written `USER/`; the slash means nothing to people.
        "server" => {
            let (_, target) = named(Reach::Server);
            let target = target.map(|name| name.trim_end_matches('/').to_owned());
            (Reach::Server, target)
        }
        "group" => named(Reach::Group),
        "service" => named(Reach::Service),
        _ => (Reach::Unsaid, Some(filter.to_owned())),
    }
}

#[cfg(test)]
pub(super) fn text_keys() -> impl Iterator<Item = String> {
    KNOWN.iter().map(|name| text_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_told_with_what_it_reaches() {
        let cases = [
            ("read:hub", Some("scope-read-hub"), Reach::All, None),
            ("self", Some("scope-self"), Reach::Unsaid, None),
            (
                "read:users:name!user",
                Some("scope-read-users-name"),
                Reach::Own,
                None,
            ),
            ("servers!user=ada", Some("scope-servers"), Reach::Own, None),
            (
                "servers!user=bob",
                Some("scope-servers"),
                Reach::User,
                Some("bob"),
            ),
            (
                "access:servers!server=ada/",
                Some("scope-access-servers"),
                Reach::Server,
                Some("ada"),
            ),
            (
                "access:servers!server=ada/lab",
                Some("scope-access-servers"),
                Reach::Server,
                Some("ada/lab"),
            ),
            (
                "access:servers!server",
                Some("scope-access-servers"),
                Reach::Server,
                None,
            ),
            (
                "admin:auth_state!group=b",
                Some("scope-admin-auth-state"),
                Reach::Group,
                Some("b"),
            ),
            (
                "access:services!service=x",
                Some("scope-access-services"),
                Reach::Service,
                Some("x"),
            ),
            ("custom:grades:read", None, Reach::Unsaid, None),
            (
                "custom:a!planet=earth",
                None,
                Reach::Unsaid,
                Some("planet=earth"),
            ),
        ];
        for (scope, key, reach, target) in cases {
            let line = ScopeLine::new(scope, "ada", None);
            assert_eq!(line.value, scope);
            assert_eq!(line.key.as_deref(), key, "{scope}");
            assert_eq!(line.reach, reach, "{scope}");
            assert_eq!(line.target.as_deref(), target, "{scope}");
        }
    }
}
