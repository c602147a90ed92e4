//! Changes of a user: another name, administrator or not, other auth state.

use lyceum_core::UserName;
use lyceum_store::{Phase, StoreError};
use serde_json::{Map, Value, json};

use super::{UserError, check_change, check_grant, parse_lowered};
use crate::models::UserView;
use crate::permit::{ManageUser, UserPermit};
use crate::{Actor, AuditEvent, AuditKind, Hub, Principal};

/// What to change about a user; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// The new name, as it was typed.
    pub name: Option<String>,
    /// Whether the user is an administrator.
    pub admin: Option<bool>,
    /// What the login method keeps for the user.
    pub auth_state: Option<Map<String, Value>>,
}

impl Hub {
    /// Changes a user, all of it or nothing.
    ///
    /// A new name is made lower case and must be free. Roles, groups, tokens, logins, servers and shares stay the
    /// user's own; what is written somewhere with the old name (scopes of roles, the configuration) does not follow.
    pub async fn change_user(
        &self,
        permit: &UserPermit<ManageUser>,
        caller: &Principal,
        change: UserChange,
    ) -> Result<UserView, UserError> {
        let mut user = permit.user().clone();
        let old = user.name.clone();
        let name = match change.name {
            // The same name changes nothing, even if it could not be given to anybody new.
            Some(name) if name != old.as_str() => Some(self.free_name(&name).await?),
            _ => None,
        };
        check_change(caller, &user)?;
        check_grant(caller, change.admin == Some(true))?;
        if change.auth_state.is_some() && !self.keeps_auth_state() {
            return Err(UserError::NoAuthState);
        }
        if name.is_some() && !self.servers().active_of(&old).is_empty() {
            return Err(UserError::ServersActive(old));
        }
        let mut tx = self.store().begin().await?;
        let mut servers = Vec::new();
        if let Some(name) = &name {
            servers = tx.servers_of_user(user.id).await?;
            // A start that was asked for meanwhile may be written down already; else it fails for want of its user.
            if servers.iter().any(|row| row.phase != Phase::Stopped) {
                return Err(UserError::ServersActive(old));
            }
            tx.rename_user(user.id, name)
                .await
                .map_err(|error| match error {
                    StoreError::Exists { .. } => UserError::Exists(name.clone()),
                    error => error.into(),
                })?;
            user.name = name.clone();
        }
        if let Some(admin) = change.admin {
            tx.set_admin(user.id, admin).await?;
            user.admin = admin;
        }
        if let Some(state) = &change.auth_state {
            self.keep_auth_state(&mut tx, &user, Some(state)).await?;
        }
        let detail = json!({
            "renamed": name,
            "admin": change.admin,
            "auth_state": change.auth_state.is_some(),
        });
        let actor = Actor::Caller(caller);
        let event = AuditEvent {
            detail,
            ..AuditEvent::new(AuditKind::UserChanged, actor, Some(&old))
        };
        self.audit().write(&mut tx, event).await?;
        tx.commit().await?;
        tracing::info!(user.name = %user.name, by = caller.name(), renamed = name.is_some(),
            admin = change.admin, "changed user {old}");
        if name.is_some() {
            let names = servers.into_iter().map(|row| row.name);
            self.forget_servers(&old, names).await;
        }
        Ok(self.view(&user).await?)
    }

    async fn free_name(&self, typed: &str) -> Result<UserName, UserError> {
        let name = parse_lowered(typed)?;
        match self.store().find_user(&name).await? {
            Some(_) => Err(UserError::Exists(name)),
            None => Ok(name),
        }
    }
}
