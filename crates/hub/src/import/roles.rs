//! Roles and who holds them. The four that every hub has are computed here, unless JupyterHub's configuration has
//! changed them; all others have to be in `lyceum.toml` to survive the next start.

use std::collections::BTreeSet;

use lyceum_core::scope::{DefaultRole, RoleName, default_role};
use lyceum_store::jupyterhub::Role as Foreign;
use lyceum_store::{NewRole, Role, RoleHolder, StoreError};

use super::report::{Item, Kind, Outcome};
use super::snippet::RoleEntry;
use super::{Import, listed};

impl Import<'_> {
    pub(super) async fn import_roles(&mut self) -> Result<(), StoreError> {
        let mut dropped = Vec::new();
        for foreign in &self.source.roles {
            let item = match default_role(&foreign.name) {
                Some(default) => self.import_default_role(foreign, default).await?,
                None => Some(self.import_role(foreign).await?),
            };
            let Some(item) = item else { continue };
            let stored = item.outcome != Outcome::Skipped;
            if stored && !foreign.managed_by_auth && !self.is_configured(foreign) {
                dropped.push(foreign.name.clone());
            }
            self.report.add(item);
        }
        if !dropped.is_empty() {
            self.report.note(format!(
                "roles that are not in lyceum.toml are deleted at the next start: add the entries below first ({})",
                listed(&dropped)
            ));
        }
        Ok(())
    }

    fn is_configured(&self, foreign: &Foreign) -> bool {
        self.options.configured_roles.contains(&foreign.name)
    }

    /// A role that every hub has: nothing is to be done, unless it was changed there, or somebody holds it who does
    /// not by being what they are.
    async fn import_default_role(
        &mut self,
        foreign: &Foreign,
        default: &DefaultRole,
    ) -> Result<Option<Item>, StoreError> {
        let theirs: BTreeSet<&str> = foreign.scopes.iter().map(String::as_str).collect();
        let usual: BTreeSet<&str> = default.scopes.iter().copied().collect();
        // What administrators may do cannot be changed; another list is that of another version.
        let changed = default.name != "admin" && theirs != usual;
        let by_group = !foreign.groups.is_empty();
        // Services with the role `admin` have the flag, and those of the configuration are not taken.
        let by_service = default.name != "admin" && !foreign.services.is_empty();
        if default.name == "admin" {
            self.give_admin_flags(foreign).await?;
        }
        if !changed && !by_group && !by_service {
            return Ok(None);
        }
        let scopes: Vec<String> = if changed {
            foreign.scopes.clone()
        } else {
            usual.iter().map(|&scope| scope.to_owned()).collect()
        };
        let (role, mut item) = self.store_role(foreign, &scopes).await?;
        let mut holders = foreign.clone();
        // Every user is a user, and administrators have their flag, services too.
        holders.users.clear();
        if !by_service {
            holders.services.clear();
        }
        let entry = self.grant(&role, &holders, &mut item).await?;
        if !self.is_configured(foreign) {
            self.snippet.role(&RoleEntry {
                scopes: changed.then_some(scopes),
                description: None,
                users: None,
                ..entry
            });
        }
        Ok(Some(item))
    }

    /// Users who hold `admin` have the flag, too; whoever was given the role by hand may lack it.
    async fn give_admin_flags(&mut self, foreign: &Foreign) -> Result<(), StoreError> {
        for id in &foreign.users {
            let flagged = self
                .source
                .users
                .iter()
                .any(|user| user.id == *id && user.admin);
            let Some((user, name)) = self.users.get(id).filter(|_| !flagged).cloned() else {
                continue;
            };
            let found = self.tx.find_user_by_id(user).await?;
            if found.is_some_and(|user| !user.admin) {
                self.tx.set_admin(user, true).await?;
                let mut item = Item::new(Kind::User, name.as_str(), Outcome::Changed);
                item.note("is an administrator now, as the role `admin` says");
                self.report.add(item);
            }
        }
        Ok(())
    }

    async fn import_role(&mut self, foreign: &Foreign) -> Result<Item, StoreError> {
        if let Err(error) = RoleName::parse(&foreign.name) {
            let item = Item::skipped(Kind::Role, &foreign.name, error.to_string());
            return Ok(item);
        }
        let (role, mut item) = self.store_role(foreign, &foreign.scopes).await?;
        let entry = self.grant(&role, foreign, &mut item).await?;
        self.tell_unknown(&mut item, &foreign.scopes);
        if self.is_configured(foreign) {
            item.note("is in lyceum.toml, which says who holds it from the next start on");
        } else if !foreign.managed_by_auth {
            self.snippet.role(&entry);
        }
        Ok(item)
    }

    /// Stores a role unless there is one of that name, which stays as it is.
    async fn store_role(
        &mut self,
        foreign: &Foreign,
        scopes: &[String],
    ) -> Result<(Role, Item), StoreError> {
        if let Some(role) = self.tx.find_role(&foreign.name).await? {
            let mut item = Item::new(Kind::Role, &foreign.name, Outcome::Kept);
            let ours: BTreeSet<&String> = role.scopes.iter().collect();
            if ours != scopes.iter().collect() {
                item.note(format!(
                    "its scopes stay as they are here; there they are {}",
                    listed(scopes)
                ));
            }
            return Ok((role, item));
        }
        let new = NewRole {
            name: &foreign.name,
            description: &foreign.description,
            scopes,
            managed_by_auth: foreign.managed_by_auth,
        };
        let role = self.tx.upsert_role(new).await?;
        Ok((role, Item::new(Kind::Role, &foreign.name, Outcome::Added)))
    }

    /// Gives a role to those who hold it there, as far as they are taken; gives its entry for the configuration.
    async fn grant(
        &mut self,
        role: &Role,
        foreign: &Foreign,
        item: &mut Item,
    ) -> Result<RoleEntry, StoreError> {
        let mut entry = RoleEntry {
            name: role.name.clone(),
            description: Some(role.description.clone()).filter(|text| !text.is_empty()),
            scopes: Some(role.scopes.clone()),
            users: Some(Vec::new()),
            groups: Vec::new(),
            services: Vec::new(),
            other_services: Vec::new(),
        };
        let (mut granted, mut missing) = (Vec::new(), Vec::new());
        for id in &foreign.users {
            if let Some((user, name)) = self.users.get(id).cloned() {
                if self.tx.grant_role(role.id, RoleHolder::User(user)).await? {
                    granted.push(name.to_string());
                }
                entry.users.get_or_insert_default().push(name.to_string());
            } else {
                missing.push(self.user_name(*id).to_owned());
            }
        }
        for id in &foreign.groups {
            if let Some((group, name)) = self.groups.get(id).cloned() {
                if self
                    .tx
                    .grant_role(role.id, RoleHolder::Group(group))
                    .await?
                {
                    granted.push(format!("group {name}"));
                }
                entry.groups.push(name.to_string());
            } else {
                missing.push(format!("group {}", self.group_name(*id)));
            }
        }
        for id in &foreign.services {
            let found = self
                .source
                .services
                .iter()
                .find(|service| service.id == *id);
            let Some(service) = found else { continue };
            if let Some((id, name)) = self.services.get(id).cloned() {
                let holder = RoleHolder::Service(id);
                if self.tx.grant_role(role.id, holder).await? {
                    granted.push(format!("service {name}"));
                }
                entry.other_services.push(name.to_string());
            } else if service.from_config {
                // Its entry is in the configuration, or among those to be added.
                entry.services.push(service.name.clone());
            } else {
                missing.push(format!("service {}", service.name));
            }
        }
        if !granted.is_empty() {
            item.change(format!("given to {}", listed(&granted)));
        }
        if !missing.is_empty() {
            item.note(format!(
                "not given to those who are not taken: {}",
                listed(&missing)
            ));
        }
        if !entry.other_services.is_empty() {
            item.note(format!(
                "held by services that the API has made ({}): lyceum.toml names services of [[services]] only",
                listed(&entry.other_services)
            ));
        }
        Ok(entry)
    }
}
