//! Deletion of a user, with everything that belongs to them.

use futures_util::future::join_all;
use lyceum_core::lifecycle::{Refusal, State};
use lyceum_core::{ServerName, ServerRef, UserName};
use lyceum_store::{Phase, StoreError, User};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::permit::{DeleteUser, UserPermit};
use crate::{Actor, AuditEvent, AuditKind, Hub, Principal};

/// Why a user was not deleted.
#[derive(Debug, Error)]
pub enum DeleteUserError {
    /// Nobody deletes themselves.
    #[error("you cannot delete yourself")]
    Yourself,
    /// A server of theirs does not stop in time, or was just started.
    #[error("a server of {0} has not stopped yet; try again in a moment")]
    ServersActive(UserName),
    /// A server of theirs cannot be stopped just now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl Hub {
    /// Stops all servers of a user, as long as an API call waits for it, and deletes the user with all that is
    /// theirs. It is brought to an end also when the caller goes away meanwhile.
    pub async fn delete_user(
        &self,
        permit: UserPermit<DeleteUser>,
        caller: &Principal,
    ) -> Result<(), DeleteUserError> {
        let user = permit.user().clone();
        if caller.user().is_some_and(|own| own.id == user.id) {
            return Err(DeleteUserError::Yourself);
        }
        let default = ServerRef::new(user.name.clone(), ServerName::default_server());
        if matches!(
            self.servers().snapshot(&default).state,
            State::Stopping { .. }
        ) {
            return Err(DeleteUserError::ServersActive(user.name));
        }
        let (reply, answer) = oneshot::channel();
        let hub = self.clone();
        let caller = caller.clone();
        self.tasks().spawn("delete a user", async move {
            let by = caller.name();
            let result = hub.delete_stopped(&user, &caller).await;
            match &result {
                Ok(()) => {
                    tracing::info!(user.name = %user.name, by, "deleted user {}", user.name);
                }
                Err(error) => {
                    tracing::warn!(user.name = %user.name, error = error as &dyn std::error::Error,
                        "user {} was not deleted", user.name);
                }
            }
            let _ = reply.send(result);
        });
        answer.await.unwrap_or(Err(Refusal::NoAnswer.into()))
    }

    async fn delete_stopped(&self, user: &User, by: &Principal) -> Result<(), DeleteUserError> {
        let active = self.servers().active_of(&user.name);
        let stops = join_all(active.iter().map(|server| self.servers().stop(server))).await;
        for (server, stop) in active.iter().zip(stops) {
            match stop {
                Ok(()) => self.note_stop(Actor::Caller(by), server, "user-deleted"),
                Err(Refusal::NotRunning | Refusal::Stopping) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let limit = self.settings().slow_stop_timeout;
        let ends = active.iter().map(|server| {
            self.servers()
                .wait(server, limit, |state| !state.is_active())
        });
        if join_all(ends)
            .await
            .iter()
            .any(|last| last.state.is_active())
        {
            return Err(DeleteUserError::ServersActive(user.name.clone()));
        }
        let mut tx = self.store().begin().await?;
        let servers = tx.servers_of_user(user.id).await?;
        // A start that was asked for meanwhile may be written down already; else it fails for want of its user.
        if servers.iter().any(|row| row.phase != Phase::Stopped) {
            return Err(DeleteUserError::ServersActive(user.name.clone()));
        }
        tx.delete_user(user.id).await?;
        let actor = Actor::Caller(by);
        let event = AuditEvent::new(AuditKind::UserDeleted, actor, Some(&user.name));
        self.audit().write(&mut tx, event).await?;
        tx.commit().await?;
        let names = servers.into_iter().map(|row| row.name);
        self.forget_servers(&user.name, names).await;
        Ok(())
    }

    /// Forgets servers of a name that is nobody's any more, so that whoever gets the name next finds nothing of
    /// them: not what they did, not their logs.
    pub(super) async fn forget_servers(
        &self,
        user: &UserName,
        names: impl Iterator<Item = ServerName>,
    ) {
        self.servers().forget_inactive(user);
        for name in names {
            self.forget_server(&ServerRef::new(user.clone(), name))
                .await;
        }
    }
}
