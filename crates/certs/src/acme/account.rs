//! The account at the authority: made once, kept in a file, replaced when the authority has lost it.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, Error, ExternalAccountKey, Key, NewAccount,
};
use lyceum_core::Secret;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::http::{Http, Session};
use super::{AcmeOptions, aside, directory, problem, read, write};
use crate::disk;
use crate::trouble::{Trouble, TroubleKind};

/// What an authority says of an account that is not there any more, or not valid (RFC 8555 §7.3.1, §7.3.6).
const GONE: [&str; 2] = ["accountDoesNotExist", "unauthorized"];

/// The account at one authority.
pub(super) struct Accounts {
    options: AcmeOptions,
    path: PathBuf,
    http: Http,
    /// Held while the file is looked at and changed: two tasks at once must not make two accounts.
    file: Mutex<()>,
}

/// An account that can be worked with.
pub(super) struct Opened {
    pub(super) account: Account,
    pub(super) session: Session,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    directory: String,
    /// PKCS#8 in base64.
    key: String,
    /// The account's URL; `None` if the key is made, and the authority has not told it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The address that the authority was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    /// Whether a change of the key was begun, of which the end was not seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    key_changing: bool,
}

impl Accounts {
    /// Knows where the account is kept.
    pub(super) fn new(options: AcmeOptions, http: Http) -> Self {
        Self {
            path: options.folder.join("account.json"),
            options,
            http,
            file: Mutex::new(()),
        }
    }

    /// The URL of the account, if one is kept.
    pub(super) async fn id(&self) -> Option<String> {
        self.kept().await.ok().flatten().and_then(|kept| kept.id)
    }

    /// Opens the account; makes it, if there is none.
    pub(super) async fn open(&self) -> Result<Opened, Trouble> {
        let _file = self.file.lock().await;
        let Some(kept) = self.kept().await? else {
            return self.register(None).await;
        };
        if kept.directory != self.options.directory {
            self.set_aside().await?;
            return self.register(None).await;
        }
        if kept.key_changing && self.is_gone(&kept).await? {
            tracing::warn!(
                "the account's key was being changed when Lyceum ended, and the authority does not know the old one: a \
                 new account is made"
            );
            self.set_aside().await?;
            return self.register(None).await;
        }
        let Some(id) = kept.id.clone() else {
            return self.register(Some(kept)).await;
        };
        let session = Session::new(self.http.clone());
        let account = again!(builder(&session).from_parts(
            id.clone(),
            PrivatePkcs8KeyDer::from(kept.key()?),
            self.options.directory.clone()
        ))
        .map_err(|error| problem::trouble(&error))?;
        let opened = Opened { account, session };
        if kept.key_changing {
            self.keep(&Kept {
                key_changing: false,
                ..kept.copy()
            })
            .await?;
        }
        self.tell_contact(&opened, kept).await?;
        Ok(opened)
    }

    /// Sets the account aside, if the authority does not know it any more. Tells whether [`open`](Self::open) now gives
    /// another one.
    pub(super) async fn replace_if_gone(&self, id: &str) -> Result<bool, Trouble> {
        let _file = self.file.lock().await;
        let Some(kept) = self.kept().await? else {
            return Ok(true);
        };
        if kept.id.as_deref() != Some(id) {
            return Ok(true);
        }
        if !self.is_gone(&kept).await? {
            return Ok(false);
        }
        tracing::warn!(
            "the authority does not know the account {id} any more: a new one is made, and the old one's file is kept \
             as account.json.old"
        );
        self.set_aside().await?;
        Ok(true)
    }

    /// Gives the account a new key.
    pub(super) async fn roll(&self) -> Result<(), Trouble> {
        let mut opened = self.open().await?;
        let _file = self.file.lock().await;
        let Some(mut kept) = self.kept().await? else {
            return Err(disk::failed(
                "read",
                &self.path,
                &std::io::ErrorKind::NotFound.into(),
            ));
        };
        // The library makes the new key and tells the authority in one step. Should we end in between, the note says that
        // the old key has to be tried before it is believed in.
        kept.key_changing = true;
        self.keep(&kept).await?;
        match again!(opened.account.update_key()) {
            Ok(credentials) => {
                let contact = kept.contact;
                self.keep(&Kept::new(&self.options.directory, &credentials, contact))
                    .await?;
                tracing::info!("the account at the authority has a new key");
                Ok(())
            }
            Err(error) => {
                if problem::said(&error).is_some() {
                    kept.key_changing = false;
                    self.keep(&kept).await?;
                }
                Err(problem::trouble(&error))
            }
        }
    }

