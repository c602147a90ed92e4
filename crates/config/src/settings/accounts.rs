//! `[accounts]`: accounts of this machine, under which users' servers run.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Accounts of this machine, under which users' servers run, where they run under their users' own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsConfig {
    /// The name of a user's account, in which `{username}` stands for the user's name. With people of the machine it is
    /// the name itself; for people who log in in another way, and whose accounts are made, a prefix keeps theirs apart.
    #[schemars(example = "jupyter-{username}")]
    pub name: String,

    /// The lowest and the highest number of an account that may be used. Accounts of the system are below; 0 never is
    /// used, whatever stands here.
    #[schemars(example = [1000, 59999])]
    pub uid_range: [u32; 2],

    /// Whoever is in one of these groups gets no server under the own account: with it, one is as good as root, and so
    /// would be whoever took over Lyceum. Administrators of the machine use a second account for notebooks; or take the
    /// group out of this list.
    #[schemars(example = ["docker", "lxd"])]
    pub refused_groups: Vec<String>,

    /// Whether a missing account is made when its user's server starts for the first time.
    #[schemars(example = true)]
    pub create: bool,

    /// The shell of accounts that are made.
    #[schemars(example = "/bin/bash", extend("format" = "path"))]
    pub shell: PathBuf,

    /// Groups of this machine that accounts are put into when they are made. They have to exist.
    #[schemars(example = ["students"])]
    pub groups: Vec<String>,

    /// The folder in which homes of accounts are made.
    #[schemars(example = "/srv/homes", extend("format" = "path"))]
    pub home_root: PathBuf,

    /// Whether a missing home of an account that exists is made: for people of a directory server who log in here for
    /// the first time. Only in a folder that root alone can write to.
    #[schemars(example = true)]
    pub create_home: bool,

    /// The rights of homes that are made, as `chmod` takes them.
    #[schemars(example = "0750")]
    pub home_mode: Mode,

    /// What is copied into homes that are made.
    #[schemars(example = "/etc/skel", extend("format" = "path"))]
    pub skeleton: PathBuf,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        let refused = [
            "root", "sudo", "wheel", "admin", "docker", "lxd", "incus", "libvirt", "disk", "kmem",
            "shadow",
        ];
        Self {
            name: "{username}".to_owned(),
            uid_range: [1000, 59_999],
            refused_groups: refused.iter().map(|name| (*name).to_owned()).collect(),
            create: false,
            shell: "/bin/bash".into(),
            groups: Vec::new(),
            home_root: "/home".into(),
            create_home: true,
            home_mode: Mode(0o700),
            skeleton: "/etc/skel".into(),
        }
    }
}

/// Rights of a folder, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// The rights as bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(&text);
        let octal = digits.bytes().all(|digit| digit.is_ascii_digit());
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if octal && digits.len() <= 4 && bits & 0o700 == 0o700 && bits <= 0o7777 => {
                Ok(Self(bits))
            }
            _ => Err(format!(
                "`{text}` are no rights of a home: write three or four digits of 0 to 7 of which the owner's is 7, such as `0700`"
            )),
        }
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(0o)?[0-7]{3,4}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_octal_and_leave_the_owner_in() {
        let read = |text: &str| Mode::try_from(text.to_owned());
        assert_eq!(read("0750").unwrap().bits(), 0o750);
        assert_eq!(read("711").unwrap().to_string(), "0711");
        assert_eq!(read("2770").unwrap().bits(), 0o2770);
        for bad in ["", "0800", "0070", "rwx", "17777", "-700", "+700"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
