//! Knowing a process again: by number, start time and boot, so that a number used anew is never mistaken.
//!
//! Everything here is short reading below `/proc`; nothing waits.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use lyceum_core::seams::{Exit, Handle, PythonInUse, SpawnError};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::KIND;

/// More bytes than `/proc/PID/stat` ever has: some fifty numbers and a name of 64 bytes at most.
const STAT_LENGTH: usize = 2048;

/// What the process spawner writes into a [`Handle`].
///
/// The process leads its own session and group, so its number is the number of these too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessHandle {
    kind: String,
    pub(super) pid: i32,
    /// Ticks from boot to the start of the process (field 22 of `/proc/PID/stat`).
    start_time: u64,
    boot_id: String,
    pub(super) marker: String,
    pub(super) log: PathBuf,
    pub(super) socket: Option<PathBuf>,
    /// The Python environment whose static files may be answered for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<PathBuf>,
    /// The Python environment of the configuration that it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) python: Option<Box<PythonInUse>>,
    /// The folder with its key and certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) credentials: Option<PathBuf>,
}

impl ProcessHandle {
    /// Describes a process that we have just started and not waited for yet.
    pub(super) fn of_child(
        pid: i32,
        marker: String,
        log: PathBuf,
        socket: Option<PathBuf>,
    ) -> io::Result<Self> {
        let stat = Stat::read(pid)?.ok_or_else(|| io::Error::from(Errno::SRCH))?;
        Ok(Self {
            kind: KIND.to_owned(),
            pid,
            start_time: stat.start_time,
            boot_id: boot_id()?.to_owned(),
            marker,
            log,
            socket,
            environment: None,
            python: None,
            credentials: None,
        })
    }

    /// Reads a stored handle. One of another kind, or of no possible process, is refused.
    pub(super) fn decode(handle: &Handle) -> Result<Self, SpawnError> {
        Self::deserialize(&handle.0)
            .ok()
            // 1 is the machine itself; 0 and below would address whole groups.
            .filter(|decoded| decoded.kind == KIND && decoded.pid > 1 && !decoded.marker.is_empty())
            .ok_or(SpawnError::ForeignHandle { kind: KIND })
    }

    /// Gives the form that is stored.
    pub(super) fn encode(&self) -> Handle {
        Handle(serde_json::to_value(self).unwrap_or_default())
    }

    /// Opens the process, or gives `None` if it is gone. A process that has ended but was not waited for
    /// yet still opens; ask [`has_ended`].
    pub(super) fn open(&self) -> io::Result<Option<OwnedFd>> {
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        self.process().open()
    }

    /// Tells whether the process is there, be it only as a zombie: then its number is nobody else's.
    pub(super) fn exists(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && Stat::read(self.pid)
                .ok()
                .flatten()
                .is_some_and(|stat| stat.process() == self.process())
    }

    /// When the process began, in ticks from boot, if it was this boot.
    pub(super) fn began(&self) -> Option<u64> {
        let this_boot = boot_id().is_ok_and(|boot| boot == self.boot_id);
        this_boot.then_some(self.start_time)
    }

    /// The process itself.
    pub(super) fn process(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start_time: self.start_time,
        }
    }
}

/// A process of this boot, told apart from others that had or will have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    start_time: u64,
}

impl ProcessId {
    /// Opens the process, or gives `None` if it is gone.
    pub(super) fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // Invalid: the number belongs to a thread now.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Asked after opening: if the start time fits now, the descriptor is of this very process.
        let same = Stat::read(self.pid)?.is_some_and(|stat| stat.start_time == self.start_time);
        Ok(same.then_some(pidfd))
    }
}

/// Tells whether an opened process has ended, waited for or not.
pub(super) fn has_ended(pidfd: &impl AsFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let ready = rustix::event::poll(&mut fds, Some(&Timespec::default()))?;
    Ok(ready > 0)
}

/// Makes an opened process something to wait for. Needs the runtime.
#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
pub(super) fn watchable(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open, and stays the same one, until it is dropped by the `AsyncFd`.
    let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

/// Sends a signal; a process that has ended meanwhile is no error.
pub(super) fn send(pidfd: &impl AsFd, signal: Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes the exit status of an ended process, which frees its number; unknown unless it is our own child.
pub(super) fn reap(pidfd: &impl AsFd) -> Exit {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(Some(status)) => status
            .exit_status()
            .map(Exit::Code)
            .or_else(|| status.terminating_signal().map(Exit::Signal))
            .unwrap_or(Exit::Unknown),
        Ok(None) | Err(_) => Exit::Unknown,
    }
}

/// The part of `/proc/PID/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pid: i32,
    /// One letter; `Z` has ended and waits to be waited for.
    state: char,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// Ticks of processor time, with that of children that it has waited for.
    pub(super) cpu_ticks: u64,
    pub(super) threads: u64,
    start_time: u64,
}

