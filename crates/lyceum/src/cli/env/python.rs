//! `lyceum env python`: builds Python environments, switches between their generations, and changes their packages.

use std::process::ExitCode;

use lyceum_envs::library::{Built, Change, Edit, Library, Upgrade, Wish, interpreters};
use lyceum_envs::{EnvError, Host};
use serde::Serialize;

use crate::cli::env::ensure_builder;
use crate::cli::progress::Bar;
use crate::cli::{ConfigArgs, Report, say};
use crate::lifecycle::{self, Signals};

mod apply;
mod args;
mod named;
mod show;

pub(super) use apply::ApplyArgs;
pub(super) use apply::apply;
use args::HowArgs;
pub(super) use args::PythonCommand;
pub(in crate::cli) use named::library;
use named::{load, names, read, refuse_environments, split};

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
            no_environment_meant(args.name.as_deref(), &args.packages, &args.how)?;
            let packages = args.packages.iter().map(|package| whole_path(package));
            let edit = Edit::Add(packages.collect());
            build(args.name.as_deref(), &args.how, &Work::Edit(edit))
        }
        PythonCommand::Remove(args) => {
            no_environment_meant(args.name.as_deref(), &args.packages, &args.how)?;
            let edit = Edit::Remove(args.packages.clone());
            build(args.name.as_deref(), &args.how, &Work::Edit(edit))
        }
        PythonCommand::Upgrade(args) => {
            no_environment_meant(args.name.as_deref(), &args.packages, &args.how)?;
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
            let config = load(config)?;
            let (name, numbers) = split(&config.env, what, 1)?;
            let library = library(&config, name.as_deref())?;
            let switched = library.switch(numbers.first().copied());
            say(&show::switched(
                &library,
                &switched.map_err(|error| told(&error))?,
            ));
            Ok(ExitCode::SUCCESS)
        }
        PythonCommand::Rollback { name, config } => {
            let library = library(&load(config)?, name.as_deref())?;
            let switched = library.rollback().map_err(|error| told(&error))?;
            say(&show::switched(&library, &switched));
            Ok(ExitCode::SUCCESS)
        }
        PythonCommand::List { name, json, config } => list(name.as_deref(), *json, config),
        PythonCommand::Diff { what, json, config } => {
            let config = load(config)?;
            let (name, numbers) = split(&config.env, what, 2)?;
            let library = library(&config, name.as_deref())?;
            let mut numbers = numbers.into_iter();
            let (from, to, changes) = library
                .diff(numbers.next(), numbers.next())
                .map_err(|error| told(&error))?;
            let name = &library.settings().name;
            if *json {
                #[derive(Serialize)]
                struct Told<'a> {
                    name: &'a str,
                    from: u32,
                    to: u32,
                    changes: &'a [Change],
                }
                return print_json(&Told {
                    name,
                    from,
                    to,
                    changes: &changes,
                });
            }
            say(&show::difference(name, from, to, &changes));
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
                    let env = read(config)?.env;
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

/// Refuses to take the name of an environment for a package.
fn no_environment_meant(
    name: Option<&str>,
    packages: &[String],
    how: &HowArgs,
) -> Result<(), Report> {
    refuse_environments(&load(&how.config)?.env, name, packages)
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
    ensure_builder(&library.settings().build_as)?;
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
    let config = load(config)?;
    let mut all = std::collections::BTreeMap::new();
    for name in names(&config, name)? {
        let library = library(&config, Some(&name))?;
        let listed = on_runtime(async { library.list().await.map_err(|error| told(&error)) })?;
        all.insert(name, listed);
    }
    if json {
        return print_json(&all);
    }
    say(show::list(&config.env, &all, nix::unistd::geteuid().is_root()).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn gc(
    name: Option<&str>,
    dry_run: bool,
    json: bool,
    config: &ConfigArgs,
) -> Result<ExitCode, Report> {
    let config = load(config)?;
    let mut all = std::collections::BTreeMap::new();
    for name in names(&config, name)? {
        let library = library(&config, Some(&name))?;
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
