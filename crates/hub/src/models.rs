//! What there is to be told of users and their servers: rows of the store together with what runs now.

use std::sync::Arc;

use lyceum_core::lifecycle::{Failure, Refusal};
use lyceum_core::{GroupName, ServerRef};
use lyceum_store::{Server, StoreError, User, UserDetails};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::RemoveError;
use crate::permit::{ReadUser, StopServer};
use crate::running::Outcome;
use crate::{Action, Actor, Hub, Principal, ServerPermit, Snapshot, UserPermit};

/// A user with everything that belongs to them.
#[derive(Debug, Clone)]
pub struct UserView {
    /// The user.
    pub user: User,
    /// Their groups.
    pub groups: Vec<GroupName>,
    /// The names of their roles, those of every user and of administrators included, sorted.
    pub roles: Vec<String>,
    /// Their servers, also those that do not run.
    pub servers: Vec<ServerView>,
}

impl UserView {
    /// Whether one of the servers runs, with nothing going on.
    pub fn has_ready_server(&self) -> bool {
        self.servers
            .iter()
            .any(|server| server.now.state.is_ready())
    }
}

/// A server, and what it does now.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Which server.
    pub server: ServerRef,
    /// What is stored of it; `None` for a default server that was never started.
    pub row: Option<Server>,
    /// What it does now.
    pub now: Snapshot,
}

impl ServerView {
    /// Why the server does not run, if it should: from this run of Lyceum, or from an earlier one.
    pub fn failure(&self) -> Option<&Failure> {
        if self.now.state.is_active() {
            return None;
        }
        self.now
            .state
            .failure()
            .or_else(|| self.row.as_ref().and_then(|row| row.failure.as_ref()))
    }

    /// Whether the last start failed, and nobody has tried again.
    pub fn start_failed(&self) -> bool {
        self.failure().is_some_and(Failure::is_of_start)
    }
}

impl Hub {
    /// Gives all that is known of a user. What of it the caller may see is for the caller of this to sort out.
    pub async fn user_view(&self, permit: &UserPermit<ReadUser>) -> Result<UserView, StoreError> {
        self.view(permit.user()).await
    }

    /// Gives all that is known of the asking user; `None` for a service.
    pub async fn own_view(&self, caller: &Principal) -> Result<Option<UserView>, StoreError> {
        match caller.user() {
            Some(user) => self.view(user).await.map(Some),
            None => Ok(None),
        }
    }

    /// Gives all that is known of one user.
    pub(crate) async fn view(&self, user: &User) -> Result<UserView, StoreError> {
        let details = self.known_details(user.id).await?;
        Ok(self.view_of(user.clone(), &details))
    }

    /// Gives all that is known of many users, in their order; what is stored of them is read together.
    pub(crate) async fn views(&self, users: Vec<User>) -> Result<Vec<UserView>, StoreError> {
        let ids: Vec<_> = users.iter().map(|user| user.id).collect();
        let details = self.known_details_of(&ids).await?;
        let view = |(user, details): (User, Arc<UserDetails>)| self.view_of(user, &details);
        Ok(users.into_iter().zip(details).map(view).collect())
    }

    fn view_of(&self, mut user: User, details: &UserDetails) -> UserView {
        user.last_activity = user.last_activity.max(self.activity().of_user(user.id));
        let mut roles = details.roles.clone();
        roles.push("user".to_owned());
        if user.admin {
            roles.push("admin".to_owned());
        }
        roles.sort();
        roles.dedup();
        let servers = details
            .servers
            .iter()
            .map(|row| {
                let server = ServerRef::new(user.name.clone(), row.name.clone());
                self.view_with(server, Some(row.clone()))
            })
            .collect();
        UserView {
            user,
            groups: details.groups.clone(),
            roles,
            servers,
        }
    }

    /// Gives a server; without a row if it was never started.
    pub async fn server_view<A: Action>(
        &self,
        permit: &ServerPermit<A>,
    ) -> Result<ServerView, StoreError> {
        let row = self
            .store()
            .find_server(permit.user().id, &permit.server().server)
            .await?;
        Ok(self.view_with(permit.server().clone(), row))
    }

    /// Adds what is known of this run of Lyceum, and activity that is not yet written.
    pub(crate) fn view_with(&self, server: ServerRef, row: Option<Server>) -> ServerView {
        let now = self.servers().snapshot(&server);
        let row = row.map(|mut row| {
            row.last_activity = row.last_activity.max(self.activity().of_server(row.id));
            row
        });
        ServerView { server, row, now }
    }

