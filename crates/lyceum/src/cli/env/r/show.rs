//! What `lyceum env r` prints.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use lyceum_config::settings::EnvConfig;
use lyceum_core::Timestamp;
use lyceum_envs::r::{BuildReport, Collected, Imported, PackageReport, RSpec, State, User};
use nix::unistd::Uid;

use super::meant::interpreters;
use super::{Meant, tell};
use crate::cli;
use crate::cli::{ConfigArgs, Report, say};

pub(super) fn versions(json: bool, config: &ConfigArgs) -> Result<ExitCode, Report> {
    // Of use before there is a configuration, and with a broken one that nobody has named.
    let env = match cli::config::load_to_prepare(config) {
        Ok(loaded) => loaded.config.env,
        Err(report) if config.config.is_some() || !config.set.is_empty() => return Err(report),
        Err(_) => EnvConfig::default(),
    };
    let found = interpreters(&env);
    if json {
        let list: Vec<_> = found
            .iter()
            .map(|one| serde_json::json!({"version": one.version.to_string(), "program": one.program, "home": one.home}))
            .collect();
        say(&serde_json::to_string_pretty(&list).map_err(|error| Report::new(&error))?);
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        return Err(Report::text("error: this machine has no R")
            .hint("install one, on Debian and Ubuntu: apt install r-base-core r-base-dev"));
    }
    for one in found {
        let note = if one.is_distributions() {
            "  the distribution's"
        } else {
            ""
        };
        say(&format!(
            "{:<8} {}{note}",
            one.version.to_string(),
            one.program.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells how a build went, or would go.
pub(super) fn built(report: &BuildReport, spec: &RSpec, dry_run: bool) -> String {
    let mut text = String::new();
    let r = spec.interpreter.version;
    let _ = match report.generation {
        Some(number) => writeln!(text, "R {r}, generation {number}"),
        None if dry_run => writeln!(text, "R {r}: this would be done"),
        None if report
            .packages
            .iter()
            .any(|one| one.state == State::Installed)
            && report.failed().next().is_none() =>
        {
            writeln!(
                text,
                "R {r}: what was built is what there was, so it is not kept"
            )
        }
        None if report.failed().next().is_none() => writeln!(
            text,
            "R {r}: nothing to do, the library is as its list says"
        ),
        None => writeln!(text, "R {r}: no generation was built"),
    };
    let of = |wanted: &State| -> Vec<&PackageReport> {
        report
            .packages
            .iter()
            .filter(|one| one.state == *wanted)
            .collect()
    };
    if !report.apt.is_empty() {
        let _ = writeln!(text, "  {:<12} {}", "from apt", report.apt.join(", "));
    }
    if let Some(failure) = &report.apt_failed {
        let _ = writeln!(
            text,
            "  apt could not install all that it has: {}\n      {}",
            failure.cause, failure.advice
        );
    }
    for (word, state) in [
        ("to install", State::Planned),
        ("installed", State::Installed),
        ("kept", State::Kept),
        ("there already", State::Here),
    ] {
        let packages = of(&state);
        // Those that others need and the machine has, nobody has asked for.
        let packages: Vec<_> = packages
            .into_iter()
            .filter(|one| state != State::Here || one.listed)
            .collect();
        if !packages.is_empty() {
            let _ = writeln!(
                text,
                "  {word:<13} {:>3}  {}",
                packages.len(),
                named(&packages)
            );
        }
    }
    let mut skipped = String::new();
    let mut count = (0, 0);
    for one in report.failed() {
        let optional = if one.listed && !one.required {
            " (not required)"
        } else {
            ""
        };
        match &one.state {
            State::Failed(failure) => {
                if count.0 == 0 {
                    let _ = writeln!(text, "  failed");
                }
                count.0 += 1;
                let _ = writeln!(text, "    {}{optional}: {}", one.name, failure.cause);
                for line in failure.excerpt.lines() {
                    let _ = writeln!(text, "      | {line}");
                }
                let _ = writeln!(text, "      {}", failure.advice);
            }
            State::Skipped { because } => {
                count.1 += 1;
                let _ = writeln!(skipped, "    {}{optional}: {because}", one.name);
            }
            _ => {}
        }
    }
    if count.1 > 0 {
        let _ = write!(text, "  skipped\n{skipped}");
    }
    if count != (0, 0) && !dry_run {
        let _ = writeln!(
            text,
            "  {} failed, {} skipped; all output is in {}",
            count.0,
            count.1,
            report.logs.display()
        );
        if !report.complete && report.generation.is_some() {
            let _ = writeln!(
                text,
                "  Packages that are required are missing, so nothing can be switched to; what was built is kept for the next build."
            );
        }
    }
    text
}

fn named(packages: &[&PackageReport]) -> String {
    let names: Vec<String> = packages
        .iter()
        .map(|one| match &one.version {
            Some(version) => format!("{} {version}", one.name),
            None => one.name.clone(),
        })
        .collect();
    names.join(", ")
}

pub(super) fn list(meant: &Meant, json: bool) -> Result<ExitCode, Report> {
    let found = meant.interpreters();
    let list = meant.library.list(&found).map_err(|error| tell(&error))?;
    if json {
        say(&serde_json::to_string_pretty(&list).map_err(|error| Report::new(&error))?);
        return Ok(ExitCode::SUCCESS);
    }
    if list.is_empty() {
        say(&format!(
            "The library `{}` has no generation yet. To build one: lyceum env r build",
            meant.name
        ));
    }
    for one in list {
        let mark = if one.current { "*" } else { " " };
        let mut line = format!(
            "{mark} R {:<5} {:>4}  {}  {:>3} packages  {:>7} ({} of its own)",
            one.series,
            one.number,
            day(one.finished),
            one.packages,
            size(one.bytes),
            size(one.own_bytes),
        );
        if !one.complete {
            let _ = write!(
                line,
                "  incomplete, lacks {}",
                one.failed.keys().cloned().collect::<Vec<_>>().join(", ")
            );
        }
        if !one.users.is_empty() {
            let _ = write!(line, "  used by {}", people(&one.users));
        }
        say(&line);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn diff(
    meant: &Meant,
    before: Option<u32>,
    after: Option<u32>,
    json: bool,
) -> Result<ExitCode, Report> {
    let series = meant.series()?;
    let nothing = || {
        Report::text(format!(
            "error: there are no two generations for R {series} to compare"
        ))
        .hint("`lyceum env r list` shows what there is")
    };
    let list = meant.library.list(&[]).map_err(|error| tell(&error))?;
    let mut numbers = list
        .iter()
        .filter(|one| one.series == series)
        .map(|one| one.number);
    let before = before
        .or_else(|| meant.library.find_current(&series))
        .ok_or_else(nothing)?;
    let after = after.or_else(|| numbers.next_back()).ok_or_else(nothing)?;
    let changes = meant
        .library
        .diff(&series, before, after)
        .map_err(|error| tell(&error))?;
    if json {
        say(&serde_json::to_string_pretty(&changes).map_err(|error| Report::new(&error))?);
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("R {series}: from generation {before} to {after}"));
    for one in &changes {
        match (&one.before, &one.after) {
            (Some(before), Some(after)) => say(&format!("  {:<20} {before} -> {after}", one.name)),
            (None, Some(after)) => say(&format!("+ {:<20} {after}", one.name)),
            (Some(before), None) => say(&format!("- {:<20} {before}", one.name)),
            (None, None) => {}
        }
    }
    if changes.is_empty() {
        say("  the same packages");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn collected(collected: &Collected, dry_run: bool) {
    let word = if dry_run {
        "would be removed"
    } else {
        "removed"
    };
    for (series, number) in &collected.removed {
        say(&format!("R {series}, generation {number}: {word}"));
    }
    for (series, number, users) in &collected.in_use {
        say(&format!(
            "R {series}, generation {number}: kept, as {} may use it",
            people(users)
        ));
    }
    if collected.removed.is_empty() && collected.in_use.is_empty() {
        say("Nothing to remove.");
    }
}

/// Tells what was imported; on the other output, as the list itself may be on the first.
pub(super) fn imported(imported: &Imported, to: Option<&Path>) {
    let mut text = String::new();
    for note in &imported.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if !imported.system.is_empty() {
        let _ = writeln!(
            text,
            "note: libraries of the system are no packages of R; as root: apt install {}",
            imported.system.join(" ")
        );
    }
    let count = imported.list.entries.len();
    let _ = match to {
        Some(path) => writeln!(text, "{count} packages, written to {}", path.display()),
        None => writeln!(text, "{count} packages"),
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn people(users: &[User]) -> String {
    let one = |user: &User| {
        let name = nix::unistd::User::from_uid(Uid::from_raw(user.uid))
            .ok()
            .flatten();
        let name = name.map_or_else(|| user.uid.to_string(), |user| user.name);
        format!("{name} (process {})", user.pid)
    };
    users.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn day(at: std::time::SystemTime) -> String {
    Timestamp::try_from(at).map_or_else(
        |_| "?".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn size(bytes: u64) -> String {
    if bytes < 1024 * 1024 {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{} MiB", bytes / (1024 * 1024))
    }
}
