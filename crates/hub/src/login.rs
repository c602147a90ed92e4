//! Logging in and out: from what a person typed to a browser session, and back.

use std::time::{Duration, Instant};

use lyceum_core::ids::UserId;
use lyceum_core::seams::{Attempt, Identity, Step};
use lyceum_core::{GroupName, Secret, UserName, random};
use lyceum_store::{NewSession, NewUser, StoreError, Tx, User};
use tokio::time::timeout;

use crate::error::LoginError;
use crate::{Hub, HubError, Session, sessions};

/// How long an authenticator may take; a wrong password at PAM takes up to 3 s by itself.
const AUTHENTICATOR_LIMIT: Duration = Duration::from_secs(30);

/// A browser session that has just begun.
#[derive(Debug)]
pub struct NewLogin {
    /// The session, with its user.
    pub session: Session,
    /// The value of the login cookie.
    pub secret: Secret<String>,
}

/// What is remembered of the browser that logs in.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// Where it is, as text.
    pub addr: String,
    /// What it calls itself.
    pub user_agent: String,
}

impl Hub {
    /// Logs somebody in with what they typed: authenticate, normalize, apply the rules of access, store.
    pub async fn log_in(
        &self,
        attempt: Attempt,
        browser: &Browser,
    ) -> Result<NewLogin, LoginError> {
        let typed = attempt.username.clone();
        let begun = Instant::now();
        let login = self.try_log_in(attempt, browser).await;
        self.metrics().login(login.is_ok(), begun.elapsed());
        match login {
            Ok(login) => {
                tracing::info!(user.name = %login.session.user.name, client.addr = %browser.addr, "user {} logged in", login.session.user.name);
                Ok(login)
            }
            Err(error) => {
                failed(&typed, &browser.addr, &error);
                Err(error)
            }
        }
    }

    /// Finds out who logs in with these credentials, without beginning a session; whoever has no account here yet is
    /// not admitted.
    pub(crate) async fn identify(&self, attempt: Attempt, addr: &str) -> Result<User, LoginError> {
        let typed = attempt.username.clone();
        let user = self.try_identify(attempt).await;
        if let Err(error) = &user {
            failed(&typed, addr, error);
        }
        user
    }

    async fn try_identify(&self, attempt: Attempt) -> Result<User, LoginError> {
        let (name, _) = self.authenticate(attempt).await?;
        let user = self.store().find_user(&name).await?;
        let user = user.ok_or(LoginError::NotAdmitted)?;
        self.admit(&name, true)?;
        Ok(user)
    }

    /// Asks the authenticator who this is, and gives the name normalized.
    async fn authenticate(&self, attempt: Attempt) -> Result<(UserName, Identity), LoginError> {
        // Said before anything is tried; it tells nothing that the rules of names do not tell.
        UserName::normalize(&attempt.username).map_err(LoginError::Name)?;
        let step = timeout(AUTHENTICATOR_LIMIT, self.authenticator().begin(attempt))
            .await
            .map_err(|_| LoginError::TooSlow)?
            .map_err(LoginError::Unavailable)?;
        let identity = match step {
            Step::Identity(identity) => identity,
            Step::Refused(reason) => {
                tracing::debug!(reason, "the authenticator refused a login");
                return Err(LoginError::Credentials);
            }
            Step::Closed(why) => return Err(LoginError::Closed(why)),
            _ => return Err(LoginError::Credentials),
        };
        let name = UserName::normalize(&identity.name).map_err(|_| LoginError::Credentials)?;
        Ok((name, identity))
    }

    async fn try_log_in(
        &self,
        attempt: Attempt,
        browser: &Browser,
    ) -> Result<NewLogin, LoginError> {
        let (name, identity) = self.authenticate(attempt).await?;
        let now = self.now();
        let mut tx = self.store().begin().await?;
        let existing = tx.find_user(&name).await?;
        self.admit(&name, existing.is_some())?;
        let user = match existing {
            Some(user) => user,
            None => self.create_user_in(&mut tx, &name, false).await?,
        };
        let user = self.apply_identity(&mut tx, user, &identity).await?;
        let secret = Secret::new(random::url_safe(32));
        let session = NewSession {
            secret: &secret,
            public_id: &random::hex(16),
            user_id: user.id,
            created: now,
            expires_at: sessions::after(now, self.settings().cookie_max_age),
            client_addr: &browser.addr,
            user_agent: &browser.user_agent,
        };
        let session = tx.create_session(session).await?;
        tx.commit().await?;
        let session = Session {
            id: session.id,
            user,
            public_id: session.public_id,
            expires_at: session.expires_at,
            opens_admin_pages: false,
        };
        Ok(NewLogin { session, secret })
    }

