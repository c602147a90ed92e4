//! Raw scopes, as roles, tokens and clients carry them: a name and perhaps a filter.
//!
//! Parsing is strict. Whether a custom scope is defined is asked of the [`super::Catalogue`].

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::table::Scope;
use crate::names::{GroupName, NameError, ServerName, ServerRef, ServiceName, UserName};

/// The name of a scope, built-in or custom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeName {
    /// One of ours.
    BuiltIn(Scope),
    /// One of the configuration's, `custom:…`; the hub grants and reports it, and never checks it.
    Custom(Arc<str>),
}

impl ScopeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::BuiltIn(scope) => scope.name(),
            Self::Custom(name) => name,
        }
    }
}

impl From<Scope> for ScopeName {
    fn from(scope: Scope) -> Self {
        Self::BuiltIn(scope)
    }
}

impl fmt::Display for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a scope is limited to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Nothing: the scope is about everything.
    None,
    /// `!user`: the user who owns the token or role.
    OwnUser,
    /// `!server`: the server whose OAuth client issued the token.
    OwnServer,
    /// `!service`: the service that issued or owns the token.
    OwnService,
    /// `!user=NAME`.
    User(UserName),
    /// `!server=NAME/SERVER`; `NAME/` is the default server.
    Server(ServerRef),
    /// `!group=NAME`: the members of the group and their servers, or the group itself.
    Group(GroupName),
    /// `!service=NAME`.
    Service(ServiceName),
}

impl Filter {
    /// Whether the filter is about servers, in either form.
    pub fn is_server(&self) -> bool {
        matches!(self, Self::OwnServer | Self::Server(_))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::OwnUser => f.write_str("!user"),
            Self::OwnServer => f.write_str("!server"),
            Self::OwnService => f.write_str("!service"),
            Self::User(name) => write!(f, "!user={name}"),
            Self::Server(server) => write!(f, "!server={server}"),
            Self::Group(name) => write!(f, "!group={name}"),
            Self::Service(name) => write!(f, "!service={name}"),
        }
    }
}

/// A scope with its filter, not expanded: `servers`, `read:users!group=class`, `access:servers!server`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawScope {
    /// Which scope.
    pub name: ScopeName,
    /// What it is limited to.
    pub filter: Filter,
}

impl RawScope {
    /// A built-in scope without a filter.
    pub fn unfiltered(scope: Scope) -> Self {
        Self::filtered(scope, Filter::None)
    }

    /// A built-in scope with a filter.
    pub fn filtered(scope: Scope, filter: Filter) -> Self {
        Self {
            name: scope.into(),
            filter,
        }
    }

    /// Whether this is `inherit`, with which a token may do all that its owner may.
    pub fn is_inherit(&self) -> bool {
        self.name == ScopeName::BuiltIn(Scope::Inherit)
    }

    /// Reads a scope whose name `find` knows.
    pub(super) fn parse_with(
        text: &str,
        find: impl FnOnce(&str) -> Option<ScopeName>,
    ) -> Result<Self, ScopeError> {
        let (name_text, filter_text) = match text.split_once('!') {
            Some((name, filter)) => (name, Some(filter)),
            None => (text, None),
        };
        let Some(name) = find(name_text) else {
            return Err(ScopeError::Unknown(text.to_owned()));
        };
        let Some(filter_text) = filter_text else {
            return Ok(Self {
                name,
                filter: Filter::None,
            });
        };
        if matches!(&name, ScopeName::BuiltIn(scope) if scope.is_metascope()) {
            return Err(ScopeError::FilteredMetascope(text.to_owned()));
        }
        let malformed = || ScopeError::Filter(text.to_owned());
        let bad_name = |error| ScopeError::FilterName(text.to_owned(), error);
        let filter = match filter_text.split_once('=') {
            None => match filter_text {
                "user" => Filter::OwnUser,
                "server" => Filter::OwnServer,
                "service" => Filter::OwnService,
                _ => return Err(malformed()),
            },
            Some(("user", value)) => Filter::User(UserName::parse(value).map_err(bad_name)?),
            Some(("group", value)) => Filter::Group(GroupName::parse(value).map_err(bad_name)?),
            Some(("service", value)) => {
                Filter::Service(ServiceName::parse(value).map_err(bad_name)?)
            }
            Some(("server", value)) => {
                let (user, server) = value
                    .split_once('/')
                    .ok_or_else(|| ScopeError::ServerFilter(text.to_owned()))?;
                Filter::Server(ServerRef::new(
                    UserName::parse(user).map_err(bad_name)?,
                    ServerName::parse(server).map_err(bad_name)?,
                ))
            }
            Some(_) => return Err(malformed()),
        };
        Ok(Self { name, filter })
    }
}

impl fmt::Display for RawScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.filter)
    }
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// There is no such scope.
    #[error("scope `{0}` does not exist")]
    Unknown(String),
    /// What follows the exclamation mark is not a filter.
    #[error(
        "scope `{0}` has a filter that does not exist: write `!user=NAME`, `!server=NAME/SERVER`, `!group=NAME` or `!service=NAME`"
    )]
    Filter(String),
    /// A server filter lacks the slash between user and server.
    #[error(
        "the filter of scope `{0}` names no server: write `!server=NAME/SERVER`, or `!server=NAME/` for the default server"
    )]
    ServerFilter(String),
    /// The filter's name cannot be a name.
    #[error("the filter of scope `{0}` does not hold a name")]
    FilterName(String, #[source] NameError),
    /// `self` and `inherit` stand for other scopes and cannot be limited.
    #[error("scope `{0}` cannot have a filter")]
    FilteredMetascope(String),
}
