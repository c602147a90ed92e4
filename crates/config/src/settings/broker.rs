//! `[broker]`: where the privileged helper is found.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The privileged helper, which starts servers under their users' accounts and asks PAM: where it is found, and whom it
/// answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// The socket at which the broker is asked.
    #[schemars(example = "/run/lyceum-broker/broker.sock", extend("format" = "path"))]
    pub socket: PathBuf,

    /// The account that runs `lyceum serve`: besides root, nobody else is answered.
    #[schemars(example = &"lyceum")]
    pub client: String,

    /// The folder for what the broker keeps until the next boot.
    #[schemars(example = "/run/lyceum-broker", extend("format" = "path"))]
    pub state_dir: PathBuf,

    /// The folder for the sockets of users' servers.
    #[schemars(example = "/run/lyceum-servers", extend("format" = "path"))]
    pub servers_dir: PathBuf,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            socket: "/run/lyceum-broker/broker.sock".into(),
            client: "lyceum".to_owned(),
            state_dir: "/run/lyceum-broker".into(),
            servers_dir: "/run/lyceum-servers".into(),
        }
    }
}
