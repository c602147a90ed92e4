//! Ends programs that work for an environment and should not be there any more: what a killed run has left, and what a
//! builder's programs have left behind themselves.
//!
//! A program is told by the folder in its environment, or by belonging to the account that builds without being part of
//! anything that runs. What others write into their own environments means nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getuid, pidfd_open, pidfd_send_signal, waitpid,
};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::{Account, FOLDER_VARIABLE};
use crate::error::EnvError;

/// How long killed programs of an earlier run may take to be gone.
const LIMIT: Duration = Duration::from_secs(10);
/// The account of everything that shall own nothing: daemons of others run under it, too.
const NOBODY: u32 = 65_534;
/// How many parents are looked at.
const MAX_PARENTS: usize = 200;

/// The programs that we have started and wait for, by their numbers.
static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Starts a program so that it is known as wanted from its first moment on.
pub(super) fn start<T>(
    spawn: impl FnOnce() -> io::Result<T>,
    number: impl FnOnce(&T) -> Option<Pid>,
) -> io::Result<T> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let child = spawn()?;
    started.extend(number(&child).map(|pid| pid.as_raw_nonzero().get()));
    Ok(child)
}

/// Notes that nobody waits for a program any more.
pub(super) fn forget(pid: Pid) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.remove(&pid.as_raw_nonzero().get());
}

fn is_started(pid: i32) -> bool {
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.contains(&pid)
}

/// Kills what a killed run left running for a folder under our own account, and waits until it is gone.
///
/// Only the holder of the folder's lock may ask for that.
pub(crate) async fn end_left_over(folder: &Path) -> Result<(), EnvError> {
    end_left_over_of(folder, None).await
}

/// Does the same for what runs under the account that builds, and ends what of that account is part of nothing: programs
/// that have left the session and the environment in which they were started.
pub(crate) async fn end_left_over_of(
    folder: &Path,
    account: Option<&Account>,
) -> Result<(), EnvError> {
    let sought = Sought {
        mark: Some(marked(folder)),
        account: account.map(|account| account.uid),
    };
    end_within(folder, &sought, LIMIT).await
}

/// Ends what a program of the account that builds has left behind when it ended.
pub(super) async fn end_strays(folder: &Path, account: &Account) -> Result<(), EnvError> {
    let sought = Sought {
        mark: None,
        account: Some(account.uid),
    };
    end_within(folder, &sought, LIMIT).await
}

