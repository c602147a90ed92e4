//! `[audit]`: what is written down for administrators.

use lyceum_core::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who did what, written down in the database: logins and failed ones, starts and stops of servers, what administrators
/// do with others' servers and tokens, changes of users and groups. Show it with `lyceum audit`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether anything is written down.
    #[schemars(example = false)]
    pub enabled: bool,

    /// How long it is kept. What is older is thrown away each hour.
    #[schemars(example = "90 days")]
    pub keep: HumanDuration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            keep: HumanDuration::from_secs(365 * 24 * 3600),
        }
    }
}
