//! `lyceum env python`: builds Python environments, switches between their generations, and changes their packages.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lyceum_config::settings::EnvConfig;
use lyceum_envs::library::{Built, Edit, Library, Settings, Upgrade, Wish, interpreters};
use lyceum_envs::{EnvError, Host};
use serde::Serialize;

use crate::cli;
use crate::cli::env::check_builders;
use crate::cli::progress::Bar;
use crate::cli::{ConfigArgs, Report, say};
use crate::lifecycle::{self, Signals};

mod apply;
mod show;

pub(super) use apply::ApplyArgs;
pub(super) use apply::apply;

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
    dry_run: bool,
    /// Switch to the new generation when it is good
    #[arg(long, overrides_with = "no_switch")]
    switch: bool,
    /// Do not switch, as usual
    #[arg(long)]
    no_switch: bool,
    /// Build also if nothing would change
    #[arg(long)]
    force: bool,
    /// The Python: a version such as 3.13, or a path
    #[arg(long, value_name = "VERSION|PATH")]
    python: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The environment [default: the default one]
    name: Option<String>,
    /// Take exactly the packages of the lock file
    #[arg(long)]
    from_lock: bool,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PackagesArgs {
    /// Packages, as in the requirements file: `pandas`, `'numpy>=2'`, a path or an address
    #[arg(required = true)]
    packages: Vec<String>,
    /// The environment [default: the default one]
    #[arg(long = "env", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// Packages [default: all]
    packages: Vec<String>,
    /// The environment [default: the default one]
    #[arg(long = "env", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

impl PythonCommand {
    /// The configuration of a command that may have switched to another generation.
    pub(super) fn switches(&self) -> Option<&ConfigArgs> {
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
    fn wish(&self) -> Wish {
        Wish {
            dry_run: self.dry_run,
            force: self.force,
            python: self.python.clone(),
            ..Wish::default()
        }
    }
}

pub(super) fn run(command: &PythonCommand) -> Result<ExitCode, Report> {
    match command {
        PythonCommand::Build(args) => {
            let wish = Wish {
                from_lock: args.from_lock,
                ..args.how.wish()
            };
            build(args.name.as_deref(), &args.how, &Work::Build(wish))
        }
        PythonCommand::Add(args) => {
            let packages = args.packages.iter().map(|package| whole_path(package));
            let edit = Edit::Add(packages.collect());
            build(args.name.as_deref(), &args.how, &Work::Edit(edit))
        }
        PythonCommand::Remove(args) => {
            let edit = Edit::Remove(args.packages.clone());
            build(args.name.as_deref(), &args.how, &Work::Edit(edit))
        }
        PythonCommand::Upgrade(args) => {
            let upgrade = match args.packages.as_slice() {
                [] => Upgrade::All,
                packages => Upgrade::Packages(packages.to_vec()),
            };
            let wish = Wish {
                upgrade,
                ..args.how.wish()
            };
            build(args.name.as_deref(), &args.how, &Work::Build(wish))
        }
        PythonCommand::Switch { what, config } => {
            let env = load(config)?;
            let (name, numbers) = split(&env, what, 1)?;
            let library = library(&env, name.as_deref())?;
            let switched = library.switch(numbers.first().copied());
            say(&show::switched(
                &library,
                switched.map_err(|error| told(&error))?,
            ));
            Ok(ExitCode::SUCCESS)
        }
        PythonCommand::Rollback { name, config } => {
            let library = library(&load(config)?, name.as_deref())?;
            let switched = library.rollback().map_err(|error| told(&error))?;
            say(&show::switched(&library, switched));
            Ok(ExitCode::SUCCESS)
        }
        PythonCommand::List { name, json, config } => list(name.as_deref(), *json, config),
        PythonCommand::Diff { what, json, config } => {
            let env = load(config)?;
            let (name, numbers) = split(&env, what, 2)?;
            let library = library(&env, name.as_deref())?;
            let mut numbers = numbers.into_iter();
            let (from, to, changes) = library
                .diff(numbers.next(), numbers.next())
                .map_err(|error| told(&error))?;
            if *json {
                return print_json(&changes);
            }
            say(&show::difference(
                &library.settings().name,
                from,
                to,
                &changes,
            ));
            Ok(ExitCode::SUCCESS)
        }
        PythonCommand::Gc {
            name,
            dry_run,
            json,
            config,
        } => gc(name.as_deref(), *dry_run, *json, config),
        PythonCommand::Versions { json, config } => {
            // Of use before there is a configuration, too.
            let environment = match &config.config {
                Some(_) => {
                    let env = read(config)?;
                    let name = env.default_python();
                    name.and_then(|name| env.python.get(name).cloned())
                }
                None => None,
            };
            let build_as = environment.unwrap_or_default().build_as;
            let found = on_runtime(async { Ok(interpreters(&Host::this(), &build_as).await) })?;
            if *json {
                return print_json(&found);
            }
            say(show::versions(&found).trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What shall be done before a new generation is there.
enum Work {
    Build(Wish),
    Edit(Edit),
}

fn build(name: Option<&str>, how: &HowArgs, work: &Work) -> Result<ExitCode, Report> {
    let library = library(&load(&how.config)?, name)?;
    let (built, switched) = build_one(&library, how, work)?;
    if how.json {
        #[derive(Serialize)]
        struct Told<'a> {
            name: &'a str,
            #[serde(flatten)]
            built: &'a Built,
            switched: bool,
        }
        return print_json(&Told {
            name: &library.settings().name,
            built: &built,
            switched,
        });
    }
    say(show::built(&library, &built, how.dry_run, switched).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Builds, and switches if that was asked for.
fn build_one(library: &Library, how: &HowArgs, work: &Work) -> Result<(Built, bool), Report> {
    let bar = if how.json { Bar::quiet() } else { Bar::new() };
    let result = on_runtime(async {
        let mut signals = Signals::new().map_err(|error| Report::of_chain(&error))?;
        let building = async {
            match work {
                Work::Build(wish) => library.build(wish, &bar).await,
                Work::Edit(edit) => library.edit(edit, how.wish(), &bar).await,
            }
        };
        tokio::select! {
            built = building => built.map_err(|error| told(&error)),
            _ = signals.next() => Err(Report::text(
                "Interrupted. What is in use stays as it is; the next build goes on with what was downloaded.",
            )
            .code(130)),
        }
    });
    bar.clear();
    let built = result?;
    let wanted = how.switch && !how.dry_run && library.current() != built.generation;
    if wanted {
        let switched = library.switch(built.generation);
        switched.map_err(|error| told(&error))?;
    }
    Ok((built, wanted))
}

fn list(name: Option<&str>, json: bool, config: &ConfigArgs) -> Result<ExitCode, Report> {
    let env = load(config)?;
    let mut all = std::collections::BTreeMap::new();
    for name in names(&env, name)? {
        let library = library(&env, Some(&name))?;
        let listed = on_runtime(async { library.list().await.map_err(|error| told(&error)) })?;
        all.insert(name, listed);
    }
    if json {
        return print_json(&all);
    }
    say(show::list(&env, &all).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn gc(
    name: Option<&str>,
    dry_run: bool,
    json: bool,
    config: &ConfigArgs,
) -> Result<ExitCode, Report> {
    let env = load(config)?;
    let mut all = std::collections::BTreeMap::new();
    for name in names(&env, name)? {
        let library = library(&env, Some(&name))?;
        if !library.settings().generations().is_dir() {
            continue;
        }
        let bar = Bar::quiet();
        let removal = on_runtime(async {
            library
                .gc(dry_run, &bar)
                .await
                .map_err(|error| told(&error))
        })?;
        all.insert(name, removal);
    }
    if json {
        return print_json(&all);
    }
    say(show::removal(&all, dry_run).trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Runs work to its end, on a runtime of its own.
fn on_runtime<T>(work: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let result = runtime.block_on(work);
    lifecycle::end(runtime);
    result
}

/// The configuration of environments; there may be none.
fn read(config: &ConfigArgs) -> Result<EnvConfig, Report> {
    let config = cli::config::load(config)?.config;
    check_builders(&config)?;
    Ok(config.env)
}

/// The configuration of environments, of which there has to be one.
fn load(config: &ConfigArgs) -> Result<EnvConfig, Report> {
    let env = read(config)?;
    if env.python.is_empty() {
        return Err(
            Report::text("error: no Python environment is configured").hint(
                "add a section `[env.python.base]`; `lyceum config explain env.python` tells more",
            ),
        );
    }
    Ok(env)
}

/// The environments that are meant: the one that is named, or all.
fn names(env: &EnvConfig, name: Option<&str>) -> Result<Vec<String>, Report> {
    match name {
        Some(name) => library(env, Some(name)).map(|_| vec![name.to_owned()]),
        None => Ok(env.python.keys().cloned().collect()),
    }
}

/// The environment of this name, or the default one.
fn library(env: &EnvConfig, name: Option<&str>) -> Result<Library, Report> {
    let name = name.or_else(|| env.default_python()).unwrap_or_default();
    let known = || {
        let names: Vec<_> = env.python.keys().map(|name| format!("`{name}`")).collect();
        Report::text(format!("error: there is no Python environment `{name}`"))
            .hint(format!("configured are {}", names.join(", ")))
            .code(2)
    };
    let (Some(one), Some(requirements)) = (env.python.get(name), env.python_requirements(name))
    else {
        return Err(known());
    };
    let usual = Settings::new(name, &env.folder, &requirements);
    Ok(Library::new(Settings {
        title: one.title(name).to_owned(),
        python: one.python.clone(),
        keep: one.keep,
        smoke: one.smoke.clone(),
        user_packages: one.user_packages,
        wheels: one.wheels.clone(),
        build_as: one.build_as.clone(),
        ..usual
    }))
}

/// A file that is named from here, as the requirements file has to name it; anything else as it is.
fn whole_path(package: &str) -> String {
    let path = std::path::Path::new(package);
    // Not `pandas`, also where there is a file of that name.
    let is_path = [".whl", ".gz", ".zip"]
        .iter()
        .any(|end| package.ends_with(end));
    match std::path::absolute(path) {
        Ok(whole) if is_path && path.is_file() => whole.display().to_string(),
        _ => package.to_owned(),
    }
}

/// Tells names of environments from numbers of generations.
fn split(
    env: &EnvConfig,
    words: &[String],
    most: usize,
) -> Result<(Option<String>, Vec<u32>), Report> {
    let mut rest = words;
    let mut name = None;
    if let Some((first, others)) = words.split_first()
        && (env.python.contains_key(first) || first.parse::<u32>().is_err())
    {
        name = Some(first.clone());
        rest = others;
    }
    let numbers: Result<Vec<u32>, _> = rest.iter().map(|word| word.parse()).collect();
    match numbers {
        Ok(numbers) if numbers.len() <= most => Ok((name, numbers)),
        _ => Err(Report::text("error: a generation is a number".to_owned())
            .hint("`lyceum env python list` lists what there is")
            .code(2)),
    }
}

/// Tells what failed, the likely cause, and what to do.
fn told(error: &EnvError) -> Report {
    let mut report = Report::new(error);
    if let Some(details) = error.details() {
        report = report.detail(details);
    }
    match error.server_hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

fn print_json<T: Serialize>(value: &T) -> Result<ExitCode, Report> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Report::new(&error))?;
    say(&text);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use lyceum_config::settings::PythonEnvConfig;

    use super::*;

    #[test]
    fn names_and_numbers_are_told_apart() {
        let mut env = EnvConfig::default();
        env.python
            .insert("base".to_owned(), PythonEnvConfig::default());
        env.python
            .insert("7".to_owned(), PythonEnvConfig::default());
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let split = |text: &str| split(&env, &words(text), 2);
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(split("").unwrap(), (None, vec![]));
        assert_eq!(split("base").unwrap(), (named("base"), vec![]));
        assert_eq!(split("3 4").unwrap(), (None, vec![3, 4]));
        assert_eq!(split("base 3").unwrap(), (named("base"), vec![3]));
        assert_eq!(split("7 3").unwrap(), (named("7"), vec![3]));
        assert_eq!(split("other").unwrap(), (named("other"), vec![]));
        assert!(split("base x").is_err());
        assert!(split("1 2 3").is_err());
    }
}
