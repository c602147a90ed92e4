//! Proofs in the DNS by a program of the administrator. No shell is between it and us.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::HumanDuration;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::lookup::plain;
use super::propagation::{self, Awaited};
use super::resolver::Resolver;
use super::{end_of_aliases, record_name};
use crate::challenge::{ChallengeKind, Proof, Shown, Solver};
use crate::config::DnsCommandConfig;
use crate::trouble::{Trouble, TroubleKind};

/// What programs are told by.
const ACTION_VARIABLE: &str = "LYCEUM_DNS_ACTION";
const NAME_VARIABLE: &str = "LYCEUM_DNS_NAME";
const VALUE_VARIABLE: &str = "LYCEUM_DNS_VALUE";
/// What they are given of our own environment.
const KEPT_VARIABLES: [&str; 3] = ["PATH", "HOME", "LANG"];
/// The end of the output that is kept.
const OUTPUT_LIMIT: usize = 64 * 1024;
/// As many lines of it are shown if the program fails.
const SHOWN_LINES: usize = 10;
/// How long output is read after the end of the program: what it has started may hold the pipe open.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Shows proofs by calling a program; cheap to clone.
///
/// The program is given the name `_acme-challenge.NAME` itself, even if that is an alias; it is waited for where the
/// alias leads. Who stops waiting ends the program, with all that it has started.
#[derive(Debug, Clone)]
pub struct CommandSolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: DnsCommandConfig,
    resolver: Resolver,
}

impl CommandSolver {
    /// Calls the program of the configuration. The resolver finds the name servers that are waited for.
    pub fn new(config: &DnsCommandConfig, resolver: &Resolver) -> Self {
        Self(Arc::new(Inner {
            config: config.clone(),
            resolver: resolver.clone(),
        }))
    }
}

#[async_trait]
impl Solver for CommandSolver {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Dns01
    }

    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble> {
        let name = record_name(proof.name)?;
        let shown = ShownByCommand {
            inner: Arc::clone(&self.0),
            name: plain(&name),
            value: proof.dns_value.to_owned(),
        };
        let presented = async {
            shown.call("present").await?;
            if self.0.config.propagation_timeout.is_zero() {
                return Ok(());
            }
            let end = end_of_aliases(&self.0.resolver, &name).await?;
            propagation::wait(&Awaited {
                resolver: &self.0.resolver,
                name: &end,
                value: &shown.value,
                zone: None,
                server: None,
                limit: self.0.config.propagation_timeout,
            })
            .await
        }
        .await;
        if let Err(trouble) = presented {
            // It may have done a part of its work.
            if let Err(error) = shown.call("cleanup").await {
                tracing::warn!(name = %shown.name, error = %error, "could not clean up after the DNS command");
            }
            return Err(trouble);
        }
        Ok(Box::new(shown))
    }
}

/// A record that a program has added.
#[derive(Debug)]
struct ShownByCommand {
    inner: Arc<Inner>,
    name: String,
    value: String,
}

#[async_trait]
impl Shown for ShownByCommand {
    async fn clean_up(self: Box<Self>) -> Result<(), Trouble> {
        self.call("cleanup").await
    }
}

