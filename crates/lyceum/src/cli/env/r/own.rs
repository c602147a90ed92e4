//! `lyceum env r reinstall-mine`: a user's own packages, after a new series of R.

use std::process::ExitCode;

use clap::Args;
use lyceum_envs::r::{OwnReport, State};
use nix::unistd::geteuid;

use super::{block_on, tell};
use crate::cli::progress::Bar;
use crate::cli::{FAILED, Report, say};

/// What `lyceum env r reinstall-mine` can be told.
#[derive(Debug, Args)]
pub(crate) struct OwnArgs {
    /// The R that is to have the packages: a version or a path [default: /usr/bin/R]
    #[arg(long, value_name = "R", default_value = "", hide_default_value = true)]
    r: String,
    /// A repository like CRAN, instead of those that R is set to
    #[arg(long, value_name = "ADDRESS")]
    repository: Vec<String>,
    /// Only say what would be installed
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &OwnArgs) -> Result<ExitCode, Report> {
    if geteuid().is_root() {
        return Err(
            Report::text("error: root has no packages of its own to install again")
                .hint("run it as yourself; `lyceum env r build` makes the library for everybody"),
        );
    }
    let interpreter = lyceum_envs::r::find(&args.r).map_err(|error| tell(&error))?;
    let found: OwnReport = block_on(lyceum_envs::r::find_own(&interpreter))?;
    let Some(before) = found.before.clone() else {
        say(&format!(
            "You have no packages of your own for another R than {}.",
            found.after
        ));
        return Ok(ExitCode::SUCCESS);
    };
    let known = found.packages.iter().filter(|one| one.source.is_some());
    let names: Vec<&str> = known.map(|one| one.name.as_str()).collect();
    let lost: Vec<String> = found
        .packages
        .iter()
        .filter(|one| one.source.is_none())
        .map(|one| one.name.clone())
        .collect();
    if found.packages.is_empty() {
        say(&format!(
            "All your packages for R {before} are there for R {}, too.",
            found.after
        ));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "From R {before} to R {}, into {}:",
        found.after,
        found.library.display()
    ));
    for one in &found.packages {
        let from = one
            .source
            .as_deref()
            .unwrap_or("nobody has written down where it came from");
        say(&format!("  {:<20} {:<10} {from}", one.name, one.version));
    }
    if args.dry_run || names.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let bar = Bar::new();
    let repositories = (!args.repository.is_empty()).then(|| args.repository.clone());
    let done = block_on(lyceum_envs::r::reinstall_own(
        &interpreter,
        found,
        repositories,
        &bar,
    ));
    bar.clear();
    let done = done?;
    let mut failed = 0;
    for one in &done.results {
        match &one.state {
            State::Installed => say(&format!(
                "installed {} {}",
                one.name,
                one.version.as_deref().unwrap_or("")
            )),
            State::Failed(failure) => {
                failed += 1;
                say(&format!(
                    "failed    {}: {}\n          {}",
                    one.name, failure.cause, failure.advice
                ));
            }
            State::Skipped { because } => {
                failed += 1;
                say(&format!("skipped   {}: {because}", one.name));
            }
            _ => {}
        }
    }
    if !lost.is_empty() {
        say(&format!("To be installed by hand: {}", lost.join(", ")));
    }
    say(&format!(
        "Your packages for R {before} are where they were."
    ));
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}
