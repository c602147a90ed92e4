//! `[groups.NAME]`: groups that exist from the start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A group of users. What stands here is added at each start; nobody is removed from a group, and no group is deleted,
/// because it stands here no more.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Users who are put into it. Whoever does not exist yet is created.
    #[schemars(example = ["ada", "bob"])]
    pub users: Vec<String>,

    /// Free data, such as limits for its members' servers. They replace the group's properties; if they are left out,
    /// those stay.
    #[schemars(example = serde_json::json!({"room": "B12"}))]
    pub properties: Option<Map<String, Value>>,
}
