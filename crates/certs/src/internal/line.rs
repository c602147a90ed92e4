//! One authority of our own with its successor, kept in a folder.
//!
//! An authority lasts ten years. When it has five left, a successor is made, and both are believed from then on. What an
//! authority has signed lasts four years at most, so whoever knew the old one alone is gone before it ends.

use std::path::Path;

use lyceum_core::Timestamp;
use lyceum_core::random;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::failed;
use crate::disk;
use crate::inspect::Inspected;
use crate::keys::{KeyType, new_key, read_key_pair};
use crate::trouble::{Trouble, TroubleKind};

const DAY: i64 = 24 * 3600;
/// How long an authority lasts.
const AUTHORITY: i64 = 3650 * DAY;
/// With less than this left, it gets a successor.
const SUCCESSION: i64 = 5 * 365 * DAY;
/// How long what it has signed lasts, unless it ends itself before.
const SIGNED: i64 = 4 * 365 * DAY;
/// With less than this left, it signs nothing any more for those who may know it alone. All of these began before the
/// successor was there, and their own certificates have ended by now.
const LAST: i64 = SUCCESSION - SIGNED;
/// Clocks of other hosts may be behind.
const BEFORE: i64 = DAY;
/// How long a common name can be (RFC 5280, appendix A).
const COMMON_NAME: usize = 64;

/// An authority, and the one before it as long as that is valid.
#[derive(Debug)]
pub(super) struct Line {
    newest: Authority,
    before: Option<Authority>,
}

