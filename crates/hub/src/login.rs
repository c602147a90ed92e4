//! Logging in and out: from what a person typed to a browser session, and back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lyceum_core::ids::UserId;
use lyceum_core::seams::{Attempt, Identity, Step};
use lyceum_core::{GroupName, Secret, Timestamp, UserName, random};
use lyceum_store::{Group, NewSession, NewUser, StoreError, Tx, User};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::audit::typed_name;
use crate::error::LoginError;
use crate::throttle::{KNOWN_FOR, Place, Try};
use crate::{Actor, AuditEvent, AuditKind, Hub, HubError, Session, sessions};

/// What the log says in the place of what was typed, if it can be nobody's name.
const NO_NAME: &str = "(no name)";

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
        // Who was not looked at did not try.
        if !matches!(login, Err(LoginError::Slowed { .. })) {
            self.metrics().login(login.is_ok(), begun.elapsed());
        }
        match login {
            Ok(login) => {
                tracing::info!(user.name = %login.session.user.name, client.addr = %browser.addr, "user {} logged in", login.session.user.name);
                Ok(login)
            }
            Err(error) => {
                self.note_failed(&typed, &browser.addr, &error);
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
            self.note_failed(&typed, addr, error);
        }
        user
    }

    async fn try_identify(&self, attempt: Attempt) -> Result<User, LoginError> {
        let (name, identity) = self.authenticate(attempt).await?;
        let user = self.store().find_user(&name).await?;
        let user = user.ok_or(LoginError::NotAdmitted)?;
        let groups = self.store().groups_of_user(user.id).await?;
        self.admit(&name, true, &identity, groups)?;
        Ok(user)
    }

    /// Asks the authenticator who this is, unless there were too many wrong passwords, and gives the name normalized.
    async fn authenticate(&self, attempt: Attempt) -> Result<(UserName, Identity), LoginError> {
        let typed = UserName::normalize(&attempt.username);
        let tried = self
            .begin_try(&attempt.client_addr, typed.as_ref().ok())
            .await?;
        // Said before a password is looked at; it tells nothing that the rules of names do not tell.
        if let Err(error) = typed {
            tried.wrong(self.steady_now());
            return Err(LoginError::Name(error));
        }
        let step = match timeout(AUTHENTICATOR_LIMIT, self.authenticator().begin(attempt)).await {
            Ok(Ok(step)) => step,
            Ok(Err(error)) => {
                tried.untold();
                return Err(LoginError::Unavailable(error));
            }
            Err(_) => {
                tried.untold();
                return Err(LoginError::TooSlow);
            }
        };
        let identity = match step {
            Step::Identity(identity) => identity,
            Step::Closed(why) => {
                tried.right();
                return Err(LoginError::Closed(why));
            }
            step => {
                if let Step::Refused(reason) = step {
                    tracing::debug!(reason, "the authenticator refused a login");
                }
                tried.wrong(self.steady_now());
                return Err(LoginError::Credentials);
            }
        };
        tried.right();
        let name = UserName::normalize(&identity.name).map_err(|_| LoginError::Credentials)?;
        Ok((name, identity))
    }

    /// Begins to look at a password, unless whoever typed it has to wait.
    async fn begin_try(&self, addr: &str, name: Option<&UserName>) -> Result<Try<'_>, LoginError> {
        let throttle = self.throttle();
        let addr: Option<IpAddr> = addr.parse().ok();
        let place = Place::of(addr);
        let account = name.map(|name| throttle.account(name));
        let mut known = false;
        if let (Some(name), Some(account)) = (name, account)
            && throttle.asks_whether_known(place, account, self.steady_now())
            && let Some(tag) = self.place_tag(place).await?
        {
            let since = self.now().checked_sub(KNOWN_FOR);
            let since = since.unwrap_or(Timestamp::UNIX_EPOCH);
            known = self.store().has_logged_in_from(name, &tag, since).await?;
        }
        throttle
            .begin(addr, account, known, self.steady_now())
            .map_err(|slowed| LoginError::Slowed {
                seconds: whole_seconds(slowed.wait),
                reason: slowed.reason,
                first: slowed.first,
            })
    }

    async fn try_log_in(
        &self,
        attempt: Attempt,
        browser: &Browser,
    ) -> Result<NewLogin, LoginError> {
        let (name, identity) = self.authenticate(attempt).await?;
        let now = self.now();
        let place = self.place_tag(Place::of(browser.addr.parse().ok())).await?;
        let mut tx = self.store().begin().await?;
        let existing = tx.find_user(&name).await?;
        let groups = match &existing {
            Some(user) => tx.groups_of_user(user.id).await?,
            None => Vec::new(),
        };
        self.admit(&name, existing.is_some(), &identity, groups)?;
        let user = if let Some(user) = existing {
            user
        } else {
            let user = self.create_user_in(&mut tx, &name, false).await?;
            let detail = json!({"by": "login"});
            self.write_change(&mut tx, AuditKind::UserCreated, &user, detail)
                .await?;
            user
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
        if let Some(place) = place {
            tx.note_login_place(user.id, &place, now).await?;
        }
        let event = AuditEvent {
            client_addr: Some(&browser.addr),
            ..AuditEvent::new(AuditKind::Login, Actor::User(&user.name), Some(&user.name))
        };
        self.audit().write(&mut tx, event).await?;
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

    /// Decides who may log in. The groups that the login method tells of count, and those of the hub, unless they are
    /// about to be replaced.
    fn admit(
        &self,
        name: &UserName,
        exists: bool,
        identity: &Identity,
        stored: Vec<Group>,
    ) -> Result<(), LoginError> {
        let mut groups: BTreeSet<GroupName> = identity.groups.iter().flatten().cloned().collect();
        if !(self.settings().manage_groups && identity.groups.is_some()) {
            groups.extend(stored.into_iter().map(|group| group.name));
        }
        if self.settings().access.admits(name, exists, &groups) {
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
        // The authenticator's own word comes first, as in JupyterHub.
        let access = &self.settings().access;
        let admin = identity
            .admin
            .or_else(|| access.makes_admin(&user.name, identity.groups.as_deref()));
        if let Some(admin) = admin
            && admin != user.admin
        {
            tx.set_admin(user.id, admin).await?;
            user.admin = admin;
            let detail = json!({"admin": admin, "by": "login"});
            self.write_change(tx, AuditKind::UserChanged, &user, detail)
                .await?;
        }
        if let Some(info) = &identity.user_info {
            tx.set_user_info(user.id, Some(info)).await?;
            user.user_info = Some(info.clone());
        }
        self.apply_groups(tx, &mut user, identity.groups.as_deref())
            .await?;
        self.keep_auth_state(tx, &user, identity.auth_state.as_ref())
            .await?;
        Ok(user)
    }

    /// Makes the groups that the authenticator tells of those of the hub, if that is configured; else keeps them beside
    /// those, where they count for what the configuration gives to groups, and for nothing else.
    async fn apply_groups(
        &self,
        tx: &mut Tx,
        user: &mut User,
        told: Option<&[GroupName]>,
    ) -> Result<(), StoreError> {
        let mut beside = BTreeSet::new();
        if let Some(groups) = told {
            if !self.settings().manage_groups {
                beside.extend(groups.iter().cloned());
            } else if put_into_groups(tx, user.id, groups).await? {
                let detail = json!({"change": "login", "groups": groups});
                self.write_change(tx, AuditKind::GroupChanged, user, detail)
                    .await?;
            }
        }
        let beside: Vec<GroupName> = beside.into_iter().collect();
        if user.told_groups != beside {
            tx.set_told_groups(user.id, &beside).await?;
            let detail = json!({"change": "told", "groups": beside, "before": user.told_groups});
            self.write_change(tx, AuditKind::GroupChanged, user, detail)
                .await?;
            user.told_groups = beside;
        }
        Ok(())
    }

    /// Ends a browser session, and with it all sessions of servers and services that began from it
    /// (JupyterHub `LogoutHandler`).
    pub async fn log_out(&self, session: &Session) -> Result<(), HubError> {
        let mut tx = self.store().begin().await?;
        tx.delete_tokens_of_session(session.user.id, &session.public_id)
            .await?;
        tx.delete_session(session.id).await?;
        let name = &session.user.name;
        let event = AuditEvent::new(AuditKind::Logout, Actor::User(name), Some(name));
        self.audit().write(&mut tx, event).await?;
        tx.commit().await?;
        tracing::info!(user.name = %session.user.name, "user {} logged out", session.user.name);
        Ok(())
    }

    /// Writes down what a login changes of a user.
    async fn write_change(
        &self,
        tx: &mut Tx,
        kind: AuditKind,
        user: &User,
        detail: Value,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            detail,
            ..AuditEvent::new(kind, Actor::Hub, Some(&user.name))
        };
        self.audit().write(tx, event).await
    }

    /// Writes one line for each refusal, with the address, for tools that watch the log; and an event, but for one
    /// pause only once.
    fn note_failed(&self, typed: &str, addr: &str, error: &LoginError) {
        let name = typed_name(typed);
        let shown = name.as_deref().unwrap_or(NO_NAME);
        let from = if addr.is_empty() { "unknown" } else { addr };
        let (kind, again) = match error {
            LoginError::Slowed { first, .. } => (AuditKind::LoginSlowed, !first),
            _ => (AuditKind::LoginFailed, false),
        };
        // The words up to the address are documented: filters of fail2ban look for them. Nothing that somebody has
        // typed may stand before them.
        match kind {
            AuditKind::LoginSlowed => {
                tracing::warn!(user.name = %shown, client.addr = %from, reason = %error,
                    "slowed login from {from} for user {shown}");
            }
            // Whoever tries while nobody can log in is not to be banned for it: in other words.
            _ if error.is_ours() => {
                tracing::warn!(user.name = %shown, client.addr = %from, reason = %error,
                    "nobody can log in: {error}; told to try again: {from}, user {shown}");
            }
            _ => {
                tracing::warn!(user.name = %shown, client.addr = %from, reason = %error,
                    "failed login from {from} for user {shown}");
            }
        }
        if again {
            return;
        }
        let about = name.and_then(|name| UserName::parse(&name).ok());
        self.audit().note(AuditEvent {
            client_addr: Some(addr),
            detail: json!({"reason": error.to_string()}),
            ..AuditEvent::new(kind, Actor::Unknown, about.as_ref())
        });
    }
}

/// Makes these the groups of a user, and no others; those that do not exist are created (JupyterHub
/// `User.sync_groups`). Says whether anything changed.
async fn put_into_groups(
    tx: &mut Tx,
    user: UserId,
    names: &[GroupName],
) -> Result<bool, StoreError> {
    let before = tx.groups_of_user(user).await?;
    let mut changed = false;
    for group in &before {
        if !names.contains(&group.name) {
            tx.remove_member(group.id, user).await?;
            changed = true;
        }
    }
    for name in names {
        let group = match tx.find_group(name).await? {
            Some(group) => group,
            None => tx.create_group(name).await?,
        };
        tx.add_member(group.id, user).await?;
        changed |= !before.iter().any(|known| known.id == group.id);
    }
    Ok(changed)
}

/// Never less than a second: who comes back at once would wait again.
fn whole_seconds(wait: Duration) -> u64 {
    let more = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(more).max(1)
}
