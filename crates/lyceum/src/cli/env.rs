//! `lyceum env`: the environments that users' servers and kernels run from.

use std::process::ExitCode;

use clap::Subcommand;

mod python;
mod r;

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Python environments: builds them, switches between their generations, and changes their packages
    #[command(subcommand)]
    Python(python::PythonCommand),
    /// R versions, and libraries of packages for everybody: builds them, and switches between their generations
    #[command(subcommand)]
    R(r::RCommand),
}

pub(crate) fn run(command: &EnvCommand) -> ExitCode {
    let result = match command {
        EnvCommand::Python(command) => python::run(command),
        EnvCommand::R(command) => r::run(command),
    };
    match result {
        Ok(code) => code,
        Err(report) => report.print(),
    }
}
