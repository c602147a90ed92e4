//! `lyceum doctor`: looks for what is wrong with an installation, says what to do, and mends what is safe to mend.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};
use lyceum_certs::{Finding as CertFinding, Level, Verdict};
use lyceum_config::settings::Config;

use super::running::Running;
use super::{ConfigArgs, FAILED, cert, say};
use crate::admin::{MAINTENANCE_PATH, Wish};
use crate::cli;
use crate::wire::limits;

mod environments;
mod files;
mod libraries;
mod shared;

/// How long the running Lyceum may take to answer at all.
const SHORT: Duration = Duration::from_secs(10);
/// How long the check of names and ports may take.
const LONG: Duration = Duration::from_mins(6);

/// What `lyceum doctor` can be told.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Mend what is safe to mend: modes of files that are Lyceum's own
    #[arg(long)]
    fix: bool,
    /// Only say what `--fix` would do
    #[arg(long, requires = "fix")]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn fine(what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fine,
            what: what.into(),
            hint: None,
        }
    }

    pub(super) fn bad(verdict: Verdict, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            verdict,
            what: what.into(),
            hint: Some(hint.into()),
        }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let loaded = match cli::config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(report) => return report.print(),
    };
    let mut findings = Vec::new();
    heading("configuration");
    for warning in &loaded.warnings {
        findings.push(Finding::bad(
            Verdict::Warning,
            warning.render(false).trim_end().to_owned(),
            "`lyceum config check` shows it",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::fine("the configuration has no mistakes"));
    }
    let mut worst = tell(&findings);
    heading("files");
    let repair = match (args.fix, args.dry_run) {
        (false, _) => files::Repair::No,
        (true, true) => files::Repair::Tell,
        (true, false) => files::Repair::Do,
    };
    worst = worst.max(tell(&files::check(&loaded.config, repair)));
    let limits = limits(&loaded.config);
    let mut environments = environments::check(&loaded.config);
    environments.extend(libraries::check(&loaded.config));
    for (title, findings) in [
        ("limits", limits),
        ("environments", environments),
        ("shared folders", shared::folders(&loaded.config)),
        ("courses", shared::courses(&loaded.config)),
    ] {
        if !findings.is_empty() {
            heading(title);
            worst = worst.max(tell(&findings));
        }
    }
    heading("program");
    let running = Running::find(&loaded.config.hub.runtime_dir);
    worst = worst.max(tell(&[alive(running.as_ref().ok())]));
    if loaded.config.tls.is_on() {
        heading("certificates");
        worst = worst.max(tell(&certificates(&args.config)));
        if running.is_ok() {
            heading("names and ports");
            worst = worst.max(tell(&reach(&args.config, &loaded.config)));
        }
    }
    if worst == Verdict::Problem {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

/// Limits that this machine is too small for.
fn limits(config: &Config) -> Vec<Finding> {
    let found = limits::oversized(config, limits::machine_memory());
    let finding = |one: limits::Oversized| Finding::bad(Verdict::Warning, one.what, one.hint);
    found.into_iter().map(finding).collect()
}

fn alive(running: Option<&Running>) -> Finding {
    let answers = running.is_some_and(|running| {
        running
            .ask(Method::GET, MAINTENANCE_PATH, Vec::new(), SHORT)
            .is_ok_and(|answer| answer.status == StatusCode::OK)
    });
    if answers {
        Finding::fine("`lyceum serve` runs and answers")
    } else {
        Finding::bad(
            Verdict::Warning,
            "`lyceum serve` does not run with this configuration, or does not answer",
            "start it, or run this with its configuration and as its user or as root",
        )
    }
}

/// How the certificates are.
fn certificates(args: &ConfigArgs) -> Vec<Finding> {
    let status = match cert::status(args) {
        Ok(status) => status,
        Err(report) => {
            return vec![Finding::bad(
                Verdict::Problem,
                report.first_line(),
                "`lyceum cert status` tells more",
            )];
        }
    };
    let mut findings: Vec<Finding> = status
        .warnings
        .iter()
        .map(|warning| {
            let verdict = match warning.level {
                Level::Error => Verdict::Problem,
                Level::Warning | Level::Notice => Verdict::Warning,
            };
            Finding::bad(verdict, &warning.text, &warning.hint)
        })
        .collect();
    for one in &status.certificates {
        let told = status
            .warnings
            .iter()
            .any(|warning| warning.certificate.as_deref() == Some(&one.id));
        if !told {
            findings.push(Finding::fine(format!(
                "{}: {}, until {}",
                one.id,
                one.state.words(),
                one.not_after.strftime("%Y-%m-%d")
            )));
        }
    }
    findings
}

/// Whether the names lead here.
fn reach(args: &ConfigArgs, config: &Config) -> Vec<Finding> {
    let wish = Wish::default();
    match cert::ask::<Vec<CertFinding>>(args, "/check", &wish, LONG) {
        Ok(found) if found.is_empty() => {
            let names = config.tls.domains.len();
            vec![Finding::fine(format!(
                "no authority is asked, so nothing is checked for {names} names"
            ))]
        }
        Ok(found) => found
            .into_iter()
            .map(|finding| Finding {
                verdict: finding.verdict,
                what: finding.what,
                hint: finding.hint,
            })
            .collect(),
        Err(report) => vec![Finding::bad(
            Verdict::Warning,
            report.first_line(),
            "`lyceum cert check` tells more",
        )],
    }
}

fn heading(text: &str) {
    say(&format!("{text}:"));
}

/// Tells what was found, and gives the worst of it.
fn tell(findings: &[Finding]) -> Verdict {
    let mut worst = Verdict::Fine;
    for finding in findings {
        worst = worst.max(finding.verdict);
        let word = match finding.verdict {
            Verdict::Fine => "ok",
            Verdict::Warning => "look",
            Verdict::Problem => "WRONG",
        };
        let text = finding.what.replace('\n', "\n         ");
        say(&format!("  {word:<6} {text}"));
        if let Some(hint) = &finding.hint {
            say(&format!("         to do: {hint}"));
        }
    }
    worst
}
