//! What hangs on many users or groups at once, in a number of queries that does not grow with them.

use std::collections::BTreeMap;

use lyceum_core::ids::{GroupId, UserId};
use lyceum_core::names::{GroupName, UserName};

use crate::engine::{CHUNK, Db, in_list};
use crate::error::StoreError;
use crate::servers::{Server, server_columns};
use crate::tx::reads;

/// The groups, roles and servers of a user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserDetails {
    /// The names of the groups, sorted.
    pub groups: Vec<GroupName>,
    /// The names of the roles held directly, sorted.
    pub roles: Vec<String>,
    /// The servers, running or not, sorted by name: the default server is first.
    pub servers: Vec<Server>,
}

/// The members and roles of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupDetails {
    /// The names of the members, sorted.
    pub members: Vec<UserName>,
    /// The names of the roles, sorted.
    pub roles: Vec<String>,
}

reads! {
    /// Loads groups, roles and servers of users, with two queries for each 256 of them.
    ///
    /// Every user asked for is in the answer. The queries are not one snapshot: what changes meanwhile may
    /// be seen in one part and not in the other.
    load_details(users: &[UserId]) -> BTreeMap<UserId, UserDetails>;
    /// Loads members and roles of groups, with two queries for each 256 of them, in the same way.
    load_group_details(groups: &[GroupId]) -> BTreeMap<GroupId, GroupDetails>;
}

async fn load_details(
    db: &mut Db<'_>,
    users: &[UserId],
) -> Result<BTreeMap<UserId, UserDetails>, StoreError> {
    let doing = "load the groups, roles and servers of users";
    let mut details: BTreeMap<UserId, UserDetails> = users
        .iter()
        .map(|id| (*id, UserDetails::default()))
        .collect();
    for chunk in users.chunks(CHUNK) {
        let (sql, values) = in_list(
            db,
            "SELECT user_groups.user_id AS user_id, FALSE AS is_role, groups.name AS name \
             FROM user_groups JOIN groups ON groups.id = user_groups.group_id \
             WHERE user_groups.user_id IN (LIST) \
             UNION ALL SELECT user_roles.user_id AS user_id, TRUE AS is_role, roles.name AS name \
             FROM user_roles JOIN roles ON roles.id = user_roles.role_id \
             WHERE user_roles.user_id IN (LIST) ORDER BY name",
            chunk,
        );
        for row in db.all(doing, sql, values).await? {
            let user = details.entry(row.get("user_id")?).or_default();
            if row.get("is_role")? {
                user.roles.push(row.get("name")?);
            } else {
                user.groups.push(row.get("name")?);
            }
        }
        let (sql, values) = in_list(
            db,
            concat!(
                "SELECT ",
                server_columns!(),
                " FROM servers WHERE servers.user_id IN (LIST) ORDER BY servers.name"
            ),
            chunk,
        );
        for row in db.all(doing, sql, values).await? {
            let server = Server::read(&row)?;
            let user = details.entry(server.user_id).or_default();
            user.servers.push(server);
        }
    }
    Ok(details)
}

async fn load_group_details(
    db: &mut Db<'_>,
    groups: &[GroupId],
) -> Result<BTreeMap<GroupId, GroupDetails>, StoreError> {
    let doing = "load the members and roles of groups";
    let mut details: BTreeMap<GroupId, GroupDetails> = groups
        .iter()
        .map(|id| (*id, GroupDetails::default()))
        .collect();
    for chunk in groups.chunks(CHUNK) {
        let (sql, values) = in_list(
            db,
            "SELECT user_groups.group_id AS group_id, users.name AS user_name \
             FROM user_groups JOIN users ON users.id = user_groups.user_id \
             WHERE user_groups.group_id IN (LIST) ORDER BY users.name",
            chunk,
        );
        for row in db.all(doing, sql, values).await? {
            let group = details.entry(row.get("group_id")?).or_default();
            group.members.push(row.get("user_name")?);
        }
        let (sql, values) = in_list(
            db,
            "SELECT group_roles.group_id AS group_id, roles.name AS role_name \
             FROM group_roles JOIN roles ON roles.id = group_roles.role_id \
             WHERE group_roles.group_id IN (LIST) ORDER BY roles.name",
            chunk,
        );
        for row in db.all(doing, sql, values).await? {
            let group = details.entry(row.get("group_id")?).or_default();
            group.roles.push(row.get("role_name")?);
        }
    }
    Ok(details)
}
