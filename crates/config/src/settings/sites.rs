//! What a service can be beside one that logs people in itself: the kinds, and who may come.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// Made for JupyterHub: it logs people in itself, by the hub
    #[default]
    JupyterHub,
    /// RStudio Server: the prefix is taken away, and RStudio is told of it
    RStudio,
    /// Shiny Server, or an app of Shiny: the prefix is taken away
    Shiny,
    /// Any other web application: the prefix stays, as most of them can be told theirs
    Generic,
    /// The files of a folder
    Static,
    /// Sends browsers elsewhere
    Redirect,
}

impl ServiceKind {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::JupyterHub => "jupyterhub",
            Self::RStudio => "rstudio",
            Self::Shiny => "shiny",
            Self::Generic => "generic",
            Self::Static => "static",
            Self::Redirect => "redirect",
        }
    }

    /// Whether requests go to a program.
    pub fn is_forwarded(self) -> bool {
        !matches!(self, Self::Static | Self::Redirect)
    }

    /// Whether the prefix is taken away unless it is said otherwise.
    pub fn strips(self) -> bool {
        matches!(self, Self::RStudio | Self::Shiny)
    }
}

/// Who may come to a service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ServiceAccess {
    /// By a word
    Word(AccessWord),
    /// By names and addresses
    Rule(AccessRule),
}

/// Who may come, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessWord {
    /// Everybody, without a login
    Public,
    /// Every user, after a login
    Users,
}

/// Who may come, by names and addresses.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessRule {
    /// Everybody, without a login; for use with `networks`.
    pub public: bool,
    /// These users.
    pub users: Option<Vec<String>>,
    /// The members of these groups.
    pub groups: Option<Vec<String>>,
    /// Those who hold these roles.
    pub roles: Option<Vec<String>>,
    /// Only from these networks; whoever comes from elsewhere is refused before any login.
    pub networks: Option<Vec<String>>,
}
