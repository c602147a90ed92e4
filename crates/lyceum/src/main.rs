//! The program `lyceum`: a Jupyter classroom on one server.

use std::process::ExitCode;

use clap::Parser as _;

mod adapters;
mod cli;
mod lifecycle;
mod logging;
mod places;
mod wire;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
