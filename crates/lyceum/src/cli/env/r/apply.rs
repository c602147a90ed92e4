//! `lyceum env apply`, the part of R: makes the libraries as their lists say.

use lyceum_envs::r::{PackageList, Upgrade};

use super::{LibraryArgs, Meant, block_on, show, switched};
use crate::cli;
use crate::cli::progress::Bar;
use crate::cli::{ConfigArgs, Report, say};

/// Builds what is not as the lists say, and switches to it. One that fails stays as it is, and the others are done. Gives
/// whether all went well.
pub(in crate::cli::env) fn apply(config: &ConfigArgs, is_trial: bool) -> Result<bool, Report> {
    let names: Vec<String> = cli::config::load_to_prepare(config)?
        .config
        .env
        .r
        .into_keys()
        .collect();
    let mut good = true;
    for name in names {
        let library = LibraryArgs {
            library: Some(name),
            config: config.clone(),
        };
        good &= one(&library, is_trial).unwrap_or_else(|report| {
            report.print();
            false
        });
    }
    Ok(good)
}

fn one(library: &LibraryArgs, is_trial: bool) -> Result<bool, Report> {
    let meant = Meant::find(library)?;
    let list = PackageList::read(&meant.list).map_err(|error| meant.tell(&error))?;
    let spec = meant.spec(list)?;
    let bar = Bar::new();
    let report = if is_trial {
        block_on(meant.library.plan(&spec, &Upgrade::Nothing, &bar))
    } else {
        block_on(meant.library.build(&spec, &Upgrade::Nothing, &bar))
    };
    bar.clear();
    let report = report?;
    say(show::built(&report, &spec, is_trial).trim_end());
    if is_trial || !report.complete {
        return Ok(report.complete);
    }
    meant.write_lock(&spec)?;
    // Without a new one, the newest is as the list says; somebody may have gone back from it.
    let (now, before) = block_on(meant.library.switch(&report.series, report.generation))?;
    switched(&meant, &report.series, now, before)?;
    Ok(true)
}
