//! Groups and who is in them.

use lyceum_core::ids::{GroupId, UserId};
use lyceum_core::names::{GroupName, UserName};
use serde_json::{Map, Value as Json};
use sqlx::AssertSqlSafe;

use crate::cache::Tag;
use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::page::{Conditions, Page, Paged};
use crate::tx::{Tx, reads};

/// A group of users.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The id.
    pub id: GroupId,
    /// The name; letter case counts.
    pub name: GroupName,
    /// Free data of the administrators.
    pub properties: Map<String, Json>,
}

/// Which groups to list.
#[derive(Debug, Clone)]
pub struct GroupQuery {
    /// Which part of the list.
    pub page: Page,
    /// Only these groups.
    pub only: Option<Vec<GroupName>>,
}

macro_rules! group_columns {
    () => {
        "groups.id AS group_id, groups.name AS group_name, groups.properties AS group_properties"
    };
}

impl Group {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("group_id")?,
            name: row.get("group_name")?,
            properties: row.json("group_properties")?,
        })
    }
}

reads! {
    /// Finds a group by name.
    find_group(name: &GroupName) -> Option<Group>;
    /// Gets a group by name, or fails with [`StoreError::NotFound`].
    get_group(name: &GroupName) -> Group;
    /// Lists groups by id.
    list_groups(query: &GroupQuery) -> Paged<Group>;
    /// Lists the groups of a user, by name.
    groups_of_user(user: UserId) -> Vec<Group>;
    /// Lists the members of a group, by name.
    members_of_group(group: GroupId) -> Vec<(UserId, UserName)>;
}

async fn find_group(db: &mut Db<'_>, name: &GroupName) -> Result<Option<Group>, StoreError> {
    let sql = concat!("SELECT ", group_columns!(), " FROM groups WHERE name = $1");
    let row = db.first("find a group", sql, values![name]).await?;
    row.as_ref().map(Group::read).transpose()
}

async fn get_group(db: &mut Db<'_>, name: &GroupName) -> Result<Group, StoreError> {
    find_group(db, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::Group, name))
}

async fn list_groups(db: &mut Db<'_>, query: &GroupQuery) -> Result<Paged<Group>, StoreError> {
    let mut all = Conditions::default();
    if let Some(only) = &query.only {
        let names = all.list(only);
        all.add(format!("groups.name IN ({names})"));
    }
    let (rest, values) = all.page("groups.id", query.page);
    let sql = format!(concat!("SELECT ", group_columns!(), " FROM groups{}"), rest);
    let rows = db
        .all("list the groups", AssertSqlSafe(sql), values)
        .await?;
    let items = rows
        .iter()
        .map(Group::read)
        .collect::<Result<Vec<_>, _>>()?;
    let total = all.total(db, "groups", query.page, items.len()).await?;
    Ok(Paged { items, total })
}

async fn groups_of_user(db: &mut Db<'_>, user: UserId) -> Result<Vec<Group>, StoreError> {
    let sql = concat!(
        "SELECT ",
        group_columns!(),
        " FROM groups JOIN user_groups ON user_groups.group_id = groups.id \
         WHERE user_groups.user_id = $1 ORDER BY groups.name"
    );
    let rows = db
        .all("list the groups of a user", sql, values![user])
        .await?;
    rows.iter().map(Group::read).collect()
}

async fn members_of_group(
    db: &mut Db<'_>,
    group: GroupId,
) -> Result<Vec<(UserId, UserName)>, StoreError> {
    let sql = "SELECT users.id AS user_id, users.name AS user_name \
               FROM users JOIN user_groups ON user_groups.user_id = users.id \
               WHERE user_groups.group_id = $1 ORDER BY users.name";
    let rows = db
        .all("list the members of a group", sql, values![group])
        .await?;
    rows.iter()
        .map(|row| Ok((row.get("user_id")?, row.get("user_name")?)))
        .collect()
}

impl Tx {
    /// Creates an empty group; fails with [`StoreError::Exists`] if the name is taken.
    pub async fn create_group(&mut self, name: &GroupName) -> Result<Group, StoreError> {
        let sql = concat!(
            "INSERT INTO groups (name, properties) VALUES ($1, '{}') \
             ON CONFLICT (name) DO NOTHING RETURNING ",
            group_columns!()
        );
        let row = self
            .db()
            .first("create a group", sql, values![name])
            .await?
            .ok_or_else(|| StoreError::exists(Kind::Group, name))?;
        Group::read(&row)
    }

    /// Replaces the properties of a group.
    pub async fn set_group_properties(
        &mut self,
        group: GroupId,
        properties: &Map<String, Json>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE groups SET properties = $2 WHERE id = $1";
        let all = vec![group.into(), Value::json(properties)?];
        // Nothing that is remembered has properties of groups in it.
        match self.touching([]).run("change a group", sql, all).await? {
            0 => Err(StoreError::not_found(Kind::Group, group)),
            _ => Ok(()),
        }
    }

    /// Deletes a group; its members stay. Succeeds, and says so, if there was none.
    pub async fn delete_group(&mut self, group: GroupId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM groups WHERE id = $1";
        let count = self.db().run("delete a group", sql, values![group]).await?;
        Ok(count > 0)
    }

    /// Adds a user to a group; says whether that was new.
    pub async fn add_member(&mut self, group: GroupId, user: UserId) -> Result<bool, StoreError> {
        let sql = "INSERT INTO user_groups (user_id, group_id) VALUES ($1, $2) \
                   ON CONFLICT (user_id, group_id) DO NOTHING";
        let count = self
            .touching([Tag::User(user)])
            .run("add a user to a group", sql, values![user, group])
            .await?;
        Ok(count > 0)
    }

    /// Removes a user from a group; says whether they were in it.
    pub async fn remove_member(
        &mut self,
        group: GroupId,
        user: UserId,
    ) -> Result<bool, StoreError> {
        let sql = "DELETE FROM user_groups WHERE user_id = $1 AND group_id = $2";
        let count = self
            .touching([Tag::User(user)])
            .run("remove a user from a group", sql, values![user, group])
            .await?;
        Ok(count > 0)
    }
}
