//! Looks after the certificates that are configured: loads them, gets them, renews them, watches files, and tells how
//! each is.
//!
//! What is shown changes only when something better is there: whatever fails, the certificate of before stays.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::{Clock, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::acme::{AcmeClient, AcmeOptions};
use crate::challenge::{ChallengeKind, HttpSolver, Solver, TlsSolver};
use crate::config::{Authority, Origin, TlsConfig, Wanted};
use crate::dns::{self, Resolver};
use crate::inspect::Inspected;
use crate::keys::self_signed;
use crate::live::{Live, LiveCertificates};
use crate::name::CertificateName;
use crate::preflight::Ports;
use crate::schedule;
use crate::stored::{self, History, Kept, Stored};
use crate::trouble::{Trouble, TroubleKind};

mod attempt;
mod commands;
mod files;
mod status;
mod warn;

pub use commands::{Outcome, RevocationReason};
pub use status::{CertificateStatus, ClockStatus, State, TlsStatus};
pub use warn::{Level, Warning};

use files::FileState;

/// How often files are looked at, and the clock, which may have been set.
const TICK: Duration = Duration::from_secs(5);
/// A difference of the clock that is none: answers are under way for a moment.
const SAME_TIME: Duration = Duration::from_mins(2);
/// How long before its end a certificate that is signed by itself is made anew.
const RENEW_OWN: Duration = Duration::from_hours(30 * 24);

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
}

#[derive(Debug)]
struct Shared {
    config: TlsConfig,
    clock: Arc<dyn Clock>,
    ports: Ports,
    stored: Stored,
    live: LiveCertificates,
    /// Who gives certificates; `None` if nobody is asked.
    acme: Option<AcmeClient>,
    dns: Option<Arc<dyn Solver>>,
    managed: Mutex<Vec<Managed>>,
    /// One order at a time, and no look at files meanwhile that would show what is not wanted.
    working: tokio::sync::Mutex<()>,
    /// Something is to be done earlier than planned.
    wake: Notify,
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
    /// How its files were when they were read.
    files: FileState,
    /// The last warning that was written to the log, and when.
    told: Option<(Level, Timestamp)>,
}

impl Manager {
    /// Loads what is kept, and makes certificates that are signed by themselves for what is missing, so that every name
    /// is answered at once. Reads and writes files: not for the runtime's threads.
    pub fn open(options: ManagerOptions) -> Result<Self, Trouble> {
        let ManagerOptions {
            config,
            folder,
            clock,
            ports,
        } = options;
        let stored = Stored::new(folder)?;
        let wanted = config.wanted();
        let asks = wanted.iter().any(|one| one.origin == Origin::Acme);
        let acme = asks
            .then(|| client(&config, &config.acme.directory, &stored, &clock))
            .transpose()?;
        let dns = if asks && config.acme.dns.is_set() {
            let resolver = Resolver::from_system()?;
            dns::solver(&config.acme.dns, &resolver, Arc::clone(&clock))?
        } else {
            None
        };
        let live = LiveCertificates::default();
        let mut managed = Vec::new();
        for wanted in wanted {
            managed.push(load(
                wanted,
                &config,
                &stored,
                &live,
                clock.now(),
                Missing::Make,
            )?);
        }
        Ok(Self(Arc::new(Shared {
            config,
            clock,
            ports,
            stored,
            live,
            acme,
            dns,
            managed: Mutex::new(managed),
            working: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
        })))
    }

    /// Tells how the certificates are by what is on the disk, for when no Lyceum runs. Writes nothing.
    pub fn look(options: ManagerOptions) -> Result<TlsStatus, Trouble> {
        let ManagerOptions {
            config,
            folder,
            clock,
            ports,
        } = options;
        let stored = Stored::at(folder);
        let live = LiveCertificates::default();
        let now = clock.now();
        let mut managed = Vec::new();
        for wanted in config.wanted() {
            managed.push(load(
                wanted,
                &config,
                &stored,
                &live,
                now,
                Missing::Imagine,
            )?);
        }
        let shared = Shared {
            config,
            clock,
            ports,
            stored,
            live,
            acme: None,
            dns: None,
            managed: Mutex::new(managed),
            working: tokio::sync::Mutex::new(()),
            wake: Notify::new(),
        };
        Ok(Self(Arc::new(shared)).status())
    }

    /// What handshakes are answered with.
    pub fn live(&self) -> &LiveCertificates {
        &self.0.live
    }

