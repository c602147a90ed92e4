//! The rules of culling: pure functions from what is known of a server to when it goes, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use lyceum_core::{ClassHours, GroupName, Timestamp};

use crate::sessions::after;

/// A limit of time, or none. The more patient one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// After so long.
    After(Duration),
    /// Never.
    Off,
}

/// What some servers have other than the rest; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Override {
    /// Whether they are culled at all.
    pub enabled: Option<bool>,
    /// How long they may be idle.
    pub idle: Option<Limit>,
    /// How long they may run.
    pub max_age: Option<Limit>,
}

/// The rules of all servers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether servers are culled, where nothing else says so.
    pub enabled: bool,
    /// How long a server may be idle.
    pub idle: Limit,
    /// How long a server may run, used or not.
    pub max_age: Limit,
    /// What named servers have other.
    pub named: Override,
    /// What the servers of a group's members have other.
    pub groups: BTreeMap<GroupName, Override>,
    /// What servers have other that were started with a profile (`user_options.profile`).
    pub profiles: BTreeMap<String, Override>,
    /// Whether the servers of administrators are culled.
    pub admins: bool,
    /// How long traffic without any action counts, since the last action; [`Limit::Off`] for without an end.
    pub open_tab: Limit,
    /// How long a server is believed that says that it is in use, since the last action.
    pub busy_limit: Duration,
}

/// Whose server it is, as far as the rules ask.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Whether the server has a name.
    pub named: bool,
    /// The groups of its owner.
    pub groups: &'a [GroupName],
    /// The profile that it was started with.
    pub profile: Option<&'a str>,
    /// Whether its owner is an administrator.
    pub admin: bool,
}

/// Which part of the rules has said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// What holds for all servers.
    General,
    /// What holds for named servers.
    Named,
    /// What holds for a group.
    Group(GroupName),
    /// What holds for a profile.
    Profile(String),
    /// That administrators are left alone.
    Admins,
}

/// A value, and what has said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// The value.
    pub value: T,
    /// What has said it.
    pub by: Source,
}

/// The rule of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is culled at all.
    pub enabled: Said<bool>,
    /// How long it may be idle.
    pub idle: Said<Limit>,
    /// How long it may run.
    pub max_age: Said<Limit>,
}

impl Rules {
    /// Whether anything is culled by itself.
    pub fn any_enabled(&self) -> bool {
        let mut all = std::iter::once(&self.named)
            .chain(self.groups.values())
            .chain(self.profiles.values());
        self.enabled || all.any(|one| one.enabled == Some(true))
    }

    /// Finds the rule of a server: its profile says most, then its owner's groups, then that it has a name, then what
    /// holds for all; each value for itself. Of several groups the most patient counts.
    pub fn of(&self, subject: Subject<'_>) -> Rule {
        let enabled = if subject.admin && !self.admins {
            Said {
                value: false,
                by: Source::Admins,
            }
        } else {
            // Not to be culled is the more patient.
            self.pick(subject, self.enabled, |one| one.enabled, |value| !*value)
        };
        Rule {
            enabled,
            idle: self.pick(subject, self.idle, |one| one.idle, |value| *value),
            max_age: self.pick(subject, self.max_age, |one| one.max_age, |value| *value),
        }
    }

    fn pick<T: Copy, P: Ord>(
        &self,
        subject: Subject<'_>,
        general: T,
        field: impl Fn(&Override) -> Option<T>,
        patience: impl Fn(&T) -> P,
    ) -> Said<T> {
        let profile = || {
            let name = subject.profile?;
            let value = field(self.profiles.get(name)?)?;
            let by = Source::Profile(name.to_owned());
            Some(Said { value, by })
        };
        let group = || {
            let said = subject.groups.iter().filter_map(|group| {
                let value = field(self.groups.get(group)?)?;
                let by = Source::Group(group.clone());
                Some(Said { value, by })
            });
            said.max_by_key(|said| patience(&said.value))
        };
        let named = || {
            let value = subject.named.then(|| field(&self.named)).flatten()?;
            let by = Source::Named;
            Some(Said { value, by })
        };
        profile().or_else(group).or_else(named).unwrap_or(Said {
            value: general,
            by: Source::General,
        })
    }

