//! Runs a program that has to come to its end, whatever becomes of us: one that changes the machine, as apt does.
//!
//! Nothing here ends such a program: neither a time limit nor the end of whoever waits for it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::Stdio;

use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout_at};

use super::{
    FOLDER_VARIABLE, Failed, Lines, Log, Seen, Step, TICK, begin_session, ended_with, shown,
};
use crate::error::EnvError;

/// Runs a program under our own account to its end, and returns the last lines that it printed.
///
/// Dropping the future, or the step's time limit, ends the waiting only: the program has a session of its own, writes
/// into the log itself, and is not marked as working for a folder, so that [`super::end_left_over`] leaves it alone.
pub(crate) async fn run_to_its_end(
    step: Step<'_>,
    log: &Log,
    observer: &mut (dyn FnMut(Seen<'_>) + Send),
) -> Result<Vec<String>, EnvError> {
    log.line(&format!("$ {}", shown(&step)));
    let mut output = Lines::new(None, observer);
    let (doing, limit) = (step.doing, step.limit);
    let result = attempt(step, log, &mut output).await;
    ended_with(result, doing, limit, log, output)
}

async fn attempt(step: Step<'_>, log: &Log, output: &mut Lines<'_>) -> Result<(), Failed> {
    let deadline = Instant::now() + step.limit;
    let mut follower = Follower::new(log).map_err(Failed::NotStarted)?;
    let mut child = start(step, log).map_err(Failed::NotStarted)?;
    let mut ticks = interval(TICK);
    let ended = async {
        loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = ticks.tick() => {
                    follower.read(output);
                    (output.observer)(Seen::Tick);
                }
            }
        }
    };
    let status = timeout_at(deadline, ended).await;
    follower.read(output);
    follower.finish(output);
    let status = status
        .map_err(|_| Failed::Timeout)?
        .map_err(Failed::NotStarted)?;
    if status.success() {
        Ok(())
    } else {
        Err(Failed::Status(status))
    }
}

/// Starts the program with the log as its output: a pipe would end it as soon as nobody reads any more.
fn start(step: Step<'_>, log: &Log) -> io::Result<Child> {
    let mut command = Command::new(step.program);
    command
        .args(step.arguments)
        .stdin(Stdio::null())
        .stdout(log.file.try_clone()?)
        .stderr(log.file.try_clone()?)
        .current_dir("/")
        .env_remove(FOLDER_VARIABLE);
    begin_session(&mut command, false);
    for (name, value) in step.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.spawn()
}

/// Reads what a program adds to its log.
struct Follower {
    file: File,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Follower {
    fn new(log: &Log) -> io::Result<Self> {
        let mut file = File::open(&log.path)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Self {
            file,
            begun: Vec::new(),
        })
    }

    /// Hands on the lines that have come. What cannot be read is in the log all the same.
    fn read(&mut self, output: &mut Lines<'_>) {
        let _ = self.file.read_to_end(&mut self.begun);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            output.take(&line);
        }
    }

    fn finish(&mut self, output: &mut Lines<'_>) {
        if !self.begun.is_empty() {
            output.take(&std::mem::take(&mut self.begun));
        }
    }
}
