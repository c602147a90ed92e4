//! What an administrator can say about logins by PAM.

use lyceum_core::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The accounts of this machine: people log in with their own name and password. The broker has to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PamConfig {
    /// The service of PAM that is asked, a file in `/etc/pam.d`.
    pub service: String,
    /// Whether a session of PAM is opened for each server, for limits, mounts or keyrings. Only servers that systemd
    /// runs have one; the service must not use `pam_systemd` in it.
    pub session: bool,
    /// Whether PAM's account part is asked before each start of a server, too, so that an account that was closed or has
    /// expired after the login starts no more. Switch it off if modules there look at where people come from, such as
    /// `pam_access` with addresses: at a start nobody comes from anywhere.
    pub check_at_start: bool,
    /// How long PAM may take. Most modules wait for some seconds after a wrong password.
    pub limit: HumanDuration,
}

impl Default for PamConfig {
    fn default() -> Self {
        Self {
            service: "lyceum".to_owned(),
            session: false,
            check_at_start: true,
            limit: HumanDuration::from_secs(20),
        }
    }
}

impl PamConfig {
    /// Whether the service can be the name of a file in `/etc/pam.d`, and of nothing else.
    pub fn has_possible_service(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let first = self.service.bytes().next();
        self.service.bytes().all(plain)
            && first.is_some_and(|byte| byte.is_ascii_alphanumeric())
            && self.service.len() <= 64
    }
}
