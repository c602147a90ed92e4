//! Authenticators: the ways to find out who somebody is.
//!
//! Each lives in its own module, behind [`lyceum_core::seams::Authenticator`]. Who is allowed in is the
//! hub's to decide, never theirs.

pub mod dummy;
pub mod pam;
mod password;
pub mod shared_password;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use dummy::{Dummy, DummyConfig};
pub use pam::{Pam, PamConfig};
pub use password::PasswordError;
pub use shared_password::{SharedPassword, SharedPasswordConfig};

/// How people prove who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AuthConfig {
    /// One password for everybody, and if wanted another one for administrators.
    SharedPassword(SharedPasswordConfig),
    /// Any name logs in, without a password or with one for all: for trying things out, never for the internet.
    Dummy(DummyConfig),
    /// The accounts of this machine: people log in with their own name and password.
    Pam(PamConfig),
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self::SharedPassword(SharedPasswordConfig::default())
    }
}
