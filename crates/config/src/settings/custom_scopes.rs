//! `[custom_scopes."custom:…"]`: scopes that services agree on among themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A scope that services agree on among themselves: roles, tokens and services can have it, and the hub tells who has it,
/// but never checks it. Its name begins with `custom:`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["description"]))]
pub struct CustomScopeConfig {
    /// What it allows, as a sentence for whoever is asked to grant it.
    pub description: String,

    /// Other custom scopes that it contains.
    pub subscopes: Vec<String>,
}
