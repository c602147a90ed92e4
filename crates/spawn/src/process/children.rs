//! The processes that this very Lyceum has started: each watched to its end, so that none stays a zombie.
//!
//! This is knowledge beyond the handles, and may be lost: without it only the exit status is unknown.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyceum_core::seams::Exit;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::identity::{self, ProcessHandle};
use super::{blocking, logs};

/// How many exit statuses are remembered for those who ask late.
const REMEMBERED: usize = 256;
/// How often a log's size is looked at while it grows: a server gone wild fills a disk in a minute.
const LOG_SOON: Duration = Duration::from_millis(500);
/// How long the last look at a log may take.
const LOG_LAST: Duration = Duration::from_millis(200);
/// How often, when it hardly grows.
const LOG_LATER: Duration = Duration::from_secs(15);

/// The watched children, by the mark of their server.
#[derive(Debug, Default)]
pub(super) struct Children {
    known: Arc<Mutex<Known>>,
    watchers: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Known {
    starts: HashMap<String, Start>,
    ended: VecDeque<String>,
}

#[derive(Debug)]
enum Start {
    /// The process is being made.
    Pending,
    /// It is watched; the exit appears when it has ended.
    Child(Box<ProcessHandle>, watch::Receiver<Option<Exit>>),
}

/// A start that has been announced, and is forgotten when this is dropped before there is a child.
#[derive(Debug)]
pub(super) struct Reservation {
    known: Arc<Mutex<Known>>,
    marker: String,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        if matches!(known.starts.get(&self.marker), Some(Start::Pending)) {
            known.starts.remove(&self.marker);
        }
    }
}

impl Children {
    /// Announces a start, so that a sweep meanwhile does not take its process for a left-over.
    pub(super) fn reserve(&self, marker: &str) -> Reservation {
        lock(&self.known)
            .starts
            .insert(marker.to_owned(), Start::Pending);
        Reservation {
            known: Arc::clone(&self.known),
            marker: marker.to_owned(),
        }
    }

    /// Tells whether a server of this mark was started here and lives, or was among the last
    /// [`REMEMBERED`] that have ended.
    pub(super) fn knows(&self, marker: &str) -> bool {
        lock(&self.known).starts.contains_key(marker)
    }

    /// Watches a child from now on.
    pub(super) fn watch(&self, handle: ProcessHandle, child: Watch) {
        let (sender, receiver) = watch::channel(None);
        let marker = handle.marker.clone();
        lock(&self.known)
            .starts
            .insert(marker.clone(), Start::Child(Box::new(handle), receiver));
        let known = Arc::clone(&self.known);
        let mut watchers = lock(&self.watchers);
        while watchers.try_join_next().is_some() {}
        watchers.spawn(async move {
            let exit = child.until_exit().await;
            tracing::debug!(%exit, "a server's process has ended");
            sender.send_replace(Some(exit));
            lock(&known).remember(marker);
        });
    }

    /// Gives the place where the exit of a child appears; `None` if the process is not a child of ours.
    pub(super) fn find(&self, handle: &ProcessHandle) -> Option<watch::Receiver<Option<Exit>>> {
        match lock(&self.known).starts.get(&handle.marker) {
            Some(Start::Child(child, exit)) if **child == *handle => Some(exit.clone()),
            _ => None,
        }
    }
}

impl Known {
    fn remember(&mut self, marker: String) {
        self.ended.push_back(marker);
        while self.ended.len() > REMEMBERED {
            if let Some(oldest) = self.ended.pop_front() {
                self.starts.remove(&oldest);
            }
        }
    }
}

/// A process that is watched, together with its log.
#[derive(Debug)]
pub(super) struct Watch {
    process: AsyncFd<OwnedFd>,
    log: logs::Log,
}

impl Watch {
    /// Prepares to watch an opened process. Needs the runtime.
    pub(super) fn new(pidfd: OwnedFd, log: logs::Log) -> io::Result<Self> {
        Ok(Self {
            process: identity::watchable(pidfd)?,
            log,
        })
    }

    /// Waits until the process has ended, however long that takes, and keeps its log within its limit meanwhile.
    pub(super) async fn until_exit(self) -> Exit {
        let mut pause = LOG_SOON;
        loop {
            tokio::select! {
                ready = self.process.readable() => {
                    // A failure means that the runtime is going down; nobody waits any more.
                    if ready.is_err() {
                        return Exit::Unknown;
                    }
                    let exit = identity::reap(&self.process);
                    // That it has ended is news which a slow disk must not hold up.
                    let _ = tokio::time::timeout(LOG_LAST, self.look_at_log()).await;
                    return exit;
                }
                () = tokio::time::sleep(pause) => {
                    pause = if self.look_at_log().await { LOG_SOON } else { LOG_LATER.min(pause * 2) };
                }
            }
        }
    }

    /// Keeps the log within its limit; tells whether it is well on its way to it.
    async fn look_at_log(&self) -> bool {
        let log = self.log.clone();
        blocking::FILES
            .run(move || log.shorten())
            .await
            .unwrap_or_else(|held| {
                tracing::warn!(error = %held, "could not look at the size of a server's log");
                false
            })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
