//! Named servers: which names there may be, making one without starting it, renaming one.
//!
//! Starting and stopping them is in `running.rs`, as for default servers.

use std::collections::BTreeSet;

use lyceum_core::limits::NamedServers;
use lyceum_core::{NameError, ServerName, ServerRef, slug};
use lyceum_store::{Kind, Phase, StoreError, User};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::models::{ServerView, with_told};
use crate::permit::{ManageServer, StartServer};
use crate::profiles::NoSuchProfile;
use crate::servers::{Change, Shared, StartInput};
use crate::{Action, Actor, AuditEvent, AuditKind, Hub, ServerPermit, StartError};

/// What becomes of servers whose names are not allowed for new ones any more (JupyterHub
/// `allow_existing_invalid_named_servers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OldNames {
    /// They can be used as before.
    #[default]
    AllowStart,
    /// They can be stopped and deleted, but not started.
    AllowDelete,
    /// Those that do not run get a new name at each start of Lyceum; the old one is shown to people.
    Rename,
}

/// Permissions that include making and changing servers.
pub trait MayEdit: Action {}
impl MayEdit for StartServer {}
impl MayEdit for ManageServer {}

/// What a server shall be from now on; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// Its name, as the caller wrote it.
    pub name: Option<String>,
    /// The name shown to people, checked.
    pub display_name: Option<String>,
    /// The options of the next start.
    pub user_options: Option<Map<String, Value>>,
}

/// Why a server was not made or changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// Its name cannot be one.
    #[error("{0}")]
    Name(NameError),
    /// Named servers are switched off.
    #[error("named servers are not enabled here")]
    NamedServersOff,
    /// The user has as many named servers as are allowed.
    #[error("the limit of {0} named servers is reached; delete one first")]
    TooManyNamed(u32),
    /// There is one of that name.
    #[error("the user {} already has the server `{}`", .0.user, .0.server)]
    Exists(ServerRef),
    /// There is none of that name.
    #[error("the user {} has no server `{}`", .0.user, .0.server)]
    NotThere(ServerRef),
    /// The profile of its next start cannot be had.
    #[error(transparent)]
    Profile(#[from] NoSuchProfile),
    /// It runs, or is busy.
    #[error("the server {0} is active; stop it before you change it")]
    Active(ServerRef),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl From<EditError> for StartError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Name(error) => Self::Name(error),
            EditError::NamedServersOff => Self::NamedServersOff,
            EditError::TooManyNamed(limit) => Self::TooManyNamed(limit),
            EditError::Store(error) => Self::Store(error),
            EditError::Profile(error) => Self::Profile(error),
            EditError::Exists(_) | EditError::NotThere(_) | EditError::Active(_) => {
                Self::Refused(lyceum_core::lifecycle::Refusal::NoAnswer)
            }
        }
    }
}

impl Hub {
    /// Makes a server without starting it.
    pub async fn create_server<A: MayEdit>(
        &self,
        permit: &ServerPermit<A>,
        input: StartInput,
    ) -> Result<ServerView, EditError> {
        let server = permit.server();
        if server.server.is_default() || self.server_exists(permit).await? {
            return Err(EditError::Exists(server.clone()));
        }
        self.check_new_name(permit.user(), server.server.as_str())
            .await?;
        let options = self
            .check_profile(permit.user(), input.user_options)
            .await??;
        let limit = self.named_servers_of(permit.user()).await?.limit();
        let mut tx = self.store().begin().await?;
        let (mut row, new) = tx
            .ensure_server(permit.user().id, &server.server, self.now())
            .await?;
        if !new {
            return Err(EditError::Exists(server.clone()));
        }
        // Asked before, too; but two names at once may both have been fine then.
        if limit > 0 && tx.count_servers_of_user(permit.user().id).await?.named > u64::from(limit) {
            return Err(EditError::TooManyNamed(limit));
        }
        if let Some(display_name) = input.display_name {
            tx.set_display_name(row.id, Some(&display_name)).await?;
            row.display_name = Some(display_name);
        }
        if let Some(options) = options {
            tx.set_user_options(row.id, Some(&options)).await?;
            row.user_options = Some(options);
        }
        let event = AuditEvent {
            server: Some(&server.server),
            ..AuditEvent::new(
                AuditKind::ServerCreated,
                Actor::Caller(permit.by()),
                Some(&server.user),
            )
        };
        self.audit().write(&mut tx, event).await?;
        tx.commit().await?;
        tracing::info!(server.name = %server, "made the server {server}");
        Ok(self.view_with(server.clone(), Some(row)))
    }

