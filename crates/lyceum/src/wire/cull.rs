//! The culler's settings from `[cull]`, and the small extension that tells people of it at their JupyterLab pages.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use lyceum_config::settings::{Config, CullOverride, OffOrDuration};
use lyceum_core::{GroupName, HumanDuration, random};
use lyceum_hub::CullSettings;
use lyceum_hub::culler::Pressure;
use lyceum_hub::culler::rules::{Limit, Override, Rules};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::broker;

/// How long after Lyceum's start nothing is culled, if nothing shorter is configured.
const GRACE: Duration = Duration::from_mins(5);
/// How often servers are looked at, if nothing shorter is configured.
const CHECK: Duration = Duration::from_mins(1);
/// What the page loads.
const NOTICES: &str = include_str!("../../labextension/notices.js");

/// Makes the settings; looks into the system's time zones.
pub(super) fn settings(config: &Config) -> anyhow::Result<CullSettings> {
    let cull = &config.cull;
    let enabled = config.effective_cull_enabled();
    if !enabled && cull.enabled.is_none() {
        tracing::info!(
            "`[cull]` is off, as a service runs jupyterhub-idle-culler; `cull.enabled` decides otherwise"
        );
    }
    let mut groups = std::collections::BTreeMap::new();
    for (name, one) in &cull.groups {
        let name = GroupName::parse(name)
            .with_context(|| format!("`cull.groups.{name}` cannot be the name of a group"))?;
        groups.insert(name, overridden(one));
    }
    let profiles = cull.profiles.iter();
    let rules = Rules {
        enabled,
        idle: limit(cull.idle.0),
        max_age: limit(cull.max_age.0),
        named: overridden(&cull.named),
        groups,
        profiles: profiles
            .map(|(name, one)| (name.clone(), overridden(one)))
            .collect(),
        admins: cull.admins,
        open_tab: limit(cull.open_tab.0),
        busy_limit: cull.busy_limit.get(),
    };
    let shortest = shortest(&rules, cull.warn.get());
    Ok(CullSettings {
        rules,
        warn: cull.warn.get(),
        remove_named: cull.remove_named,
        class_hours: cull.hours()?,
        pressure: cull.pressure.memory.map(|memory| Pressure {
            memory: memory.share(),
            idle: cull.pressure.idle.get(),
            meminfo: PathBuf::from("/proc/meminfo"),
        }),
        check: CHECK.min(shortest / 4).max(Duration::from_secs(1)),
        grace: GRACE.min(shortest),
    })
}

fn limit(limit: Option<HumanDuration>) -> Limit {
    limit.map_or(Limit::Off, |limit| Limit::After(limit.get()))
}

fn overridden(one: &CullOverride) -> Override {
    let value = |value: Option<OffOrDuration>| value.map(|value| limit(value.0));
    Override {
        enabled: one.enabled,
        idle: value(one.idle),
        max_age: value(one.max_age),
    }
}

/// The shortest of all times after which something is to happen.
fn shortest(rules: &Rules, warn: Duration) -> Duration {
    let overrides = std::iter::once(&rules.named)
        .chain(rules.groups.values())
        .chain(rules.profiles.values());
    let limits = overrides.flat_map(|one| [one.idle, one.max_age]).flatten();
    let limits = limits
        .chain([rules.idle, rules.max_age])
        .filter_map(|limit| match limit {
            Limit::After(limit) => Some(limit),
            Limit::Off => None,
        });
    let warn = (!warn.is_zero()).then_some(warn);
    limits.chain(warn).min().unwrap_or(Duration::MAX)
}

/// Installs the extension, if there will be anything to tell: of a stop, or of another generation of the Python environment.
/// That it cannot be installed is no reason not to start.
pub(super) fn jupyter_path(settings: &CullSettings, config: &Config) -> Option<PathBuf> {
    let warns = settings.runs() && !settings.warn.is_zero();
    if !warns && config.env.python.is_empty() {
        return None;
    }
    if config.spawner.is_brokered() {
        // Users' accounts cannot look into our folders: the broker, which starts their servers, has one for them.
        return Some(broker::jupyter_path(config));
    }
    // Servers run under our own account, and nobody else has anything to look for there.
    let installed = install_extension(&config.hub.data_dir.join("jupyter"), Readers::Owner);
    if let Err(error) = &installed {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "people will not be told at their JupyterLab pages what concerns their servers, such as that they are about \
             to be stopped, as the extension for that could not be written"
        );
    }
    installed.ok()
}

