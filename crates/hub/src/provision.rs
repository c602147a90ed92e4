//! Applies what the configuration declares: roles, groups and services, in one transaction at each start.
//!
//! Doing it again changes nothing, except that managed services get fresh tokens. What was made by the API stays, but
//! for the holders of roles, which the configuration alone decides.

mod roles;
mod services;

use std::collections::BTreeMap;

use lyceum_core::declared::{Declared, DeclaredGroup};
use lyceum_core::ids::{GroupId, UserId};
use lyceum_core::{GroupName, Secret, ServiceName, Timestamp, UserName};
use lyceum_store::{Group, StoreError, Tx};
use serde_json::{Value, json};
use thiserror::Error;

pub(crate) use self::services::{new_token, record, secret_hash};
use crate::{Actor, AuditEvent, AuditKind, Hub};

/// Why what is declared could not be applied; nothing of it was.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// The token of a service belongs to somebody else.
    #[error(
        "the token of the service `{0}` is the token of somebody else already; give it another"
    )]
    TokenTaken(ServiceName),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

/// The tokens of managed services, for their environments.
pub(crate) type ServiceTokens = BTreeMap<ServiceName, Secret<String>>;

impl Hub {
    /// Applies what the configuration declares, and puts the routes of services.
    ///
    /// To be called once, before anybody is served and before [`Hub::recover`].
    pub async fn provision(&self) -> Result<(), ProvisionError> {
        let mut work = Work {
            hub: self,
            declared: &self.settings().declared,
            tx: self.store().begin().await?,
            now: self.now(),
        };
        let tokens = work.apply().await?;
        work.tx.commit().await?;
        self.services().set_tokens(tokens);
        self.publish_services().await?;
        Ok(())
    }
}

/// What is being applied, and the transaction in which that is done.
struct Work<'a> {
    hub: &'a Hub,
    declared: &'a Declared,
    tx: Tx,
    now: Timestamp,
}

impl Work<'_> {
    async fn apply(&mut self) -> Result<ServiceTokens, ProvisionError> {
        self.named_users().await?;
        for group in &self.declared.groups {
            self.group(group).await?;
        }
        // Roles name services, and so come after them.
        let tokens = self.services().await?;
        self.roles().await?;
        Ok(tokens)
    }

    /// Creates whom `[access]` names, and makes administrators of those who are (JupyterHub `init_users`).
    async fn named_users(&mut self) -> Result<(), StoreError> {
        let access = &self.hub.settings().access;
        let names = access.allowed_users.union(&access.admin_users);
        for name in names.filter(|name| !access.is_blocked(name)) {
            let is_admin = access.admin_users.contains(name);
            match self.tx.find_user(name).await? {
                None => {
                    tracing::info!(user.name = %name, "made the user {name}, whom the configuration names");
                    self.create_user(name, is_admin).await?;
                }
                Some(user) if is_admin && !user.admin => {
                    self.tx.set_admin(user.id, true).await?;
                    let detail = json!({"admin": true, "by": "configuration"});
                    self.write(AuditKind::UserChanged, Some(name), detail)
                        .await?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Creates a group, or adds to it.
    async fn group(&mut self, declared: &DeclaredGroup) -> Result<(), StoreError> {
        let group = self.ensure_group(&declared.name).await?;
        if let Some(properties) = &declared.properties
            && group.properties != *properties
        {
            self.tx.set_group_properties(group.id, properties).await?;
            self.group_changed(&declared.name, "properties", None)
                .await?;
        }
        for name in &declared.users {
            let user = self.ensure_user(name).await?;
            if self.tx.add_member(group.id, user).await? {
                self.group_changed(&declared.name, "members-added", Some(name))
                    .await?;
            }
        }
        Ok(())
    }

    async fn ensure_group(&mut self, name: &GroupName) -> Result<Group, StoreError> {
        if let Some(group) = self.tx.find_group(name).await? {
            return Ok(group);
        }
        tracing::info!("made the group {name}, which the configuration names");
        let group = self.tx.create_group(name).await?;
        self.group_changed(name, "created", None).await?;
        Ok(group)
    }

    async fn group_changed(
        &mut self,
        group: &GroupName,
        change: &str,
        member: Option<&UserName>,
    ) -> Result<(), StoreError> {
        let detail = json!({"group": group, "change": change, "by": "configuration"});
        self.write(AuditKind::GroupChanged, member, detail).await
    }

    async fn ensure_groups(&mut self, names: &[GroupName]) -> Result<Vec<GroupId>, StoreError> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            ids.push(self.ensure_group(name).await?.id);
        }
        Ok(ids)
    }

    async fn ensure_user(&mut self, name: &UserName) -> Result<UserId, StoreError> {
        if let Some(user) = self.tx.find_user(name).await? {
            return Ok(user.id);
        }
        tracing::info!(user.name = %name, "made the user {name}, whom the configuration names");
        self.create_user(name, false).await
    }

    async fn create_user(&mut self, name: &UserName, admin: bool) -> Result<UserId, StoreError> {
        let user = self.hub.create_user_in(&mut self.tx, name, admin).await?;
        let detail = json!({"admin": admin, "by": "configuration"});
        self.write(AuditKind::UserCreated, Some(name), detail)
            .await?;
        Ok(user.id)
    }

    async fn write(
        &mut self,
        kind: AuditKind,
        about: Option<&UserName>,
        detail: Value,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            detail,
            ..AuditEvent::new(kind, Actor::Hub, about)
        };
        self.hub.audit().write(&mut self.tx, event).await
    }

    async fn ensure_users(&mut self, names: &[UserName]) -> Result<Vec<UserId>, StoreError> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names {
            ids.push(self.ensure_user(name).await?);
        }
        Ok(ids)
    }
}
