//! `[log]`: what is logged, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is logged, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How much is logged.
    #[schemars(example = LogLevel::Debug)]
    pub level: LogLevel,

    /// In which form.
    #[schemars(example = LogFormat::Json)]
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what somebody must act upon.
    Error,
    /// Also what went wrong, but was coped with.
    Warn,
    /// Also the life of servers, logins, and changes of the configuration.
    #[default]
    Info,
    /// Also each request.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's name, as it is written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// In which form the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people. Under systemd, entries of its journal: `LYCEUM_USER_NAME=ada` finds those with that field.
    #[default]
    Text,
    /// One JSON object on each line, for programs.
    Json,
}
