//! Parts of pages about what servers may use, and what they do use.

use jiff::Timestamp;
use lyceum_core::limits::{Cap, Limits};
use lyceum_core::seams::{HomeSpace, Usage};
use lyceum_hub::{Happening, OfferedProfile, ServerNotice, ServerPython};
use serde::Serialize;

/// From so many hundredths on, people are warned.
const HIGH: u64 = 90;
/// With less than this on the file system, in bytes, people are warned; a notebook is saved with some megabytes.
const LITTLE: u64 = 256 << 20;
/// With less than this, nothing can be saved any more.
const NOTHING: u64 = 1 << 20;

/// A profile that may be chosen: a radio button `profile`.
#[derive(Debug, Clone, Serialize)]
pub struct ProfileOption {
    /// The value.
    pub name: String,
    /// What people see of it.
    pub title: String,
    /// A sentence about it; may be empty.
    pub description: String,
    /// What people see of the Python environment that it names, if it names one.
    pub python: Option<String>,
    /// The most memory, in bytes, if it is limited.
    pub memory: Option<u64>,
    /// The most processors, if they are limited.
    pub cpu: Option<f64>,
    /// It is chosen at first.
    pub checked: bool,
}

impl ProfileOption {
    pub(crate) fn new(profile: &OfferedProfile, chosen: Option<&str>) -> Self {
        let Limits { memory, cpu, .. } = profile.limits;
        Self {
            name: profile.name.clone(),
            title: profile.title.clone(),
            description: profile.description.clone(),
            python: profile.python.clone(),
            memory: memory.and_then(Cap::at).map(lyceum_core::HumanSize::bytes),
            cpu: cpu.and_then(Cap::at),
            checked: chosen == Some(profile.name.as_str()),
        }
    }
}

/// The Python environment that a server runs from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PythonLine {
    /// What people see of it.
    pub title: String,
    /// Its generation.
    pub generation: u32,
    /// The generation that the next start has, if it is another one.
    pub next: Option<u32>,
    /// Whether that is a newer one.
    pub newer: bool,
}

impl From<ServerPython> for PythonLine {
    fn from(server: ServerPython) -> Self {
        Self {
            newer: server.is_newer_ready(),
            title: server.title,
            generation: server.python.generation,
            next: server.next,
        }
    }
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Meter {
    /// Bytes in use.
    pub used: u64,
    /// The most, if there is a limit.
    pub limit: Option<u64>,
    /// How many hundredths of the limit are used.
    pub percent: Option<u64>,
    /// It is nearly used up.
    pub high: bool,
}

impl Meter {
    fn new(used: u64, limit: Option<u64>) -> Self {
        let percent = limit
            .filter(|limit| *limit > 0)
            .map(|limit| u128::from(used) * 100 / u128::from(limit))
            .map(|percent| u64::try_from(percent.min(100)).unwrap_or(100));
        Self {
            used,
            limit,
            percent,
            high: percent.is_some_and(|percent| percent >= HIGH),
        }
    }

    /// The memory of a server.
    pub(crate) fn of_memory(usage: &Usage) -> Option<Self> {
        Some(Self::new(usage.memory?, usage.memory_limit))
    }
}

/// The space of the user's home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SpaceLine {
    /// What the user's files take of what they may take, if that is counted.
    pub quota: Option<Meter>,
    /// Bytes that are left.
    pub left: u64,
    /// Whether that is enough.
    pub state: SpaceState,
}

/// Whether a home has space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceState {
    /// There is enough.
    Good,
    /// There is little left.
    Little,
    /// There is none.
    Full,
}

impl SpaceLine {
    /// Makes it, if enough is known.
    pub(crate) fn new(space: &HomeSpace) -> Option<Self> {
        let quota = space
            .used
            .zip(space.quota)
            .map(|(used, quota)| Meter::new(used, Some(quota)));
        let of_quota = quota.map(|meter| meter.limit.unwrap_or(0).saturating_sub(meter.used));
        let left = match (of_quota, space.free) {
            (Some(one), Some(two)) => one.min(two),
            (one, two) => one.or(two)?,
        };
        let little =
            quota.is_some_and(|meter| meter.high) || space.free.is_some_and(|free| free < LITTLE);
        let state = if left < NOTHING {
            SpaceState::Full
        } else if little {
            SpaceState::Little
        } else {
            SpaceState::Good
        };
        Some(Self { quota, left, state })
    }
}

/// Something that has happened to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServerNews {
    /// When.
    pub at: Timestamp,
    /// How many of its programs were ended because the memory was used up.
    pub times: u64,
    /// The most memory that it may use, if that is known.
    pub limit: Option<u64>,
}

impl From<&ServerNotice> for ServerNews {
    fn from(notice: &ServerNotice) -> Self {
        let Happening::OutOfMemory { limit, times } = notice.what;
        Self {
            at: notice.at,
            times,
            limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    #[test]
    fn memory_is_high_when_nine_tenths_are_used() {
        let check = |memory, limit, percent: Option<u64>, high| {
            let usage = Usage {
                memory: Some(memory),
                memory_limit: limit,
                ..Usage::default()
            };
            let meter = Meter::of_memory(&usage).unwrap();
            assert_eq!((meter.percent, meter.high), (percent, high), "{usage:?}");
        };
        check(G, None, None, false);
        check(G, Some(2 * G), Some(50), false);
        check(18 * G, Some(20 * G), Some(90), true);
        check(3 * G, Some(2 * G), Some(100), true);
        check(u64::MAX, Some(u64::MAX), Some(100), true);
        check(G, Some(0), None, false);
        assert_eq!(Meter::of_memory(&Usage::default()), None);
    }

    #[test]
    fn the_space_that_is_left_is_that_of_the_quota_and_of_the_disk() {
        let check = |used, quota, free, expected: Option<(u64, SpaceState)>| {
            let space = HomeSpace { used, quota, free };
            let line = SpaceLine::new(&space).map(|line| (line.left, line.state));
            assert_eq!(line, expected, "{space:?}");
        };
        check(None, None, None, None);
        check(Some(G), None, None, None);
        check(None, None, Some(G), Some((G, SpaceState::Good)));
        check(
            None,
            None,
            Some(LITTLE - 1),
            Some((LITTLE - 1, SpaceState::Little)),
        );
        check(Some(G), Some(10 * G), None, Some((9 * G, SpaceState::Good)));
        check(Some(G), Some(10 * G), Some(0), Some((0, SpaceState::Full)));
        check(
            Some(19 * G),
            Some(20 * G),
            Some(90 * G),
            Some((G, SpaceState::Little)),
        );
        check(
            Some(21 * G),
            Some(20 * G),
            Some(90 * G),
            Some((0, SpaceState::Full)),
        );
    }
}
