//! Names of users, servers, groups and services: parsed once, valid ever after.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::escape;

/// The longest name of a user, group or service, in characters (JupyterHub's column is 255 wide).
pub const MAX_NAME_CHARS: usize = 255;

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// It is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// It is longer than [`MAX_NAME_CHARS`] characters.
    #[error("a name cannot be longer than {MAX_NAME_CHARS} characters")]
    TooLong,
    /// It contains a slash.
    #[error("a name cannot contain a slash")]
    Slash,
    /// It starts or ends with white space.
    #[error("a name cannot start or end with a space")]
    OuterSpace,
    /// It consists of dots only, also when percent-decoded; such a path segment means something else.
    #[error("a name cannot consist of dots only")]
    OnlyDots,
    /// It contains a control character.
    #[error("a name cannot contain control characters")]
    Control,
    /// It contains a percent-escape, which a service name must not.
    #[error("a service name cannot contain percent-escapes")]
    Escape,
    /// It does not follow the rules of new server names.
    #[error(
        "a server name has 1 to 30 characters: a lowercase letter first, then lowercase letters, digits or single hyphens"
    )]
    ServerName,
}

fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    if name.contains('/') {
        return Err(NameError::Slash);
    }
    if name.trim() != name {
        return Err(NameError::OuterSpace);
    }
    if name
        .chars()
        .any(|c| c.is_control() || is_invisible_control(c))
    {
        return Err(NameError::Control);
    }
    let decoded = escape::decode(name).unwrap_or_default();
    if [name, decoded.as_str()]
        .iter()
        .any(|text| !text.is_empty() && text.chars().all(|c| c == '.'))
    {
        return Err(NameError::OnlyDots);
    }
    Ok(())
}

/// Characters that are not shown, with which one name can be made to look like another: spaces of no width,
/// line and paragraph separators, the controls of writing direction.
fn is_invisible_control(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// Gives the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

/// The name of a user, as the hub knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);
text_newtype!(UserName);

impl UserName {
    /// Accepts a name as it is; letter case counts (JupyterHub `Authenticator.validate_username`).
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        Ok(Self(name.to_owned()))
    }

    /// Accepts what a person typed: trimmed and lowercased first (JupyterHub `normalize_username`).
    pub fn normalize(typed: &str) -> Result<Self, NameError> {
        Self::parse(&typed.trim().to_lowercase())
    }
}

/// The name of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);
text_newtype!(GroupName);

impl GroupName {
    /// Accepts a group's name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        Ok(Self(name.to_owned()))
    }
}

/// The name of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);
text_newtype!(ServiceName);

impl ServiceName {
    /// Accepts a service's name; percent-escapes are refused as well (JupyterHub 6.1).
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check_name(name)?;
        if escape::decode(name).as_deref() != Some(name) {
            return Err(NameError::Escape);
        }
        Ok(Self(name.to_owned()))
    }
}

/// The name of one of a user's servers; empty for the default server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);
text_newtype!(ServerName);

impl ServerName {
    /// The default server, whose name is empty.
    pub fn default_server() -> Self {
        Self::default()
    }

    /// Accepts the name of a server that exists: anything that can stand in a path, or nothing.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if !name.is_empty() {
            check_name(name)?;
        }
        Ok(Self(name.to_owned()))
    }

    /// Accepts the name of a server to be made: 1 to 30 of `[a-z0-9-]`, a letter first, no hyphen
    /// last or doubled (JupyterHub 6).
    pub fn parse_new(name: &str) -> Result<Self, NameError> {
        let letters = name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        let first = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        if letters && first && name.len() <= 30 && !name.ends_with('-') && !name.contains("--") {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::ServerName)
        }
    }

    /// Tells whether this is the default server.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

/// One server of one user; written `ada/` for the default server and `ada/lab` for a named one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerRef {
    /// Whose server.
    pub user: UserName,
    /// Which of that user's servers.
    pub server: ServerName,
}

impl ServerRef {
    /// Names a server.
    pub fn new(user: UserName, server: ServerName) -> Self {
        Self { user, server }
    }