    /// Finds out which server a path below `/user/NAME/` means: a named one if the first segment names one
    /// that exists, else the default one.
    pub async fn server_of_path(
        &self,
        user: &User,
        first_segment: &str,
    ) -> Result<ServerRef, StoreError> {
        if self.settings().allow_named_servers
            && let Ok(name) = lyceum_core::ServerName::parse(first_segment)
            && !name.is_default()
            && self.store().find_server(user.id, &name).await?.is_some()
        {
            return Ok(ServerRef::new(user.name.clone(), name));
        }
        Ok(ServerRef::new(
            user.name.clone(),
            lyceum_core::ServerName::default_server(),
        ))
    }

    /// Finds the row ids that an activity report names; `None` if one of the servers does not exist.
    pub async fn server_ids(
        &self,
        user: &User,
        names: &[&str],
    ) -> Result<Option<Vec<lyceum_core::ids::ServerId>>, StoreError> {
        let known = self.known_user(&user.name).await?;
        let known = known.as_ref().map_or(&[][..], |known| &known.servers);
        Ok(names
            .iter()
            .map(|wanted| {
                known
                    .iter()
                    .find(|(name, _)| name.as_str() == *wanted)
                    .map(|(_, id)| *id)
            })
            .collect())
    }

    /// The groups that a user is in.
    pub async fn groups_of(&self, user: &User) -> Result<Vec<GroupName>, StoreError> {
        Ok(self
            .store()
            .groups_of_user(user.id)
            .await?
            .into_iter()
            .map(|group| group.name)
            .collect())
    }

    /// The groups by which the configuration gives a user profiles and limits: those of the hub, and those that the
    /// login method told of at the last login. The latter give no rights in the hub.
    pub async fn groups_that_count(&self, user: &User) -> Result<Vec<GroupName>, StoreError> {
        let own = self.groups_of(user).await?;
        Ok(with_told(own, user))
    }

    /// Whether there is a record of a server.
    pub async fn server_exists<A: Action>(
        &self,
        permit: &ServerPermit<A>,
    ) -> Result<bool, StoreError> {
        Ok(self
            .store()
            .find_server(permit.user().id, &permit.server().server)
            .await?
            .is_some())
    }

    /// Deletes the record of a server that does not run, and what the spawner keeps for it.
    async fn remove_server(&self, permit: &ServerPermit<StopServer>) -> Result<(), StoreError> {
        if !self.servers().remove(permit.server()).await? {
            return Ok(());
        }
        self.note_deleted(Actor::Caller(permit.by()), permit.server(), "asked");
        self.forget_server(permit.server()).await;
        Ok(())
    }

    /// Stops a server and deletes its record; waits for that as long as an API call waits. It is done also when
    /// the caller goes away meanwhile.
    pub async fn stop_and_remove(
        &self,
        permit: ServerPermit<StopServer>,
    ) -> Result<Outcome, RemoveError> {
        let (reply, answer) = oneshot::channel();
        let hub = self.clone();
        self.tasks().spawn("stop and remove a server", async move {
            let result = hub.remove_when_stopped(&permit).await;
            if let Err(error) = &result {
                tracing::error!(server.name = %permit.server(), error = error as &dyn std::error::Error,
                    "a server was not removed");
            }
            let _ = reply.send(result);
        });
        let limit = self.settings().slow_stop_timeout;
        match timeout(limit, answer).await {
            Ok(Ok(result)) => result.map(|()| Outcome::Done),
            Ok(Err(_)) => Err(Refusal::NoAnswer.into()),
            Err(_) => Ok(Outcome::Pending),
        }
    }

    async fn remove_when_stopped(
        &self,
        permit: &ServerPermit<StopServer>,
    ) -> Result<(), RemoveError> {
        match self.request_stop(permit).await {
            Ok(()) | Err(Refusal::Stopping | Refusal::NotRunning) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        // Twice the time of one try: a stop that hangs is begun again.
        let limit = self.settings().limits().stop.saturating_mul(2);
        if !self.await_stop(permit, limit).await {
            return Err(RemoveError::Runs);
        }
        Ok(self.remove_server(permit).await?)
    }
}

/// Adds the groups that the login method told of to those that a user is in.
pub(crate) fn with_told(mut groups: Vec<GroupName>, user: &User) -> Vec<GroupName> {
    let told = user.told_groups.iter();
    let more: Vec<_> = told
        .filter(|told| !groups.contains(told))
        .cloned()
        .collect();
    groups.extend(more);
    groups
}
