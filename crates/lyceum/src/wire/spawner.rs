//! What starts users' servers, and which of their static files Lyceum answers.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use lyceum_config::settings::{Config, RunAs, SpawnerConfig};
use lyceum_core::seams::Spawner;
use lyceum_gateway::{RouteTable, StaticSets};
use lyceum_spawn::brokered::{Brokered, Kind};
use lyceum_spawn::process::{Places, ProcessSpawner};

use super::{broker, profiles, python};
use crate::pythons::WatchedPythons;
use crate::statics::Statics;

/// Makes the configured spawner. `programs` are folders that come first on the servers' `PATH`.
pub(super) async fn make(
    config: &Config,
    programs: Vec<PathBuf>,
    instance: &str,
    open_files: Option<u64>,
    routes: &RouteTable,
    pythons: Option<&Arc<WatchedPythons>>,
) -> anyhow::Result<(Arc<dyn Spawner>, Option<Statics>)> {
    let mut process = match config.spawner.clone() {
        SpawnerConfig::Process(process) if process.run_as == RunAs::Lyceum => process,
        SpawnerConfig::Process(process) => {
            let static_files = process.static_files;
            return Ok(brokered(
                config,
                Kind::Process,
                static_files,
                routes,
                pythons,
            ));
        }
        SpawnerConfig::Systemd(systemd) => {
            return Ok(brokered(
                config,
                Kind::Systemd,
                systemd.static_files,
                routes,
                pythons,
            ));
        }
    };
    let static_files = process.static_files;
    process.environment = python::variables(config, &process.environment);
    let places = Places {
        data_dir: config.hub.data_dir.clone(),
        runtime_dir: config.hub.runtime_dir.clone(),
        programs,
        open_files,
    };
    let spawner = Arc::new(
        ProcessSpawner::new(process, places, instance)
            .and_then(|spawner| spawner.with_profiles(profiles::spawner(config)))
            .map(|spawner| spawner.with_python(python::folders(config)))
            .context("could not set up the spawner `process`")?,
    );
    let mut statics = None;
    if static_files {
        let asked = Arc::clone(&spawner);
        let expected = match pythons {
            Some(_) => None,
            None => tokio::task::spawn_blocking(move || asked.find_environment()).await?,
        };
        statics = Some(Statics {
            sets: StaticSets::new(),
            cache: config.hub.data_dir.join("static-cache"),
            expected,
            pythons: pythons.cloned(),
            routes: routes.clone(),
        });
    }
    Ok((spawner, statics))
}

/// Has the broker start the servers.
fn brokered(
    config: &Config,
    kind: Kind,
    static_files: bool,
    routes: &RouteTable,
    pythons: Option<&Arc<WatchedPythons>>,
) -> (Arc<dyn Spawner>, Option<Statics>) {
    let spawner = Brokered::new(broker::client(config), kind, !config.profiles.is_empty());
    let statics = static_files.then(|| Statics {
        sets: StaticSets::new(),
        cache: config.hub.data_dir.join("static-cache"),
        // The broker alone knows the command that a server starts with; its first start tells.
        expected: None,
        pythons: pythons.cloned(),
        routes: routes.clone(),
    });
    (Arc::new(spawner), statics)
}