    /// Makes an account, with the key that was made for it before, if there is one.
    async fn register(&self, begun: Option<Kept>) -> Result<Opened, Trouble> {
        if !self.options.agree_to_terms {
            return Err(self.not_agreed().await);
        }
        let session = Session::new(self.http.clone());
        if let Some((id, file)) = &self.options.eab {
            return self.register_bound(session, id, file.clone()).await;
        }
        let directory = &self.options.directory;
        let kept = if let Some(kept) = begun {
            kept
        } else {
            let (_, key) = Key::generate_pkcs8().map_err(|error| problem::trouble(&error))?;
            let kept = Kept {
                directory: directory.clone(),
                key: BASE64_STANDARD.encode(key.secret_pkcs8_der()),
                id: None,
                contact: None,
                key_changing: false,
            };
            // The key is kept before the authority hears of it: an end in between costs no account.
            self.keep(&kept).await?;
            kept
        };
        let (account, credentials) = again!(async {
            builder(&session)
                .create_from_key(kept.pair()?, directory.clone())
                .await
        })
        .map_err(|error| problem::trouble(&error))?;
        let kept = Kept::new(directory, &credentials, None);
        self.keep(&kept).await?;
        tracing::info!("made the account {} at the authority", account.id());
        let opened = Opened { account, session };
        self.tell_contact(&opened, kept).await?;
        Ok(opened)
    }

    /// Makes an account that is bound to another one at the authority. The library makes the key itself here, and tells
    /// it with the authority's answer.
    async fn register_bound(
        &self,
        session: Session,
        id: &str,
        file: PathBuf,
    ) -> Result<Opened, Trouble> {
        let secret = read_hmac(file).await?;
        let binding = ExternalAccountKey::new(id.to_owned(), secret.expose());
        let address = self.options.email.as_deref().map(mailto);
        let contact: Vec<&str> = address.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = &self.options.directory;
        let (account, credentials) = again!(builder(&session).create(
            &new,
            directory.clone(),
            Some(&binding)
        ))
        .map_err(|error| {
            let mut trouble = problem::trouble(&error);
            if problem::is(&error, &["unauthorized", "malformed"]) {
                trouble.kind = TroubleKind::Account;
                "the authority does not bind an account to this key".clone_into(&mut trouble.what);
                "check `tls.acme.eab_key_id` and `tls.acme.eab_secret_file`, or ask the authority for new ones: many can \
                 be used once only"
                    .clone_into(&mut trouble.hint);
            }
            trouble
        })?;
        self.keep(&Kept::new(
            directory,
            &credentials,
            self.options.email.clone(),
        ))
        .await?;
        tracing::info!("made the account {} at the authority", account.id());
        Ok(Opened { account, session })
    }

    /// Tells the authority the address, if it was told another one. What fails is no reason to do without certificates.
    async fn tell_contact(&self, opened: &Opened, kept: Kept) -> Result<(), Trouble> {
        if kept.contact == self.options.email {
            return Ok(());
        }
        let address = self.options.email.as_deref().map(mailto);
        let contact: Vec<&str> = address.as_deref().into_iter().collect();
        match again!(opened.account.update_contacts(&contact)) {
            Ok(()) => {
                self.keep(&Kept {
                    contact: self.options.email.clone(),
                    key_changing: false,
                    ..kept
                })
                .await
            }
            // It is found out by what comes next, which also knows what to do about it.
            Err(error) if problem::is(&error, &GONE) => Ok(()),
            Err(error) => {
                let trouble = problem::trouble(&error);
                tracing::warn!(
                    "could not tell the authority the address of `tls.acme.email`: {trouble}; hint: {}",
                    trouble.hint
                );
                Ok(())
            }
        }
    }

    /// Asks the authority for the account of a key. Only a clear no counts.
    async fn is_gone(&self, kept: &Kept) -> Result<bool, Trouble> {
        let session = Session::new(self.http.clone());
        let found = again!(async {
            builder(&session)
                .from_key(kept.pair()?, self.options.directory.clone())
                .await
        });
        match found {
            Ok((account, _)) if kept.id.as_deref().is_some_and(|id| id != account.id()) => Ok(true),
            Ok((account, _)) => Ok(!self.is_valid(&account).await),
            Err(error) if problem::is(&error, &GONE) => Ok(true),
            Err(error) => Err(problem::trouble(&error)),
        }
    }

    /// Whether an account that the authority knows can be worked with. Only a change tells: a deactivated one is found as
    /// any other.
    async fn is_valid(&self, account: &Account) -> bool {
        let address = self.options.email.as_deref().map(mailto);
        let contact: Vec<&str> = address.as_deref().into_iter().collect();
        match again!(account.update_contacts(&contact)) {
            // The library found another status than `valid`.
            Err(Error::Str(_)) => false,
            Err(error) => !problem::is(&error, &GONE),
            Ok(()) => true,
        }
    }

