//! Maintenance: a switch that closes what the gateway leads to, for everybody but a few.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use lyceum_core::clock::Timestamp;

use crate::path;
use lyceum_core::Network;

/// What is closed, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// What people are told, if not the usual text.
    pub message: Option<String>,
    /// When it will be over, if that is known.
    pub until: Option<Timestamp>,
    /// Clients with an address in one of these networks notice nothing.
    pub allow: Vec<Network>,
    /// Whether users' servers that run, and services, stay open; else everything but the hub itself is closed.
    pub keep_sessions: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It goes on as always.
    Open,
    /// It is answered with status 503.
    Closed,
}

impl Maintenance {
    /// The longest time that a program is told to wait.
    const LONGEST: u64 = 24 * 3600;
    /// How long it is told to wait if nobody knows when it will be over.
    const UNKNOWN: u64 = 300;

    /// Decides about a request that a route or site covers. What goes to the hub is the hub's to decide: only it knows
    /// who is an administrator.
    pub fn passage(&self, client: Option<IpAddr>) -> Passage {
        let is_allowed = self.allow.iter().any(|network| network.contains(client));
        if self.keep_sessions || is_allowed {
            Passage::Open
        } else {
            Passage::Closed
        }
    }

    /// The seconds for `Retry-After`.
    pub fn retry_after(&self, now: Timestamp) -> u64 {
        let left = self.until.map(|until| until.as_second() - now.as_second());
        match left {
            Some(left) => u64::try_from(left).unwrap_or(1).clamp(1, Self::LONGEST),
            None => Self::UNKNOWN,
        }
    }
}

/// The switch; a clone is the same one. Looking at it costs next to nothing.
#[derive(Clone, Default)]
pub struct MaintenanceSwitch(Arc<ArcSwapOption<Maintenance>>);

impl MaintenanceSwitch {
    /// Makes one that is off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives what is closed now; `None` if nothing is.
    pub fn current(&self) -> Option<Arc<Maintenance>> {
        self.0.load_full()
    }

    /// Whether anything is closed.
    pub fn is_on(&self) -> bool {
        self.0.load().is_some()
    }

    /// Turns it on, or off with `None`.
    pub fn set(&self, maintenance: Option<Maintenance>) {
        self.0.store(maintenance.map(Arc::new));
    }

    /// Decides about a request that a route or site covers; `None` if it goes on as always.
    ///
    /// `path` is the raw path. The check of certificates is never closed.
    pub fn closed(&self, path: &str, client: Option<IpAddr>) -> Option<Arc<Maintenance>> {
        let maintenance = self.0.load();
        let maintenance = maintenance.as_ref()?;
        let is_check = path::resolve_dots(path).starts_with("/.well-known/acme-challenge/");
        (!is_check && maintenance.passage(client) == Passage::Closed)
            .then(|| Arc::clone(maintenance))
    }
}

impl fmt::Debug for MaintenanceSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MaintenanceSwitch")
            .field(&self.current())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Maintenance {
        Maintenance {
            message: None,
            until: None,
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            keep_sessions: false,
        }
    }

    #[test]
    fn only_networks_that_are_allowed_pass() {
        let switch = MaintenanceSwitch::new();
        let outside = Some([203, 0, 113, 9].into());
        assert_eq!(switch.closed("/user/ada/", outside), None);
        switch.clone().set(Some(closed()));
        assert!(switch.closed("/user/ada/", outside).is_some());
        assert!(switch.closed("/user/ada/", None).is_some());
        assert_eq!(
            switch.closed("/user/ada/", Some([10, 1, 2, 3].into())),
            None
        );
        assert_eq!(
            switch.closed("/.well-known/acme-challenge/x", outside),
            None
        );
        assert!(
            switch
                .closed("/.well-known/acme-challenge/../../user/ada/", outside)
                .is_some()
        );
        switch.set(Some(Maintenance {
            keep_sessions: true,
            ..closed()
        }));
        assert_eq!(switch.closed("/user/ada/", outside), None);
        switch.set(None);
        assert_eq!(switch.current(), None);
    }

    #[test]
    fn programs_are_told_when_to_come_again() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let until = |seconds: i64| Maintenance {
            until: Some(Timestamp::from_second(1_000_000 + seconds).unwrap()),
            ..closed()
        };
        assert_eq!(closed().retry_after(now), 300);
        assert_eq!(until(90).retry_after(now), 90);
        assert_eq!(until(-90).retry_after(now), 1);
        assert_eq!(until(1_000_000).retry_after(now), 24 * 3600);
    }
}
