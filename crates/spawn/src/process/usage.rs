//! What servers use of the machine, from a look at `/proc`; and the space of a home.
//!
//! Meant for a picture, not for a limit: a process that has left its session and lost its parent is not seen.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use lyceum_core::seams::{HomeSpace, Usage};

use super::family;
use super::identity::{ProcessHandle, Stat};

/// Microseconds in a tick of `/proc`: Linux shows a hundred of them in a second on all machines that we run on.
const TICK_MICROS: u64 = 10_000;

/// Finds out what each server uses, with one walk through `/proc`; `None` for those that do not run.
///
/// Blocks for milliseconds.
pub(super) fn of_all(handles: &[Option<ProcessHandle>]) -> Vec<Option<Usage>> {
    let oldest = handles
        .iter()
        .flatten()
        .filter_map(ProcessHandle::began)
        .min();
    let stats = match oldest {
        Some(oldest) => family::list(Some(oldest)),
        None => HashMap::new(),
    };
    let mains: HashMap<i32, usize> = handles
        .iter()
        .enumerate()
        .filter_map(|(index, handle)| {
            let handle = handle.as_ref()?;
            let stat = stats.get(&handle.pid)?;
            let is_it = handle.began().is_some() && stat.process() == handle.process();
            is_it.then_some((handle.pid, index))
        })
        .collect();
    let mut all: Vec<Option<Usage>> = vec![None; handles.len()];
    for index in mains.values() {
        if let Some(usage) = all.get_mut(*index) {
            *usage = Some(Usage::default());
        }
    }
    for stat in stats.values() {
        let Some(usage) = owner(stat, &stats, &mains)
            .and_then(|index| all.get_mut(index))
            .and_then(Option::as_mut)
        else {
            continue;
        };
        let own = memory_of(stat.process().pid).unwrap_or(0);
        add(&mut usage.memory, own);
        add(
            &mut usage.cpu_micros,
            stat.cpu_ticks.saturating_mul(TICK_MICROS),
        );
        add(&mut usage.tasks, stat.threads);
    }
    all
}

fn add(sum: &mut Option<u64>, more: u64) {
    *sum = Some(sum.unwrap_or(0).saturating_add(more));
}

/// The server that a process belongs to: it is in its session, or comes from one that is.
fn owner(stat: &Stat, stats: &HashMap<i32, Stat>, mains: &HashMap<i32, usize>) -> Option<usize> {
    let mut here = stat;
    // What is read while processes come and go could be a circle.
    for _ in 0..stats.len() {
        if let Some(index) = mains.get(&here.session) {
            return Some(*index);
        }
        here = stats.get(&here.parent)?;
    }
    None
}

/// The memory that is a process's own: without the files that it has mapped, which others have as well.
fn memory_of(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |wanted: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(wanted))
            .and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok())
    };
    let shared = kilobytes("RssShmem:").unwrap_or(0);
    kilobytes("RssAnon:")?
        .checked_add(shared)?
        .checked_mul(1024)
}

/// Finds out how much is free where a home is. May hang as long as the file system does.
pub(super) fn of_home(home: &Path) -> Option<HomeSpace> {
    let system = rustix::fs::statvfs(home).ok()?;
    Some(HomeSpace {
        used: None,
        quota: None,
        free: system.f_bavail.checked_mul(system.f_frsize),
    })
}
