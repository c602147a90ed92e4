//! Verbs about servers that have been started: how they are, their end, their output.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::limits::TotalLimits;
use lyceum_core::names::{ServerName, UserName};
use lyceum_core::seams::Exit;
use tokio::time::timeout;

use super::Server;
use crate::decide;
use crate::folders::{Folders, Found, Record};
use crate::policy::Policy;
use crate::protocol::{Refusal, RefusalKind, RunningServer, ServerKey, ServerState};

/// The signals that may be sent: hang-up, interrupt, kill, the two without meaning, end.
const SIGNALS: [i32; 6] = [1, 2, 9, 10, 12, 15];
/// The longest time that a server is given after a signal.
const MAX_GRACE: Duration = Duration::from_mins(5);
/// How much of a log is given: lines, bytes of one, bytes of all.
const MAX_LINES: u32 = 1000;
const MAX_LINE: usize = 2000;
const MAX_LOG: usize = 60 * 1024;
/// How long a step on the broker's own files may take.
const FILES_LIMIT: Duration = Duration::from_secs(10);
/// How many ports are remembered as just given away, and how often another one is looked for.
const RECENT_PORTS: usize = 64;
const PORT_TRIES: usize = 20;

impl Server {
    /// Does something with files, on a thread where that may block.
    pub(super) async fn files<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Folders) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let folders = self.folders.clone();
        let working = tokio::task::spawn_blocking(move || work(&folders));
        match timeout(FILES_LIMIT, working).await {
            Ok(Ok(done)) => done.map_err(|error| Refusal::system(doing, &error)),
            Ok(Err(_)) => Err(Refusal::new(
                RefusalKind::Internal,
                format!("A thread of the broker has failed when it was to {doing}."),
                "Please report the mistake.",
            )),
            Err(_) => Err(Refusal::new(
                RefusalKind::Slow,
                format!("The broker could not {doing} in time."),
                "See that the machine's disks answer.",
            )),
        }
    }

    pub(super) async fn record(&self, unit: &str) -> Result<Found, Refusal> {
        let unit = unit.to_owned();
        self.files("read what is known of the server", move |folders| {
            folders.find_record(&unit)
        })
        .await
    }

    /// The record of this very start, if it is the server's last one. One that cannot be read is an error: nobody knows
    /// whether its server runs.
    async fn record_of(&self, key: &ServerKey) -> Result<Option<Record>, Refusal> {
        decide::check_key(key)?;
        let unit = decide::unit_name(&key.user, &key.server);
        match self.record(&unit).await? {
            Found::Nothing => Ok(None),
            Found::Record(record) => Ok(Some(*record).filter(|record| record.key == *key)),
            Found::Damaged(why) => Err(self.damaged(&unit, &why)),
        }
    }

    pub(super) async fn inspect(
        &self,
        key: &ServerKey,
    ) -> Result<(ServerState, Option<OwnedFd>), Refusal> {
        let ended = |exit| (ServerState::Ended { exit }, None);
        let Some(record) = self.record_of(key).await? else {
            return Ok(ended(Exit::Unknown));
        };
        match (record.exit, &record.identity) {
            (Some(exit), _) => return Ok(ended(exit)),
            // It may still be starting.
            (None, None) => return Ok(ended(Exit::Unknown)),
            (None, Some(_)) => {}
        }
        let looked = self.look_at(&record).await?;
        if let ServerState::Ended { exit } = looked.0 {
            self.note_end(key, exit).await;
        }
        Ok(looked)
    }

    /// Writes down how a server ended, and removes what it left: nobody else does if the hub is gone.
    async fn note_end(&self, key: &ServerKey, exit: Exit) {
        let unit = decide::unit_name(&key.user, &key.server);
        // Whoever changes it now does the same.
        let Some(_lock) = self.units.try_take(&unit) else {
            return;
        };
        let noted = async {
            let Some(record) = self.record_of(key).await? else {
                return Ok(());
            };
            // Written first: the engine forgets how it ended.
            self.write_end(record.clone(), exit).await?;
            self.stop_unit(&record, None).await
        };
        if let Err(refusal) = noted.await {
            tracing::warn!(
                unit,
                "could not clear up after a server that has ended: {refusal}"
            );
        }
    }

    /// Removes the folder of a server that has ended, and writes down how it was; the first may make room for the second.
    async fn write_end(&self, record: Record, exit: Exit) -> Result<(), Refusal> {
        let record = Record {
            exit: Some(record.exit.unwrap_or(exit)),
            ..record
        };
        self.files("write down how the server ended", move |folders| {
            let removed = folders.remove(&record.unit);
            folders.write_record(&record).and(removed)
        })
        .await
    }

    pub(super) async fn stop(
        &self,
        key: &ServerKey,
        grace: Option<Duration>,
    ) -> Result<(), Refusal> {
        decide::check_key(key)?;
        let unit = decide::unit_name(&key.user, &key.server);
        let _lock = self.units.take(&unit).await?;
        let grace = grace.map(|grace| grace.min(MAX_GRACE));
        let record = match self.record(&unit).await? {
            Found::Record(record) if record.key == *key => *record,
            Found::Record(_) | Found::Nothing => return Ok(()),
            Found::Damaged(why) => return self.stop_damaged(&unit, &why, grace).await,
        };
        self.stop_unit(&record, grace).await?;
        // It has ended: what lacks is seen to by the next question about it, or its next start.
        if let Err(refusal) = self.write_end(record, Exit::Unknown).await {
            tracing::warn!(
                unit,
                "could not clear up after a server that was stopped: {refusal}"
            );
        }
        Ok(())
    }

    /// Ends a server whose record cannot be read, by the name of its unit, which is that of no other server. Folder and
    /// record go when it is certain that nothing runs there any more, and not before.
    async fn stop_damaged(
        &self,
        unit: &str,
        why: &str,
        grace: Option<Duration>,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.end_by_name(unit, grace).await {
            tracing::error!(unit, "could not end a server by its name: {refusal}");
            return Err(self.damaged(unit, why));
        }
        tracing::warn!(
            unit,
            "ended a server by its name, as its record cannot be read ({why})"
        );
        let unit = unit.to_owned();
        self.files("remove the folder of the server", move |folders| {
            folders.remove(&unit).and(folders.remove_record(&unit))
        })
        .await
    }

    /// What is said where a record cannot be read.
    fn damaged(&self, unit: &str, why: &str) -> Refusal {
        Refusal::new(
            RefusalKind::System,
            format!(
                "The broker's record of the server {unit} cannot be read ({why}), so that nobody knows whether it runs."
            ),
            format!(
                "Stop the server; if that fails, end its processes (`systemctl stop '{unit}.service'`), and remove {}.",
                self.folders.record_path(unit).display()
            ),
        )
    }

    pub(super) async fn signal(&self, key: &ServerKey, signal: i32) -> Result<(), Refusal> {
        if !SIGNALS.contains(&signal) {
            return Err(Refusal::policy(
                format!("The signal {signal} is not sent to servers."),
                "",
            ));
        }
        match self.record_of(key).await? {
            Some(record) if record.exit.is_none() => self.signal_unit(&record, signal).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn log_of(
        &self,
        user: &UserName,
        server: &ServerName,
        lines: u32,
    ) -> Result<Vec<String>, Refusal> {
        let unit = decide::unit_name(user, server);
        let mut all = self.engine()?.log(&unit, lines.min(MAX_LINES)).await?;
        let mut room = MAX_LOG;
        for line in &mut all {
            cut(line, MAX_LINE);
        }
        let kept = all.iter().rev().take_while(|line| {
            let length = line.len() + 1;
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        });
        let kept = kept.count();
        Ok(all.split_off(all.len() - kept))
    }

    pub(super) async fn list(&self) -> Result<Vec<RunningServer>, Refusal> {
        let running = self.engine()?.list().await?;
        let records = self
            .files("list the servers", Folders::list_records)
            .await?;
        let mut keys: HashMap<String, ServerKey> = records
            .into_iter()
            .map(|record| (record.unit, record.key))
            .collect();
        let mut servers = Vec::with_capacity(running.len());
        for (unit, usage) in running {
            let Some(key) = keys.remove(&unit) else {
                tracing::warn!(
                    unit,
                    "a server runs of which nothing is known; its user's next start ends it"
                );
                continue;
            };
            servers.push(RunningServer { key, unit, usage });
        }
        Ok(servers)
    }

    pub(super) async fn forget(
        &self,
        policy: &Policy,
        user: &UserName,
        server: &ServerName,
    ) -> Result<(), Refusal> {
        let unit = decide::unit_name(user, server);
        let _lock = self.units.take(&unit).await?;
        if self.runs(&unit).await? {
            return Err(exists());
        }
        self.end_left_over(&unit).await?;
        let log = decide::log_path(&policy.state_dir, &unit);
        self.files("remove what is kept for the server", move |folders| {
            folders.remove(&unit)?;
            folders.remove_record(&unit)?;
            for path in [with_ending(&log, ".1"), log] {
                let removed = std::fs::remove_file(path);
                if let Err(error) = removed
                    && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(error);
                }
            }
            Ok(())
        })
        .await
    }

    /// Whether a start of this unit runs.
    pub(super) async fn runs(&self, unit: &str) -> Result<bool, Refusal> {
        match self.record(unit).await?.record() {
            Some(record) if record.exit.is_none() => {
                let (state, _) = self.look_at(&record).await?;
                Ok(matches!(state, ServerState::Running(_)))
            }
            _ => Ok(false),
        }
    }

    /// Ends a start that nobody is told of, whatever has become of it.
    pub(super) async fn call_off(&self, unit: &str) {
        match self.units.take(unit).await {
            Ok(_lock) => self.clear(unit).await,
            Err(refusal) => tracing::error!(unit, "could not call off a start: {refusal}"),
        }
    }

    /// Ends whatever runs in a unit and removes all traces. The unit's lock is held by the caller.
    pub(super) async fn clear(&self, unit: &str) {
        let ended = async { self.engine()?.stop(unit, None, None).await };
        if let Err(refusal) = ended.await {
            tracing::error!(unit, "could not end what is left of a start: {refusal}");
            // The record stays: it tells the next start, and the hub, that there is something.
            return;
        }
        let owned = unit.to_owned();
        let removed = self.files("remove the folder of the server", move |folders| {
            folders.remove(&owned).and(folders.remove_record(&owned))
        });
        if let Err(refusal) = removed.await {
            tracing::warn!(unit, "could not clear up after a start: {refusal}");
        }
    }
}

