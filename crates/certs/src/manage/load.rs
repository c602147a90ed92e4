//! How certificates are found at the start, and made where there are none. Asks nobody.

use std::sync::Arc;

use lyceum_core::{Clock, Timestamp};

use super::Managed;
use super::due::RENEW_OWN;
use super::files::FileState;
use crate::acme::{AcmeClient, AcmeOptions};
use crate::config::{Authority, Origin, TlsConfig, Wanted};
use crate::keys::{KeyType, self_signed};
use crate::live::{Live, LiveCertificates};
use crate::name::CertificateName;
use crate::stored::{self, History, Kept, Stored};
use crate::trouble::Trouble;

/// What to do about a certificate that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make one that is signed by itself, and keep it.
    Make,
    /// Make one, and throw it away.
    Imagine,
}

/// Who gives certificates, according to the configuration.
pub(super) fn client(
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
pub(super) fn load(
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
    let (kept, in_place) = if let Some(kept) = found {
        (kept, true)
    } else {
        let (kept, trouble) = load_self_signed(&wanted, config, stored, now, missing)?;
        history.trouble = trouble.or(history.trouble);
        (kept, wanted.origin == Origin::SelfSigned)
    };
    history.keep_to(&kept.inspected.serial);
    show(live, &wanted, &kept);
    Ok(Managed {
        wanted,
        shown: kept.inspected,
        in_place,
        history,
        attempts: 0,
        files: state,
        doubtful: false,
        told: None,
    })
}

/// Gives the certificate that is signed by itself: that of the last time, so that whoever has accepted it need not do so
/// again, or a new one, with the trouble if that could not be kept.
fn load_self_signed(
    wanted: &Wanted,
    config: &TlsConfig,
    stored: &Stored,
    now: Timestamp,
    missing: Missing,
) -> Result<(Kept, Option<Trouble>), Trouble> {
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
        Some(kept) => Ok((kept, None)),
        None if missing == Missing::Imagine => {
            let made = self_signed(&names, config.key_type, now)?;
            let kept = stored::kept(&made.chain, &made.key, "a certificate that was just made")?;
            Ok((kept, None))
        }
        None => make_self_signed(wanted, config, stored, now),
    }
}

/// Makes a certificate that is signed by itself. If the disk is full, visitors are shown it all the same.
pub(super) fn make_self_signed(
    wanted: &Wanted,
    config: &TlsConfig,
    stored: &Stored,
    now: Timestamp,
) -> Result<(Kept, Option<Trouble>), Trouble> {
    let id = own_id(&wanted.id);
    let made = self_signed(&own_names(wanted, config), config.key_type, now)?;
    let kept = stored::kept(&made.chain, &made.key, "a certificate that was just made")?;
    let trouble = stored.save(&id, &made.key, &made.chain).err();
    if let Some(trouble) = &trouble {
        tracing::error!(
            certificate = wanted.id,
            error = %trouble,
            "a certificate that was just made could not be kept, and is made anew at the next start; {}",
            trouble.hint
        );
    }
    Ok((kept, trouble))
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

pub(super) fn show(live: &LiveCertificates, wanted: &Wanted, kept: &Kept) {
    live.show(Live {
        id: wanted.id.clone(),
        names: kept.inspected.names.clone(),
        vouched: !kept.inspected.self_signed,
        certified: Arc::clone(&kept.certified),
    });
}

pub(super) fn key_name(kind: KeyType) -> &'static str {
    match kind {
        KeyType::Ecdsa => "ECDSA",
        KeyType::Rsa => "RSA",
    }
}
