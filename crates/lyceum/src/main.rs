//! The program `lyceum`: a Jupyter classroom on one server.

use std::process::ExitCode;

use clap::Parser as _;

mod adapters;
mod admin;
mod cli;
mod lifecycle;
mod logging;
mod memory;
mod places;
mod pythons;
mod statics;
mod wire;

fn main() -> ExitCode {
    memory::share_arenas();
    cli::Cli::parse().run()
}
