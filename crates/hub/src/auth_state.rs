//! What a login method keeps for a user, such as tokens of other sites: encrypted in the store (JupyterHub
//! `auth_state`, in its format).
//!
//! Nothing is kept unless it is switched on and there is a key. It never gets into logs.

mod fernet;
mod keys;

use lyceum_store::{StoreError, Tx, User};
use serde_json::{Map, Value, json};
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::keys::{CryptKeys, CryptKeysError};

use crate::permit::{ManageAuthState, UserPermit};
use crate::{Actor, AuditEvent, AuditKind, Hub};

/// Why auth state was not kept.
#[derive(Debug, Error)]
pub enum AuthStateError {
    /// It is not switched on here: [`crate::HubSettings::auth_state`].
    #[error("auth state is not enabled here")]
    Off,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl Hub {
    /// Whether auth state is kept here.
    pub fn keeps_auth_state(&self) -> bool {
        self.settings().auth_state.is_some()
    }

    /// Gives the auth state of a user, for the field `auth_state` of `GET` and `PATCH` `/users/NAME`; `None` if there
    /// is none, it is not switched on, or no key decrypts it.
    ///
    /// What an older key encrypted is encrypted anew on the way. Get the permit with
    /// `permit_user::<ManageAuthState>`; who is denied it sees the user without the field.
    pub async fn auth_state_of(
        &self,
        permit: &UserPermit<ManageAuthState>,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let user = permit.user();
        let Some(keys) = &self.settings().auth_state else {
            return Ok(None);
        };
        let Some(stored) = self.store().find_auth_state(user.id).await? else {
            return Ok(None);
        };
        let Some((plain, newest)) = keys.decrypt(&stored) else {
            tracing::warn!(user.name = %user.name,
                "the auth state of user {} cannot be decrypted: its key is not among the configured ones", user.name);
            return Ok(None);
        };
        let Ok(state) = serde_json::from_slice::<Option<Map<String, Value>>>(&plain) else {
            tracing::warn!(user.name = %user.name, "the auth state of user {} is no JSON object", user.name);
            return Ok(None);
        };
        let by = permit.by();
        if state.is_some() && by.user().is_none_or(|own| own.id != user.id) {
            let actor = Actor::Caller(by);
            self.audit().note(AuditEvent {
                detail: json!({"what": "auth_state"}),
                ..AuditEvent::new(AuditKind::AdminAccess, actor, Some(&user.name))
            });
        }
        if !newest && let Some(anew) = keys.encrypt(&plain, self.now()) {
            let mut tx = self.store().begin().await?;
            // Somebody may have stored another one meanwhile.
            if tx.find_auth_state(user.id).await?.as_ref() == Some(&stored) {
                tx.set_auth_state(user.id, Some(anew.as_bytes())).await?;
                tx.commit().await?;
            }
        }
        Ok(state)
    }

    /// Keeps the auth state of a user; `None` removes it, which is possible also while it is switched off.
    pub async fn set_auth_state(
        &self,
        permit: &UserPermit<ManageAuthState>,
        state: Option<&Map<String, Value>>,
    ) -> Result<(), AuthStateError> {
        if state.is_some() && !self.keeps_auth_state() {
            return Err(AuthStateError::Off);
        }
        let mut tx = self.store().begin().await?;
        self.keep_auth_state(&mut tx, permit.user(), state).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Writes the auth state of a user in the caller's transaction; while it is switched off, removes it.
    pub(crate) async fn keep_auth_state(
        &self,
        tx: &mut Tx,
        user: &User,
        state: Option<&Map<String, Value>>,
    ) -> Result<(), StoreError> {
        let encrypted = self.settings().auth_state.as_ref().and_then(|keys| {
            let plain = Zeroizing::new(serde_json::to_vec(state?).ok()?);
            keys.encrypt(&plain, self.now())
        });
        let encrypted = encrypted.as_ref().map(String::as_bytes);
        tx.set_auth_state(user.id, encrypted).await
    }
}
