//! The settings of users' servers, and what is measured, from `[servers]` and `[metrics]`.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;
use lyceum_config::settings::{Config, OldServerNames, OptionsFromForm};
use lyceum_core::ServerName;
use lyceum_hub::{FormReading, MetricSettings, OldNames, OptionsForm, ServerSettings};

/// Makes the settings; reads the form that people fill in.
pub(super) fn settings(config: &Config) -> anyhow::Result<ServerSettings> {
    let servers = &config.servers;
    let options_form = match &servers.options_form {
        Some(path) => Some(OptionsForm {
            html: fs::read_to_string(path)
                .with_context(|| format!("could not read the options form {}", path.display()))?,
            reading: match servers.options_from_form {
                OptionsFromForm::Passthrough => FormReading::Passthrough,
                OptionsFromForm::Simple => FormReading::Simple,
            },
        }),
        None => None,
    };
    if let Some(path) = &servers.event_log {
        // Better said now than at the first start of a server.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("could not open the event log {}", path.display()))?;
    }
    let default_name = servers.default_name.as_deref().map(ServerName::parse_new);
    let [shortest, longest] = servers.retry_range;
    Ok(ServerSettings {
        old_names: match servers.old_names {
            OldServerNames::AllowStart => OldNames::AllowStart,
            OldServerNames::AllowDelete => OldNames::AllowDelete,
            OldServerNames::Autorename => OldNames::Rename,
        },
        default_name: default_name
            .transpose()
            .context("`servers.default_name` cannot be the name of a server")?,
        retry_range: (shortest, longest),
        failure_limit: servers.consecutive_failure_limit,
        options_form,
        event_log: servers.event_log.clone(),
        ..ServerSettings::default()
    })
}

/// What is set about metrics.
pub(super) fn metrics(config: &Config) -> MetricSettings {
    let metrics = &config.metrics;
    MetricSettings {
        authenticate: metrics.authenticate,
        prefix: metrics.prefix.clone(),
        spawn_buckets: metrics.spawn_buckets.clone(),
        stop_buckets: metrics.stop_buckets.clone(),
    }
}
