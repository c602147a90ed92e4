//! `lyceum maintenance`: closes a running Lyceum to all but a few, and opens it again.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use lyceum_core::{HumanDuration, Timestamp};
use lyceum_gateway::Network;

use super::report::Report;
use super::running::Running;
use super::{ConfigArgs, say};
use crate::admin::{self, MAINTENANCE_PATH, Told};
use crate::cli;

/// How long the running Lyceum may take.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Closes it: people see a page that says so, programs get status 503. Administrators can use the hub's pages.
    ///
    /// It stays closed until `lyceum maintenance off`, also over a restart.
    On(OnArgs),
    /// Opens it again
    Off(ConfigArgs),
    /// Says whether it is closed, and for whom
    Status(ConfigArgs),
}

/// How it is closed.
#[derive(Debug, Args)]
pub(crate) struct OnArgs {
    /// What people are told, instead of our own text
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// When it will be over, for people to know: `2h`, or `2026-11-27T18:00:00+01:00`. It does not end by itself.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Who notices nothing: an address (`10.0.0.7`) or a range (`10.0.0.0/8`); may be given several times
    #[arg(long, value_name = "NETWORK")]
    allow: Vec<Network>,
    /// Lets running servers and services go on; only new logins and starts are refused
    #[arg(long)]
    keep_sessions: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(command: &MaintenanceCommand) -> ExitCode {
    match answer(command) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(report) => report.print(),
    }
}

fn answer(command: &MaintenanceCommand) -> Result<String, Report> {
    let told = match command {
        MaintenanceCommand::On(args) => {
            let until = args.until.as_deref().map(moment).transpose()?;
            let wish = Told {
                on: true,
                message: args.message.clone().filter(|text| !text.trim().is_empty()),
                until,
                allow: args.allow.clone(),
                keep_sessions: args.keep_sessions,
            };
            ask(&args.config, Some(&wish))?
        }
        MaintenanceCommand::Off(config) => ask(config, Some(&Told::default()))?,
        MaintenanceCommand::Status(config) => ask(config, None)?,
    };
    Ok(shown(&told))
}

/// Reads a time, or how long it is until then.
fn moment(text: &str) -> Result<Timestamp, Report> {
    if let Ok(duration) = text.parse::<HumanDuration>() {
        let later = admin::now().checked_add(duration.get());
        return later.map_err(|_| Report::text(format!("error: `{text}` is too long")).code(2));
    }
    text.parse::<Timestamp>().map_err(|_| {
        Report::text(format!("error: `{text}` is not a time"))
            .hint("write how long it will take, such as `2h`, or a time such as `2026-11-27T18:00:00+01:00`")
            .code(2)
    })
}

fn shown(told: &Told) -> String {
    if !told.on {
        return "open: no maintenance".to_owned();
    }
    let mut text = "closed for maintenance".to_owned();
    if told.keep_sessions {
        text.push_str("; running servers and services go on");
    }
    text.push('\n');
    if let Some(message) = &told.message {
        let _ = writeln!(text, "  people are told: {message}");
    }
    if let Some(until) = told.until {
        let _ = writeln!(text, "  until: {until}");
    }
    let allow: Vec<String> = told.allow.iter().map(ToString::to_string).collect();
    let passing = match allow.as_slice() {
        [] => String::new(),
        networks => format!(", and everybody from {}", networks.join(", ")),
    };
    let _ = writeln!(text, "  not for administrators{passing}");
    text
}

/// Tells the running Lyceum, or asks it.
fn ask(config: &ConfigArgs, wish: Option<&Told>) -> Result<Told, Report> {
    let config = cli::config::load(config)?.config;
    let running = Running::find(&config.hub.runtime_dir)?;
    let body = wish.map(serde_json::to_vec).transpose();
    let body = body
        .map_err(|error| Report::new(&error))?
        .unwrap_or_default();
    let method = match wish {
        Some(_) => Method::PUT,
        None => Method::GET,
    };
    let answer = running.ask(method, MAINTENANCE_PATH, body, LIMIT)?;
    if answer.status != StatusCode::OK {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(Report::text(format!(
            "error: the running Lyceum refused it: {text}"
        )));
    }
    serde_json::from_slice(&answer.body).map_err(|error| Report::new(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_people_need() {
        let told = Told {
            on: true,
            message: Some("A new disk.".to_owned()),
            until: Some(Timestamp::UNIX_EPOCH),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            keep_sessions: true,
        };
        assert_eq!(
            shown(&told),
            "closed for maintenance; running servers and services go on\n  people are told: A new disk.\n  \
             until: 1970-01-01T00:00:00Z\n  not for administrators, and everybody from 10.0.0.0/8\n"
        );
        assert_eq!(shown(&Told::default()), "open: no maintenance");
    }

    #[test]
    fn times_are_written_as_moments_or_as_durations() {
        assert!(moment("2h").unwrap() > admin::now());
        assert!(moment("2026-11-27T18:00:00+01:00").is_ok());
        assert!(moment("tomorrow").is_err());
    }
}
