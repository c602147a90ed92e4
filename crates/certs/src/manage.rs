//! Looks after the certificates that are configured: loads them, gets them, renews them, watches files, and tells how
//! each is.
//!
//! What is shown changes only when something better is there: whatever fails, the certificate of before stays.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::{Clock, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acme::AcmeClient;
use crate::challenge::{ChallengeKind, HttpSolver, Solver, TlsSolver};
use crate::config::{Authority, Origin, TlsConfig, Wanted};
use crate::inspect::Inspected;
use crate::live::LiveCertificates;
use crate::name::CertificateName;
use crate::preflight::Ports;
use crate::stored::{History, Kept, Stored};
use crate::trouble::Trouble;

mod attempt;
mod commands;
mod due;
mod files;
mod load;
mod records;
mod status;
mod warn;

pub use commands::{Outcome, RevocationReason};
pub use status::{CertificateStatus, ClockStatus, State, TlsStatus};
pub use warn::{Level, Warning};

use files::FileState;
use load::{Missing, client, load, make_self_signed, show};
use records::Records;

/// How often files are looked at, and the clock, which may have been set.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long files that are being written are waited for at the end; a disk that stalls is left to the system.
const WRITERS_END: Duration = Duration::from_secs(10);

/// Looks after certificates; cheap to clone, all clones are one.
#[derive(Debug, Clone)]
pub struct Manager(Arc<Shared>);

/// What a manager works with.
#[derive(Debug)]
pub struct ManagerOptions {
    /// What is configured.
    pub config: TlsConfig,
    /// The folder for certificates, keys and accounts.
    pub folder: PathBuf,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The ports at which visitors find HTTP and HTTPS, for the check beforehand.
    pub ports: Ports,
    /// How often files are looked at, and what is due; `None` for the usual few seconds.
    pub look_every: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    config: TlsConfig,
    clock: Arc<dyn Clock>,
    ports: Ports,
    look_every: Duration,
    stored: Stored,
    live: LiveCertificates,
    /// Who gives certificates; `None` if nobody is asked.
    acme: Option<AcmeClient>,
    dns: Option<Arc<dyn Solver>>,
    managed: Mutex<Vec<Managed>>,
    /// One order at a time.
    working: tokio::sync::Mutex<()>,
    /// One writer of histories at a time, so that the newest is the one that stays.
    writing: Mutex<()>,
    /// The certificates whose files are being read: where a disk hangs, one thread waits for it and not one each time.
    reading: Mutex<HashSet<String>>,
    /// When the authority was last asked for the time, and did not tell it.
    asked_time: Mutex<Option<Instant>>,
    /// When the log was last told that the clock is wrong.
    told_clock: Mutex<Option<Timestamp>>,
    /// Files are to be looked at earlier than planned.
    wake: Notify,
    /// The threads that write files: a manager has ended when they have.
    writers: TaskTracker,
}

/// One certificate.
#[derive(Debug, Clone)]
struct Managed {
    wanted: Wanted,
    /// What is shown.
    shown: Inspected,
    /// Whether that is what is wanted, and not the one in its place that is signed by itself.
    in_place: bool,
    history: History,
    /// How many attempts there were since the start, by which somebody who has waited sees that there was one.
    attempts: u64,
    /// How its files were when they were read.
    files: FileState,
    /// Whether they could not be used at the last look, for the first time.
    doubtful: bool,
    /// The last warning that was written to the log, and when.
    told: Option<(Level, Timestamp)>,
}

impl Manager {
    /// Loads what is kept, and makes certificates that are signed by themselves for what is missing, so that every name
    /// is answered at once. Reads and writes files: not for the runtime's threads.
    pub fn open(options: ManagerOptions) -> Result<Self, Trouble> {
        let stored = Stored::new(options.folder.clone())?;
        let config = &options.config;
        let asks = config.wanted().iter().any(|one| one.origin == Origin::Acme);
        let acme = asks
            .then(|| client(config, &config.acme.directory, &stored, &options.clock))
            .transpose()?;
        Self::assemble(options, stored, acme, Missing::Make)
    }

    /// Tells how the certificates are by what is on the disk, for when no Lyceum runs. Writes nothing.
    pub fn look(options: ManagerOptions) -> Result<TlsStatus, Trouble> {
        let stored = Stored::at(options.folder.clone());
        Ok(Self::assemble(options, stored, None, Missing::Imagine)?.status())
    }

    fn assemble(
        options: ManagerOptions,
        stored: Stored,
        acme: Option<AcmeClient>,
        missing: Missing,
    ) -> Result<Self, Trouble> {
        let ManagerOptions {
            config,
            folder: _,
            clock,
            ports,
            look_every,
        } = options;
        let dns = (acme.is_some() && config.acme.dns.is_set()).then(|| {
            Arc::new(Records {
                config: config.acme.dns.clone(),
                clock: Arc::clone(&clock),
            }) as Arc<dyn Solver>
        });
        let live = LiveCertificates::default();
        let now = clock.now();
        let mut managed = Vec::new();
        for wanted in config.wanted() {
            managed.push(load(wanted, &config, &stored, &live, now, missing)?);
        }
        Ok(Self(Arc::new(Shared {
            config,
            clock,
            ports,
            look_every: look_every.unwrap_or(LOOK_EVERY),
            stored,
            live,
            acme,
            dns,
            managed: Mutex::new(managed),
            working: tokio::sync::Mutex::new(()),
            writing: Mutex::default(),
            reading: Mutex::default(),
            asked_time: Mutex::default(),
            told_clock: Mutex::default(),
            wake: Notify::new(),
            writers: TaskTracker::new(),
        })))
    }

