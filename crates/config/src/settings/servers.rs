//! `[servers]`: what people are asked before a start, names of servers, and what happens when too much starts or fails.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Users' servers: what people are asked before a start, names, and what happens when too much starts or fails.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServersConfig {
    /// A file with HTML: the fields that people fill in before their server starts, without the form around them and
    /// without its button. What they choose is kept with the server and told to the spawner. Scripts and styles inside
    /// are not run. If it is not set, servers start at once.
    #[schemars(example = "/etc/lyceum/options.html", extend("format" = "path"))]
    pub options_form: Option<PathBuf>,

    /// How the fields of the form become options.
    #[schemars(example = OptionsFromForm::Simple)]
    pub options_from_form: OptionsFromForm,

    /// The named server that a link without a name leads to, such as one of nbgitpuller, if there are named
    /// servers (`hub.named_servers`). If it is not set, such links lead to the default server.
    #[schemars(example = &"lab")]
    pub default_name: Option<String>,

    /// What becomes of named servers that come from an older JupyterHub and whose names are not allowed any more.
    #[schemars(example = OldServerNames::Autorename)]
    pub old_names: OldServerNames,

    /// When too many servers are starting (`hub.concurrent_spawn_limit`), callers are told to come again after a pause:
    /// the shortest and the longest one, in seconds. Each gets another, so that they do not all come back at once.
    #[schemars(example = [10, 20])]
    pub retry_range: [u64; 2],

    /// After so many failed starts in a row, with none that worked between them, Lyceum ends with an error, so that
    /// systemd can start it afresh. Users' servers go on. 0 for never.
    #[schemars(example = 20)]
    pub consecutive_failure_limit: u32,

    /// A file to which each start and stop of a server is written, as a line of JSON in the form of Jupyter's event log.
    /// If it is not set, there is none.
    #[schemars(example = "/var/log/lyceum/events.jsonl", extend("format" = "path"))]
    pub event_log: Option<PathBuf>,
}

impl Default for ServersConfig {
    fn default() -> Self {
        Self {
            options_form: None,
            options_from_form: OptionsFromForm::default(),
            default_name: None,
            old_names: OldServerNames::default(),
            retry_range: [30, 60],
            consecutive_failure_limit: 0,
            event_log: None,
        }
    }
}

/// How the fields of the form become options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptionsFromForm {
    /// Each as a list of texts, also if it has one value.
    #[default]
    Passthrough,
    /// A field with one value as that value, and a box that is ticked as `true`.
    Simple,
}

/// What becomes of named servers whose names are not allowed any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OldServerNames {
    /// They can be used as before.
    #[default]
    AllowStart,
    /// They can be stopped and deleted, but not started.
    AllowDelete,
    /// When Lyceum starts, those that do not run get a new name, and people are shown the old one.
    Autorename,
}