/// The same path with something after its last letter.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

pub(super) fn exists() -> Refusal {
    Refusal::new(
        RefusalKind::Exists,
        "This server runs already.",
        "Stop it first.",
    )
}

/// Cuts a line to some bytes, between two characters.
fn cut(line: &mut String, limit: usize) {
    if line.len() > limit {
        let mut end = limit;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
    }
}

/// Ports that were given away a moment ago, and may not be listened on yet.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<VecDeque<u16>>);

impl Ports {
    /// Finds a port of the loopback address that is free now.
    pub(super) fn find(&self) -> io::Result<u16> {
        let mut port = 0;
        for _ in 0..PORT_TRIES {
            port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !recent.contains(&port) {
                recent.push_back(port);
                if recent.len() > RECENT_PORTS {
                    recent.pop_front();
                }
                break;
            }
        }
        Ok(port)
    }
}

/// What was last said to the engine about all servers together.
#[derive(Debug, Default)]
pub(super) struct Limited(tokio::sync::Mutex<Option<(String, TotalLimits)>>);

impl Server {
    /// Applies what all servers together may use, if that is news.
    pub(super) async fn limit_all(&self, policy: &Policy) {
        let wanted = (policy.server.slice.clone(), policy.limits.total.clone());
        let mut last = self.limited.0.lock().await;
        if last.as_ref() == Some(&wanted) {
            return;
        }
        let limited = async { self.engine()?.limit_all(&wanted.0, &wanted.1).await };
        match limited.await {
            Ok(()) => *last = Some(wanted),
            Err(refusal) => {
                tracing::error!("could not limit what all servers together may use: {refusal}");
            }
        }
    }
}
