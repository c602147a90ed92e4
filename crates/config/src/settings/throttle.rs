//! `[throttle]`: brakes on guessing passwords.

use lyceum_core::{HumanDuration, Network};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Brakes on guessing passwords. Whoever types wrong ones again and again has to wait longer and longer; others do not,
/// not even those whose account it is. How it works: `docs/security-logins.md`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Whether anybody is slowed. Switch it off only where something else keeps guessers away.
    #[schemars(example = false)]
    pub enabled: bool,

    /// How many wrong passwords for one account from one address are without consequence. After that, pauses begin with
    /// a second and double each time.
    #[schemars(example = 10)]
    pub per_account: u32,

    /// How many wrong passwords from one address, for whatever accounts, are without consequence. A whole class may
    /// share an address. Right passwords do not count.
    #[schemars(example = 1000)]
    pub per_address: u32,

    /// The longest pause.
    #[schemars(example = "15 min")]
    pub longest_pause: HumanDuration,

    /// Addresses and networks that are never slowed.
    #[schemars(example = ["192.0.2.0/24", "2001:db8::/32"])]
    pub exempt: Vec<Network>,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            per_account: 5,
            per_address: 200,
            longest_pause: HumanDuration::from_secs(5 * 60),
            exempt: Vec::new(),
        }
    }
}
