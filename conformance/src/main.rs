//! Black-box cases of JupyterHub's wire contract, run against Lyceum, against JupyterHub, or against both to compare.
//!
//! It uses nothing of Lyceum's own code: a case knows addresses, tokens and what comes over the wire.
#![expect(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null where there is nothing"
)]
#![expect(
    clippy::print_stdout,
    reason = "a command line tool speaks to a terminal"
)]

mod browser;
mod case;
mod cases;
mod diff;
mod failure;
mod fixture;
mod list;
mod request;
mod response;
mod runner;
mod single;
mod start;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use clap::Parser;

use crate::list::{Entry, List};
use crate::runner::Outcome;
use crate::start::{AlreadyThere, JupyterHub, Lyceum, Start};

/// Black-box cases of JupyterHub's wire contract.
#[derive(Debug, Parser)]
#[command(name = "lyceum-conformance")]
struct Arguments {
    /// Run against this program `lyceum`
    #[arg(long, value_name = "PROGRAM")]
    lyceum: Option<PathBuf>,
    /// Run against this program `jupyterhub`
    #[arg(long, value_name = "PROGRAM", requires = "proxy")]
    jupyterhub: Option<PathBuf>,
    /// The program `configurable-http-proxy`
    #[arg(long, value_name = "PROGRAM")]
    proxy: Option<PathBuf>,
    /// Run against a hub that runs already; cases that need other settings are left out, and counted
    #[arg(long, requires = "admin_token_file", conflicts_with_all = ["lyceum", "jupyterhub"])]
    url: Option<String>,
    /// A file with the token of a service that has the role `admin`
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Only cases with this text in area or name
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// List the cases
    #[arg(long)]
    list: bool,
    /// Run against both, and print where they answer differently
    #[arg(long, requires = "lyceum", requires = "jupyterhub")]
    diff: bool,
    /// How many cases run at the same time
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Print how long the slowest cases took
    #[arg(long)]
    times: bool,
    /// Keep the hubs' logs in this folder
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
}

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("single-user") {
        return single::run();
    }
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Does what was asked; gives whether all is well.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let mut list = List::new();
    cases::add(&mut list);
    let chosen: Vec<&Entry> = list
        .entries
        .iter()
        .filter(|entry| {
            let shown = entry.to_string();
            arguments.only.is_empty()
                || arguments
                    .only
                    .iter()
                    .any(|text| shown.contains(text.as_str()))
        })
        .collect();
    if arguments.list {
        for entry in &chosen {
            println!("{entry}  [{}]", entry.profile);
        }
        println!("{} cases", chosen.len());
        return Ok(true);
    }
    if chosen.is_empty() {
        return Err("no case has this text in its name; --list lists them".to_owned());
    }
    let single = env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let hubs = hubs(arguments, &single)?;
    let mut runs: Vec<(&'static str, Vec<Outcome<'_>>)> = Vec::new();
    for hub in &hubs {
        let (can, cannot): (Vec<&Entry>, Vec<&Entry>) =
            chosen.iter().partition(|entry| hub.has(entry.profile));
        let outcomes = runner::run(hub.as_ref(), &can, arguments.jobs);
        if arguments.times {
            print_times(&outcomes);
        }
        runner::summarize(hub.name(), &outcomes);
        if !cannot.is_empty() {
            println!(
                "{} cases were not run: they need a hub with other settings",
                cannot.len()
            );
        }
        runs.push((hub.name(), outcomes));
    }
    if let (true, [(_, ours), (_, theirs)]) = (arguments.diff, runs.as_slice()) {
        diff::print(ours, theirs);
    }
    Ok(runs
        .iter()
        .all(|(_, outcomes)| outcomes.iter().all(|outcome| outcome.failure.is_none())))
}

/// The hubs that were asked for, ours first.
fn hubs(arguments: &Arguments, single: &Path) -> Result<Vec<Box<dyn Start>>, String> {
    let mut hubs: Vec<Box<dyn Start>> = Vec::new();
    if let Some(program) = &arguments.lyceum {
        hubs.push(Box::new(Lyceum {
            program: program.clone(),
            single: single.to_owned(),
            logs: arguments.logs.clone(),
        }));
    }
    if let (Some(program), Some(proxy)) = (&arguments.jupyterhub, &arguments.proxy) {
        hubs.push(Box::new(JupyterHub {
            program: program.clone(),
            proxy: proxy.clone(),
            single: single.to_owned(),
            logs: arguments.logs.clone(),
        }));
    }
    if let (Some(url), Some(file)) = (&arguments.url, &arguments.admin_token_file) {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        hubs.push(Box::new(AlreadyThere {
            url: url.clone(),
            admin_token: text.trim().to_owned(),
        }));
    }
    if hubs.is_empty() {
        return Err("name a hub: --lyceum, --jupyterhub with --proxy, or --url".to_owned());
    }
    Ok(hubs)
}

fn print_times(outcomes: &[Outcome<'_>]) {
    let mut sorted: Vec<&Outcome<'_>> = outcomes.iter().collect();
    sorted.sort_by_key(|outcome| std::cmp::Reverse(outcome.took));
    for outcome in sorted.iter().take(20) {
        println!("{:>6.2} s  {}", outcome.took.as_secs_f64(), outcome.entry);
    }
}
