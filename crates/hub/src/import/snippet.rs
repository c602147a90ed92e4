//! The part of the configuration that what was taken needs: written as TOML, to be read by a person first.
//!
//! Secrets are not in it: of variables and tokens there is a comment that says what is to be filled in.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lyceum_store::jupyterhub::Service;
use serde_json::Value as Json;

/// Entries for `lyceum.toml`.
#[derive(Debug, Default)]
pub(super) struct Snippet {
    custom_scopes: BTreeSet<String>,
    services: String,
    roles: String,
}

/// A role as the configuration has it.
#[derive(Debug)]
pub(super) struct RoleEntry {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    /// `None` leaves the holders of a default role as they are.
    pub(super) users: Option<Vec<String>>,
    pub(super) groups: Vec<String>,
    pub(super) services: Vec<String>,
    /// Services that the configuration cannot name.
    pub(super) other_services: Vec<String>,
}

impl Snippet {
    /// Notes a scope; only custom ones need an entry.
    pub(super) fn custom_scope(&mut self, scope: &str) {
        let name = scope.split('!').next().unwrap_or_default();
        if name.starts_with("custom:") {
            self.custom_scopes.insert(name.to_owned());
        }
    }

    pub(super) fn service(&mut self, service: &Service, redirect_uri: Option<&str>) {
        let text = &mut self.services;
        text.push_str("\n[[services]]\n");
        line(text, "name", &text_value(&service.name));
        for (key, value) in [
            ("url", service.url.as_deref()),
            ("user", service.user.as_deref()),
            ("cwd", service.cwd.as_deref()),
            ("oauth_redirect_uri", redirect_uri),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                line(text, key, &text_value(value));
            }
        }
        if service.command.is_empty() {
            comment(
                text,
                "api_token_file = \"…\"   a file with the token that JupyterHub's configuration has for it",
            );
        } else {
            line(text, "command", &list(&service.command));
            if !service.environment.is_empty() {
                // Values may be secret, and this text may be shown.
                let names = service.environment.join(", ");
                comment(
                    text,
                    &format!("environment = {{ … }}   JupyterHub sets: {names}"),
                );
            }
        }
        let usual = format!("service-{}", service.name);
        if let Some(id) = service.client_id.as_deref().filter(|id| *id != usual) {
            line(text, "oauth_client_id", &text_value(id));
        }
        if !service.allowed_scopes.is_empty() {
            line(
                text,
                "oauth_client_allowed_scopes",
                &list(&service.allowed_scopes),
            );
        }
        for (key, value, usual) in [
            ("admin", service.admin, false),
            ("display", service.display, true),
            ("oauth_no_confirm", service.oauth_no_confirm, false),
        ] {
            if value != usual {
                line(text, key, if value { "true" } else { "false" });
            }
        }
        if !service.info.is_empty()
            && let Some(info) = toml(&Json::Object(service.info.clone()))
        {
            line(text, "info", &info);
        }
    }

    pub(super) fn role(&mut self, role: &RoleEntry) {
        for scope in role.scopes.iter().flatten() {
            self.custom_scope(scope);
        }
        let text = &mut self.roles;
        text.push_str("\n[[roles]]\n");
        line(text, "name", &text_value(&role.name));
        if let Some(description) = &role.description {
            line(text, "description", &text_value(description));
        }
        if let Some(scopes) = &role.scopes {
            line(text, "scopes", &list(scopes));
        }
        if let Some(users) = role.users.as_ref().filter(|users| !users.is_empty()) {
            line(text, "users", &list(users));
        }
        if !role.groups.is_empty() {
            line(text, "groups", &list(&role.groups));
        }
        if !role.services.is_empty() {
            line(text, "services", &list(&role.services));
        }
        if !role.other_services.is_empty() {
            let names = role.other_services.join(", ");
            comment(
                text,
                &format!("also held by services that the API has made: {names}"),
            );
        }
    }

    /// All entries; empty if there are none.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for name in &self.custom_scopes {
            let _ = write!(text, "\n[custom_scopes.{}]\n", text_value(name));
            comment(
                &mut text,
                "what it allows, for whoever is asked to grant it",
            );
            line(&mut text, "description", &text_value(name));
        }
        text.push_str(&self.services);
        text.push_str(&self.roles);
        text.trim_start().to_owned()
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

/// A comment must end with its line, whatever names are in it.
fn comment(text: &mut String, content: &str) {
    let content: String = content
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let _ = writeln!(text, "# {content}");
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| text_value(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A text as a basic string of TOML.
fn text_value(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// JSON as TOML; `None` for `null`, which TOML does not have.
fn toml(value: &Json) -> Option<String> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => text_value(text),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .filter_map(|(key, value)| Some(format!("{} = {}", text_value(key), toml(value)?)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_toml() {
        let check = |value: Json, expected: &str| {
            assert_eq!(toml(&value).as_deref(), Some(expected), "{value}");
        };
        check(
            json!("a \"b\" \\ \n \u{7f} ü"),
            "\"a \\\"b\\\" \\\\ \\n \\u007F ü\"",
        );
        check(json!([1, 2.5, true, null, "x"]), "[1, 2.5, true, \"x\"]");
        check(
            json!({"a b": {"c": null, "d": 1}}),
            "{ \"a b\" = { \"d\" = 1 } }",
        );
        assert_eq!(toml(&Json::Null), None);
    }

    #[test]
    fn a_comment_is_one_line() {
        let mut text = String::new();
        comment(&mut text, "a\nb = 1");
        assert_eq!(text, "# a b = 1\n");
    }
}
