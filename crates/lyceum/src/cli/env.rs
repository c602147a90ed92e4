//! `lyceum env`: the environments that users' servers and kernels run from.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Subcommand;
use lyceum_config::settings::Config;
use lyceum_envs::library::{check_builder, make_builder};
use nix::unistd::geteuid;

use crate::cli::{FAILED, Report};

mod kernels;
mod python;
mod r;
mod shell;

/// What can be done with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Python environments: builds them, switches between their generations, and changes their packages
    #[command(subcommand)]
    Python(python::PythonCommand),
    /// R versions, and libraries of packages for everybody: builds them, and switches between their generations
    #[command(subcommand)]
    R(r::RCommand),
    /// Kernels: which ones people find in JupyterLab, and places those of the configuration
    #[command(subcommand)]
    Kernels(kernels::KernelsCommand),
    /// Shows, writes or removes what shells have of the environments: tools on PATH, and variables
    ///
    /// Login shells, terminals and ssh sessions of bash, zsh and other shells then have the same as users' servers. After
    /// a change of `[env]` or `[shared]`, write it again.
    Shell(shell::ShellArgs),
    /// Makes the environments as the files say: builds what differs, and switches to it
    ///
    /// Python environments, libraries of R, kernels, and what shells have of them, if `lyceum env shell --write` was run
    /// before. One that fails stays as it is, and the others are done.
    Apply(python::ApplyArgs),
}

pub(in crate::cli) use python::library as python_library;
pub(crate) use shell::settings as shell_settings;

pub(crate) fn run(command: &EnvCommand) -> ExitCode {
    // What root makes here is for everybody to read, whatever the umask of root's shell is.
    if geteuid().is_root() {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    }
    let result = match command {
        EnvCommand::Python(command) => {
            python::run(command).and_then(|code| kernels::follow(command.switches(), code))
        }
        EnvCommand::R(command) => {
            r::run(command).and_then(|code| kernels::follow(command.switches(), code))
        }
        EnvCommand::Kernels(command) => kernels::run(command),
        EnvCommand::Shell(args) => shell::run(args),
        EnvCommand::Apply(args) => apply(args),
    };
    match result {
        Ok(code) => code,
        Err(report) => report.print(),
    }
}

/// Refuses to build under an account of a person.
fn check_builders(config: &Config) -> Result<(), Report> {
    let python = config.env.python.values().map(|one| &one.build_as);
    let r = config.env.r.values().map(|one| &one.build_as);
    for name in python.chain(r) {
        check_builder(name, config.accounts.uid_range).map_err(|error| {
            let hint = error.hint().unwrap_or_default();
            Report::new(&error).hint(hint)
        })?;
    }
    Ok(())
}

/// Makes the usual account for building where no package of ours has made it.
fn ensure_builder(name: &str) -> Result<(), Report> {
    let made = make_builder(name).map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        Report::new(&error).hint(hint)
    })?;
    if made {
        let text = "under which packages are built";
        let _ = writeln!(io::stderr(), "made the account `{name}`, {text}");
    }
    Ok(())
}

/// Makes everything as the files say.
fn apply(args: &python::ApplyArgs) -> Result<ExitCode, Report> {
    let python = python::apply(args)?;
    let r = r::apply(args.config(), args.is_trial())?;
    let code = if python && r {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    };
    if args.is_trial() {
        return Ok(code);
    }
    shell::follow(args.config())?;
    kernels::follow(Some(args.config()), code)
}
