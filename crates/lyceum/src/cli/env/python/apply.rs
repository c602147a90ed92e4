//! `lyceum env apply`, the part of Python: makes the environments as the files say.

use clap::Args;
use lyceum_envs::library::Wish;

use super::{HowArgs, Work, build_one, library, read, show, told};
use crate::cli::{ConfigArgs, Report, say};

/// What `lyceum env apply` can be told.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Change nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl ApplyArgs {
    /// Whether nothing may be changed.
    pub(in crate::cli::env) fn is_trial(&self) -> bool {
        self.dry_run
    }

    /// Which configuration is meant.
    pub(in crate::cli::env) fn config(&self) -> &ConfigArgs {
        &self.config
    }
}

/// Builds the Python environments that are not as the files say, and switches to them. One that fails stays as it is, and
/// the others are done. Gives whether all went well.
pub(in crate::cli::env) fn apply(args: &ApplyArgs) -> Result<bool, Report> {
    // Without any, R's libraries and the rest are done all the same.
    let config = read(&args.config)?;
    let mut good = true;
    for name in config.env.python.keys() {
        let library = library(&config, Some(name))?;
        let due = match library.due() {
            Ok(due) => due,
            Err(error) => {
                told(&error).print();
                good = false;
                continue;
            }
        };
        let Some(due) = due else {
            say(&format!("{name}: is as the files say"));
            continue;
        };
        if args.dry_run {
            say(&format!("{name}: would be built: {}", due.why));
            continue;
        }
        say(&format!("{name}: {}", due.why));
        let how = HowArgs {
            dry_run: false,
            switch: true,
            no_switch: false,
            force: false,
            python: None,
            json: false,
            config: args.config.clone(),
        };
        let wish = Wish {
            from_lock: due.from_lock,
            ..Wish::default()
        };
        match build_one(&library, &how, &Work::Build(wish)) {
            Ok((built, switched)) => {
                say(show::built(&library, &built, false, switched).trim_end());
            }
            Err(report) => {
                report.print();
                good = false;
            }
        }
    }
    Ok(good)
}