    /// Does what is due, until the token is cancelled. An order that is under way then is taken up at the next start.
    pub async fn run(self, ended: CancellationToken) {
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = self.tick() => {}
            }
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                () = self.0.wake.notified() => {}
            }
        }
    }

    /// Looks at everything once.
    async fn tick(&self) {
        self.look_at_files().await;
        self.0.ask_windows().await;
        let mut ids = Vec::new();
        {
            let now = self.0.now();
            for one in self.0.managed().iter() {
                if self.0.is_due(one, now) {
                    ids.push(one.wanted.id.clone());
                }
            }
        }
        for id in ids {
            match self.0.find(&id).map(|one| one.wanted.origin) {
                Some(Origin::Acme) => {
                    // What fails is kept and told there.
                    let _ = self.attempt(&id, attempt::Why::Due).await;
                }
                Some(Origin::SelfSigned) => self.make_own(&id).await,
                _ => {}
            }
        }
        self.tell_warnings();
    }

    /// Makes a certificate that is signed by itself anew.
    async fn make_own(&self, id: &str) {
        let _working = self.0.working.lock().await;
        let Some(one) = self.0.find(id) else { return };
        let shared = Arc::clone(&self.0);
        let made = tokio::task::spawn_blocking(move || {
            make_self_signed(
                &one.wanted,
                &shared.config,
                &shared.stored,
                shared.clock.now(),
            )
        });
        match made.await {
            Ok(Ok(kept)) => self.0.show(id, kept, true),
            Ok(Err(trouble)) => self.0.change(id, |one| one.history.trouble = Some(trouble)),
            Err(error) => tracing::error!(error = %error, "making a certificate broke off"),
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

    /// The time: that of the authority, if this machine's clock is wrong.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        match self.clock_difference() {
            Some(difference) => now.checked_add(difference).unwrap_or(now),
            None => now,
        }
    }

    /// By how much this machine's clock is behind that of the authority, if that is more than answers take.
    fn clock_difference(&self) -> Option<jiff::SignedDuration> {
        let difference = self.acme.as_ref()?.clock_difference()?;
        (difference.unsigned_abs() > SAME_TIME).then_some(difference)
    }

    /// When something is to be done for a certificate; `None` if never by itself.
    fn due_at(&self, one: &Managed) -> Option<Timestamp> {
        match one.wanted.origin {
            Origin::Files(..) => None,
            Origin::SelfSigned => one.shown.not_after.checked_sub(RENEW_OWN).ok(),
            Origin::Acme => {
                let planned = self.renew_at(one);
                Some(match self.next_try(one) {
                    Some(retry) => planned.max(retry),
                    None => planned,
                })
            }
        }
    }

    /// When a certificate of an authority is to be renewed, if nothing has failed.
    fn renew_at(&self, one: &Managed) -> Timestamp {
        if !one.in_place || self.is_outdated(one) {
            return one.history.last_attempt.unwrap_or(Timestamp::UNIX_EPOCH);
        }
        schedule::renew_at(
            one.shown.not_before,
            one.shown.not_after,
            one.history.window.as_ref(),
            seed(&one.shown),
        )
    }

    /// When it is tried again, if the last try has failed.
    fn next_try(&self, one: &Managed) -> Option<Timestamp> {
        let trouble = one.history.trouble.as_ref()?;
        let last = one.history.last_attempt?;
        let left = one
            .in_place
            .then(|| last.duration_until(one.shown.not_after))
            .filter(jiff::SignedDuration::is_positive)
            .map(jiff::SignedDuration::unsigned_abs);
        let seed = seed(&one.shown).wrapping_add(one.history.failures.into());
        Some(schedule::next_try(
            last,
            one.history.failures,
            trouble,
            left,
            seed,
        ))
    }

    /// Whether a certificate was made for other settings.
    fn is_outdated(&self, one: &Managed) -> bool {
        let authority = self.config.acme.directory.url();
        let other_names = one
            .wanted
            .names
            .iter()
            .any(|name| !one.shown.names.contains(name))
            || one.shown.names.len() != one.wanted.names.len();
        other_names
            || one.history.authority.as_deref() != Some(authority)
            || one.history.profile != self.config.acme.profile
            || one.shown.key != key_name(self.config.key_type)
    }

    fn is_due(&self, one: &Managed, now: Timestamp) -> bool {
        self.due_at(one).is_some_and(|at| at <= now)
    }

    /// Whether the authority is one that looks from the Internet: not one of our own, which may know other names.
    fn asks_public_authority(&self) -> bool {
        !matches!(self.config.acme.directory, Authority::Url(_))
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

/// What to do about a certificate that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Make one that is signed by itself, and keep it.
    Make,
    /// Make one, and throw it away.
    Imagine,
}

