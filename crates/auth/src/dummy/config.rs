//! What an administrator can say about the dummy login.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Any name logs in: for trying things out on one's own machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DummyConfig {
    /// A file with one password for every name, in its first line. Without it any password will do.
    pub password_file: Option<PathBuf>,
    /// Allows this login on addresses that others can reach. They can then log in as anybody, administrators
    /// included, and run programs on this machine.
    pub allow_public: bool,
}
