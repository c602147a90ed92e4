//! `lyceum env kernels`: which kernels people find in JupyterLab, and the files that make servers find them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use lyceum_config::Config;
use lyceum_config::settings::{EnvConfig, KernelConfig};
use lyceum_envs::EnvError;
use lyceum_envs::kernels::{Environments, Half, Kernel, KernelSource, LabExtension, Plan};
use lyceum_envs::r::{RKernel, RLibrary, find};

use crate::cli;
use crate::cli::{ConfigArgs, FAILED, Report, say};

/// The R of the machine.
const SYSTEM_R: &str = "/usr/bin/R";
/// The name of an R kernel without an environment.
const SYSTEM: &str = "system";
/// Where packages of the machine's R are, beside those that come with it.
const SYSTEM_LIBRARIES: &[&str] = &["/usr/local/lib/R/site-library", "/usr/lib/R/site-library"];

/// What can be done with kernels.
#[derive(Debug, Subcommand)]
pub(crate) enum KernelsCommand {
    /// Lists for each Python environment the kernels that servers from it offer, and what keeps others from it
    ///
    /// Ends with status 1 if one cannot be offered, or if `write` has something to do.
    List(ConfigArgs),
    /// Places the kernels of the configuration where servers find them; new starts have them
    ///
    /// Writes only what differs, so it may be run at any time.
    Write(ConfigArgs),
}

