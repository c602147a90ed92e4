//! Everything that a server has started: found by its mark, its session and its ancestry, and ended with it.
//!
//! Jupyter kernels and terminals lead sessions of their own, so that ending the server's group is not enough.
//!
//! This has a limit: a process that does all of it, clearing its environment, beginning a session of its own and
//! losing its parent, before we have looked once, is told from no other process of this account, and
//! outlives the server. Nothing that Jupyter starts does so, but a user can do it on purpose. (Were we the reaper of all
//! orphans below us, we would see such ones only as long as this very Lyceum lives, and would have to take exit
//! statuses that others in this program wait for.) To be sure of the end of everything takes a control group
//! for each server, which is for a spawner with rights that this one does not need.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::process::Signal;

use super::SERVER_VARIABLE;
use super::environment::Reader;
use super::identity::{ProcessHandle, ProcessId, Stat, send};

/// Lists the living processes of a server, the main one included.
///
/// `seen` are processes that were found to be the server's before: with them, what they have started
/// meanwhile is found even after its own parent has ended. What is found is added.
///
/// What is older than the server is none of its processes: nobody can join a session, and a mark is handed down only.
/// So of most processes of the machine nothing but their age is read.
///
/// Blocks for the time of a walk through `/proc`, a millisecond or more.
pub(super) fn find(handle: &ProcessHandle, seen: &mut HashSet<ProcessId>) -> Vec<ProcessId> {
    let stats = list(handle.began());
    let reader = Reader::new();
    let mark = format!("{SERVER_VARIABLE}={}", handle.marker);
    // The number tells something only as long as the process holds it. Afterwards it may have become
    // another's, and that one's session may outlive it as well.
    let main = handle.exists().then_some(handle.pid);
    let mut members: HashSet<i32> = stats
        .values()
        .filter(|stat| {
            Some(stat.session) == main
                || seen.contains(&stat.process())
                || has_variable(&reader, stat, &mark)
        })
        .map(|stat| stat.process().pid)
        .collect();
    loop {
        let children: Vec<i32> = stats
            .iter()
            .filter(|(pid, stat)| members.contains(&stat.parent) && !members.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            break;
        }
        members.extend(children);
    }
    let found: Vec<ProcessId> = members
        .iter()
        .filter_map(|pid| stats.get(pid))
        .map(Stat::process)
        .collect();
    seen.extend(&found);
    found
}

/// Lists the marks of all servers or services whose processes carry this hub's name in a variable.
pub(super) fn marks_of(variable: &str, instance: &str) -> HashSet<String> {
    let mark = format!("{variable}={instance}");
    let prefix = format!("{SERVER_VARIABLE}=");
    let reader = Reader::new();
    list(None)
        .values()
        .filter_map(|stat| {
            let environment = reader.read(stat.process().pid)?;
            variables(&environment).find(|variable| *variable == mark.as_bytes())?;
            let server =
                variables(&environment).find_map(|item| item.strip_prefix(prefix.as_bytes()))?;
            String::from_utf8(server.to_vec()).ok()
        })
        .collect()
}

/// Lists the living processes that carry a server's mark in their environment.
pub(super) fn marked(marker: &str) -> Vec<ProcessId> {
    let mark = format!("{SERVER_VARIABLE}={marker}");
    let reader = Reader::new();
    list(None)
        .values()
        .filter(|stat| has_variable(&reader, stat, &mark))
        .map(Stat::process)
        .collect()
}

/// Sends a signal to each of the processes that still lives, and wakes those that were halted.
pub(super) fn signal_all(processes: &[ProcessId], signal: Signal) {
    for process in processes {
        let sent = process.open().and_then(|pidfd| match pidfd {
            Some(pidfd) => send(&pidfd, signal).and_then(|()| send(&pidfd, Signal::CONT)),
            None => Ok(()),
        });
        if let Err(error) = sent {
            tracing::warn!(
                pid = process.pid,
                error = %error,
                "could not signal a process that a server has left behind"
            );
        }
    }
}

/// All living processes but this one that are not older than `since`, by number.
///
/// Lyceum itself may run in a terminal of one of its servers; it must not find itself, nor, as their
/// descendants, the servers that it has started.
pub(super) fn list(since: Option<u64>) -> HashMap<i32, Stat> {
    let own = std::process::id().cast_signed();
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(error = %error, "could not list the processes of this machine");
            return HashMap::new();
        }
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid > 1 && *pid != own)
        .filter_map(|pid| Some((pid, Stat::read(pid).ok().flatten()?)))
        .filter(|(_, stat)| {
            stat.is_alive() && !since.is_some_and(|since| stat.is_older_than(since))
        })
        .collect()
}

fn has_variable(reader: &Reader, stat: &Stat, wanted: &str) -> bool {
    reader
        .read(stat.process().pid)
        .is_some_and(|text| variables(&text).any(|variable| variable == wanted.as_bytes()))
}

fn variables(environment: &[u8]) -> impl Iterator<Item = &[u8]> {
    environment.split(|byte| *byte == 0)
}
