//! The library that a command is about, as the configuration describes it.

use std::path::PathBuf;

use lyceum_config::settings::{EnvConfig, REnvConfig};
use lyceum_envs::library::builder;
use lyceum_envs::r::{Interpreter, PackageList, RError, RLibrary, RLock, RSpec};

use super::{LibraryArgs, tell};
use crate::cli;
use crate::cli::Report;
use crate::cli::env::{check_builders, ensure_builder};

/// A library, as the configuration describes it.
pub(super) struct Meant {
    pub(super) name: String,
    pub(super) env: EnvConfig,
    pub(super) config: REnvConfig,
    pub(super) list: PathBuf,
    pub(super) library: RLibrary,
}

impl Meant {
    pub(super) fn find(args: &LibraryArgs) -> Result<Self, Report> {
        let config = cli::config::load_to_prepare(&args.config)?.config;
        check_builders(&config)?;
        let env = config.env;
        let name = args
            .library
            .as_deref()
            .or(env.default_r())
            .unwrap_or("base")
            .to_owned();
        let (Some(config), Some(list)) = (env.r.get(&name).cloned(), env.r_packages(&name)) else {
            let names: Vec<&str> = env.r.keys().map(String::as_str).collect();
            let report = if names.is_empty() {
                Report::text("error: no R library is configured")
                    .hint("add a section `[env.r.base]`; `lyceum config explain env.r` tells more")
            } else {
                Report::text(format!("error: no R library `{name}` is configured"))
                    .hint(format!("there is {}", names.join(", ")))
            };
            return Err(report);
        };
        let library = RLibrary::new(&env.folder, &name).map_err(|error| tell(&error))?;
        Ok(Self {
            name,
            env,
            config,
            list,
            library,
        })
    }

    pub(super) fn interpreter(&self) -> Result<Interpreter, Report> {
        lyceum_envs::r::find(&self.config.r).map_err(|error| tell(&error))
    }

    /// Every R of the machine, with those that the configuration names.
    pub(super) fn interpreters(&self) -> Vec<Interpreter> {
        interpreters(&self.env)
    }

    pub(super) fn series(&self) -> Result<String, Report> {
        Ok(self.interpreter()?.version.series())
    }

    pub(super) fn tell(&self, error: &RError) -> Report {
        match error {
            RError::Env(lyceum_envs::EnvError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Report::text(format!("error: the library `{}` has no list of packages", self.name)).hint(format!(
                    "write {}, or begin one with `lyceum env r add PACKAGE` or `lyceum env r import requirements.R`",
                    self.list.display()
                ))
            }
            error => tell(error),
        }
    }

    /// The lock file beside the list.
    pub(super) fn lock(&self) -> Result<RLock, Report> {
        let path = RLock::beside(&self.list);
        RLock::read(&path).map_err(|error| match &error {
            RError::Env(lyceum_envs::EnvError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Report::text(format!(
                    "error: the library `{}` has no lock file {}",
                    self.name,
                    path.display()
                ))
                .hint("`lyceum env r build` writes one")
            }
            error => tell(error),
        })
    }

    /// Writes the lock file of what was built beside the list, unless it was what was built from.
    pub(super) fn write_lock(&self, spec: &RSpec) -> Result<(), Report> {
        if spec.lock.is_none() {
            let series = spec.interpreter.version.series();
            self.library
                .write_lock(&series, &spec.list, &self.list)
                .map_err(|error| tell(&error))?;
        }
        Ok(())
    }

    pub(super) fn spec(&self, list: PackageList) -> Result<RSpec, Report> {
        ensure_builder(&self.config.build_as)?;
        Ok(RSpec {
            interpreter: self.interpreter()?,
            list,
            repositories: self.config.repositories.clone(),
            bioconductor: self.config.bioconductor.clone(),
            prefer_apt: self.config.prefer_apt,
            lock: None,
            account: builder(&self.config.build_as).map_err(|error| tell(&error.into()))?,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

/// Every R of the machine, and those elsewhere that the configuration names.
pub(super) fn interpreters(env: &EnvConfig) -> Vec<Interpreter> {
    let mut found = lyceum_envs::r::find_all();
    for config in env.r.values().filter(|config| !config.r.is_empty()) {
        if let Ok(one) = lyceum_envs::r::find(&config.r)
            && found.iter().all(|other| other.home != one.home)
        {
            found.push(one);
        }
    }
    found
}
