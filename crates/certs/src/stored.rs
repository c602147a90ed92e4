//! What is kept of certificates on the disk: each with its key in one file, and its history beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lyceum_core::{Secret, Timestamp};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use crate::disk;
use crate::inspect::Inspected;
use crate::keys::KeyType;
use crate::name::CertificateName;
use crate::order;
use crate::pem::{self, Holds};
use crate::schedule::Window;
use crate::trouble::{Trouble, TroubleKind};

/// How large files of others may be; a chain of certificates has some kilobytes.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// A folder with certificates.
///
/// Chain and key are in one file: however a process ends, they belong together.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    folder: PathBuf,
}

/// A certificate that can be shown.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) inspected: Inspected,
    pub(crate) certified: Arc<CertifiedKey>,
}

/// What has happened to a certificate that an authority gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    /// What the one that is kept was made for.
    pub(crate) made_for: Option<MadeFor>,
    /// When the authority wants it to be renewed, if it has said so.
    pub(crate) window: Option<Window>,
    /// When it is asked again.
    pub(crate) ask_window_at: Option<Timestamp>,
    /// The last time that a new one was asked for.
    pub(crate) last_attempt: Option<Timestamp>,
    /// How many of these have failed in a row.
    pub(crate) failures: u32,
    /// Why the last one has.
    pub(crate) trouble: Option<Trouble>,
}

/// With which settings a certificate was asked for. What the authority has made of it may differ: some add names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MadeFor {
    /// Its number.
    pub(crate) serial: String,
    /// The directory of the authority.
    pub(crate) authority: String,
    pub(crate) profile: Option<String>,
    pub(crate) names: Vec<CertificateName>,
    pub(crate) key_type: KeyType,
}

impl History {
    /// Notes an attempt that has failed.
    pub(crate) fn failed(&mut self, at: Timestamp, trouble: Trouble) {
        self.last_attempt = Some(at);
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(trouble);
    }

    /// Forgets what is told of another certificate than the one that is kept: that is so after an end in the middle.
    pub(crate) fn keep_to(&mut self, serial: &str) {
        if self
            .made_for
            .as_ref()
            .is_none_or(|made| made.serial != serial)
        {
            self.made_for = None;
            self.window = None;
            self.ask_window_at = None;
        }
    }
}

impl Stored {
    pub(crate) fn new(folder: PathBuf) -> Result<Self, Trouble> {
        disk::make_folder(&folder)?;
        disk::clear_away(&folder);
        Ok(Self { folder })
    }

    /// The same, of a folder that may not be there and stays as it is.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a certificate with its key.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.pem"))
    }

    fn history_file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Reads a certificate; `None` if there is none.
    pub(crate) fn load(&self, id: &str) -> Result<Option<Kept>, Trouble> {
        let path = self.file(id);
        let Some(text) = disk::read(&path)?.map(Secret::new) else {
            return Ok(None);
        };
        let what = path.display().to_string();
        kept(text.expose(), text.expose(), &what).map(Some)
    }

    /// Keeps a certificate; the one before is there until this one is, whole.
    pub(crate) fn save(&self, id: &str, key_pem: &str, chain_pem: &str) -> Result<(), Trouble> {
        let text = Secret::new(format!("{}\n{}", key_pem.trim_end(), chain_pem));
        disk::write_private(&self.file(id), text.expose().as_bytes())
    }

    /// Removes a certificate with its key.
    pub(crate) fn forget(&self, id: &str) -> Result<(), Trouble> {
        disk::remove(&self.file(id))
    }

    /// Reads what has happened; nothing, if that cannot be read.
    pub(crate) fn history(&self, id: &str) -> History {
        let path = self.history_file(id);
        let text = match disk::read(&path) {
            Ok(text) => text.unwrap_or_default(),
            Err(trouble) => {
                tracing::warn!(error = %trouble, "the history of a certificate is left");
                String::new()
            }
        };
        if text.is_empty() {
            return History::default();
        }
        serde_json::from_str(&text).unwrap_or_else(|error| {
            tracing::warn!(error = %error, "{} cannot be read, and is begun anew", path.display());
            History::default()
        })
    }

    pub(crate) fn save_history(&self, id: &str, history: &History) -> Result<(), Trouble> {
        let text = serde_json::to_string_pretty(history).unwrap_or_default();
        disk::write_private(&self.history_file(id), text.as_bytes())
    }
}

