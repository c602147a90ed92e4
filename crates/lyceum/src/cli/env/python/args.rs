//! What `lyceum env python` can be told.

use clap::{Args, Subcommand};
use lyceum_envs::library::Wish;

use crate::cli::ConfigArgs;

/// What can be done with Python environments.
#[derive(Debug, Subcommand)]
pub(crate) enum PythonCommand {
    /// Builds a new generation beside the one in use, and tries it out; servers get it after `switch`
    ///
    /// Packages keep their versions as far as the requirements let them; `upgrade` takes newer ones.
    Build(BuildArgs),
    /// Lets new servers get another generation: the newest, or the one that is named
    ///
    /// Servers that run stay on theirs.
    Switch {
        /// The environment, and the number of the generation; either can be left out
        #[arg(value_name = "NAME|NUMBER", num_args = 0..=2)]
        what: Vec<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Lets new servers get the generation before the current one again
    Rollback {
        /// The environment [default: the default one]
        name: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Lists generations: how large, of when, which Python, and who uses them
    List {
        /// The environment [default: all]
        name: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Says which packages differ between two generations [default: the current one, and the newest or else the one before]
    Diff {
        /// The environment, and the numbers of the generations; each can be left out
        #[arg(value_name = "NAME|NUMBER", num_args = 0..=3)]
        what: Vec<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Removes old generations that nobody uses; the current one, those after it and the last few before it stay
    Gc {
        /// The environment [default: all]
        name: Option<String>,
        /// Remove nothing, and say what would go
        #[arg(long)]
        dry_run: bool,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Lists the Pythons of this machine that an environment can run on
    Versions {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Adds packages to the requirements file, or changes their versions there, and builds
    ///
    /// If that fails, the file stays as it was.
    Add(PackagesArgs),
    /// Takes packages out of the requirements file, and builds
    ///
    /// If that fails, the file stays as it was.
    Remove(PackagesArgs),
    /// Builds with newer versions, as far as the requirements let them: of the packages that are named, or of all
    Upgrade(UpgradeArgs),
}

/// How to build.
#[derive(Debug, Clone, Args)]
pub(crate) struct HowArgs {
    /// Build nothing, and say which packages would change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Switch to the new generation when it is good
    #[arg(long, overrides_with = "no_switch")]
    pub(super) switch: bool,
    /// Do not switch, as usual
    #[arg(long)]
    pub(super) no_switch: bool,
    /// Build also if nothing would change
    #[arg(long)]
    pub(super) force: bool,
    /// The Python: a version such as 3.13, or a path
    #[arg(long, value_name = "VERSION|PATH")]
    pub(super) python: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The environment [default: the default one]
    pub(super) name: Option<String>,
    /// Take exactly the packages of the lock file
    #[arg(long)]
    pub(super) from_lock: bool,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PackagesArgs {
    /// Packages, as in the requirements file: `pandas`, `'numpy>=2'`, a path or an address
    #[arg(required = true)]
    pub(super) packages: Vec<String>,
    /// The environment [default: the default one]
    #[arg(long = "env", value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// Packages [default: all]
    pub(super) packages: Vec<String>,
    /// The environment [default: the default one]
    #[arg(long = "env", value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

impl PythonCommand {
    /// The configuration of a command that may have switched to another generation.
    pub(in crate::cli::env) fn switches(&self) -> Option<&ConfigArgs> {
        let how = match self {
            Self::Switch { config, .. } | Self::Rollback { config, .. } => return Some(config),
            Self::Build(args) => &args.how,
            Self::Add(args) | Self::Remove(args) => &args.how,
            Self::Upgrade(args) => &args.how,
            _ => return None,
        };
        (how.switch && !how.dry_run).then_some(&how.config)
    }
}

impl HowArgs {
    pub(super) fn wish(&self) -> Wish {
        Wish {
            dry_run: self.dry_run,
            force: self.force,
            python: self.python.clone(),
            ..Wish::default()
        }
    }
}
