//! `[auth_state]`: what login methods may keep for users.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What login methods may keep for users, such as tokens of other sites: encrypted in the database.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthStateConfig {
    /// Whether it is kept at all. It needs a key.
    #[schemars(example = true)]
    pub enabled: bool,

    /// A file with the keys of 32 bytes, one in each line, in hexadecimal digits or base64, as `openssl rand -hex 32`
    /// makes one. The first encrypts; all decrypt: put a new one in front, and take the old one out when everybody
    /// has logged in again. Without it, the keys are those in the variable `JUPYTERHUB_CRYPT_KEY`, divided by `;`.
    pub crypt_key_file: Option<PathBuf>,
}