/// Reads a certificate from two files of others.
pub(crate) fn load_files(chain: &Path, key: &Path) -> Result<Kept, Trouble> {
    let read = |path: &Path, holds: Holds| {
        // A pipe would be waited for, and a device read without end.
        if let Ok(data) = std::fs::metadata(path)
            && (!data.is_file() || data.len() > SIZE_LIMIT)
        {
            return Err(Trouble::new(
                TroubleKind::Files,
                format!("{} is no file of a usual size", path.display()),
                "check the path",
            ));
        }
        let bytes = disk::read_bytes(path)?.ok_or_else(|| {
            Trouble::new(
                TroubleKind::Files,
                format!("there is no file {}", path.display()),
                "check the path, and that Lyceum's account may enter the folders above",
            )
        })?;
        pem::text(&bytes, &path.display().to_string(), holds)
            .map_err(|(what, hint)| Trouble::new(TroubleKind::Files, what, hint))
    };
    let chain_text = read(chain, Holds::Certificates)?;
    let key_text = Secret::new(read(key, Holds::Key)?);
    if key_text.expose().contains("ENCRYPTED") {
        let path = key.display();
        return Err(Trouble::new(
            TroubleKind::Files,
            format!("the key {path} is encrypted"),
            format!(
                "decrypt it into a file that only Lyceum's account can read: `(umask 077; openssl pkey -in {path} \
                 -out {path}.plain)`"
            ),
        ));
    }
    let read = kept(&chain_text, key_text.expose(), &chain.display().to_string());
    let mut read = read.map_err(|trouble| {
        if trouble.what.contains("another key") {
            return Trouble::new(
                TroubleKind::BadCertificate,
                format!(
                    "the first certificate in {} is not for the key in {}",
                    chain.display(),
                    key.display()
                ),
                "put the server's own certificate first, those of the authorities behind it, and check that the key is \
                 the one that the certificate was made for",
            );
        }
        if trouble.kind == TroubleKind::Other {
            // Nothing of ours is wrong: somebody has put it there.
            let mut trouble = trouble;
            trouble.kind = TroubleKind::Files;
            trouble.what = format!("the key in {} cannot be used", key.display());
            "it must be the private key in PEM, not a certificate: RSA with 2048 bits or more, ECDSA with P-256, P-384 \
             or P-521, or Ed25519"
                .clone_into(&mut trouble.hint);
            return trouble;
        }
        trouble
    })?;
    if read.inspected.names.is_empty() {
        // Browsers have not looked at the common name since 2017.
        return Err(Trouble::new(
            TroubleKind::BadCertificate,
            format!(
                "the first certificate in {} is for no name",
                chain.display()
            ),
            "have one made that has the server's name as `subjectAltName`: browsers look at nothing else",
        ));
    }
    read.inspected.doubt = order::doubt(&read.inspected.chain, &chain.display().to_string());
    Ok(read)
}

/// Puts a chain and a key together.
pub(crate) fn kept(chain: &str, key: &str, what: &str) -> Result<Kept, Trouble> {
    let inspected = Inspected::of_pem(chain.as_bytes(), what)?;
    let certified = Arc::new(inspected.certified(key)?);
    Ok(Kept {
        inspected,
        certified,
    })
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("inspected", &self.inspected)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::keys::{KeyType, self_signed};

    #[test]
    fn a_certificate_is_kept_with_its_key_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stored = Stored::new(folder.path().join("certificates")).unwrap();
        assert!(stored.load("a.org").unwrap().is_none());
        for kind in [KeyType::Ecdsa, KeyType::Rsa] {
            let made =
                self_signed(&["a.org".parse().unwrap()], kind, Timestamp::UNIX_EPOCH).unwrap();
            stored.save("a.org", &made.key, &made.chain).unwrap();
            let kept = stored.load("a.org").unwrap().unwrap();
            assert_eq!(kept.inspected.names[0].as_str(), "a.org");
            assert!(kept.inspected.self_signed);
        }
        let mode = fs::metadata(stored.file("a.org"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let names = ["a.org".parse().unwrap()];
            let made = self_signed(&names, KeyType::Ecdsa, Timestamp::UNIX_EPOCH).unwrap();
            let paths = [".pem", ".key"].map(|end| folder.path().join(format!("{name}{end}")));
            fs::write(&paths[0], made.chain).unwrap();
            fs::write(&paths[1], made.key).unwrap();
            paths
        };
        let ([chain, key], [_, other]) = (make("one"), make("two"));
        assert!(load_files(&chain, &key).is_ok());
        let trouble = load_files(&chain, &other).unwrap_err();
        assert!(trouble.what.contains("two.key"), "{trouble}");
        let trouble = load_files(&chain, &folder.path().join("none")).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Files);
        assert!(load_files(&key, &key).is_err());
        let nameless = self_signed(&[], KeyType::Ecdsa, Timestamp::UNIX_EPOCH).unwrap();
        let both = folder.path().join("nameless.pem");
        fs::write(&both, nameless.key + &nameless.chain).unwrap();
        let trouble = load_files(&both, &both).unwrap_err();
        assert!(trouble.what.contains("for no name"), "{trouble}");
        for device in ["/dev/zero", "/dev/tty", "/"] {
            let trouble = load_files(Path::new(device), &key).unwrap_err();
            assert_eq!(trouble.kind, TroubleKind::Files, "{device}");
        }
    }

    #[test]
    fn a_damaged_history_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let stored = Stored::new(folder.path().to_owned()).unwrap();
        let history = History {
            failures: 3,
            trouble: Some(Trouble::new(TroubleKind::Dns, "a", "b")),
            ..History::default()
        };
        stored.save_history("a", &history).unwrap();
        assert_eq!(stored.history("a"), history);
        fs::write(stored.history_file("a"), "{\"failures\":").unwrap();
        assert_eq!(stored.history("a"), History::default());
    }
}