    /// The URL path below which the server answers, escaped, with slashes at both ends.
    ///
    /// `base` is the hub's base URL, which ends with a slash.
    pub fn url_path(&self, base: &str) -> String {
        let user = escape::path_segment(self.user.as_str());
        if self.server.is_default() {
            format!("{base}user/{user}/")
        } else {
            format!(
                "{base}user/{user}/{}/",
                escape::path_segment(self.server.as_str())
            )
        }
    }

    /// The path of a page of the hub about this server, such as `…/hub/spawn/ada/lab`; no slash last.
    pub fn hub_path(&self, base: &str, page: &str) -> String {
        let user = escape::path_segment(self.user.as_str());
        if self.server.is_default() {
            format!("{base}hub/{page}/{user}")
        } else {
            format!(
                "{base}hub/{page}/{user}/{}",
                escape::path_segment(self.server.as_str())
            )
        }
    }

    /// The path of the server in the REST API, such as `…/hub/api/users/ada/server`; no slash last.
    pub fn api_path(&self, base: &str) -> String {
        let user = escape::path_segment(self.user.as_str());
        if self.server.is_default() {
            format!("{base}hub/api/users/{user}/server")
        } else {
            format!(
                "{base}hub/api/users/{user}/servers/{}",
                escape::path_segment(self.server.as_str())
            )
        }
    }

    /// The id of the server's OAuth client (and its cookie's name): `jupyterhub-user-ada[-lab]`.
    pub fn client_id(&self) -> String {
        let user = escape::client_id(self.user.as_str());
        if self.server.is_default() {
            format!("jupyterhub-user-{user}")
        } else {
            format!(
                "jupyterhub-user-{user}-{}",
                escape::client_id(self.server.as_str())
            )
        }
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.user, self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(name: &str, expected: NameError) {
        assert_eq!(UserName::parse(name), Err(expected), "{name:?}");
    }

    #[test]
    fn user_names_that_would_break_urls_are_refused() {
        refuse("", NameError::Empty);
        refuse("a/b", NameError::Slash);
        refuse(" ada", NameError::OuterSpace);
        refuse("..", NameError::OnlyDots);
        refuse("%2E%2e", NameError::OnlyDots);
        refuse("ada\nlovelace", NameError::Control);
        refuse("ada\u{202e}adnil", NameError::Control);
        refuse("ada\u{2028}", NameError::OuterSpace);
        refuse("a\u{2028}da", NameError::Control);
        refuse("a\u{200b}da", NameError::Control);
        refuse(&"x".repeat(300), NameError::TooLong);
    }

    #[test]
    fn unusual_user_names_are_kept_as_they_are() {
        for name in [
            "a@b.cz",
            "Ümläut",
            "user+tag",
            "ada lovelace",
            "%2F",
            &"x".repeat(255),
        ] {
            assert_eq!(UserName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn typed_names_are_trimmed_and_lowercased() {
        assert_eq!(UserName::normalize(" Ada ").unwrap().as_str(), "ada");
    }

    #[test]
    fn new_server_names_follow_the_rules_of_jupyterhub_6() {
        for name in ["lab", "a", "a-1", "x23456789012345678901234567890"] {
            assert!(ServerName::parse_new(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "Lab",
            "1a",
            "a--b",
            "a-",
            "a_b",
            "x234567890123456789012345678901",
            "á",
        ] {
            assert!(ServerName::parse_new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_server_knows_its_urls() {
        let server = ServerRef::new(
            UserName::parse("a@b c").unwrap(),
            ServerName::parse("lab").unwrap(),
        );
        assert_eq!(server.url_path("/"), "/user/a@b%20c/lab/");
        assert_eq!(server.client_id(), "jupyterhub-user-a%40b%20c-lab");
        assert_eq!(server.hub_path("/", "spawn"), "/hub/spawn/a@b%20c/lab");
        assert_eq!(
            server.api_path("/base/"),
            "/base/hub/api/users/a@b%20c/servers/lab"
        );
        let default = ServerRef::new(
            UserName::parse("ada").unwrap(),
            ServerName::default_server(),
        );
        assert_eq!(default.url_path("/base/"), "/base/user/ada/");
        assert_eq!(default.to_string(), "ada/");
    }
}