    async fn not_agreed(&self) -> Trouble {
        let terms = directory::fetch(&self.http, &self.options.directory)
            .await
            .ok()
            .map(super::DirectoryInfo::from)
            .and_then(|directory| directory.terms_of_service);
        let terms = terms
            .as_deref()
            .unwrap_or("the authority's terms of service");
        Trouble::new(
            TroubleKind::Configuration,
            "nobody has agreed to the authority's terms of service",
            format!(
                "read {terms}, and if you agree, write `agree_to_terms = true` in `[tls.acme]`"
            ),
        )
    }

    async fn kept(&self) -> Result<Option<Kept>, Trouble> {
        let Some(text) = read(self.path.clone()).await?.map(Secret::new) else {
            return Ok(None);
        };
        // The error of the parser is not told: it may quote the key.
        serde_json::from_str(text.expose())
            .map(Some)
            .map_err(|_| self.spoilt())
    }

    async fn keep(&self, kept: &Kept) -> Result<(), Trouble> {
        let text = serde_json::to_string_pretty(kept).map_err(|_| self.spoilt())?;
        write(self.path.clone(), Secret::new(text)).await
    }

    async fn set_aside(&self) -> Result<(), Trouble> {
        let path = self.path.clone();
        aside(move || {
            fs::rename(&path, path.with_extension("json.old"))
                .map_err(|error| disk::failed("move away", &path, &error))
        })
        .await
    }

    fn spoilt(&self) -> Trouble {
        spoilt(&self.path.display().to_string())
    }
}

impl Kept {
    fn new(directory: &str, credentials: &AccountCredentials, contact: Option<String>) -> Self {
        // What the library wants to be kept has the account's URL in a place that only its text shows.
        let id = serde_json::to_value(credentials)
            .ok()
            .and_then(|value| Some(value.get("id")?.as_str()?.to_owned()));
        Self {
            directory: directory.to_owned(),
            key: BASE64_STANDARD.encode(credentials.private_key().secret_pkcs8_der()),
            id,
            contact,
            key_changing: false,
        }
    }

    fn copy(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            key: self.key.clone(),
            id: self.id.clone(),
            contact: self.contact.clone(),
            key_changing: self.key_changing,
        }
    }

    fn key(&self) -> Result<Vec<u8>, Trouble> {
        BASE64_STANDARD
            .decode(&self.key)
            .map_err(|_| spoilt("account.json"))
    }

    /// The key as the library wants it.
    fn pair(&self) -> Result<(Key, PrivateKeyDer<'static>), Error> {
        let der = BASE64_STANDARD
            .decode(&self.key)
            .map_err(|_| Error::KeyRejected)?;
        let der = PrivatePkcs8KeyDer::from(der);
        let key = Key::from_pkcs8_der(der.clone_key())?;
        Ok((key, PrivateKeyDer::Pkcs8(der)))
    }
}

fn builder(session: &Session) -> AccountBuilder {
    Account::builder_with_http(Box::new(session.clone()))
}

fn spoilt(file: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Files,
        format!("the account in {file} cannot be understood"),
        "bring it back from a backup, or move it away, and a new account is made",
    )
}

fn mailto(address: &str) -> String {
    format!("mailto:{address}")
}

/// Reads the key for external account binding: base64url, or base64.
async fn read_hmac(file: PathBuf) -> Result<Secret<Vec<u8>>, Trouble> {
    let shown = file.display().to_string();
    let Some(text) = read(file).await?.map(Secret::new) else {
        return Err(Trouble::new(
            TroubleKind::Configuration,
            format!("there is no file {shown}"),
            "write the key that the authority has told you into it, or correct `tls.acme.eab_secret_file`",
        ));
    };
    decode_hmac(text.expose()).ok_or_else(|| {
        Trouble::new(
            TroubleKind::Configuration,
            format!("{shown} has no key in it"),
            "write the key (HMAC) into it as the authority has told it: one line of base64url",
        )
    })
}

fn decode_hmac(text: &str) -> Option<Secret<Vec<u8>>> {
    let text = text.trim().trim_end_matches('=');
    let text = Secret::new(text.replace('+', "-").replace('/', "_"));
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.expose()).ok()?;
    (!key.is_empty()).then(|| Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_for_binding_come_in_both_alphabets() {
        for text in ["-_-_AA", "+/+/AA==\n", "  -_+/AA "] {
            assert_eq!(
                decode_hmac(text).unwrap().expose(),
                &[0xfb, 0xff, 0xbf, 0],
                "{text}"
            );
        }
        for text in ["", " \n", "a b", "secret!"] {
            assert!(decode_hmac(text).is_none(), "{text}");
        }
    }
}
