//! `lyceum serve`: the hub and its gateway, as configured.

use std::process::ExitCode;

use lyceum_gateway::Gateway;

use super::report::Report;
use super::{ConfigArgs, ServeArgs};
use crate::lifecycle::{self, AtEnd};
use crate::places::own_folder;
use crate::wire::{self, Extras};
use crate::{cli, logging};

pub(crate) fn run(args: &ServeArgs) -> ExitCode {
    match serve(&args.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(),
    }
}

fn serve(args: &ConfigArgs) -> Result<(), Report> {
    let loaded = cli::config::load(args)?;
    let config = loaded.config;
    logging::to_stderr(&config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{}", warning.render(false));
    }
    own_folder(&config.hub.data_dir, "`hub.data_dir`")?;
    own_folder(&config.hub.runtime_dir, "`hub.runtime_dir`")?;
    let gateway =
        Gateway::bind(config.gateway.clone()).map_err(|error| Report::of_gateway(&error))?;
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let extras = Extras {
        gateway,
        authenticator: None,
        programs: Vec::new(),
    };
    runtime
        .block_on(async {
            let assembly = wire::assemble(config, extras).await?;
            lifecycle::run(assembly, AtEnd::KeepServers, |_| {}).await
        })
        .map_err(|error| Report::of_chain(&error))
}