impl Stat {
    /// Reads it; `None` if there is no such process.
    ///
    /// A stop reads those of all processes of the machine, so this is one read into a buffer that is large enough.
    pub(super) fn read(pid: i32) -> io::Result<Option<Self>> {
        let mut buffer = [0; STAT_LENGTH];
        let read =
            File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut buffer));
        match read {
            Ok(length) => Self::parse(pid, buffer.get(..length).unwrap_or_default())
                .map(Some)
                .ok_or_else(|| io::Error::other(format!("cannot understand /proc/{pid}/stat"))),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn parse(pid: i32, text: &[u8]) -> Option<Self> {
        // The name stands in parentheses, and may contain spaces, parentheses, and bytes that are no text.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        // `utime`, `stime`, and the same of children; then `num_threads`.
        let mut cpu_ticks = 0_u64;
        for skipped in [7, 0, 0, 0] {
            let ticks: i64 = fields.nth(skipped)?.parse().ok()?;
            cpu_ticks = cpu_ticks.saturating_add(ticks.try_into().unwrap_or(0));
        }
        let threads = fields.nth(2)?.parse().ok()?;
        let start_time = fields.nth(1)?.parse().ok()?;
        Some(Self {
            pid,
            state,
            parent,
            session,
            cpu_ticks,
            threads,
            start_time,
        })
    }

    /// Whether it began before `since`, in ticks from boot.
    pub(super) fn is_older_than(&self, since: u64) -> bool {
        self.start_time < since
    }

    /// The process itself.
    pub(super) fn process(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start_time: self.start_time,
        }
    }

    /// Whether it still does anything.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Gives the kernel's random name of the present boot, which no process outlives.
fn boot_id() -> io::Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(known);
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_spaces_and_no_text_does_not_shift_the_fields() {
        let text = b"12 (a) b\xff) (c) S 3 4 5 0 -1 4194560 1 0 0 0 11 12 13 14 20 0 3 0 4711 9 9";
        let stat = Stat::parse(12, text).unwrap();
        assert_eq!((stat.parent, stat.session), (3, 5));
        assert_eq!(stat.start_time, 4711);
        assert_eq!((stat.cpu_ticks, stat.threads), (50, 3));
        assert!(stat.is_alive());
        assert_eq!(Stat::parse(12, b"12 (a"), None);
        assert_eq!(Stat::parse(12, b"12 (a) S 1 2"), None);
    }

    #[test]
    fn handles_of_others_and_of_dangerous_numbers_are_refused() {
        let own = std::process::id().cast_signed();
        let handle = ProcessHandle::of_child(own, "m".to_owned(), "/log".into(), None).unwrap();
        assert_eq!(ProcessHandle::decode(&handle.encode()).unwrap(), handle);
        for (key, value) in [
            ("pid", serde_json::json!(-1)),
            ("pid", serde_json::json!(1)),
            ("pid", serde_json::json!("12")),
            ("kind", serde_json::json!("systemd")),
            ("marker", serde_json::json!("")),
        ] {
            let mut other = handle.encode();
            other.0[key] = value;
            assert!(ProcessHandle::decode(&other).is_err(), "{other:?}");
        }
        assert!(ProcessHandle::decode(&Handle(serde_json::Value::Null)).is_err());
    }

    #[test]
    fn a_process_opens_only_with_its_own_start_time_and_boot() {
        let own = std::process::id().cast_signed();
        let handle = ProcessHandle::of_child(own, "m".to_owned(), "/log".into(), None).unwrap();
        let pidfd = handle.open().unwrap().unwrap();
        assert!(!has_ended(&pidfd).unwrap());
        assert!(handle.exists());
        let later = ProcessHandle {
            start_time: handle.start_time + 1,
            ..handle.clone()
        };
        assert!(later.open().unwrap().is_none());
        assert!(!later.exists());
        let other_boot = ProcessHandle {
            boot_id: "another".to_owned(),
            ..handle
        };
        assert!(other_boot.open().unwrap().is_none());
        assert!(!other_boot.exists());
    }
}