    /// Finds out when a server was last in use, and by what. What is in the future is now.
    pub fn last_use(&self, seen: &Evidence) -> LastUse {
        let now = seen.now;
        let action = seen.action.max(seen.started).min(now);
        let by_person = if seen.action > seen.started {
            Use::Action
        } else {
            Use::Start
        };
        let until_tab = match self.open_tab {
            Limit::After(limit) => after(action, limit),
            Limit::Off => now,
        };
        let until_busy = after(action, self.busy_limit);
        let others = [
            (seen.traffic, until_tab, Use::OpenTab),
            (seen.busy, until_busy, Use::Busy),
            (seen.kernel, until_busy, Use::Kernel),
            (seen.reported, until_busy, Use::Reported),
        ];
        let mut last = LastUse {
            at: action,
            by: by_person,
        };
        for (at, until, by) in others {
            // Each counts only if it is later: what a person does explains what comes with it.
            if let Some(at) = at
                .map(|at| at.min(until).min(now))
                .filter(|at| *at > last.at)
            {
                last = LastUse { at, by };
            }
        }
        last
    }
}

/// What is known of the use of one server.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    /// Now.
    pub now: Timestamp,
    /// When it was started.
    pub started: Timestamp,
    /// When a person last did something there.
    pub action: Timestamp,
    /// When anything last passed between a browser and it.
    pub traffic: Option<Timestamp>,
    /// When it last said that something was computing.
    pub busy: Option<Timestamp>,
    /// When its kernels or terminals last did something, as it says.
    pub kernel: Option<Timestamp>,
    /// When it was last active, as it has reported.
    pub reported: Option<Timestamp>,
}

/// What a server was last used by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It was started, and not used since.
    Start,
    /// A person did something.
    Action,
    /// A page was open.
    OpenTab,
    /// A kernel computed.
    Busy,
    /// A kernel or a terminal did something.
    Kernel,
    /// The server said that it was in use.
    Reported,
}

impl Use {
    /// The word for it, for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Action => "action",
            Self::OpenTab => "open-tab",
            Self::Busy => "busy-kernel",
            Self::Kernel => "kernel",
            Self::Reported => "report",
        }
    }
}

/// When a server was last in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub by: Use,
}

/// Why a server is culled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has used it for too long.
    Idle,
    /// It has run for too long.
    MaxAge,
    /// The machine has too little memory, and nobody has used it for a while.
    MemoryPressure,
    /// An administrator has asked for it.
    ByHand,
}

impl Reason {
    /// The word for it, in the log and for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::MaxAge => "max-age",
            Self::MemoryPressure => "memory-pressure",
            Self::ByHand => "by-hand",
        }
    }
}

/// When a server is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Finds out when a server is to go, if nothing happens any more; `None` for never.
pub fn due(rule: &Rule, started: Timestamp, last: LastUse, class: &ClassHours) -> Option<Due> {
    if !rule.enabled.value {
        return None;
    }
    let at = |limit: Limit, from: Timestamp, reason: Reason| match limit {
        Limit::After(limit) => {
            let at = class.free_from(after(from, limit))?;
            Some(Due { at, reason })
        }
        Limit::Off => None,
    };
    let idle = at(rule.idle.value, last.at, Reason::Idle);
    let age = at(rule.max_age.value, started, Reason::MaxAge);
    // Idle first, as something can be done about that.
    [idle, age].into_iter().flatten().min_by_key(|due| due.at)
}

/// What becomes of a server at a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Keep,
    /// People are told that it will go at this instant.
    Warn(Due),
    /// It goes.
    Cull(Due),
}

/// Decides at a check. `warned` is since when people are told; nobody is culled who was not told for `warn`, nor before
/// `earliest`.
pub fn decide(
    due: Option<Due>,
    now: Timestamp,
    warn: Duration,
    warned: Option<Timestamp>,
    earliest: Timestamp,
    class: &ClassHours,
) -> Step {
    let Some(due) = due else { return Step::Keep };
    if now < due.at && (warn.is_zero() || after(now, warn) < due.at) {
        return Step::Keep;
    }
    let told = if warn.is_zero() {
        due.at
    } else {
        after(warned.unwrap_or(now), warn)
    };
    let earliest = due.at.max(told).max(earliest);
    // Without a free instant in the week, nothing ever goes.
    let (Some(at), Some(free)) = (class.free_from(earliest), class.free_from(now)) else {
        return Step::Keep;
    };
    if at <= now && free == now {
        Step::Cull(Due { at, ..due })
    } else {
        let at = at.max(free);
        Step::Warn(Due { at, ..due })
    }
}

#[cfg(test)]
mod tests;
