//! `lyceum env python`: generations of Python environments.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli;
use crate::cli::{ConfigArgs, Report, say};

/// What can be done with Python environments.
#[derive(Debug, Subcommand)]
pub(crate) enum PythonCommand {
    /// Lists the environments and where they are
    List(ConfigArgs),
}

pub(super) fn run(command: &PythonCommand) -> Result<ExitCode, Report> {
    match command {
        PythonCommand::List(config) => {
            let env = cli::config::load(config)?.config.env;
            if env.python.is_empty() {
                return Err(
                    Report::text("error: no Python environment is configured").hint(
                        "add a section `[env.python.base]`; `lyceum config explain env` tells more",
                    ),
                );
            }
            let mut text = String::new();
            for name in env.python.keys() {
                let _ = writeln!(text, "{name}  {}", env.python_folder(name).display());
            }
            say(text.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}
