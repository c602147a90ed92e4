//! `lyceum env`: the environments that users' servers and kernels run from.

use std::process::ExitCode;

use clap::Subcommand;

mod kernels;
mod python;

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Python environments: builds them, switches between their generations, and changes their packages
    #[command(subcommand)]
    Python(python::PythonCommand),
    /// Kernels: which ones people find in JupyterLab, and places those of the configuration
    #[command(subcommand)]
    Kernels(kernels::KernelsCommand),
}

pub(crate) fn run(command: &EnvCommand) -> ExitCode {
    let result = match command {
        EnvCommand::Python(command) => python::run(command),
        EnvCommand::Kernels(command) => kernels::run(command),
    };
    match result {
        Ok(code) => code,
        Err(report) => report.print(),
    }
}