    /// What handshakes are answered with.
    pub fn live(&self) -> &LiveCertificates {
        &self.0.live
    }

    /// Does what is due, until the token is cancelled, and ends when nothing is being written any more. An order that is under way then is taken up at the next attempt.
    pub async fn run(self, ended: CancellationToken) {
        tokio::select! {
            () = ended.cancelled() => {}
            () = self.renew_what_is_due() => {}
            // Beside it: an order may take minutes.
            () = self.watch_files() => {}
        }
        // What is being written is no part of what was dropped now: it would change files behind the back of the next one.
        self.0.writers.close();
        let written = tokio::time::timeout(WRITERS_END, self.0.writers.wait()).await;
        if written.is_err() {
            tracing::warn!(
                folder = %self.0.stored.folder().display(),
                "files of certificates are still being written; is the disk stalled?"
            );
        }
    }

    async fn watch_files(&self) {
        loop {
            self.look_at_files().await;
            self.tell_warnings();
            tokio::select! {
                () = tokio::time::sleep(self.0.look_every) => {}
                () = self.0.wake.notified() => {}
            }
        }
    }

    async fn renew_what_is_due(&self) {
        loop {
            self.0.ask_time().await;
            self.0.ask_windows().await;
            self.renew_due().await;
            tokio::time::sleep(self.0.look_every).await;
        }
    }

    /// Renews once what is due now.
    async fn renew_due(&self) {
        let now = self.0.now();
        let mut due: Vec<(u32, String)> = self
            .0
            .managed()
            .iter()
            .filter(|one| self.0.is_due(one, now))
            .map(|one| (one.history.failures, one.wanted.id.clone()))
            .collect();
        // One that cannot be proven may take minutes: those that may go well come first.
        due.sort_by_key(|(failures, _)| *failures);
        for (_, id) in due {
            match self.0.find(&id).map(|one| one.wanted.origin) {
                Some(Origin::Acme) => {
                    // What fails is kept and told there.
                    let _ = self.attempt(&id, attempt::Why::Due).await;
                }
                Some(Origin::SelfSigned) => self.make_own(&id).await,
                _ => {}
            }
        }
    }

    /// Makes a certificate that is signed by itself anew.
    async fn make_own(&self, id: &str) {
        let _working = self.0.working.lock().await;
        let Some(one) = self.0.find(id) else { return };
        let shared = Arc::clone(&self.0);
        let made = self.0.writers.spawn_blocking(move || {
            let now = shared.now();
            make_self_signed(&one.wanted, &shared.config, &shared.stored, now)
        });
        let now = self.0.now();
        match made.await {
            Ok(Ok((kept, trouble))) => {
                self.0.show(id, kept, true);
                self.0.change(id, |one| one.history.trouble = trouble);
            }
            Ok(Err(trouble)) => self.0.change(id, |one| one.history.failed(now, trouble)),
            Err(error) => {
                let trouble = attempt::broke_off(&error);
                self.0.change(id, |one| one.history.failed(now, trouble));
            }
        }
    }
}

impl Shared {
    fn managed(&self) -> std::sync::MutexGuard<'_, Vec<Managed>> {
        self.managed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Managed> {
        self.managed()
            .iter()
            .find(|one| one.wanted.id == id)
            .cloned()
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Managed)) {
        if let Some(one) = self.managed().iter_mut().find(|one| one.wanted.id == id) {
            change(one);
        }
    }

    /// Shows a certificate from now on.
    fn show(&self, id: &str, kept: Kept, in_place: bool) {
        self.change(id, |one| {
            show(&self.live, &one.wanted, &kept);
            one.shown = kept.inspected;
            one.in_place = in_place;
        });
    }

    /// Whether the authority is one that looks from the Internet: not one of our own, which may know other names.
    fn asks_public_authority(&self) -> bool {
        self.config.acme.directory.is_public()
    }

    /// What is wrong with a certificate: that nobody will ever give it, or else what went wrong at the last attempt, or
    /// what some visitors stumble over.
    fn trouble(&self, one: &Managed) -> Option<Trouble> {
        self.never_given(one)
            .or_else(|| one.history.trouble.clone())
            .or_else(|| one.shown.doubt.clone())
    }

    /// Why the authority never gives a certificate. Not kept: with other settings it may.
    fn never_given(&self, one: &Managed) -> Option<Trouble> {
        self.never_given_by(&self.config.acme.directory, one)
    }

    fn never_given_by(&self, authority: &Authority, one: &Managed) -> Option<Trouble> {
        let names = one.wanted.names.iter();
        names
            .filter(|_| one.wanted.origin == Origin::Acme)
            .find_map(|name| self.config.acme.never_gives(authority, name))
    }

    /// The ways to prove each name of a certificate.
    fn ways(&self, one: &Managed) -> Vec<(CertificateName, Vec<ChallengeKind>)> {
        let names = one.wanted.names.iter();
        names
            .map(|name| (name.clone(), self.config.challenges(name)))
            .collect()
    }

    /// What shows proofs.
    fn solvers(&self) -> Vec<Arc<dyn Solver>> {
        let challenges = self.live.challenges();
        let mut solvers: Vec<Arc<dyn Solver>> = vec![
            Arc::new(HttpSolver(challenges.clone())),
            Arc::new(TlsSolver(challenges.clone())),
        ];
        solvers.extend(self.dns.clone());
        solvers
    }
}

#[cfg(test)]
mod tests;
