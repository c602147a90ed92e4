//! Facts about the running machine that tell one boot, or one kind of control groups, from another.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

/// Gives the kernel's random name of the present boot, which no process outlives.
pub(super) fn boot_id() -> io::Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(known);
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| text.trim().to_owned()))
}

/// Opens a process, or gives `None` if it is gone. The caller finds out whether it is the right one.
pub(super) fn open_process(pid: i32) -> io::Result<Option<OwnedFd>> {
    // 1 is the machine itself; 0 and below would address whole groups.
    let Some(pid) = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 1) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        // Invalid: the number belongs to a thread now.
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The signals that anybody has a reason to send to a server.
const SIGNALS: [Signal; 7] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::USR1,
    Signal::USR2,
    Signal::KILL,
];

/// Finds a signal by its number, if it may be sent.
pub(super) fn allowed_signal(number: i32) -> Option<Signal> {
    SIGNALS.into_iter().find(|signal| signal.as_raw() == number)
}

/// Sends a signal; a process that has ended meanwhile is no error.
pub(super) fn send(pidfd: &impl AsFd, signal: Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads how often the system has ended a process of a control group because its memory was used up. The folder is
/// that of the group in the hierarchy of memory, of version 2 or 1; `None` if there is no such group or no count.
pub(super) fn out_of_memory(group: &Path) -> Option<u64> {
    ["memory.events", "memory.oom_control"]
        .iter()
        .find_map(|file| {
            let text = fs::read_to_string(group.join(file)).ok()?;
            flat_value(&text, "oom_kill")
        })
}

/// Finds a number in a file of lines with a name and a number each.
pub(super) fn flat_value(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions() {
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let v2 = "low 0\nhigh 9\nmax 5\noom 4\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(flat_value(v1, "oom_kill"), Some(3));
        assert_eq!(flat_value(v2, "oom_kill"), Some(2));
        assert_eq!(flat_value("oom_kill x", "oom_kill"), None);
    }
}