/// One authority with its key.
pub(super) struct Authority {
    pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A certificate with its key, PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Line {
    /// Reads it, and makes what is missing. `side` is the name of its files.
    pub(super) fn open(folder: &Path, side: &str, now: Timestamp) -> Result<Self, Trouble> {
        disk::clear_away(folder);
        let path = folder.join(format!("{side}.pem"));
        let path_before = folder.join(format!("{side}-before.pem"));
        let before = read(&path_before)?.filter(|authority| authority.left(now) > 0);
        let newest = read(&path)?;
        if let Some(newest) = newest.as_ref().filter(|newest| now < newest.not_before) {
            return Err(Trouble::new(
                TroubleKind::Clock,
                format!(
                    "the authority for TLS with users' servers in {} begins on {}, which is in the future",
                    path.display(),
                    newest.not_before
                ),
                format!(
                    "set this machine's clock right: `timedatectl`; if it is right and was wrong when that file was made, \
                     stop all servers and remove {}",
                    path.display()
                ),
            ));
        }
        match newest {
            None => Ok(Self {
                newest: make(&path, side, now)?,
                before,
            }),
            Some(newest) if newest.left(now) >= SUCCESSION => Ok(Self { newest, before }),
            Some(ending) => {
                // If the machine stops between the two, both are the same, and the next start goes on here.
                if let Some(text) = disk::read(&path)? {
                    disk::write_private(&path_before, text.as_bytes())?;
                }
                Ok(Self {
                    newest: make(&path, side, now)?,
                    before: Some(ending).filter(|authority| authority.left(now) > 0),
                })
            }
        }
    }

    /// The one that signs for those who believe all.
    pub(super) fn newest(&self) -> &Authority {
        &self.newest
    }

    /// The one that signs for those who may know only the authorities of the time when they began.
    pub(super) fn steadiest(&self, now: Timestamp) -> &Authority {
        match &self.before {
            Some(before) if before.left(now) > LAST => before,
            _ => &self.newest,
        }
    }

    /// All that are believed, PEM.
    pub(super) fn trusted_pem(&self, now: Timestamp) -> String {
        self.trusted(now)
            .map(|authority| authority.pem.as_str())
            .collect()
    }

    /// All that are believed, as TLS needs them.
    pub(super) fn roots(&self, now: Timestamp) -> Result<RootCertStore, Trouble> {
        let mut roots = RootCertStore::empty();
        for authority in self.trusted(now) {
            roots
                .add(authority.certificate.clone())
                .map_err(|error| failed(&error))?;
        }
        Ok(roots)
    }

    fn trusted(&self, now: Timestamp) -> impl Iterator<Item = &Authority> {
        let before = self.before.as_ref();
        std::iter::once(&self.newest).chain(before.filter(move |before| before.left(now) > 0))
    }
}

impl Authority {
    /// Makes a key and signs a certificate for it.
    pub(super) fn issue(
        &self,
        who: &str,
        names: &[SanType],
        purposes: &[ExtendedKeyUsagePurpose],
        now: Timestamp,
    ) -> Result<Issued, Trouble> {
        let key = new_key(KeyType::Ecdsa)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(who.chars().take(COMMON_NAME).collect());
        params.subject_alt_names = names.to_vec();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = purposes.to_vec();
        // Without it, Python 3.13 and newer refuse the certificate.
        params.use_authority_key_identifier_extension = true;
        // As old as the authority: a clock that is set right afterwards does not make it one of the future, nor one of
        // the past.
        params.not_before = at(self.not_before, 0)?;
        params.not_after = at(
            self.not_before.max(now),
            SIGNED.min(self.left(self.not_before.max(now))),
        )?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|error| failed(&error))?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// How many seconds it has left; less than zero if it has ended.
    fn left(&self, now: Timestamp) -> i64 {
        self.not_after.as_second() - now.as_second()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Makes an authority and writes it down.
fn make(path: &Path, side: &str, now: Timestamp) -> Result<Authority, Trouble> {
    let key = new_key(KeyType::Ecdsa)?;
    let mut params = CertificateParams::default();
    // Two of one name would be told apart by their keys alone, which not every program does.
    params.distinguished_name = named(format!("Lyceum internal, {side} {}", random::hex(4)));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = at(now, -BEFORE)?;
    params.not_after = at(now, AUTHORITY)?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    // The key comes first: that is the block that readers of keys look at.
    let text = format!("{}{}", key.serialize_pem(), certificate.pem());
    disk::write_private(path, text.as_bytes())?;
    tracing::info!(
        "made an authority for TLS with users' servers: {}",
        path.display()
    );
    of_text(&text).map_err(|trouble| unreadable(path, trouble))
}

fn read(path: &Path) -> Result<Option<Authority>, Trouble> {
    let Some(text) = disk::read(path)? else {
        return Ok(None);
    };
    of_text(&text)
        .map(Some)
        .map_err(|trouble| unreadable(path, trouble))
}

fn of_text(text: &str) -> Result<Authority, Trouble> {
    let inspected = Inspected::of_pem(text.as_bytes(), "the authority")?;
    // Finds out a key that is not the certificate's.
    inspected.certified(text)?;
    let key = read_key_pair(text)?;
    let certificate = inspected.chain.into_iter().next();
    let certificate = certificate.ok_or_else(|| failed(&rustls::Error::NoCertificatesPresented))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(inspected.issuer);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pem = text
        .find("-----BEGIN CERTIFICATE-----")
        .and_then(|start| text.get(start..))
        .unwrap_or_default();
    Ok(Authority {
        pem: pem.to_owned(),
        certificate,
        issuer: Issuer::new(params, key),
        not_before: inspected.not_before,
        not_after: inspected.not_after,
    })
}

/// Never made anew by itself: servers that run would not know the new one.
fn unreadable(path: &Path, trouble: Trouble) -> Trouble {
    let mut told = Trouble::new(
        TroubleKind::Files,
        format!(
            "the authority for TLS with users' servers in {} cannot be used",
            path.display()
        ),
        format!(
            "get the file back from a backup; or stop all users' servers and remove it, and a new one is made: `rm {}`",
            path.display()
        ),
    )
    .because(trouble.what);
    told.causes.extend(trouble.causes);
    told
}

fn named(common_name: String) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn at(now: Timestamp, seconds: i64) -> Result<OffsetDateTime, Trouble> {
    OffsetDateTime::from_unix_timestamp(now.as_second().saturating_add(seconds))
        .map_err(|error| failed(&error))
}
