//! `[profiles.NAME]`: what users may choose among before a start.

use std::collections::BTreeMap;

use lyceum_core::limits::{Cap, Limits};
use lyceum_core::{GroupName, HumanSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::with_limits;

/// How long the name of a profile may be.
const MAX_NAME: usize = 64;

with_limits! {
    /// A kind of server that users may choose before a start. What is not set is as `[spawner]` and `[limits]` say.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct ProfileConfig {
        /// What people see of it. If it is not set, its name.
        #[schemars(example = "For large data")]
        pub title: Option<String>,

        /// A sentence below the title. Plain text.
        #[schemars(example = "A lot of memory, for the last exercises.")]
        pub description: String,

        /// Members of these groups may choose it: groups of the hub, or groups that the login method tells of, such as
        /// Unix groups. If it is not set, everybody may.
        #[schemars(example = ["research", "teachers"])]
        pub groups: Option<Vec<String>>,

        /// Whether it is the one for whoever has not chosen: at most one is. If none is, the first in the list that the
        /// user may choose.
        #[schemars(example = true)]
        pub default: bool,

        /// Its place in the list: the smallest number comes first; among equals, the title decides.
        #[schemars(example = 10)]
        pub order: i32,

        /// The name of the Python environment (`[env.python.NAME]`) that its servers are started from, in place of
        /// `env.default`.
        #[schemars(example = &"stats-2026")]
        pub python: Option<String>,

        /// Another program that is the server, and its first arguments, in place of `spawner.command`.
        #[schemars(example = ["/opt/julia/bin/jupyterhub-singleuser"])]
        pub command: Option<Vec<String>>,

        /// Variables for the server, over those of `spawner.environment`.
        #[schemars(example = serde_json::json!({"COURSE": "statistics"}))]
        pub environment: BTreeMap<String, String>,

        /// Folders in which the server finds programs before all others.
        #[schemars(example = ["/opt/julia/bin"])]
        pub path: Vec<String>,

        /// The page that the server opens first, in place of `spawner.default_url`.
        #[schemars(example = "/lab/tree/exercises")]
        pub default_url: Option<String>,
    }
}

impl ProfileConfig {
    /// What people see of the profile of this name.
    pub fn title<'a>(&'a self, name: &'a str) -> &'a str {
        self.title.as_deref().unwrap_or(name)
    }

    /// Who may choose it; `None` for everybody. What can be no group's name is left out; the check of the configuration
    /// has refused it.
    pub fn group_names(&self) -> Option<impl Iterator<Item = GroupName>> {
        let groups = self.groups.as_ref()?;
        Some(groups.iter().filter_map(|name| GroupName::parse(name).ok()))
    }
}

/// Whether a profile can have this name: it stands in links, so letters, digits, hyphens and underscores.
pub(crate) fn is_profile_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_in_links() {
        for good in ["large", "2-gpus", "a_b", "R", &"x".repeat(64)] {
            assert!(is_profile_name(good), "{good}");
        }
        for bad in ["", "-x", "a b", "é", "a/b", "a.b", &"x".repeat(65)] {
            assert!(!is_profile_name(bad), "{bad}");
        }
    }
}