/// Who gives certificates, according to the configuration.
fn client(
    config: &TlsConfig,
    authority: &Authority,
    stored: &Stored,
    clock: &Arc<dyn Clock>,
) -> Result<AcmeClient, Trouble> {
    let acme = &config.acme;
    AcmeClient::new(AcmeOptions {
        directory: authority.url().to_owned(),
        ca_file: acme.ca_file.clone(),
        folder: stored.folder().join("acme").join(authority.file_name()),
        email: acme.email.clone(),
        agree_to_terms: acme.agree_to_terms,
        eab: acme.eab_key_id.clone().zip(acme.eab_secret_file.clone()),
        clock: Arc::clone(clock),
    })
}

/// Loads a certificate, or makes one in its place, and shows it.
fn load(
    wanted: Wanted,
    config: &TlsConfig,
    stored: &Stored,
    live: &LiveCertificates,
    now: Timestamp,
    missing: Missing,
) -> Result<Managed, Trouble> {
    let mut history = History::default();
    let mut state = FileState::default();
    let found = match &wanted.origin {
        Origin::Files(chain, key) => {
            state = FileState::of(chain, key);
            stored::load_files(chain, key).map(Some)
        }
        Origin::Acme => {
            history = stored.history(&wanted.id);
            stored.load(&wanted.id)
        }
        Origin::SelfSigned => Ok(None),
    };
    let found = found.unwrap_or_else(|trouble| {
        tracing::error!(certificate = wanted.id, error = %trouble, "{}", trouble.hint);
        history.trouble = Some(trouble);
        None
    });
    let (kept, in_place) = match found {
        Some(kept) => (kept, true),
        None => {
            let kept = load_self_signed(&wanted, config, stored, now, missing)?;
            (kept, wanted.origin == Origin::SelfSigned)
        }
    };
    show(live, &wanted, &kept);
    Ok(Managed {
        wanted,
        shown: kept.inspected,
        in_place,
        history,
        files: state,
        told: None,
    })
}

/// Gives the certificate that is signed by itself: that of the last time, so that whoever has accepted it need not do so
/// again, or a new one.
fn load_self_signed(
    wanted: &Wanted,
    config: &TlsConfig,
    stored: &Stored,
    now: Timestamp,
    missing: Missing,
) -> Result<Kept, Trouble> {
    let names = own_names(wanted, config);
    let kept = stored.load(&own_id(&wanted.id)).ok().flatten();
    let usable = kept.filter(|kept| {
        kept.inspected.names == names
            && kept.inspected.key == key_name(config.key_type)
            && kept.inspected.is_valid_at(now)
            && now
                .checked_add(RENEW_OWN)
                .is_ok_and(|then| then < kept.inspected.not_after)
    });
    match usable {
        Some(kept) => Ok(kept),
        None if missing == Missing::Imagine => {
            let made = self_signed(&names, config.key_type, now)?;
            stored::kept(&made.chain, &made.key, "a certificate that was just made")
        }
        None => make_self_signed(wanted, config, stored, now),
    }
}

fn make_self_signed(
    wanted: &Wanted,
    config: &TlsConfig,
    stored: &Stored,
    now: Timestamp,
) -> Result<Kept, Trouble> {
    let id = own_id(&wanted.id);
    let made = self_signed(&own_names(wanted, config), config.key_type, now)?;
    stored.save(&id, &made.key, &made.chain)?;
    stored.load(&id)?.ok_or_else(|| {
        Trouble::new(
            TroubleKind::Files,
            format!("{} has vanished", stored.file(&id).display()),
            "see who removes files there",
        )
    })
}

/// Under which name a certificate that is signed by itself is kept.
fn own_id(id: &str) -> String {
    format!("{id}.self-signed")
}

/// The names of a certificate that is signed by itself; where only files would tell, those of the server.
fn own_names(wanted: &Wanted, config: &TlsConfig) -> Vec<CertificateName> {
    if !wanted.names.is_empty() {
        return wanted.names.clone();
    }
    if !config.domains.is_empty() {
        return config.domains.clone();
    }
    "localhost"
        .parse()
        .map(|name| vec![name])
        .unwrap_or_default()
}

fn show(live: &LiveCertificates, wanted: &Wanted, kept: &Kept) {
    live.show(Live {
        id: wanted.id.clone(),
        names: kept.inspected.names.clone(),
        vouched: !kept.inspected.self_signed,
        certified: Arc::clone(&kept.certified),
    });
}

fn key_name(kind: crate::KeyType) -> &'static str {
    match kind {
        crate::KeyType::Ecdsa => "ECDSA",
        crate::KeyType::Rsa => "RSA",
    }
}

/// A number that stands for a certificate.
fn seed(shown: &Inspected) -> u64 {
    // FNV-1a: stable, and nothing secret depends on it.
    shown
        .serial
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
