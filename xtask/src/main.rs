//! The project's own tools, started as `cargo xtask …`. Nothing here is part of the product.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks to a terminal"
)]

mod conformance;
mod failures;
mod shell;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own tools.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Installs what the tests need, and runs all of them
    Test(test::Options),
    /// Prepares the Python environments of the tests, and prints the variables by which tests find them
    Envs,
    /// Runs the black-box cases against Lyceum or JupyterHub, or compares the two
    Conformance(conformance::Options),
    /// Checks the rules of the house: dependencies between crates, file sizes, first lines
    Tidy,
    /// Checks licences, banned crates and sources of dependencies (installs cargo-deny if it is missing)
    Deny,
}

fn main() -> ExitCode {
    let root = root();
    let result = match Arguments::parse().command {
        Tool::Test(options) => test::run(&root, &options),
        Tool::Envs => test::environments(&root),
        Tool::Conformance(options) => conformance::run(&root, &options),
        Tool::Tidy => tidy::run(&root),
        Tool::Deny => test::deny(&root),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