/// Who can read the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The account that writes it.
    Owner,
    /// Every account.
    Everybody,
}

impl Readers {
    fn of_folders(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Everybody => 0o755,
        }
    }

    fn of_files(self) -> u32 {
        self.of_folders() & 0o666
    }
}

/// Writes the extension into a folder, and gives the folder: what servers are told as `JUPYTER_PATH`. Their accounts
/// must be able to read it.
pub(crate) fn install_extension(folder: &Path, readers: Readers) -> io::Result<PathBuf> {
    let package = folder.join("labextensions/@lyceum/notices");
    let scripts = package.join("static");
    for folder in [
        folder,
        &folder.join("labextensions"),
        &folder.join("labextensions/@lyceum"),
        &package,
        &scripts,
    ] {
        DirBuilder::new()
            .recursive(true)
            .mode(readers.of_folders())
            .create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(readers.of_folders()))?;
    }
    // Browsers keep scripts by their names.
    let hash = random::to_hex(&Sha256::digest(NOTICES));
    let script = format!("remoteEntry.{}.js", hash.get(..20).unwrap_or_default());
    write(&scripts.join(&script), NOTICES, readers)?;
    let description = json!({
        "name": "@lyceum/notices",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Tells people that their server is about to be stopped.",
        "license": "MIT OR Apache-2.0",
        "jupyterlab": {
            "_build": { "load": format!("static/{script}") },
        },
    });
    let description = format!("{description:#}\n");
    write(&package.join("package.json"), &description, readers)?;
    for entry in fs::read_dir(&scripts)?.flatten() {
        if entry.file_name() != script.as_str() {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(folder.to_owned())
}

/// Writes a file, whole or not at all.
fn write(path: &Path, text: &str, readers: Readers) -> io::Result<()> {
    let new = path.with_extension(format!("{}.new", random::hex(4)));
    let written = fs::write(&new, text)
        .and_then(|()| fs::set_permissions(&new, Permissions::from_mode(readers.of_files())))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn files(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_extension_is_readable_names_its_script_and_replaces_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = install_extension(folder.path(), Readers::Everybody).unwrap();
        let package = path.join("labextensions/@lyceum/notices");
        let scripts = package.join("static");
        fs::write(scripts.join("remoteEntry.old.js"), "old").unwrap();
        let again = install_extension(folder.path(), Readers::Everybody).unwrap();
        assert_eq!(again, path);
        let text = fs::read_to_string(package.join("package.json")).unwrap();
        let description: serde_json::Value = serde_json::from_str(&text).unwrap();
        let load = description["jupyterlab"]["_build"]["load"]
            .as_str()
            .unwrap();
        assert_eq!(fs::read_to_string(package.join(load)).unwrap(), NOTICES);
        assert_eq!(
            files(&package),
            BTreeSet::from(["package.json".to_owned(), "static".to_owned()])
        );
        assert_eq!(files(&scripts).len(), 1);
        for file in [package.join(load), package.join("package.json")] {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
        install_extension(folder.path(), Readers::Owner).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&scripts), 0o700);
        assert_eq!(mode(&package.join("package.json")), 0o600);
    }

    #[test]
    fn the_defaults_warn_and_wait_after_a_start() {
        let settings = settings(&Config::default()).unwrap();
        assert!(settings.runs());
        assert_eq!(settings.rules.idle, Limit::After(Duration::from_hours(2)));
        assert_eq!((settings.grace, settings.check), (GRACE, CHECK));
    }

    #[test]
    fn a_service_that_culls_switches_ours_off_unless_somebody_says_otherwise() {
        let mut config = Config::default();
        config
            .services
            .push(lyceum_config::settings::ServiceConfig {
                command: ["python3", "-m", "jupyterhub_idle_culler"]
                    .map(str::to_owned)
                    .to_vec(),
                ..Default::default()
            });
        assert!(!settings(&config).unwrap().runs());
        config.cull.enabled = Some(true);
        assert!(settings(&config).unwrap().runs());
    }
}