async fn end_within(folder: &Path, sought: &Sought, limit: Duration) -> Result<(), EnvError> {
    let failed = |source| EnvError::LeftOver {
        path: folder.to_owned(),
        source,
    };
    let deadline = Instant::now() + limit;
    loop {
        let sought = sought.clone();
        let found = timeout(LIMIT, spawn_blocking(move || sought.open()))
            .await
            .map_err(|error| failed(error.into()))?
            .map_err(|error| failed(error.into()))?
            .map_err(failed)?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let numbers: Vec<String> = found.iter().map(|(pid, _)| pid.to_string()).collect();
            let text = format!("still running after {limit:?}: {}", numbers.join(", "));
            return Err(failed(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        for (pid, process) in found {
            tracing::warn!(
                pid = pid.as_raw_nonzero().get(),
                "ending a program that an earlier run left behind"
            );
            match pidfd_send_signal(process, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How a program's environment says for which folder it works: its children inherit it, whatever becomes of us.
fn marked(folder: &Path) -> Vec<u8> {
    let mut entry = format!("{FOLDER_VARIABLE}=").into_bytes();
    entry.extend(folder.as_os_str().as_encoded_bytes());
    entry
}

/// Which processes are sought.
#[derive(Debug, Clone)]
struct Sought {
    /// An entry of the environment.
    mark: Option<Vec<u8>>,
    /// The account that builds, where that is not ours.
    account: Option<u32>,
}

impl Sought {
    /// Opens the living processes that are sought, as far as we may look; not we ourselves.
    fn open(&self) -> io::Result<Vec<(Pid, OwnedFd)>> {
        let mut found = Vec::new();
        for process in fs::read_dir("/proc")? {
            let name = process?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else {
                continue;
            };
            if pid == getpid() || !self.includes(pid) {
                continue;
            }
            let opened = match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(opened) => opened,
                Err(Errno::SRCH | Errno::INVAL) => continue,
                Err(error) => return Err(error.into()),
            };
            // Asked again after opening: the number may have become another's. If it changes hands only now,
            // the opened process has ended, and a signal reaches nobody.
            if self.includes(pid) {
                found.push((pid, opened));
            }
        }
        Ok(found)
    }

    fn includes(&self, pid: Pid) -> bool {
        let Some(status) = Status::read(pid.as_raw_nonzero().get()) else {
            return false;
        };
        // All its numbers: a program that gives its user more rights has that user's environment.
        let belongs_to = |uid: u32| status.uids.iter().all(|one| *one == uid);
        let builder = self.account.filter(|uid| belongs_to(*uid));
        if builder.is_none() && !belongs_to(getuid().as_raw()) {
            return false;
        }
        let is_stray = builder.is_some_and(|uid| uid != NOBODY) && is_stray(pid, &status);
        if status.is_zombie {
            // It came to us when its parent ended, and nobody else takes its status.
            if is_stray && status.parent == getpid().as_raw_nonzero().get() {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
            return false;
        }
        is_stray || self.mark.as_deref().is_some_and(|mark| carries(pid, mark))
    }
}

fn carries(pid: Pid, entry: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == entry))
}

/// Whether a process of the account that builds is part of nothing. What a living run has started descends from root's
/// program, which takes in what loses its parent (see [`adopt`]).
fn is_stray(pid: Pid, status: &Status) -> bool {
    let us = getpid().as_raw_nonzero().get();
    let (mut here, mut parent) = (pid.as_raw_nonzero().get(), status.parent);
    for _ in 0..MAX_PARENTS {
        if parent == us {
            return !is_started(here);
        }
        if parent <= 1 {
            return true;
        }
        let Some(above) = Status::read(parent) else {
            // It ended meanwhile: the next look tells who has taken its children in.
            return false;
        };
        if above.uids.contains(&0) {
            return false;
        }
        (here, parent) = (parent, above.parent);
    }
    false
}

/// Lets what loses its parent among our programs become our own child, whatever session it has gone to.
pub(super) fn adopt() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(getpid())).map_err(Into::into)
}

/// What the system says about a process.
#[derive(Debug)]
struct Status {
    parent: i32,
    /// Real, effective, saved, and for files.
    uids: Vec<u32>,
    is_zombie: bool,
}

impl Status {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/status")).ok()?;
        let text = String::from_utf8_lossy(&text);
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let uids: Result<Vec<u32>, _> = value("Uid:")?.split_whitespace().map(str::parse).collect();
        Some(Self {
            parent: value("PPid:")?.trim().parse().ok()?,
            uids: uids.ok().filter(|uids| uids.len() == 4)?,
            is_zombie: value("State:")?.trim().starts_with(['Z', 'X']),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;
    use crate::command::{Log, Step, run};

    /// An account that nobody has.
    const ACCOUNT: Account = Account {
        uid: 54_321,
        gid: 54_321,
    };

    fn sleeper(folder: &Path) -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000").env(FOLDER_VARIABLE, folder);
        command.kill_on_drop(true);
        command
    }

    #[tokio::test]
    async fn what_works_for_a_folder_is_ended_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, other) = (dir.path().join("env"), dir.path().join("env2"));
        let mut wanted = sleeper(&folder).spawn().unwrap();
        let mut left_alone = sleeper(&other).spawn().unwrap();
        // Its status has to be taken while we wait, as a zombie has no environment, but is not gone.
        let (ended, status) = tokio::join!(end_left_over(&folder), wanted.wait());
        ended.unwrap();
        assert_eq!(status.unwrap().signal(), Some(9));
        assert!(left_alone.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_ended_in_time_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let child = sleeper(dir.path()).spawn().unwrap();
        let number = child.id().unwrap().to_string();
        let sought = Sought {
            mark: Some(marked(dir.path())),
            account: None,
        };
        // No time at all: it is found once, and not waited for.
        let error = end_within(dir.path(), &sought, Duration::ZERO).await;
        let EnvError::LeftOver { source, .. } = error.unwrap_err() else {
            panic!("another error");
        };
        assert!(source.to_string().contains(&number), "{source}");
    }

    #[tokio::test]
    async fn whoever_marks_a_process_of_his_own_holds_nobody_up() {
        assert!(getuid().is_root(), "this test has to be run as root");
        let dir = tempfile::tempdir().unwrap();
        let mut student = sleeper(dir.path());
        student.as_std_mut().uid(54_322).current_dir("/");
        let mut student = student.spawn().unwrap();
        end_left_over_of(dir.path(), Some(&ACCOUNT)).await.unwrap();
        assert!(student.try_wait().unwrap().is_none());
        let mut builder = sleeper(dir.path());
        builder.as_std_mut().uid(ACCOUNT.uid).current_dir("/");
        let mut builder = builder.spawn().unwrap();
        let pid = builder.id().unwrap();
        end_left_over_of(dir.path(), Some(&ACCOUNT)).await.unwrap();
        assert!(is_gone(pid.try_into().unwrap()));
        let _ = builder.try_wait();
    }

    fn is_gone(pid: i32) -> bool {
        Status::read(pid).is_none_or(|status| status.is_zombie)
    }

    /// Runs a script under the account that builds.
    async fn script(folder: &Path, account: &Account, script: &str) -> Vec<String> {
        let log = Log::create(folder.join("log"), folder.to_owned())
            .unwrap()
            .run_as(Some(account.clone()))
            .run_in("/".into());
        let step = Step {
            doing: "try",
            program: "sh".as_ref(),
            arguments: vec!["-c".as_ref(), script.as_ref()],
            environment: Vec::new(),
            limit: Duration::from_mins(1),
        };
        run(step, &log, &mut |_| {}).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_builder_leaves_running_is_ended_wherever_it_hides() {
        assert!(getuid().is_root(), "this test has to be run as root");
        let dir = tempfile::tempdir().unwrap();
        let account = Account {
            uid: 54_323,
            gid: 54_323,
        };
        let hidden = "env -i setsid sh -c 'sleep 1000 & wait' >/dev/null 2>&1 & echo $!";
        let lines = script(dir.path(), &account, hidden).await;
        let pid: i32 = lines.last().unwrap().parse().unwrap();
        assert!(is_gone(pid));
        let left = std::process::Command::new("pgrep")
            .args(["-u", "54323"])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        assert!(left.stdout.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn a_builder_has_no_terminal_of_ours_and_gets_no_more_rights() {
        assert!(getuid().is_root(), "this test has to be run as root");
        let dir = tempfile::tempdir().unwrap();
        let account = Account {
            uid: 54_324,
            gid: 54_324,
        };
        // The number of the process, and of its session.
        let facts = "cut -d' ' -f1,6 /proc/$$/stat; grep NoNewPrivs /proc/$$/status";
        let lines = script(dir.path(), &account, facts).await;
        let (process, session) = lines[0].split_once(' ').unwrap();
        assert_eq!(process, session);
        assert_eq!(lines[1], "NoNewPrivs:\t1");
    }
}
