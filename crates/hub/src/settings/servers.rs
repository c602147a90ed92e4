//! What is set about users' servers beyond their time limits: names, limits, options, and what is told of them.

use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::ServerName;

use crate::named_servers::OldNames;

/// Settings of users' servers.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// What becomes of servers whose names follow no rule.
    pub old_names: OldNames,
    /// The named server that is meant where none is named, if it is not the default server.
    pub default_name: Option<ServerName>,
    /// The shortest and the longest pause, in seconds, that callers are told when too many servers are starting
    /// (JupyterHub `spawn_throttle_retry_range`): spread, so that they do not all come back at once.
    pub retry_range: (u64, u64),
    /// After so many failed starts in a row Lyceum ends, for whatever watches it to start it afresh; 0 for never.
    pub failure_limit: u32,
    /// What people are asked before a start.
    pub options_form: Option<OptionsForm>,
    /// The file that starts and stops are written to.
    pub event_log: Option<PathBuf>,
    /// How long a server that does not run is kept in memory; afterwards there is only what is stored.
    pub memory: Duration,
}

/// What people are asked before a start.
#[derive(Debug, Clone)]
pub struct OptionsForm {
    /// The fields, as HTML of the administrator's.
    pub html: String,
    /// How answers become options.
    pub reading: FormReading,
}

/// How the answers of a form become options (JupyterHub `options_from_form`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormReading {
    /// Each field is a list of texts.
    #[default]
    Passthrough,
    /// A field with one value is that value, and `on` is `true`.
    Simple,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            old_names: OldNames::default(),
            default_name: None,
            retry_range: (30, 60),
            failure_limit: 0,
            options_form: None,
            event_log: None,
            memory: Duration::from_mins(5),
        }
    }
}
