//! `[shared.NAME]`: folders that many use, such as data and teaching material.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// The longest name of a link in a home.
const MAX_LINK: usize = 64;

/// A folder that many use. Its rights are made by `lyceum data apply`; it is shown in homes when a server starts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedConfig {
    /// The folder. If it is not set, one of the entry's name in `/srv/lyceum/data`, or in `shared` below `root`.
    #[schemars(example = "/mnt/corpora", extend("format" = "path"))]
    pub path: Option<PathBuf>,

    /// Who may read it: `"everybody"`, `"nobody"`, or users and groups of this machine. Whoever may write may read, too.
    #[schemars(example = serde_json::json!({"groups": ["linguists"]}))]
    pub read: SharedWith,

    /// Who may create and change what is in it, in the same way. What one of them creates, all of them may change. Data
    /// that comes by `lyceum data add` is nobody's to write.
    #[schemars(example = serde_json::json!({"groups": ["teachers"], "users": ["ada"]}))]
    pub write: SharedWith,

    /// The name under which it is found in the home of whoever may read it. What is there already stays, but for
    /// a link that Lyceum has made. The folder itself is not looked at, so that one on a network that is down holds nobody
    /// up.
    #[schemars(example = &"edu")]
    pub link: Option<String>,

    /// A variable of servers that tells where it is.
    #[schemars(example = &"NLTK_DATA")]
    pub variable: Option<String>,
}

impl Default for SharedConfig {
    fn default() -> Self {
        Self {
            path: None,
            read: SharedWith::Word(SharedWord::Everybody),
            write: SharedWith::Word(SharedWord::Nobody),
            link: None,
            variable: None,
        }
    }
}

/// Some people.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SharedWith {
    /// By a word
    Word(SharedWord),
    /// By names
    Names(SharedNames),
}

/// Some people, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SharedWord {
    /// Everybody with an account on this machine
    Everybody,
    /// Nobody but root
    Nobody,
}

/// Some people, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedNames {
    /// These accounts.
    pub users: Vec<String>,
    /// The members of these groups of this machine.
    pub groups: Vec<String>,
}

impl Config {
    /// The folder in which shared folders are that have no place of their own.
    pub fn shared_folder(&self) -> PathBuf {
        match &self.root {
            Some(root) => root.join("shared"),
            None => "/srv/lyceum/data".into(),
        }
    }

    /// Where a shared folder of this name is, be it configured or not.
    pub fn shared_path(&self, name: &str) -> PathBuf {
        let own = self.shared.get(name).and_then(|one| one.path.clone());
        own.unwrap_or_else(|| self.shared_folder().join(name))
    }

    /// The variables of servers that tell where shared folders are.
    pub fn shared_variables(&self) -> BTreeMap<String, String> {
        let variable = |(name, shared): (&String, &SharedConfig)| {
            let path = self.shared_path(name).display().to_string();
            Some((shared.variable.clone()?, path))
        };
        self.shared.iter().filter_map(variable).collect()
    }
}

/// Whether a shared folder can have this name: it becomes one in paths.
pub(crate) fn is_shared_name(name: &str) -> bool {
    super::is_profile_name(name)
}

/// Whether a link in a home can have this name: one visible entry of the home itself.
pub(crate) fn is_link_name(name: &str) -> bool {
    (1..=MAX_LINK).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.contains(char::is_control)
}

/// Whether something can be the place of a shared folder: a whole path, below the top, without a way up.
pub(crate) fn is_place(path: &Path) -> bool {
    let climbs = path.components().any(|part| part.as_os_str() == "..");
    let is_text = path
        .to_str()
        .is_some_and(|text| !text.contains(char::is_control));
    path.is_absolute() && path.parent().is_some() && !climbs && is_text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_entries_of_the_home_itself() {
        for good in ["edu", "Learning material", "výuka", "a.b"] {
            assert!(is_link_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".bashrc",
            "a/b",
            "/a",
            "a\nb",
            &"x".repeat(65),
        ] {
            assert!(!is_link_name(bad), "{bad}");
        }
    }

    #[test]
    fn places_are_whole_paths_below_the_top() {
        for (path, good) in [
            ("/srv/edu", true),
            ("/", false),
            ("srv", false),
            ("/srv/../etc", false),
            ("/srv/a\nb", false),
        ] {
            assert_eq!(is_place(Path::new(path)), good, "{path}");
        }
    }
}
