//! `lyceum cert`: how the certificates are, and what can be done about them.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use http::{Method, StatusCode};
use lyceum_certs::{Finding, Level, Outcome, RevocationReason, State, TlsStatus, Trouble, Verdict};
use serde::de::DeserializeOwned;

use super::report::Report;
use super::running::Running;
use super::{ConfigArgs, FAILED, say};
use crate::admin::{CERTS_PATH, Wish};
use crate::cli;

mod show;

/// How long a question takes.
const SHORT: Duration = Duration::from_secs(10);
/// How long orders may take, all together.
const LONG: Duration = Duration::from_hours(1);

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Says how each certificate is: its names, where it comes from, when it ends and is renewed, and what went wrong
    ///
    /// Ends with status 1 if visitors see, or will soon see, a certificate that is not right.
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Renews certificates now: those that are due or have failed, or those that are named
    Renew {
        /// Certificates, as `lyceum cert status` calls them
        names: Vec<String>,
        /// Renew those that are not due, too
        #[arg(long)]
        all: bool,
        /// Only try: get certificates from the authority's place for trials, and throw them away
        #[arg(long, conflicts_with = "all", visible_alias = "dry-run")]
        staging: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Checks from here what the authority will check: whether the names lead here, ports can be reached, and who may
    /// give certificates
    Check {
        /// Certificates, as `lyceum cert status` calls them
        names: Vec<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Has a certificate declared void, after a new one with a new key has taken its place
    Revoke {
        /// The certificate, as `lyceum cert status` calls it
        name: String,
        /// Why, as the authority will tell others
        #[arg(long, value_enum, default_value_t = Reason::Unspecified)]
        reason: Reason,
        /// Do it even if no new one can be got
        #[arg(long)]
        anyway: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Gives the account at the authority a new key
    RotateAccountKey(ConfigArgs),
}

/// Reasons for an end before its time (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reason {
    /// None is given
    Unspecified,
    /// Somebody else may know the key
    KeyCompromise,
    /// A new one has taken its place
    Superseded,
    /// The name is not used any more
    CessationOfOperation,
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::Superseded => Self::Superseded,
            Reason::CessationOfOperation => Self::CessationOfOperation,
        }
    }
}

pub(crate) fn run(command: &CertCommand) -> ExitCode {
    match answer(command) {
        Ok(code) => code,
        Err(report) => report.print(),
    }
}

fn answer(command: &CertCommand) -> Result<ExitCode, Report> {
    let now = crate::admin::now();
    match command {
        CertCommand::Status { json, config } => {
            let status = status(config)?;
            if *json {
                let text = serde_json::to_string_pretty(&status);
                say(&text.map_err(|error| Report::new(&error))?);
            } else {
                say(show::status(&status, now).trim_end());
            }
            let bad = status
                .warnings
                .iter()
                .any(|warning| warning.level == Level::Error);
            let seen = status.certificates.iter().any(|one| {
                matches!(
                    one.state,
                    State::StandIn | State::Incomplete | State::NotValid
                )
            });
            Ok(code(!bad && !seen))
        }
        CertCommand::Renew {
            names,
            all,
            staging,
            config,
        } => {
            let wish = Wish {
                names: names.clone(),
                all: *all,
                staging: *staging,
                ..Wish::default()
            };
            let outcomes: Vec<Outcome> = ask(config, "/renew", &wish, LONG)?;
            say(show::outcomes(&outcomes).trim_end());
            Ok(code(
                outcomes.iter().all(|outcome| outcome.trouble.is_none()),
            ))
        }
        CertCommand::Check { names, config } => {
            let wish = Wish {
                names: names.clone(),
                ..Wish::default()
            };
            let findings: Vec<Finding> = ask(config, "/check", &wish, LONG)?;
            say(show::findings(&findings).trim_end());
            let bad = findings
                .iter()
                .any(|finding| finding.verdict == Verdict::Problem);
            Ok(code(!bad))
        }
        CertCommand::Revoke {
            name,
            reason,
            anyway,
            config,
        } => {
            let wish = Wish {
                names: vec![name.clone()],
                reason: Some((*reason).into()),
                anyway: *anyway,
                ..Wish::default()
            };
            let outcome: Outcome = ask(config, "/revoke", &wish, LONG)?;
            say(show::outcomes(&[outcome]).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        CertCommand::RotateAccountKey(config) => {
            let () = ask(config, "/account-key", &Wish::default(), LONG)?;
            say("the account has a new key");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Asks the running Lyceum how the certificates are; if none runs, its files tell.
pub(super) fn status(args: &ConfigArgs) -> Result<TlsStatus, Report> {
    let config = cli::config::load(args)?.config;
    if !config.tls.is_on() {
        return Err(Report::text("error: no HTTPS is configured")
            .hint("name this server in `tls.domains`; `lyceum config explain tls` tells more"));
    }
    match Running::find_any(&config.hub.runtime_dir)? {
        Some(running) => read(&running.ask(Method::GET, CERTS_PATH, Vec::new(), SHORT)?),
        None => crate::wire::tls::look(&config),
    }
}

/// Asks the running Lyceum to do something.
pub(super) fn ask<T: DeserializeOwned>(
    args: &ConfigArgs,
    what: &str,
    wish: &Wish,
    limit: Duration,
) -> Result<T, Report> {
    let config = cli::config::load(args)?.config;
    let running = Running::find(&config.hub.runtime_dir)?;
    let body = serde_json::to_vec(wish).map_err(|error| Report::new(&error))?;
    let path = format!("{CERTS_PATH}{what}");
    read(&running.ask(Method::POST, &path, body, limit)?)
}

fn read<T: DeserializeOwned>(answer: &super::running::Answer) -> Result<T, Report> {
    if answer.status == StatusCode::OK {
        return serde_json::from_slice(&answer.body).map_err(|error| Report::new(&error));
    }
    match serde_json::from_slice::<Trouble>(&answer.body) {
        Ok(trouble) => Err(trouble_report(&trouble)),
        Err(_) => Err(Report::text(format!(
            "error: the running Lyceum refused it: {}",
            String::from_utf8_lossy(&answer.body)
        ))),
    }
}

/// Tells a trouble as the terminal tells errors.
pub(super) fn trouble_report(trouble: &Trouble) -> Report {
    let mut text = format!("error: {}", trouble.what);
    for cause in &trouble.causes {
        text.push_str("\n  caused by: ");
        text.push_str(cause);
    }
    Report::text(text).hint(&trouble.hint)
}