impl ShownByCommand {
    /// Calls the program once.
    async fn call(&self, action: &str) -> Result<(), Trouble> {
        let config = &self.inner.config;
        let Some((program, arguments)) = config.command.split_first() else {
            return Err(Trouble::new(
                TroubleKind::Configuration,
                "no DNS command is configured",
                "write the program to call as `command`",
            ));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args([action, &self.name, &self.value])
            .env_clear()
            .env(ACTION_VARIABLE, action)
            .env(NAME_VARIABLE, &self.name)
            .env(VALUE_VARIABLE, &self.value)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        for name in KEPT_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let (running, pipe) = start(command).map_err(|error| not_started(program, &error))?;
        let mut output = Tail::default();
        let ended = run(running, pipe, config.timeout, &mut output).await;
        let lines = output.lines();
        match ended {
            Ok(status) if status.success() => {
                tracing::info!(
                    program,
                    action,
                    name = %self.name,
                    output = %lines.join("\n"),
                    "the DNS command did its work"
                );
                Ok(())
            }
            Ok(status) => Err(failed(
                format!("the DNS command `{program} {action}` failed with {status}"),
                "run it by hand with the same arguments, and look at what it prints",
                &lines,
            )),
            Err(Ended::TimedOut) => Err(failed(
                format!(
                    "the DNS command `{program} {action}` took longer than {}, and was ended",
                    config.timeout
                ),
                "find out what it waits for, or raise `timeout`",
                &lines,
            )),
            Err(Ended::Lost(error)) => Err(failed(
                format!("the DNS command `{program} {action}` got lost"),
                "try again",
                &lines,
            )
            .because(error.to_string())),
        }
    }
}

fn failed(what: String, hint: &str, lines: &[String]) -> Trouble {
    let trouble = Trouble::new(TroubleKind::Dns, what, hint);
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    if lines.is_empty() {
        return trouble.because("it printed nothing");
    }
    let last = lines.iter().skip(skipped);
    last.fold(trouble, |trouble, line| {
        trouble.because(format!("it printed: {line}"))
    })
}

fn not_started(program: &str, error: &io::Error) -> Trouble {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            "check its path, and, if it is a script, the program behind `#!` in its first line"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => format!("make it executable: `chmod +x {program}`"),
        _ => format!("look at {program}"),
    };
    Trouble::new(
        TroubleKind::Configuration,
        format!("could not start the DNS command `{program}`"),
        hint,
    )
    .because(error.to_string())
}

enum Ended {
    TimedOut,
    Lost(io::Error),
}

/// Starts the program with both its outputs in one pipe, so that the order of the lines is kept.
fn start(mut command: Command) -> io::Result<(Running, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    // With `command` its ends of the pipe are closed, so that the program's end is seen.
    drop(command);
    Ok((
        Running::new(child),
        pipe::Receiver::from_owned_fd(reader.into())?,
    ))
}

/// Reads what the program prints until it ends; ends it, with all that it has started, when the time is over.
async fn run(
    mut running: Running,
    mut pipe: pipe::Receiver,
    limit: HumanDuration,
    output: &mut Tail,
) -> Result<ExitStatus, Ended> {
    let ended = timeout(limit.get(), async {
        tokio::select! {
            status = running.child.wait() => status,
            () = read_on(&mut pipe, output) => running.child.wait().await,
        }
    })
    .await;
    let status = match ended {
        Ok(Ok(status)) => {
            running.ended();
            Ok(status)
        }
        Ok(Err(error)) => Err(Ended::Lost(error)),
        Err(_) => Err(Ended::TimedOut),
    };
    // Here it is ended if it runs still.
    drop(running);
    let _ = timeout(DRAIN_LIMIT, read_on(&mut pipe, output)).await;
    status
}

/// Reads until the output is closed. What was read is kept if nobody waits for the rest.
async fn read_on(pipe: &mut pipe::Receiver, output: &mut Tail) {
    let mut buffer = vec![0; 4096];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => output.take(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// The end of what was printed.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn take(&mut self, piece: &[u8]) {
        self.0.extend(piece);
        let excess = self.0.len().saturating_sub(OUTPUT_LIMIT);
        self.0.drain(..excess);
    }

    /// Its lines, without what could move a terminal's cursor.
    fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(|line| line.trim_end().replace(char::is_control, " "))
            .filter(|line| !line.is_empty())
            .collect()
    }
}

/// A running program; dropping it kills its whole process group.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .map(Pid::from_raw);
        Self { child, group }
    }

    /// Notes that the program ended by itself: its number may belong to somebody else from now on.
    fn ended(&mut self) {
        self.group = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_long_output_is_kept() {
        let mut tail = Tail::default();
        for line in 0..20_000 {
            tail.take(format!("line {line}\n").as_bytes());
        }
        assert_eq!(tail.0.len(), OUTPUT_LIMIT);
        assert_eq!(tail.lines().last().unwrap(), "line 19999");
        let trouble = failed("it failed".to_owned(), "hint", &tail.lines());
        assert_eq!(trouble.causes.len(), SHOWN_LINES);
    }

    #[test]
    fn output_cannot_move_the_cursor() {
        let mut tail = Tail::default();
        tail.take(b"\x1b[2Jgone\r\n\xff\n");
        assert_eq!(tail.lines(), [" [2Jgone", "\u{fffd}"]);
    }
}
