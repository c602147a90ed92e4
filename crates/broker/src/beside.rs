//! What stands beside a server's own things: links in homes to what is shared, and the settings that follow from a place in
//! a course.
//!
//! Looks at nothing that accounts can change; links are made elsewhere, as their owner.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::trusted::{self, NotTrusted};

/// Where Jupyter and nbgrader look for settings, before all others.
pub(crate) const CONFIG_PATH: &str = "JUPYTER_CONFIG_PATH";
/// What the groups of everybody in a course begin with.
const EVERYBODY: &str = "course-";
/// What the groups of its teachers begin with.
const TEACHERS: &str = "teach-";
/// The longest record of a course that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024;
/// The most courses of one account that are looked at.
const MAX_COURSES: usize = 200;

/// A folder that is shown in homes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeLink {
    /// The name of the link.
    pub name: String,
    /// Where it leads. Nobody looks at it.
    pub target: PathBuf,
    /// Who gets it.
    pub readers: Readers,
}

/// Some people, as the machine knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    Everybody,
    /// Accounts of these names, and those in one of these groups.
    Some {
        /// Accounts.
        users: BTreeSet<String>,
        /// Groups.
        groups: BTreeSet<String>,
    },
}

/// Where courses are written down, one file for each, with the settings of those who are in them, and of all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoursePolicy {
    /// The folder, root's alone to change.
    pub settings: PathBuf,
}

/// A link that is to be made in a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) target: PathBuf,
}

/// What an account has by its courses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seats {
    /// The folders of settings; `None` if this machine has no courses.
    pub(crate) config_path: Option<String>,
    /// Links to the folders of courses that it teaches.
    pub(crate) links: Vec<Link>,
}

/// What is read of a course. The rest is nbgrader's.
#[derive(Debug, Deserialize)]
struct Record {
    root: PathBuf,
    #[serde(default)]
    archived: bool,
}

impl HomeLink {
    pub(crate) fn of(&self, account: &Account) -> Option<Link> {
        let is_reader = match &self.readers {
            Readers::Everybody => true,
            Readers::Some { users, groups } => {
                users.contains(&account.name)
                    || account.shared_groups().any(|group| groups.contains(group))
            }
        };
        is_reader.then(|| Link {
            name: self.name.clone(),
            target: self.target.clone(),
        })
    }
}

impl CoursePolicy {
    /// Finds out what an account is in which course. Blocks for moments.
    pub(crate) fn seats(&self, account: &Account) -> io::Result<Seats> {
        let settings = match trusted::real_path(&self.settings) {
            Ok(settings) => settings,
            Err(error) if error.is_absent() => return Ok(Seats::default()),
            Err(NotTrusted::Others(path)) => {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("others than root can change {}", path.display()),
                ));
            }
            Err(NotTrusted::Io(path, error)) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", path.display()),
                ));
            }
        };
        let jupyter = settings.join("jupyter");
        if !jupyter.is_dir() {
            return Ok(Seats::default());
        }
        let (mut is_student, mut links) = (false, Vec::new());
        // Whoever is in hundreds of other groups has a role all the same.
        let of_courses = |group: &&str| group.starts_with(TEACHERS) || group.starts_with(EVERYBODY);
        let groups = account.shared_groups().filter(of_courses);
        for group in groups.take(MAX_COURSES) {
            if let Some(name) = group.strip_prefix(TEACHERS)
                && let Some(record) = find(&settings, name)
            {
                links.push(Link {
                    name: format!("{EVERYBODY}{name}"),
                    target: record.root,
                });
            } else if let Some(name) = group.strip_prefix(EVERYBODY) {
                is_student = is_student || find(&settings, name).is_some();
            }
        }
        let role = match (links.is_empty(), is_student) {
            (false, _) => "teacher",
            (true, true) => "student",
            (true, false) => "nobody",
        };
        let folders = [jupyter.join(role), jupyter.join("common")];
        let folders = folders.map(|folder| folder.display().to_string());
        Ok(Seats {
            config_path: Some(folders.join(":")),
            links,
        })
    }
}

/// Finds a course that is not over. What cannot be read is none: a damaged file must not keep anybody's server from starting.
fn find(settings: &Path, name: &str) -> Option<Record> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    let path = settings.join(format!("{name}.json"));
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_RECORD).read_to_end(&mut text).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    (!record.archived && record.root.is_absolute()).then_some(record)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn account(groups: &[&str]) -> Account {
        Account {
            name: "ada".to_owned(),
            uid: 1001,
            gid: 1001,
            home: "/home/ada".into(),
            shell: "/bin/bash".into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            gids: vec![1001],
        }
    }

    fn settings() -> (tempfile::TempDir, CoursePolicy) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("jupyter")).unwrap();
        for (name, archived) in [("stats", false), ("old", true)] {
            let text =
                format!("{{\"root\":\"/srv/{name}\",\"archived\":{archived},\"title\":\"x\"}}");
            fs::write(dir.path().join(format!("{name}.json")), text).unwrap();
        }
        fs::write(dir.path().join("broken.json"), "{").unwrap();
        let policy = CoursePolicy {
            settings: dir.path().to_owned(),
        };
        (dir, policy)
    }

    #[test]
    fn the_role_follows_from_groups_of_courses_that_are_not_over() {
        let (dir, policy) = settings();
        let dir = dir.path().canonicalize().unwrap();
        let check = |groups: &[&str], role: &str, links: usize| {
            let seats = policy.seats(&account(groups)).unwrap();
            let base = dir.join("jupyter").display().to_string();
            assert_eq!(
                seats.config_path.unwrap(),
                format!("{base}/{role}:{base}/common"),
                "{groups:?}"
            );
            assert_eq!(seats.links.len(), links, "{groups:?}");
        };
        check(&["ada", "course-stats", "teach-stats"], "teacher", 1);
        check(&["ada", "course-stats"], "student", 0);
        check(&["ada", "course-old", "teach-old"], "nobody", 0);
        check(
            &["teach-unknown", "teach-", "teach-../stats", "course-broken"],
            "nobody",
            0,
        );
        // The group that is made with an account tells nothing.
        let mut called_so = account(&["teach-stats"]);
        called_so.name = "teach-stats".to_owned();
        assert!(policy.seats(&called_so).unwrap().links.is_empty());
    }

    #[test]
    fn the_role_is_found_behind_hundreds_of_other_groups() {
        let (_dir, policy) = settings();
        let others: Vec<_> = (0..MAX_COURSES + 50).map(|n| format!("g{n}")).collect();
        let mut groups: Vec<_> = others.iter().map(String::as_str).collect();
        groups.push("teach-stats");
        let seats = policy.seats(&account(&groups)).unwrap();
        assert_eq!(seats.links.len(), 1);
    }

    #[test]
    fn settings_that_others_can_change_are_not_used_and_missing_ones_are_none() {
        let (dir, policy) = settings();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(policy.seats(&account(&["teach-stats"])).is_err());
        let missing = CoursePolicy {
            settings: dir.path().join("missing"),
        };
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(missing.seats(&account(&[])).unwrap(), Seats::default());
    }

    #[test]
    fn links_are_for_readers() {
        let link = HomeLink {
            name: "edu".to_owned(),
            target: "/srv/edu".into(),
            readers: Readers::Some {
                users: BTreeSet::from(["bob".to_owned()]),
                groups: BTreeSet::from(["class".to_owned(), "ada".to_owned()]),
            },
        };
        assert!(link.of(&account(&["ada", "class"])).is_some());
        assert!(link.of(&account(&["ada"])).is_none());
    }
}