    /// Changes a server that does not run: its name, what people see of it, its options. All of it, or nothing.
    ///
    /// If the default server gets a name, the user has a new default server, which was never used.
    pub async fn change_server<A: MayEdit>(
        &self,
        permit: &ServerPermit<A>,
        edit: Edit,
    ) -> Result<ServerView, EditError> {
        let server = permit.server();
        if (edit.name.is_some() || edit.display_name.is_some())
            && self.named_servers_of(permit.user()).await? == NamedServers::Off
        {
            return Err(EditError::NamedServersOff);
        }
        let name = match &edit.name {
            Some(name) => Some(self.check_target(permit, name).await?),
            None => None,
        };
        if !server.server.is_default() && !self.server_exists(permit).await? {
            return Err(EditError::NotThere(server.clone()));
        }
        if self.servers().snapshot(server).state.is_active() {
            return Err(EditError::Active(server.clone()));
        }
        let renamed = match name {
            Some(Target::Free(name)) => Some(name),
            Some(Target::Taken(taken)) => return Err(EditError::Exists(taken)),
            None => None,
        };
        let user_options = self
            .check_profile(permit.user(), edit.user_options)
            .await??;
        let detail = json!({
            "renamed": renamed,
            "display_name": edit.display_name.is_some(),
            "options": user_options.is_some(),
        });
        let change = Change {
            name: renamed.clone(),
            display_name: edit.display_name,
            user_options,
        };
        let row = match self.servers().change(server, change).await {
            Ok(row) => row.ok_or_else(|| EditError::Active(server.clone()))?,
            Err(StoreError::Exists {
                kind: Kind::Server, ..
            }) => {
                let taken = renamed.unwrap_or_default();
                let taken = ServerRef::new(server.user.clone(), taken);
                return Err(EditError::Exists(taken));
            }
            Err(StoreError::NotFound { .. }) => return Err(EditError::NotThere(server.clone())),
            Err(error) => return Err(error.into()),
        };
        let now = ServerRef::new(server.user.clone(), row.name.clone());
        self.note_server(
            AuditKind::ServerChanged,
            Actor::Caller(permit.by()),
            server,
            detail,
        );
        if renamed.is_some() {
            tracing::info!(server.name = %server, "the server {server} is now called {now}");
            self.forget_server(server).await;
        }
        Ok(self.view_with(now, Some(row)))
    }

    /// Checks the new name of a server that exists, by the rules of new names.
    async fn check_target<A: Action>(
        &self,
        permit: &ServerPermit<A>,
        name: &str,
    ) -> Result<Target, EditError> {
        let user = permit.user();
        if let Ok(known) = ServerName::parse(name)
            && (known.is_default() || self.store().find_server(user.id, &known).await?.is_some())
        {
            return Ok(Target::Taken(ServerRef::new(user.name.clone(), known)));
        }
        // Otherwise the number of named servers stays the same.
        if permit.server().server.is_default() {
            self.check_limit(user).await?;
        }
        ServerName::parse_new(name)
            .map(Target::Free)
            .map_err(EditError::Name)
    }

    /// Checks whether a user may have a new server of this name.
    pub(crate) async fn check_new_name(&self, user: &User, name: &str) -> Result<(), EditError> {
        if self.named_servers_of(user).await? == NamedServers::Off {
            return Err(EditError::NamedServersOff);
        }
        self.check_limit(user).await?;
        ServerName::parse_new(name)
            .map(drop)
            .map_err(EditError::Name)
    }

