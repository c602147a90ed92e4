//! The program `tiny-notebook`: a fake single-user server for tests. All of it is in `lyceum_testkit::notebook`.

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use lyceum_testkit::notebook::{self, SLEEP_ARGUMENT, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == SLEEP_ARGUMENT) {
        // What `spawn-child` starts: out of reach of signals to the server's process group.
        let _ = rustix::process::setsid();
        tokio::time::sleep(Duration::from_hours(1)).await;
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::read(|name| env::var(name).ok(), arguments) {
        Ok(settings) => settings,
        Err(error) => return fail(&error),
    };
    match notebook::run(settings).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "tiny-notebook: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = writeln!(stderr, "  {error}");
        source = error.source();
    }
    ExitCode::FAILURE
}
