//! Roles as the configuration declares them, and exactly who holds them (JupyterHub `app.init_roles`).
//!
//! Who is an administrator is told by the flag of the user or service alone; the rows of the role `admin` hold groups
//! only. So the flag can be taken away by API, and is not given back by a forgotten row.

use std::collections::{BTreeSet, HashSet};

use lyceum_core::declared::DeclaredRole;
use lyceum_core::ids::{RoleId, ServiceId, UserId};
use lyceum_core::scope::{default_role, default_roles};
use lyceum_store::{NewRole, Role, RoleHolder, StoreError};
use serde_json::json;

use super::Work;
use crate::AuditKind;

const ADMIN: &str = "admin";
const USER: &str = "user";

impl Work<'_> {
    pub(super) async fn roles(&mut self) -> Result<(), StoreError> {
        self.delete_old_roles().await?;
        for declared in &self.declared.roles {
            let role = self.role(declared).await?;
            match declared.name.as_str() {
                ADMIN => self.administrators(declared).await?,
                // Every user has it, listed or not.
                USER => {
                    self.ensure_users(declared.users.as_deref().unwrap_or_default())
                        .await?;
                }
                _ => self.users_of(&role, declared).await?,
            }
            let groups = declared.groups.as_deref().unwrap_or_default();
            let groups = self.ensure_groups(groups).await?;
            self.tx.set_role_groups(role.id, &groups).await?;
            if declared.name.as_str() != ADMIN {
                let services = self.services_of(declared).await?;
                let services: Vec<ServiceId> = services.into_iter().collect();
                self.tx.set_role_services(role.id, &services).await?;
            }
        }
        self.flags_of_the_role_admin().await
    }

    /// Deletes roles that are neither default nor declared; default ones that are declared no more are as ever.
    async fn delete_old_roles(&mut self) -> Result<(), StoreError> {
        let declared: HashSet<&str> = self
            .declared
            .roles
            .iter()
            .map(|role| role.name.as_str())
            .collect();
        for role in self.tx.list_roles().await? {
            if declared.contains(role.name.as_str()) {
                continue;
            }
            if default_roles()
                .iter()
                .any(|default| default.name == role.name)
            {
                self.reset(&role).await?;
            } else if !role.managed_by_auth {
                tracing::warn!(
                    "deleted the role {}, which is not in the configuration",
                    role.name
                );
                self.tx.delete_role(role.id).await?;
                self.role_changed(&role.name, "deleted").await?;
            }
        }
        Ok(())
    }

    async fn reset(&mut self, role: &Role) -> Result<(), StoreError> {
        let Some(default) = default_role(&role.name) else {
            return Ok(());
        };
        let scopes: Vec<String> = default
            .scopes
            .iter()
            .map(|&scope| scope.to_owned())
            .collect();
        if role.scopes != scopes || role.description != default.description {
            self.tx
                .upsert_role(NewRole {
                    name: default.name,
                    description: default.description,
                    scopes: &scopes,
                    managed_by_auth: false,
                })
                .await?;
            self.role_changed(&role.name, "reset").await?;
        }
        Ok(())
    }

    async fn role_changed(&mut self, role: &str, change: &str) -> Result<(), StoreError> {
        let detail = json!({"role": role, "change": change, "by": "configuration"});
        self.write(AuditKind::RoleChanged, None, detail).await
    }

    async fn set_flag(&mut self, id: UserId, admin: bool) -> Result<(), StoreError> {
        self.tx.set_admin(id, admin).await?;
        let user = self.tx.find_user_by_id(id).await?;
        let detail = json!({"admin": admin, "by": "configuration"});
        let name = user.as_ref().map(|user| &user.name);
        self.write(AuditKind::UserChanged, name, detail).await
    }

    /// Stores a role; what is not said of a default one stays as it is by default.
    async fn role(&mut self, declared: &DeclaredRole) -> Result<Role, StoreError> {
        let name = declared.name.as_str();
        let default = default_role(name);
        let default_scopes = || {
            let scopes = default.map(|role| role.scopes).unwrap_or_default();
            scopes.iter().map(|&scope| scope.to_owned()).collect()
        };
        let scopes: Vec<String> = declared.scopes.clone().unwrap_or_else(default_scopes);
        let description = declared.description.as_deref();
        let description = description
            .or(default.map(|role| role.description))
            .unwrap_or_default();
        let existing = self.tx.find_role(name).await?;
        let managed_by_auth = existing.as_ref().is_some_and(|role| role.managed_by_auth);
        match existing {
            Some(role) if role.scopes == scopes && role.description == description => Ok(role),
            existing => {
                let more = |role: &Role| scopes.iter().any(|scope| !role.scopes.contains(scope));
                if existing.as_ref().is_some_and(more) {
                    tracing::warn!("the role {name} allows more than at the last start");
                }
                let change = existing.as_ref().map_or("created", |_| "changed");
                self.role_changed(name, change).await?;
                self.tx
                    .upsert_role(NewRole {
                        name,
                        description,
                        scopes: &scopes,
                        managed_by_auth,
                    })
                    .await
            }
        }
    }

    async fn users_of(&mut self, role: &Role, declared: &DeclaredRole) -> Result<(), StoreError> {
        if declared.users.is_none() && role.managed_by_auth {
            return Ok(());
        }
        let users = self
            .ensure_users(declared.users.as_deref().unwrap_or_default())
            .await?;
        self.tx.set_role_users(role.id, &users).await
    }

    /// The services that a role names; each was stored before.
    async fn services_of(
        &mut self,
        declared: &DeclaredRole,
    ) -> Result<BTreeSet<ServiceId>, StoreError> {
        let mut ids = BTreeSet::new();
        for name in declared.services.iter().flatten() {
            let service = self.tx.find_service(name).await?;
            ids.extend(service.map(|service| service.id));
        }
        Ok(ids)
    }

    /// Makes those administrators who are listed, and no others; a kind that is not listed stays as it is.
    ///
    /// Whoever stands in `access.admin_users` is listed too: one of the two lists takes nothing from the other.
    async fn administrators(&mut self, declared: &DeclaredRole) -> Result<(), StoreError> {
        if let Some(names) = &declared.users {
            let wanted: BTreeSet<UserId> = self.ensure_users(names).await?.into_iter().collect();
            let mut others: BTreeSet<UserId> =
                self.tx.administrators().await?.into_iter().collect();
            for id in &wanted {
                if !others.remove(id) {
                    self.set_flag(*id, true).await?;
                }
            }
            for name in &self.hub.settings().access.admin_users {
                let user = self.tx.find_user(name).await?;
                others.retain(|id| user.as_ref().is_none_or(|user| user.id != *id));
            }
            for id in others {
                tracing::warn!(
                    "user {id} is no administrator any more, as the role `admin` does not list them"
                );
                self.set_flag(id, false).await?;
            }
        }
        if declared.services.is_some() {
            let wanted = self.services_of(declared).await?;
            for service in self.tx.list_services().await? {
                let admin = wanted.contains(&service.id);
                if service.data.admin != admin {
                    self.tx.set_service_admin(service.id, admin).await?;
                }
            }
        }
        Ok(())
    }

    /// Users and services that hold the role `admin` by a row, as in databases of JupyterHub, get the flag instead.
    async fn flags_of_the_role_admin(&mut self) -> Result<(), StoreError> {
        let Some(RoleId(id)) = self.tx.find_role(ADMIN).await?.map(|role| role.id) else {
            return Ok(());
        };
        let role = RoleId(id);
        for holder in self.tx.holders_of_role(role).await? {
            match holder {
                RoleHolder::User(user) => self.set_flag(user, true).await?,
                RoleHolder::Service(service) => self.tx.set_service_admin(service, true).await?,
                RoleHolder::Group(_) => continue,
            }
            self.tx.revoke_role(role, holder).await?;
        }
        Ok(())
    }
}
