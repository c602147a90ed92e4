//! Finds who uses a generation of a library.
//!
//! R opens files of a package again and again while it runs, so that an open file is no sign; a mapped one is, and so is an
//! R that was started while the generation was the current one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

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

/// Finds the processes that have files below `generation` mapped, or that are an R of `home` from before `left`, when the
/// generation was no longer the current one. Without root only one's own are seen.
pub(super) fn find_users(generation: &Path, home: &Path, left: Option<SystemTime>) -> Vec<User> {
    let boot = boot_time();
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
                let needle = format!("{}/", generation.display());
                text.contains(&needle)
            })
        };
        let old = || {
            let is_r =
                fs::read_link(folder.join("exe")).is_ok_and(|exe| exe == home.join("bin/exec/R"));
            let started = || started_at(&folder, boot?);
            is_r && left.is_some_and(|left| started().is_none_or(|started| started < left + SLACK))
        };
        if (maps() || old())
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
    use super::*;

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
