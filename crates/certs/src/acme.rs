//! Certificates from an authority that speaks ACME (RFC 8555): the account there, orders, advice on renewal, revocation.
//!
//! Decides neither when to renew nor where certificates are kept: that is for the caller. Whatever is begun here can be
//! dropped, or ended by the machine, at any moment: what must not be lost is on the disk before the authority is told.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use lyceum_core::{Clock, Secret};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;

use crate::challenge::{ChallengeKind, Solver};
use crate::disk;
use crate::keys::KeyType;
use crate::name::CertificateName;
use crate::trouble::{Trouble, TroubleKind};

/// How often a request is signed anew because its nonce is worn out. The library tries three times itself.
const NONCE_TRIES: u32 = 6;

/// Calls the authority, and again as long as it only dislikes the nonce (RFC 8555 §6.5).
macro_rules! again {
    ($call:expr) => {{
        let mut left = $crate::acme::NONCE_TRIES;
        loop {
            match $call.await {
                Err(error) if left > 0 && $crate::acme::problem::is_bad_nonce(&error) => left -= 1,
                outcome => break outcome,
            }
        }
    }};
}

mod account;
mod directory;
mod http;
mod order;
mod patience;
mod pending;
mod problem;
mod proofs;
mod renewal;

pub use self::directory::DirectoryInfo;
pub use self::renewal::RenewalAdvice;

use self::account::Accounts;
use self::http::Http;

/// Which authority, and who we are there.
#[derive(Debug, Clone)]
pub struct AcmeOptions {
    /// The URL of its directory.
    pub directory: String,
    /// A PEM file with the authorities that its own certificate may come from, instead of those of this machine.
    pub ca_file: Option<PathBuf>,
    /// A folder of this authority's own: the account, and orders that are not done.
    pub folder: PathBuf,
    /// Where it may write to.
    pub email: Option<String>,
    /// Whether somebody has agreed to its terms.
    pub agree_to_terms: bool,
    /// For external account binding: the id of the key, and the file with the key in base64.
    pub eab: Option<(String, PathBuf)>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// A client of one authority; cheap to clone, all clones are one.
#[derive(Clone)]
pub struct AcmeClient(Arc<Inner>);

struct Inner {
    directory: String,
    orders: PathBuf,
    clock: Arc<dyn Clock>,
    http: Http,
    accounts: Accounts,
    /// Held for reading by what signs with the account's key, for writing by what changes it.
    key: RwLock<()>,
    /// One order of an id after the other.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    failed: FailedKinds,
}

/// What did not work in earlier attempts: the kinds by the id of the order and the name.
type FailedKinds = Mutex<HashMap<(String, CertificateName), Vec<ChallengeKind>>>;

/// A certificate that is wanted.
#[derive(Debug, Clone)]
pub struct OrderRequest {
    /// Its name in files.
    pub id: String,
    /// For which names.
    pub names: Vec<CertificateName>,
    /// For which kind of key.
    pub key_type: KeyType,
    /// Of which profile of the authority.
    pub profile: Option<String>,
    /// The certificate in whose place it comes. Authorities with advice on renewal are told, and may count it less.
    pub replaces: Option<CertificateDer<'static>>,
    /// How each name can be proven, the first to try first.
    pub challenges: HashMap<CertificateName, Vec<ChallengeKind>>,
}

/// What the authority has issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate and those between it and the root, in PEM, as they came: they are not checked yet.
    pub chain_pem: String,
    /// The key, in PEM.
    pub key_pem: Secret<String>,
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// Nobody says
    #[default]
    Unspecified,
    /// Others may have the key
    KeyCompromise,
    /// There is a newer one
    Superseded,
    /// The name is not served any more
    CessationOfOperation,
}

impl AcmeClient {
    /// Makes a client. Nothing is asked for yet.
    pub fn new(options: AcmeOptions) -> Result<Self, Trouble> {
        let http = Http::new(options.ca_file.as_deref(), Arc::clone(&options.clock))?;
        Ok(Self(Arc::new(Inner {
            directory: options.directory.clone(),
            orders: options.folder.join("orders"),
            clock: Arc::clone(&options.clock),
            http: http.clone(),
            accounts: Accounts::new(options, http),
            key: RwLock::new(()),
            turns: Mutex::default(),
            failed: Mutex::default(),
        })))
    }

