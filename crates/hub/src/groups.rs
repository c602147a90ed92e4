//! Groups: lists of them, creation and deletion, members and properties.

use std::collections::BTreeSet;

use lyceum_core::ids::{GroupId, UserId};
use lyceum_core::scope::Listing;
use lyceum_core::{GroupName, NameError, UserName};
use lyceum_store::{Group, GroupDetails, GroupQuery, Page, Paged, StoreError, Tx};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::error::{Denied, HubError};
use crate::permit::{
    CreateGroup, CreateGroups, DeleteGroup, GroupPermit, HubPermit, ListGroups, ListPermit,
    ManageGroup, NamePermit, ReadGroup,
};
use crate::{Actor, AuditEvent, AuditKind, Hub, Principal};

/// How much of a name that cannot be one is said in an error.
const SHOWN_CHARS: usize = 64;
/// How many users are named in an event; of more, only the number is kept.
const NAMED_USERS: usize = 12;

/// A group with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// The group.
    pub group: Group,
    /// The names of its members, sorted.
    pub members: Vec<UserName>,
    /// The names of its roles, sorted.
    pub roles: Vec<String>,
}

/// Whom to add to a group, or to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// They are in it afterwards.
    Member,
    /// They are not in it afterwards.
    NoMember,
}

/// Why a group was not created or changed.
#[derive(Debug, Error)]
pub enum GroupError {
    /// A text cannot be a name.
    #[error("{name} cannot be a name: {reason}")]
    Name {
        /// The text, cut and made fit to be shown.
        name: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// There is a group of that name.
    #[error("there is a group {0} already")]
    Exists(GroupName),
    /// There is no user of that name.
    #[error("there is no user {0}")]
    NoUser(UserName),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl GroupError {
    fn name(text: &str, reason: NameError) -> Self {
        let cut: String = text.chars().take(SHOWN_CHARS).collect();
        Self::Name {
            name: format!("{cut:?}"),
            reason,
        }
    }
}

impl Hub {
    /// Lists the groups that the caller may see.
    pub async fn list_groups(
        &self,
        permit: &ListPermit<ListGroups>,
        page: Page,
    ) -> Result<Paged<GroupView>, HubError> {
        let only = match permit.listing() {
            Listing::Everything => None,
            // Other filters say nothing about which groups may be seen.
            Listing::Only(filters)
                if filters.users.is_empty()
                    && filters.servers.is_empty()
                    && filters.services.is_empty() =>
            {
                Some(filters.groups.iter().cloned().collect())
            }
            Listing::Only(_) | Listing::Denied => return Err(Denied::Forbidden.into()),
        };
        let groups = self.store().list_groups(&GroupQuery { page, only }).await?;
        Ok(Paged {
            items: self.group_views(groups.items).await?,
            total: groups.total,
        })
    }

    /// Gives all that is known of a group. What of it the caller may see is for the caller of this to sort out.
    pub async fn group_view(
        &self,
        permit: &GroupPermit<ReadGroup>,
    ) -> Result<GroupView, StoreError> {
        self.view_of_group(permit.group().clone()).await
    }

    /// Creates several groups, all or none, each with the same members.
    pub async fn create_groups(
        &self,
        _permit: &HubPermit<CreateGroups>,
        caller: &Principal,
        names: &[String],
        members: &[String],
    ) -> Result<Vec<GroupView>, GroupError> {
        let names = names
            .iter()
            .map(|name| parse(name))
            .collect::<Result<Vec<_>, _>>()?;
        let members = normalize(members)?;
        let mut tx = self.store().begin().await?;
        let users = members;
        let members = find(&mut tx, &users).await?;
        let mut created = Vec::with_capacity(names.len());
        for name in &names {
            created.push(create(&mut tx, name, &members).await?);
            let event = GroupEvent {
                users: users.clone(),
                ..GroupEvent::new(name, "created")
            };
            self.write_group(&mut tx, caller, event).await?;
        }
        tx.commit().await?;
        tracing::info!(
            by = caller.name(),
            count = created.len(),
            members = members.len(),
            "created groups"
        );
        Ok(self.group_views(created).await?)
    }

    /// Creates a group with these members.
    pub async fn create_group(
        &self,
        permit: &NamePermit<CreateGroup>,
        caller: &Principal,
        members: &[String],
    ) -> Result<GroupView, GroupError> {
        let name = parse(permit.name())?;
        let members = normalize(members)?;
        let mut tx = self.store().begin().await?;
        if tx.find_group(&name).await?.is_some() {
            return Err(GroupError::Exists(name));
        }
        let users = members;
        let members = find(&mut tx, &users).await?;
        let group = create(&mut tx, &name, &members).await?;
        let event = GroupEvent {
            users,
            ..GroupEvent::new(&name, "created")
        };
        self.write_group(&mut tx, caller, event).await?;
        tx.commit().await?;
        tracing::info!(
            by = caller.name(),
            members = members.len(),
            "created group {name}"
        );
        Ok(self.view_of_group(group).await?)
    }

    /// Deletes a group; its members stay.
    pub async fn delete_group(
        &self,
        permit: &GroupPermit<DeleteGroup>,
        caller: &Principal,
    ) -> Result<(), StoreError> {
        let group = permit.group();
        let mut tx = self.store().begin().await?;
        tx.delete_group(group.id).await?;
        let event = GroupEvent::new(&group.name, "deleted");
        self.write_group(&mut tx, caller, event).await?;
        tx.commit().await?;
        tracing::info!(by = caller.name(), "deleted group {}", group.name);
        Ok(())
    }

    /// Makes users members of a group, or not; all of them or none. Who is what they shall be already stays so.
    pub async fn set_members(
        &self,
        permit: &GroupPermit<ManageGroup>,
        caller: &Principal,
        users: &[String],
        membership: Membership,
    ) -> Result<GroupView, GroupError> {
        let group = permit.group();
        let names = normalize(users)?;
        let mut tx = self.store().begin().await?;
        let users = find(&mut tx, &names).await?;
        for user in &users {
            match membership {
                Membership::Member => tx.add_member(group.id, *user).await?,
                Membership::NoMember => tx.remove_member(group.id, *user).await?,
            };
        }
        let change = match membership {
            Membership::Member => "members-added",
            Membership::NoMember => "members-removed",
        };
        let event = GroupEvent {
            users: names,
            ..GroupEvent::new(&group.name, change)
        };
        self.write_group(&mut tx, caller, event).await?;
        tx.commit().await?;
        tracing::info!(
            by = caller.name(),
            count = users.len(),
            ?membership,
            "changed the members of group {}",
            group.name
        );
        Ok(self.view_of_group(group.clone()).await?)
    }

    /// Replaces the properties of a group.
    pub async fn set_properties(
        &self,
        permit: &GroupPermit<ManageGroup>,
        caller: &Principal,
        properties: Map<String, Value>,
    ) -> Result<GroupView, GroupError> {
        let mut group = permit.group().clone();
        let mut tx = self.store().begin().await?;
        tx.set_group_properties(group.id, &properties).await?;
        let event = GroupEvent::new(&group.name, "properties");
        self.write_group(&mut tx, caller, event).await?;
        tx.commit().await?;
        tracing::info!(
            by = caller.name(),
            "changed the properties of group {}",
            group.name
        );
        group.properties = properties;
        Ok(self.view_of_group(group).await?)
    }

    async fn write_group(
        &self,
        tx: &mut Tx,
        by: &Principal,
        event: GroupEvent<'_>,
    ) -> Result<(), StoreError> {
        let named: Vec<_> = event.users.iter().take(NAMED_USERS).collect();
        let about = match named.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let detail = json!({
            "group": event.group,
            "change": event.change,
            "users": named,
            "count": event.users.len(),
        });
        let event = AuditEvent {
            detail,
            ..AuditEvent::new(AuditKind::GroupChanged, Actor::Caller(by), about)
        };
        self.audit().write(tx, event).await
    }

    async fn view_of_group(&self, group: Group) -> Result<GroupView, StoreError> {
        let mut details = self.store().load_group_details(&[group.id]).await?;
        let details = details.remove(&group.id).unwrap_or_default();
        Ok(GroupView::new(group, details))
    }

    async fn group_views(&self, groups: Vec<Group>) -> Result<Vec<GroupView>, StoreError> {
        let ids: Vec<GroupId> = groups.iter().map(|group| group.id).collect();
        let mut details = self.store().load_group_details(&ids).await?;
        let view = |group: Group| {
            let details = details.remove(&group.id).unwrap_or_default();
            GroupView::new(group, details)
        };
        Ok(groups.into_iter().map(view).collect())
    }
}

/// What was changed of a group, for the audit table.
struct GroupEvent<'a> {
    group: &'a GroupName,
    change: &'static str,
    users: BTreeSet<UserName>,
}

impl<'a> GroupEvent<'a> {
    fn new(group: &'a GroupName, change: &'static str) -> Self {
        Self {
            group,
            change,
            users: BTreeSet::new(),
        }
    }
}

impl GroupView {
    fn new(group: Group, details: GroupDetails) -> Self {
        Self {
            group,
            members: details.members,
            roles: details.roles,
        }
    }
}

fn parse(name: &str) -> Result<GroupName, GroupError> {
    GroupName::parse(name).map_err(|reason| GroupError::name(name, reason))
}

fn normalize(names: &[String]) -> Result<BTreeSet<UserName>, GroupError> {
    names
        .iter()
        .map(|name| {
            UserName::parse(&name.to_lowercase()).map_err(|reason| GroupError::name(name, reason))
        })
        .collect()
}

/// Finds users, who must all exist.
async fn find(tx: &mut Tx, names: &BTreeSet<UserName>) -> Result<Vec<UserId>, GroupError> {
    let asked: Vec<UserName> = names.iter().cloned().collect();
    let found = tx.find_user_ids(&asked).await?;
    if found.len() < asked.len() {
        let known: BTreeSet<&UserName> = found.iter().map(|(_, name)| name).collect();
        if let Some(missing) = asked.iter().find(|name| !known.contains(name)) {
            return Err(GroupError::NoUser(missing.clone()));
        }
    }
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

async fn create(tx: &mut Tx, name: &GroupName, members: &[UserId]) -> Result<Group, GroupError> {
    let group = match tx.create_group(name).await {
        Ok(group) => group,
        Err(StoreError::Exists { .. }) => return Err(GroupError::Exists(name.clone())),
        Err(error) => return Err(error.into()),
    };
    for user in members {
        tx.add_member(group.id, *user).await?;
    }
    Ok(group)
}
