//! Finds who uses a generation of a library.
//!
//! R opens files of a package again and again while it runs, so that an open file is no sign; a mapped one is, and so is an
//! R that was started while the generation was the current one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::generations::GONE;

/// A process that uses a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its number.
    pub pid: u32,
    /// Whose it is.
    pub uid: u32,
}

/// How far clocks may be apart: the kernel counts in hundredths, and its boot time is rounded.
const SLACK: Duration = Duration::from_secs(2);
/// The unit of times that the kernel tells programs, on all machines that we run on (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// The program of every R, below its home.
const PROGRAM: &str = "bin/exec/R";

/// Finds the processes that have files of a generation mapped; that are an R from before `left`, when the generation was no
/// longer the current one; or that are an R which got it from the R that started it. A generation that is being moved away
/// is still that one. Without root only one's own processes are seen.
///
/// An R may lie anywhere: those with one of the homes `others`, which have no links in them, have other libraries.
pub(super) fn find_users(
    generation: &Path,
    others: &[PathBuf],
    left: Option<SystemTime>,
) -> Vec<User> {
    let boot = boot_time();
    let mut gone = generation.to_owned().into_os_string();
    gone.push(GONE);
    let places = [
        format!("{}/", generation.display()),
        format!("{}/", Path::new(&gone).display()),
    ];
    let handed = format!("LYCEUM_R_LIBRARY={}/", generation.display()).into_bytes();
    let mut users = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let folder = entry.path();
        let maps = || {
            fs::read(folder.join("maps")).is_ok_and(|maps| {
                let text = String::from_utf8_lossy(&maps);
                places.iter().any(|place| text.contains(place))
            })
        };
        let old = || {
            let started = || started_at(&folder, boot?);
            left.is_some_and(|left| started().is_none_or(|started| started < left + SLACK))
        };
        let got = || {
            fs::read(folder.join("environ")).is_ok_and(|text| {
                text.split(|byte| *byte == 0)
                    .any(|one| one.starts_with(&handed))
            })
        };
        if (maps() || is_r(&folder, others) && (old() || got()))
            && let Ok(data) = fs::metadata(&folder)
        {
            users.push(User {
                pid,
                uid: data.uid(),
            });
        }
    }
    users
}

/// Whether a process is an R, and none of those with other libraries.
fn is_r(process: &Path, others: &[PathBuf]) -> bool {
    let Ok(program) = fs::read_link(process.join("exe")) else {
        return false;
    };
    // One that was upgraded under a running R.
    let text = program.as_os_str().as_bytes();
    let program = Path::new(OsStr::from_bytes(
        text.strip_suffix(b" (deleted)").unwrap_or(text),
    ));
    program.ends_with(PROGRAM) && others.iter().all(|home| program != home.join(PROGRAM))
}

fn boot_time() -> Option<SystemTime> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(line.trim().parse().ok()?))
}

fn started_at(folder: &Path, boot: SystemTime) -> Option<SystemTime> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name, in parentheses, may have anything in it. The start time is the 22nd field.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    boot.checked_add(Duration::from_millis(
        ticks.saturating_mul(1000 / TICKS_PER_SECOND),
    ))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A program that sleeps, at a path.
    struct Sleeper(Child);

    impl Sleeper {
        fn start(program: &Path, variable: &str) -> Self {
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::copy("/bin/sleep", program).unwrap();
            let mut command = Command::new(program);
            command.arg("1000").env("LYCEUM_R_LIBRARY", variable);
            Self(command.spawn().unwrap())
        }

        fn is_in(&self, users: &[User]) -> bool {
            users.iter().any(|user| user.pid == self.0.id())
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn an_r_counts_wherever_it_lies_unless_it_has_other_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (generation, home) = (root.join("4.2/1"), root.join("local/lib/R"));
        let r = Sleeper::start(&home.join(PROGRAM), "");
        let left = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33));
        assert!(r.is_in(&find_users(&generation, &[], left)));
        assert!(!r.is_in(&find_users(&generation, &[], None)));
        assert!(!r.is_in(&find_users(&generation, std::slice::from_ref(&home), left)));
        // Upgraded while it runs.
        fs::remove_file(home.join(PROGRAM)).unwrap();
        assert!(r.is_in(&find_users(&generation, &[], left)));
    }

    #[test]
    fn what_an_r_got_from_another_it_uses() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (generation, other) = (root.join("4.2/1"), root.join("4.2/12"));
        let got = generation.join("library").display().to_string();
        let r = Sleeper::start(&root.join("R").join(PROGRAM), &got);
        let talker = Sleeper::start(&root.join("talker"), &got);
        let users = find_users(&generation, &[], None);
        assert!(r.is_in(&users));
        assert!(!talker.is_in(&users), "no R");
        assert!(!r.is_in(&find_users(&other, &[], None)));
    }

    #[test]
    fn a_generation_that_is_moved_away_is_still_used() {
        let dir = tempfile::tempdir().unwrap();
        let generation = dir.path().canonicalize().unwrap().join("1");
        let user = Sleeper::start(&generation.join("library/x/sleeper"), "");
        assert!(user.is_in(&find_users(&generation, &[], None)));
        fs::rename(&generation, generation.with_file_name("1.gone")).unwrap();
        assert!(user.is_in(&find_users(&generation, &[], None)));
    }

    #[test]
    fn the_start_of_a_process_is_known() {
        let started = started_at(Path::new("/proc/self"), boot_time().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let now = file.as_file().metadata().unwrap().modified().unwrap();
        assert!(started < now + SLACK);
        assert!(
            started + Duration::from_hours(2) > now,
            "{started:?} {now:?}"
        );
    }
}
