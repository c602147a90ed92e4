//! `lyceum env`: the environments that users' servers and kernels run from.

use std::process::ExitCode;

use clap::Subcommand;

mod python;

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Python environments: builds them, switches between their generations, and changes their packages
    #[command(subcommand)]
    Python(python::PythonCommand),
    /// Makes the environments as the files say: builds what differs, and switches to it
    Apply(python::ApplyArgs),
}

pub(crate) fn run(command: &EnvCommand) -> ExitCode {
    let result = match command {
        EnvCommand::Python(command) => python::run(command),
        EnvCommand::Apply(args) => python::apply(args),
    };
    match result {
        Ok(code) => code,
        Err(report) => report.print(),
    }
}
