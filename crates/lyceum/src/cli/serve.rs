//! `lyceum serve`: the hub and its gateway, as configured.

use std::process::ExitCode;

use lyceum_config::settings::{Config, SpawnerConfig};
use lyceum_gateway::{Gateway, ListenAddress};
use nix::unistd::geteuid;

use super::report::Report;
use super::{BAD_CONFIGURATION, ConfigArgs, ServeArgs};
use crate::lifecycle::{self, AtEnd, Signals};
use crate::places::{lock_folder, own_folder};
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
    let addresses: Vec<ListenAddress> = config.gateway.addresses().cloned().collect();
    refuse_public_root(&config, &addresses)?;
    own_folder(&config.hub.data_dir, "`hub.data_dir`")?;
    let _lock = lock_folder(&config.hub.data_dir)?;
    own_folder(&config.hub.runtime_dir, "`hub.runtime_dir`")?;
    let gateway =
        Gateway::bind(config.gateway.clone()).map_err(|error| Report::of_gateway(&error))?;
    refuse_public_passed(&config, gateway.local_addrs())?;
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let extras = Extras {
        gateway,
        authenticator: None,
        programs: Vec::new(),
    };
    let outcome = runtime.block_on(async {
        let signals = Signals::new()?;
        let assembling = wire::assemble(config, extras);
        Box::pin(lifecycle::run(
            assembling,
            signals,
            AtEnd::KeepServers,
            |_| {},
        ))
        .await
    });
    lifecycle::end(runtime);
    outcome.map(drop).map_err(|error| Report::of_chain(&error))
}

/// The spawner `process` runs everybody's server under Lyceum's own account. As root, that is a root shell
/// for everybody who can log in: fine on one's own machine for a trial, never where others can reach it.
fn refuse_public_root(config: &Config, listen: &[ListenAddress]) -> Result<(), Report> {
    if config.spawner.is_brokered() {
        return Ok(());
    }
    let public = listen.iter().find(|address| address.is_public());
    if !geteuid().is_root() {
        if let Some(address) = public {
            tracing::warn!(
                "whoever logs in at {address} runs programs under Lyceum's own account, and can read all that it keeps"
            );
        }
        return Ok(());
    }
    if let Some(address) = public {
        return Err(Report::text(format!(
            "error: as root, the spawner `process` would give everybody who logs in at {address} a shell as root"
        ))
        .hint("run Lyceum as a user of its own (`User=` in its unit), or listen on 127.0.0.1")
        .code(BAD_CONFIGURATION));
    }
    tracing::warn!(
        "everybody who logs in gets a server that runs as root; run Lyceum as a user of its own"
    );
    Ok(())
}

/// What the check of the configuration says of addresses that others can reach, for sockets that systemd passed:
/// their addresses are known only now.
fn refuse_public_passed(config: &Config, bound: &[ListenAddress]) -> Result<(), Report> {
    let mut listen = config.gateway.addresses();
    let passed = |address: &ListenAddress| matches!(address, ListenAddress::Systemd(_));
    if !listen.any(passed) || config.gateway.addresses().any(ListenAddress::is_public) {
        return Ok(());
    }
    let SpawnerConfig::Process(process) = &config.spawner else {
        return Ok(());
    };
    if config.spawner.is_brokered() {
        return Ok(());
    }
    match bound.iter().find(|address| address.is_public()) {
        Some(address) if !process.allow_public => Err(Report::text(format!(
            "error: others can reach {address}, which systemd has passed, and the spawner `process` runs all \
             servers under Lyceum's own account"
        ))
        .hint(
            "write `127.0.0.1` into `ListenStream=` of the socket's unit, or, if all who can log in trust each \
             other, set `spawner.allow_public = true`",
        )
        .code(BAD_CONFIGURATION)),
        Some(_) => refuse_public_root(config, bound),
        None => Ok(()),
    }
}
