//! Tells every R of the machine of a library, and people of a switch.

use std::process::ExitCode;

use lyceum_envs::r::SiteFiles;
use nix::unistd::geteuid;

use super::{Meant, tell};
use crate::cli::{Report, say};

pub(super) fn switched(
    meant: &Meant,
    series: &str,
    now: u32,
    before: Option<u32>,
) -> Result<ExitCode, Report> {
    match before {
        Some(before) if before == now => say(&format!("R {series} has generation {now} already.")),
        Some(before) => say(&format!(
            "New starts of R {series} have generation {now} of `{}`; what runs keeps generation {before}.",
            meant.name
        )),
        None => say(&format!(
            "New starts of R {series} have generation {now} of `{}`.",
            meant.name
        )),
    }
    if meant.env.default_r() != Some(&meant.name) {
        say("It is not the default library: kernels have it that name it (`env.default_r`).");
    } else if set_up(meant)? {
        say(
            "Renviron.site and Rprofile.site lead to it now (`lyceum env r setup --undo` takes that back).",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the start files of every R, if this library is for them and we may. Gives whether something changed.
pub(super) fn set_up(meant: &Meant) -> Result<bool, Report> {
    let may = geteuid().is_root()
        && meant.config.site_files
        && meant.env.default_r() == Some(&meant.name);
    let mut changed = false;
    for interpreter in meant.interpreters().iter().filter(|_| may) {
        let files = SiteFiles::of(interpreter);
        changed |= files.set(&meant.library).map_err(|error| tell(&error))?;
    }
    Ok(changed)
}

pub(super) fn setup(meant: &Meant, undo: bool) -> Result<ExitCode, Report> {
    for interpreter in meant.interpreters() {
        let files = SiteFiles::of(&interpreter);
        let changed = if undo {
            files.unset()
        } else {
            files.set(&meant.library)
        };
        let word = match (changed.map_err(|error| tell(&error))?, undo) {
            (true, false) => "looks into the library now",
            (false, false) => "looks into the library already",
            (true, true) => "no longer looks into the library",
            (false, true) => "has no such block",
        };
        say(&format!(
            "R {} ({}) {word}",
            interpreter.version,
            interpreter.program.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