    /// How many named servers a user may have.
    pub async fn named_servers_of(&self, user: &User) -> Result<NamedServers, StoreError> {
        named_servers_of(self.shared(), user).await
    }

    async fn check_limit(&self, user: &User) -> Result<(), EditError> {
        let limit = self.named_servers_of(user).await?.limit();
        if limit > 0 && self.store().count_servers_of_user(user.id).await?.named >= u64::from(limit)
        {
            return Err(EditError::TooManyNamed(limit));
        }
        Ok(())
    }

    /// Gives servers from before the rules a name that follows them, if that is wished; people are shown the old
    /// one. Those that run keep theirs.
    pub(crate) async fn rename_old_servers(&self) -> Result<(), StoreError> {
        if self.settings().servers.old_names != OldNames::Rename {
            return Ok(());
        }
        let all = self.store().list_named_servers().await?;
        let mut taken: BTreeSet<ServerRef> = all
            .iter()
            .map(|(user, row)| ServerRef::new(user.clone(), row.name.clone()))
            .collect();
        for (user, row) in all {
            let old = ServerRef::new(user, row.name);
            if ServerName::parse_new(old.server.as_str()).is_ok() {
                continue;
            }
            if row.phase != Phase::Stopped {
                tracing::error!(server.name = %old, "the server {old} has a name that is not allowed, but runs: it keeps it");
                continue;
            }
            let text = old.server.as_str();
            let names = [
                slug::server_name_from_title(text),
                slug::unique_server_name(text),
            ];
            let new = names
                .into_iter()
                .flatten()
                .map(|name| ServerRef::new(old.user.clone(), name))
                .find(|new| !taken.contains(new));
            let Some(new) = new else {
                tracing::error!(server.name = %old, "there is no free name for the server {old}");
                continue;
            };
            let mut tx = self.store().begin().await?;
            tx.rename_server(row.id, &new.server).await?;
            if row.display_name.is_none() {
                tx.set_display_name(row.id, Some(text)).await?;
            }
            let event = AuditEvent {
                server: Some(&old.server),
                detail: json!({"renamed": new.server, "by": "configuration"}),
                ..AuditEvent::new(AuditKind::ServerChanged, Actor::Hub, Some(&old.user))
            };
            self.audit().write(&mut tx, event).await?;
            tx.commit().await?;
            tracing::info!(server.name = %old, "the server {old} is now called {new}");
            self.forget_server(&old).await;
            taken.insert(new);
        }
        Ok(())
    }

    /// Has the spawner forget a server that there is no more under this name.
    pub(crate) async fn forget_server(&self, server: &ServerRef) {
        if let Err(error) = self.shared().spawner.forget(server).await {
            tracing::warn!(server.name = %server, error = &error as &dyn std::error::Error,
                "could not remove what was kept for a server that is deleted or renamed");
        }
    }
}

/// How many named servers a user may have: by the rules for them, else as for the whole hub.
pub(crate) async fn named_servers_of(
    shared: &Shared,
    user: &User,
) -> Result<NamedServers, StoreError> {
    let settings = &shared.settings;
    let rules = &settings.named_server_rules;
    let groups = if rules.has_groups() {
        let groups = shared.store.groups_of_user(user.id).await?;
        with_told(groups.into_iter().map(|group| group.name).collect(), user)
    } else {
        Vec::new()
    };
    let by_rules = rules.of(&user.name, &groups);
    Ok(match by_rules {
        Some(allowed) => allowed,
        None if !settings.allow_named_servers => NamedServers::Off,
        None if settings.named_server_limit > 0 => NamedServers::UpTo(settings.named_server_limit),
        None => NamedServers::Unlimited,
    })
}

/// The name that a server shall get.
enum Target {
    Free(ServerName),
    Taken(ServerRef),
}
