//! What is set about culling.

use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::ClassHours;

use super::rules::{Limit, Override, Rules};

/// The settings of the culler.
#[derive(Debug, Clone)]
pub struct CullSettings {
    /// Who goes when.
    pub rules: Rules,
    /// How long before it goes people are told; zero for not at all.
    pub warn: Duration,
    /// Whether a named server that was culled is deleted, too.
    pub remove_named: bool,
    /// When nothing is culled.
    pub class_hours: ClassHours,
    /// What is done when memory is short.
    pub pressure: Option<Pressure>,
    /// How often servers are looked at.
    pub check: Duration,
    /// How long after Lyceum's start nothing is culled.
    pub grace: Duration,
}

/// What is done when memory is short.
#[derive(Debug, Clone)]
pub struct Pressure {
    /// The share of the memory that is in use, from 0 to 1, from which on it is short.
    pub memory: f64,
    /// How long a server must have been idle to be stopped for it.
    pub idle: Duration,
    /// Where the system tells of its memory.
    pub meminfo: PathBuf,
}

impl CullSettings {
    /// Whether anything is ever culled by itself.
    pub fn runs(&self) -> bool {
        self.rules.any_enabled()
    }
}

impl Default for CullSettings {
    /// Nothing is culled by itself, as with JupyterHub.
    fn default() -> Self {
        Self {
            rules: Rules {
                enabled: false,
                idle: Limit::After(Duration::from_hours(2)),
                max_age: Limit::Off,
                named: Override::default(),
                groups: std::collections::BTreeMap::new(),
                profiles: std::collections::BTreeMap::new(),
                admins: true,
                open_tab: Limit::After(Duration::from_hours(4)),
                busy_limit: Duration::from_hours(48),
            },
            warn: Duration::from_mins(10),
            remove_named: false,
            class_hours: ClassHours::none(),
            pressure: None,
            check: Duration::from_mins(1),
            grace: Duration::from_mins(5),
        }
    }
}