    /// Asks the authority what it tells of itself.
    pub async fn directory(&self) -> Result<DirectoryInfo, Trouble> {
        let directory = directory::fetch(&self.0.http, &self.0.directory).await?;
        Ok(directory.into())
    }

    /// The authority's clock minus ours, in whole seconds, as its last answer told it; `None` before the first, and after
    /// ours was set.
    pub fn clock_difference(&self) -> Option<SignedDuration> {
        self.0.http.clock_difference()
    }

    /// Gets a certificate, or goes on where an earlier call for the same id and names has stopped.
    ///
    /// The order and its key stay on the disk until [`finish`](Self::finish) is called: call that when what comes back
    /// is stored, and an end in between costs nothing but another download. May be dropped at any moment; what was shown as
    /// a proof is then taken away in the background. A way of proving a name that has failed is not the first choice of
    /// the next call for the same id.
    pub async fn order(
        &self,
        request: &OrderRequest,
        solvers: &[Arc<dyn Solver>],
    ) -> Result<Issued, Trouble> {
        let turn = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(request.id.clone()).or_default())
        };
        let _turn = turn.lock().await;
        let _key = self.0.key.read().await;
        Box::pin(order::get(&self.0, request, solvers)).await
    }

    /// Forgets an order, because its certificate is stored.
    pub async fn finish(&self, id: &str) -> Result<(), Trouble> {
        pending::forget(&self.0.orders, id).await
    }

    /// Asks when to renew a certificate; `None` if the authority gives no advice, or none for this certificate.
    pub async fn renewal_info(
        &self,
        leaf: &CertificateDer<'_>,
    ) -> Result<Option<RenewalAdvice>, Trouble> {
        renewal::ask(&self.0.http, &self.0.directory, leaf).await
    }

    /// Revokes a certificate that the account has got. One that is revoked already is no trouble.
    pub async fn revoke(
        &self,
        leaf: &CertificateDer<'_>,
        reason: RevocationReason,
    ) -> Result<(), Trouble> {
        let _key = self.0.key.read().await;
        let opened = self.0.accounts.open().await?;
        let request = instant_acme::RevocationRequest {
            certificate: leaf,
            reason: Some(reason.into()),
        };
        match again!(opened.account.revoke(&request)) {
            Err(error) if !problem::is(&error, &["alreadyRevoked"]) => {
                Err(problem::trouble(&error))
            }
            _ => Ok(()),
        }
    }

    /// Gives the account a new key. Waits for orders that are under way: they are signed with the old one.
    pub async fn roll_account_key(&self) -> Result<(), Trouble> {
        let _key = self.0.key.write().await;
        self.0.accounts.roll().await
    }

    /// The URL of the account, if one is kept.
    pub async fn account_id(&self) -> Option<String> {
        self.0.accounts.id().await
    }
}

impl fmt::Debug for AcmeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeClient")
            .field("directory", &self.0.directory)
            .finish_non_exhaustive()
    }
}

impl From<RevocationReason> for instant_acme::RevocationReason {
    fn from(reason: RevocationReason) -> Self {
        match reason {
            RevocationReason::Unspecified => Self::Unspecified,
            RevocationReason::KeyCompromise => Self::KeyCompromise,
            RevocationReason::Superseded => Self::Superseded,
            RevocationReason::CessationOfOperation => Self::CessationOfOperation,
        }
    }
}

/// Does what may take a moment, files and keys, away from the runtime's threads.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(Trouble::new(
                TroubleKind::Other,
                "a piece of work ended early",
                "this should not happen: please report it, with the log",
            )
            .caused_by(&error))
        })
}

/// Reads a file, away from the runtime's threads.
async fn read(path: PathBuf) -> Result<Option<String>, Trouble> {
    aside(move || disk::read(&path)).await
}

/// Writes a file for the owner alone, away from the runtime's threads.
async fn write(path: PathBuf, content: Secret<String>) -> Result<(), Trouble> {
    aside(move || disk::write_private(&path, content.expose().as_bytes())).await
}