pub(super) fn run(command: &KernelsCommand) -> Result<ExitCode, Report> {
    let (KernelsCommand::List(args) | KernelsCommand::Write(args)) = command;
    let config = cli::config::load_to_prepare(args)?.config;
    if config.env.python.is_empty() {
        return Err(Report::text(
            "error: no Python environment is configured, so no server looks for kernels",
        )
        .hint("add a section `[env.python.base]`; `lyceum config explain env` tells more"));
    }
    let plan = plan(&config).map_err(|error| failed(&error))?;
    let mut text = shown(&plan);
    let fine = match command {
        KernelsCommand::List(_) => {
            // Whoever has never asked for any has nothing to write.
            let asked = !config.kernels.is_empty() || config.env.folder.join("kernels").exists();
            let written = !asked || plan.is_written().map_err(|error| failed(&error))?;
            if !written {
                text.push_str("\nNot all of this is written yet: lyceum env kernels write\n");
            }
            written
        }
        KernelsCommand::Write(_) => {
            let changed = plan.write().map_err(|error| failed(&error))?;
            text.push_str(if changed {
                "\nWritten. Servers that start from now on offer these kernels.\n"
            } else {
                "\nEverything was written already.\n"
            });
            true
        }
    };
    say(text.trim_end());
    Ok(if fine && plan.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

/// Brings the kernels after a switch of an environment, since titles and halves of extensions go by what is current.
/// Says nothing unless a kernel cannot be offered.
pub(super) fn follow(switched: Option<&ConfigArgs>, code: ExitCode) -> Result<ExitCode, Report> {
    let Some(args) = switched else {
        return Ok(code);
    };
    let config = cli::config::load_to_prepare(args)?.config;
    // Where there are none, nothing is left of earlier ones either, or `write` removes it.
    if !config.kernels.is_empty() {
        let plan = plan(&config).map_err(|error| failed(&error))?;
        plan.write().map_err(|error| failed(&error))?;
        if !plan.is_complete() {
            let _ = writeln!(
                std::io::stderr(),
                "note: not all kernels of the configuration can be offered: lyceum env kernels list"
            );
        }
    }
    Ok(code)
}

/// Works out what the configuration asks for.
fn plan(config: &Config) -> Result<Plan, EnvError> {
    let environments = Environments {
        folder: config.env.folder.clone(),
        titles: config
            .env
            .python
            .iter()
            .map(|(name, one)| (name.clone(), one.title(name).to_owned()))
            .collect(),
    };
    let kernels: Vec<_> = config
        .kernels
        .iter()
        .map(|(name, kernel)| Kernel {
            name: name.clone(),
            title: kernel.title.clone(),
            source: source(kernel, &config.env),
            environment: kernel.environment.clone(),
        })
        .collect();
    Plan::new(&environments, &kernels)
}

/// The configuration has been checked: one of the four is set.
fn source(kernel: &KernelConfig, env: &EnvConfig) -> KernelSource {
    if let Some(environment) = &kernel.python {
        return KernelSource::Python {
            environment: environment.clone(),
        };
    }
    if let Some(name) = &kernel.r {
        return r(name, env).unwrap_or_else(KernelSource::Missing);
    }
    if let Some(path) = &kernel.path {
        return KernelSource::Folder(path.clone());
    }
    let language = kernel.language.clone().unwrap_or_default();
    KernelSource::Command {
        argv: kernel.argv.clone(),
        title: language.clone(),
        language,
    }
}

/// A kernel in R, with the library of an R environment or the machine's own.
fn r(name: &str, env: &EnvConfig) -> Result<KernelSource, String> {
    let asked = match env.r.get(name) {
        Some(library) if !library.r.is_empty() => library.r.as_str(),
        _ => SYSTEM_R,
    };
    let interpreter = find(asked).map_err(|error| {
        format!("{error}; on Debian and Ubuntu: apt install r-base-core r-cran-irkernel")
    })?;
    let series = interpreter.version.series();
    let mut libraries: Vec<PathBuf> = SYSTEM_LIBRARIES.iter().map(PathBuf::from).collect();
    libraries.push(interpreter.home.join("library"));
    let (argv, title, hint) = if name == SYSTEM {
        let argv = [
            SYSTEM_R,
            "--slave",
            "-e",
            "IRkernel::main()",
            "--args",
            "{connection_file}",
        ];
        let hint = "apt install r-cran-irkernel".to_owned();
        (argv.map(str::to_owned).into(), format!("R {series}"), hint)
    } else {
        let library = RLibrary::new(&env.folder, name).map_err(|error| error.to_string())?;
        if !library.current(&series).is_dir() {
            return Err(format!(
                "the R environment {name} has no library for R {series} that is switched to"
            ));
        }
        libraries.insert(0, library.current(&series));
        let title = format!("R {series} ({name})");
        let made = RKernel::new(&library, &interpreter, Some(&title));
        (made.argv, title, "add IRkernel to its packages".to_owned())
    };
    if !libraries
        .iter()
        .any(|library| library.join("IRkernel").is_dir())
    {
        return Err(format!("R {series} lacks the package IRkernel: {hint}"));
    }
    Ok(KernelSource::Command {
        argv,
        language: "R".to_owned(),
        title,
    })
}

fn shown(plan: &Plan) -> String {
    let mut text = String::new();
    if plan.offers.is_empty() {
        text.push_str("No environment has a generation that servers can start from.\n");
    }
    for offer in &plan.offers {
        let between = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(
            text,
            "{between}Servers from the environment {} offer:",
            offer.environment
        );
        let width = |measure: fn(&lyceum_envs::kernels::Offered) -> usize| {
            offer.kernels.iter().map(measure).max().unwrap_or_default()
        };
        let names = width(|kernel| kernel.name.chars().count());
        let titles = width(|kernel| kernel.title.chars().count());
        for kernel in &offer.kernels {
            let _ = match &kernel.problem {
                None => writeln!(
                    text,
                    "  {:names$}  {:titles$}  from {}",
                    kernel.name, kernel.title, kernel.origin
                ),
                Some(why) => writeln!(text, "  {:names$}  not offered: {why}", kernel.name),
            };
        }
        for extension in &offer.extensions {
            let _ = writeln!(text, "  {}", told(extension, &offer.environment));
        }
    }
    text
}

/// What becomes of an extension that a kernel's environment brings.
fn told(extension: &LabExtension, server: &str) -> String {
    let LabExtension {
        name, environment, ..
    } = extension;
    let package = extension.package.as_deref().unwrap_or(name);
    match &extension.half {
        Half::Linked => format!("+ {name}: JupyterLab's half, from the environment {environment}"),
        Half::NeedsPackage => format!(
            "! {name} of the environment {environment} needs code in the server: add {package} to the environment {server}"
        ),
        Half::OtherVersion {
            server: ours,
            kernel,
        } => format!(
            "! {name} is {ours} here and {kernel} in the environment {environment}: give {package} the same version in both"
        ),
    }
}

fn failed(error: &EnvError) -> Report {
    let report = Report::new(error);
    match error.hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}
