//! `[[roles]]`: names for lists of scopes, and who holds them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A role: a name for what its holders may do. There are four from the beginning: `user` for every user, `admin` for
/// administrators, `server` for users' servers, `token` for tokens that may do all that their owner may. An entry
/// of one of these names changes it, but for what `admin` may do. Entries of all files are taken together. A role that
/// is taken out of the configuration is deleted at the next start.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RoleConfig {
    /// Its name: 3 to 255 lowercase letters, digits and `-_~.`, a letter first, a letter or digit last.
    #[schemars(example = &"teacher")]
    pub name: String,

    /// What it is for, for people.
    #[schemars(example = "Sees the servers of the class")]
    pub description: Option<String>,

    /// What its holders may do.
    #[schemars(example = ["read:users!group=class", "access:servers!group=class"])]
    pub scopes: Option<Vec<String>>,

    /// The users who hold it: these and no others. Whoever does not exist yet is created. If it is left out, no user
    /// holds it, except that the roles `user` and `admin` then leave their holders as they are.
    #[schemars(example = ["ada"])]
    pub users: Option<Vec<String>>,

    /// The groups whose members hold it: these and no others. A group that does not exist yet is created.
    #[schemars(example = ["teachers"])]
    pub groups: Option<Vec<String>>,

    /// The services that hold it: these and no others, each from `[[services]]`.
    pub services: Option<Vec<String>>,
}
