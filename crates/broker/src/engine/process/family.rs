//! Everything that a server has started: its control groups, or, where there are none, the descendants of its keeper,
//! which inherits whatever loses its parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::process::{Pid, Signal};

use super::groups::{self, Group};
use super::job::ProcessKey;
use crate::engine::machine;

/// How often one looks whether all have ended.
const LOOK: Duration = Duration::from_millis(20);
/// How many processes are held open at a time, while they are signalled.
const OPEN: usize = 128;

/// A server's processes.
#[derive(Debug)]
pub(super) struct Family<'a> {
    pub(super) groups: &'a [Group],
    pub(super) keeper: Option<&'a ProcessKey>,
}

impl Family<'_> {
    /// Lists them.
    pub(super) fn members(&self) -> BTreeSet<i32> {
        match self.keeper {
            _ if !self.groups.is_empty() => groups::members(self.groups),
            Some(keeper) if keeper.is_alive() => descendants(keeper.pid),
            _ => BTreeSet::new(),
        }
    }

    /// Sends a signal to all, and wakes those that were halted.
    pub(super) fn signal(&self, signal: Signal) {
        send(|| self.members(), &[signal, Signal::CONT]);
    }

    /// Waits until nobody is there. Tells whether that was in time. Blocks.
    pub(super) fn wait_end(&self, limit: Duration) -> bool {
        self.until_end(limit, || {})
    }

    /// Kills all until nobody is there. Tells whether that was in time. Blocks.
    pub(super) fn kill(&self, limit: Duration) -> bool {
        self.until_end(limit, || {
            if self.groups.is_empty() {
                self.signal(Signal::KILL);
            } else {
                groups::kill(self.groups);
            }
        })
    }

    fn until_end(&self, limit: Duration, action: impl Fn()) -> bool {
        let until = Instant::now() + limit;
        loop {
            action();
            if self.members().is_empty() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            pause(LOOK);
        }
    }
}

/// Sends signals to all processes that `members` lists, and to no other that has got the number of one meanwhile.
///
/// Each is opened first, and the list is read again then: who is still in it under its number was in it when it was
/// opened, or has ended, and the descriptor reaches nobody else.
pub(super) fn send(members: impl Fn() -> BTreeSet<i32>, signals: &[Signal]) {
    let all: Vec<i32> = members().into_iter().collect();
    for some in all.chunks(OPEN) {
        let opened: io::Result<Vec<(i32, Option<OwnedFd>)>> = some
            .iter()
            .map(|pid| Ok((*pid, machine::open_process(*pid)?)))
            .collect();
        let still = members();
        match opened {
            Ok(opened) => {
                let opened = opened.iter().filter(|(pid, _)| still.contains(pid));
                for pidfd in opened.filter_map(|(_, pidfd)| pidfd.as_ref()) {
                    for signal in signals {
                        let _ = machine::send(pidfd, *signal);
                    }
                }
            }
            // Before Linux 5.3 there are no such descriptors: a list of just now is the best there is.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOSYS) => {
                let named = some.iter().filter(|pid| still.contains(pid));
                for pid in named.filter_map(|pid| Pid::from_raw(*pid)) {
                    for signal in signals {
                        let _ = rustix::process::kill_process(pid, *signal);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "could not open a server's processes to signal them");
            }
        }
    }
}

impl ProcessKey {
    /// Describes a process that has not been waited for.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let stat = Stat::read(pid)?;
        Ok(Self {
            pid,
            start_time: stat.start_time,
            boot: machine::boot_id()?.to_owned(),
        })
    }

    /// Whether it is there and not a zombie.
    pub(super) fn is_alive(&self) -> bool {
        self.stat().is_some_and(|stat| stat.state != 'Z')
    }

    /// Whether it is there, be it as a zombie.
    pub(super) fn exists(&self) -> bool {
        self.stat().is_some()
    }

    fn stat(&self) -> Option<Stat> {
        if machine::boot_id().ok()? != self.boot {
            return None;
        }
        Stat::read(self.pid)
            .ok()
            .filter(|stat| stat.start_time == self.start_time)
    }
}

/// The part of `/proc/PID/stat` that we use.
struct Stat {
    state: char,
    parent: i32,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| io::Error::other(format!("cannot understand /proc/{pid}/stat")))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name stands in parentheses, and may contain spaces, parentheses, and bytes that are no text.
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            start_time: fields.nth(17)?.parse().ok()?,
        })
    }
}

/// Lists the living descendants of a process.
fn descendants(root: i32) -> BTreeSet<i32> {
    let parents: BTreeMap<i32, i32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid).ok()?)))
        .filter(|(_, stat)| stat.state != 'Z')
        .map(|(pid, stat)| (pid, stat.parent))
        .collect();
    let mut found = BTreeSet::new();
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| {
                (**parent == root || found.contains(*parent)) && !found.contains(*pid)
            })
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Waits, in a process or on a thread that may be held up.
pub(super) fn pause(time: Duration) {
    let time = Timespec::try_from(time).unwrap_or_default();
    let _ = rustix::event::poll(&mut [], Some(&time));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let text = b"12 (a) b\xff) (c) S 3 4 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 9 9";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start_time), ('S', 3, 4711));
        assert!(Stat::parse(b"12 (a").is_none());
    }

    #[test]
    fn who_has_left_the_family_since_it_was_listed_gets_no_signal() {
        use std::cell::Cell;
        use std::os::unix::process::ExitStatusExt as _;
        let sleeping = || {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").spawn().unwrap()
        };
        let (mut member, mut other) = (sleeping(), sleeping());
        let (one, two) = (member.id().cast_signed(), other.id().cast_signed());
        let listed = Cell::new(0);
        // As if the number of a member had gone to a stranger's process after the first look.
        let members = || match listed.replace(listed.get() + 1) {
            0 => BTreeSet::from([one, two]),
            _ => BTreeSet::from([one]),
        };
        send(members, &[Signal::KILL]);
        assert_eq!(member.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
