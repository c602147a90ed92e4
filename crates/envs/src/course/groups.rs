//! Groups and accounts of the machine, changed by the system's own tools.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Group, User};

use super::CourseError;

/// How often a tool is tried while another one is at work. Each waits for the lock itself.
const TRIES: u32 = 5;
/// The longest name of an account or a group.
const MAX_NAME: usize = 32;

/// How missing accounts are made. Their homes are made when their servers start.
#[derive(Debug, Clone)]
pub struct AccountMaking {
    /// Their shell.
    pub shell: PathBuf,
    /// The folder in which their homes will be.
    pub home_root: PathBuf,
    /// Groups that they are put into besides their own.
    pub groups: Vec<String>,
    /// The lowest and the highest number that they may have.
    pub uids: (u32, u32),
}

/// Changes groups, or tells what would be changed.
#[derive(Debug)]
pub(super) struct Groups {
    dry_run: bool,
}

impl Groups {
    pub(super) fn new(dry_run: bool) -> Self {
        Self { dry_run }
    }

    /// Sees that all these accounts exist, or makes those that do not.
    pub(super) fn ensure_accounts(
        &self,
        names: &[&String],
        making: Option<&AccountMaking>,
        done: &mut Vec<String>,
    ) -> Result<(), CourseError> {
        let mut missing = Vec::new();
        for name in names {
            if !is_name(name) {
                return Err(CourseError::BadAccount {
                    text: (*name).clone(),
                });
            }
            let found = User::from_name(name).map_err(unreadable)?;
            if found.is_none() && !missing.contains(*name) {
                missing.push((*name).clone());
            }
        }
        let Some(making) = making else {
            return if missing.is_empty() {
                Ok(())
            } else {
                Err(CourseError::NoAccounts { names: missing })
            };
        };
        for name in missing {
            // The tools take other names, too, but not all programs do.
            if !name
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-".contains(&c))
                || name.starts_with(|c: char| c.is_ascii_digit())
            {
                return Err(CourseError::BadAccount { text: name });
            }
            if !self.dry_run {
                make_account(&name, making)?;
            }
            done.push(format!("made the account {name}"));
        }
        Ok(())
    }

    pub(super) fn ensure(&self, group: &str, done: &mut Vec<String>) -> Result<(), CourseError> {
        // Whoever is called so would have been in the group from the beginning: it is made with the account.
        if User::from_name(group).map_err(unreadable)?.is_some() {
            return Err(CourseError::Taken {
                group: group.to_owned(),
            });
        }
        if find_group(group)?.is_some() {
            return Ok(());
        }
        if !self.dry_run {
            run("groupadd", group, &["--", group])?;
        }
        done.push(format!("made the group {group}"));
        Ok(())
    }

    pub(super) fn put_in(
        &self,
        group: &str,
        account: &str,
        done: &mut Vec<String>,
    ) -> Result<(), CourseError> {
        let is_in = members(group)?.iter().any(|member| member == account);
        if is_in {
            return Ok(());
        }
        if !self.dry_run {
            run("gpasswd", group, &["--add", account, group])?;
        }
        done.push(format!("put {account} into the group {group}"));
        Ok(())
    }

    pub(super) fn take_out(
        &self,
        group: &str,
        account: &str,
        done: &mut Vec<String>,
    ) -> Result<(), CourseError> {
        if !members(group)?.iter().any(|member| member == account) {
            return Ok(());
        }
        if !self.dry_run {
            run("gpasswd", group, &["--delete", account, group])?;
        }
        done.push(format!("took {account} out of the group {group}"));
        Ok(())
    }
}

/// The number of a group.
pub(super) fn find_group(name: &str) -> Result<Option<u32>, CourseError> {
    let group = Group::from_name(name).map_err(unreadable)?;
    Ok(group.map(|group| group.gid.as_raw()))
}

/// Who is listed in a group, by name; nobody if there is none.
pub(super) fn members(name: &str) -> Result<Vec<String>, CourseError> {
    let group = Group::from_name(name).map_err(unreadable)?;
    let mut members = group.map(|group| group.mem).unwrap_or_default();
    members.sort();
    Ok(members)
}

/// Those of these names that no account has.
pub(super) fn without_account(names: Vec<String>) -> Result<Vec<String>, CourseError> {
    let mut missing = Vec::new();
    for name in names {
        if User::from_name(&name).map_err(unreadable)?.is_none() {
            missing.push(name);
        }
    }
    Ok(missing)
}

fn make_account(name: &str, making: &AccountMaking) -> Result<(), CourseError> {
    let home = making.home_root.join(name).display().to_string();
    let shell = making.shell.display().to_string();
    let lowest = format!("UID_MIN={}", making.uids.0.max(1));
    let highest = format!("UID_MAX={}", making.uids.1);
    let groups = making.groups.join(",");
    let mut arguments = vec!["--no-create-home", "--user-group", "--home-dir", &home];
    arguments.extend(["--shell", &shell, "--key", &lowest, "--key", &highest]);
    if !groups.is_empty() {
        arguments.extend(["--groups", &groups]);
    }
    arguments.extend(["--", name]);
    run("useradd", name, &arguments)
}

/// Whether it can be taken for an account, and for nothing else.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@+".contains(&byte);
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with(['-', '.', '+', '@'])
        && name != "root"
        && !name.bytes().all(|byte| byte.is_ascii_digit())
}

fn run(program: &'static str, what: &str, arguments: &[&str]) -> Result<(), CourseError> {
    let failed = |said: String| CourseError::Program {
        program,
        what: what.to_owned(),
        said,
    };
    let mut said = String::new();
    for _ in 0..TRIES {
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        said = text.trim().chars().take(300).collect();
        if !said.contains("lock") {
            break;
        }
    }
    Err(failed(said.replace('\n', "; ")))
}

fn unreadable(error: nix::Error) -> CourseError {
    let error = io::Error::from_raw_os_error(error as i32);
    CourseError::io("read", Path::new("the accounts of this machine"))(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_options_and_no_lists() {
        for good in ["ada", "a.b", "s123", "a@example.org"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-r", "a,b", "a:b", "a b", "root", "123", "a\nb", "../x"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
