//! Prepares a Python environment as `lyceum demo` does, or finds it: `prepare FOLDER PACKAGE…`, the packages in pip's
//! notation. Prints where it is; what goes on meanwhile goes to standard error.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use lyceum_envs::{EnvError, Phase, Progress, PythonEnvironment, PythonSpec, Report};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: prepare FOLDER PACKAGE…");
        return ExitCode::from(2);
    };
    let spec = PythonSpec {
        packages: arguments.collect(),
        ..PythonSpec::default()
    };
    let lines = Lines {
        name: folder.display().to_string(),
        last: Mutex::new(None),
    };
    match PythonEnvironment::ensure(&folder, &spec, &lines).await {
        Ok(environment) => {
            println!("{}", environment.prefix.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            explain(&error);
            ExitCode::FAILURE
        }
    }
}

fn explain(error: &EnvError) {
    eprintln!("error: {error}");
    if let Some(details) = error.details() {
        eprintln!("{details}");
    }
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}

/// Prints a line per phase.
#[derive(Debug)]
struct Lines {
    name: String,
    last: Mutex<Option<Phase>>,
}

impl Progress for Lines {
    fn report(&self, report: &Report) {
        if let Ok(mut last) = self.last.lock()
            && last.replace(report.phase) != Some(report.phase)
        {
            eprintln!("Python environment {}: {}", self.name, report.text);
        }
    }
}
