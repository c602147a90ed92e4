//! What an administrator can say about the shared password.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One password for everybody: for a class that knows each other. Whoever knows it can log in under any name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedPasswordConfig {
    /// A file with the password of everybody, in its first line: at least 8 characters. Others must not be
    /// able to read it.
    pub user_password_file: Option<PathBuf>,
    /// A file with the password of the administrators (`access.admin_users`), in its first line: at least 32
    /// characters, and not that of everybody. Without it administrators log in as everybody does, and so can
    /// whoever takes their name.
    pub admin_password_file: Option<PathBuf>,
}
