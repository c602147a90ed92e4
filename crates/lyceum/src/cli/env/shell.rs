//! `lyceum env shell`: what login shells, ssh sessions and terminals have of the environments.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lyceum_config::settings::Config;
use lyceum_envs::shell::{ShellChange, ShellError, ShellSettings, changes, is_written};
use nix::unistd::geteuid;

use crate::cli;
use crate::cli::{ConfigArgs, Report, say};

/// What `lyceum env shell` can be told.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// Write the script, and have it read by the shells that are installed
    #[arg(long, conflicts_with = "remove")]
    write: bool,
    /// Take out of the shells' files what `--write` has put there
    #[arg(long)]
    remove: bool,
    /// The system whose files are meant, if it is not this one
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true
    )]
    root: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ShellArgs) -> Result<ExitCode, Report> {
    let settings = if args.remove {
        None
    } else {
        Some(settings(
            &cli::config::load_to_prepare(&args.config)?.config,
        ))
    };
    let all = changes(&args.root, settings.as_ref()).map_err(|error| report(&error))?;
    if let (Some(settings), false) = (&settings, args.write) {
        say(settings.script().trim_end());
        say(&format!("\n{}", plan(&all)));
        return Ok(ExitCode::SUCCESS);
    }
    for change in &all {
        change.apply().map_err(|error| report(&error))?;
        let done = if change.text.is_some() {
            "wrote"
        } else {
            "removed"
        };
        say(&format!("{done} {}", change.path.display()));
    }
    say(match (args.write, all.is_empty()) {
        (_, true) => "nothing to change",
        (true, false) => "shells that are started from now on have it",
        (false, false) => "shells that are started from now on have nothing of it any more",
    });
    Ok(ExitCode::SUCCESS)
}

/// Brings what shells have after a change of the configuration, if they have anything of the environments.
pub(super) fn follow(args: &ConfigArgs) -> Result<(), Report> {
    let root = Path::new("/");
    if !is_written(root) || !geteuid().is_root() {
        return Ok(());
    }
    let settings = settings(&cli::config::load_to_prepare(args)?.config);
    for change in changes(root, Some(&settings)).map_err(|error| report(&error))? {
        change.apply().map_err(|error| report(&error))?;
        say(&format!("wrote {}", change.path.display()));
    }
    Ok(())
}

/// What the configuration has shells have.
pub(crate) fn settings(config: &Config) -> ShellSettings {
    let current = |name| config.env.python_folder(name).join("current");
    ShellSettings {
        python: config.env.default_python().map(current),
        variables: config.common_variables(),
    }
}

/// What `--write` would do.
fn plan(all: &[ShellChange]) -> String {
    if all.is_empty() {
        return "# Shells have this already.".to_owned();
    }
    let mut text = "# With `--write`, these files would be changed:".to_owned();
    for change in all {
        let _ = write!(text, "\n#   {}", change.path.display());
    }
    text
}

fn report(error: &ShellError) -> Report {
    Report::new(error).hint(error.hint())
}
