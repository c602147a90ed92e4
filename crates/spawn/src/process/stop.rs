//! Ending a server and everything that it has started, as far as [`family`] can find it.
//!
//! The first polite signal is SIGTERM. JupyterHub's own first one is SIGINT, but Jupyter Server 2.21 answers it by
//! leaving at once without shutting down its kernels, which then live on; on SIGTERM it ends them and is gone as
//! fast (both within about a second). SIGINT comes second, for programs that know only that.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use lyceum_core::seams::{SpawnError, StopMode};
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use super::identity::{self, ProcessHandle, ProcessId};
use super::{blocking, credentials, family, paths, system};

/// How long what a server leaves behind is given after SIGTERM, at most.
const LEFT_OVER_GRACE: Duration = Duration::from_secs(3);
/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two looks for processes that were started during the last one.
const PAUSE: Duration = Duration::from_millis(10);

/// Ends the server. May be dropped and called again.
pub(super) async fn stop(handle: &ProcessHandle, how: StopMode) -> Result<(), SpawnError> {
    let mut family = Family {
        handle: handle.clone(),
        seen: HashSet::new(),
    };
    let main = handle
        .open()
        .and_then(|pidfd| pidfd.map(identity::watchable).transpose())
        .map_err(|error| system(format!("look at process {}", handle.pid), error))?;
    if let (Some(main), StopMode::Graceful(limit)) = (&main, how) {
        for signal in [Signal::TERM, Signal::INT] {
            family.signal_session(main, signal).await?;
            if ends_by(main, Instant::now() + limit).await {
                break;
            }
            tracing::warn!(
                pid = handle.pid,
                signal = signal.as_raw(),
                "a server did not end within {limit:?} of a polite signal"
            );
        }
    }
    // What is found before the kill is known by its ancestry; afterwards that would be lost.
    let grace = match how {
        StopMode::Graceful(limit) => limit.min(LEFT_OVER_GRACE),
        StopMode::Now => Duration::ZERO,
    };
    let main_ended = match &main {
        Some(main) => identity::has_ended(main)
            .map_err(|error| system(format!("look at process {}", handle.pid), error))?,
        None => true,
    };
    if main_ended && !grace.is_zero() {
        let left = family.find().await?;
        if left.is_empty() {
            clear_up(handle).await;
            return Ok(());
        }
        family::signal_all(&left, Signal::TERM);
        wait_for_all(&left, Instant::now() + grace).await;
    }
    family.kill().await?;
    clear_up(handle).await;
    Ok(())
}

/// Ends every process that carries a mark, after asking politely once; used where there is no handle.
pub(super) async fn end_marked(marker: &str, grace: Duration) -> Result<(), SpawnError> {
    let mut signal = Signal::TERM;
    let mut limit = Instant::now() + grace;
    let deadline = limit + KILL_LIMIT;
    loop {
        let wanted = marker.to_owned();
        let found = blocking::PROCESSES
            .run(move || family::marked(&wanted))
            .await?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(SpawnError::WontEnd(KILL_LIMIT));
        }
        family::signal_all(&found, signal);
        wait_for_all(&found, limit).await;
        tokio::time::sleep(PAUSE).await;
        signal = Signal::KILL;
        limit = deadline;
    }
}

/// The processes of a server, with those that were seen before.
struct Family {
    handle: ProcessHandle,
    seen: HashSet<ProcessId>,
}

impl Family {
    async fn find(&mut self) -> Result<Vec<ProcessId>, SpawnError> {
        let handle = self.handle.clone();
        let mut seen = std::mem::take(&mut self.seen);
        let (seen, found) = blocking::PROCESSES
            .run(move || {
                let found = family::find(&handle, &mut seen);
                (seen, found)
            })
            .await?;
        self.seen = seen;
        Ok(found)
    }

    /// Sends a polite signal to the server, as a terminal would: to its own session, so that a wrapper
    /// script and the program in it both get it. Kernels have sessions of their own, and are the server's to end.
    async fn signal_session(
        &mut self,
        main: &AsyncFd<OwnedFd>,
        signal: Signal,
    ) -> Result<(), SpawnError> {
        let found = self.find().await?;
        let pid = self.handle.pid;
        identity::send(main, signal)
            .and_then(|()| identity::send(main, Signal::CONT))
            .map_err(|error| system(format!("signal process {pid}"), error))?;
        let others: Vec<ProcessId> = found
            .into_iter()
            .filter(|process| process.pid != pid && session_of(*process) == Some(pid))
            .collect();
        family::signal_all(&others, signal);
        Ok(())
    }

    /// Kills everything until nothing is found any more.
    async fn kill(&mut self) -> Result<(), SpawnError> {
        let deadline = Instant::now() + KILL_LIMIT;
        loop {
            let found = self.find().await?;
            if found.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(SpawnError::WontEnd(KILL_LIMIT));
            }
            family::signal_all(&found, Signal::KILL);
            wait_for_all(&found, deadline).await;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn session_of(process: ProcessId) -> Option<i32> {
    identity::Stat::read(process.pid)
        .ok()
        .flatten()
        .map(|stat| stat.session)
}

/// Waits until a process has ended; false if it lives at the deadline.
async fn ends_by(process: &AsyncFd<OwnedFd>, deadline: Instant) -> bool {
    timeout_at(deadline, process.readable()).await.is_ok()
}

/// Waits until all of these have ended, or the deadline has come.
async fn wait_for_all(processes: &[ProcessId], deadline: Instant) {
    for process in processes {
        let opened: io::Result<Option<AsyncFd<OwnedFd>>> = process
            .open()
            .and_then(|pidfd| pidfd.map(identity::watchable).transpose());
        if let Ok(Some(pidfd)) = opened {
            ends_by(&pidfd, deadline).await;
        }
    }
}

/// Removes the files that a server was given to run with.
async fn clear_up(handle: &ProcessHandle) {
    if let Some(socket) = handle.socket.clone() {
        remove("socket", move || paths::remove_file(&socket)).await;
    }
    remove_credentials(handle).await;
}

/// Removes a server's key and certificate: of no use to anybody once it has ended.
pub(super) async fn remove_credentials(handle: &ProcessHandle) {
    if let Some(folder) = handle.credentials.clone() {
        remove("certificate", move || credentials::remove(&folder)).await;
    }
}

async fn remove(what: &str, remove: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let removed = blocking::FILES.run(remove).await;
    let removed = removed.map_err(io::Error::other).flatten();
    if let Err(error) = removed {
        tracing::warn!(error = %error, "could not remove a server's {what}");
    }
}