    /// Decides who may log in (JupyterHub `Authenticator.check_allowed`): blocking wins over everything.
    fn admit(&self, name: &UserName, exists: bool) -> Result<(), LoginError> {
        let access = &self.settings().access;
        if access.is_blocked(name) {
            return Err(LoginError::NotAdmitted);
        }
        let admitted = access.allow_all
            || access.allowed_users.contains(name)
            || access.admin_users.contains(name)
            || (access.allow_existing_users && exists);
        if admitted {
            Ok(())
        } else {
            Err(LoginError::NotAdmitted)
        }
    }

    /// Creates a user with the role that every user has.
    pub(crate) async fn create_user_in(
        &self,
        tx: &mut Tx,
        name: &UserName,
        admin: bool,
    ) -> Result<User, StoreError> {
        let cookie_id = Secret::new(random::hex(16));
        tx.create_user(NewUser {
            name,
            admin,
            created: self.now(),
            cookie_id: &cookie_id,
        })
        .await
    }

    /// Brings the user up to date with what the authenticator said.
    async fn apply_identity(
        &self,
        tx: &mut Tx,
        mut user: User,
        identity: &Identity,
    ) -> Result<User, StoreError> {
        // `admin_users` grants and never revokes, as in JupyterHub; the authenticator's own word does both.
        let admin = identity.admin.or_else(|| {
            self.settings()
                .access
                .admin_users
                .contains(&user.name)
                .then_some(true)
        });
        if let Some(admin) = admin
            && admin != user.admin
        {
            tx.set_admin(user.id, admin).await?;
            user.admin = admin;
        }
        if let Some(info) = &identity.user_info {
            tx.set_user_info(user.id, Some(info)).await?;
            user.user_info = Some(info.clone());
        }
        if let Some(groups) = &identity.groups {
            if self.settings().manage_groups {
                put_into_groups(tx, user.id, groups).await?;
            } else {
                tracing::warn!(user.name = %user.name,
                    "the login method tells of groups of user {}, which count only with `access.manage_groups`", user.name);
            }
        }
        self.keep_auth_state(tx, &user, identity.auth_state.as_ref())
            .await?;
        Ok(user)
    }

    /// Ends a browser session, and with it all sessions of servers and services that began from it
    /// (JupyterHub `LogoutHandler`).
    pub async fn log_out(&self, session: &Session) -> Result<(), HubError> {
        let mut tx = self.store().begin().await?;
        tx.delete_tokens_of_session(session.user.id, &session.public_id)
            .await?;
        tx.delete_session(session.id).await?;
        tx.commit().await?;
        tracing::info!(user.name = %session.user.name, "user {} logged out", session.user.name);
        Ok(())
    }
}

/// Makes these the groups of a user, and no others; those that do not exist are created (JupyterHub
/// `User.sync_groups`).
async fn put_into_groups(tx: &mut Tx, user: UserId, names: &[GroupName]) -> Result<(), StoreError> {
    for group in tx.groups_of_user(user).await? {
        if !names.contains(&group.name) {
            tx.remove_member(group.id, user).await?;
        }
    }
    for name in names {
        let group = match tx.find_group(name).await? {
            Some(group) => group,
            None => tx.create_group(name).await?,
        };
        tx.add_member(group.id, user).await?;
    }
    Ok(())
}

/// Writes one line for all refusals, with the address, for tools that watch the log.
fn failed(typed: &str, addr: &str, error: &LoginError) {
    tracing::warn!(user.name = %printable(typed), client.addr = %addr, reason = %error,
        "failed login for user {} from {}", printable(typed), addr);
}

/// Makes what somebody typed fit for one line of the log.
fn printable(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| {
            if c.is_control() || c == '\u{2028}' || c == '\u{2029}' {
                '?'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_name_cannot_break_the_log() {
        assert_eq!(
            printable("ada\nFAILED login for root"),
            "ada?FAILED login for root"
        );
        assert_eq!(printable(&"x".repeat(1000)).len(), 64);
    }
}
