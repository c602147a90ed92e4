//! Roles and who holds them. What their scopes mean is `core`'s business.

use lyceum_core::ids::{GroupId, RoleId, ServiceId, UserId};

use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::tx::{Tx, reads};

/// A role: a name for a list of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The id.
    pub id: RoleId,
    /// The name.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// The scopes, as written: not expanded.
    pub scopes: Vec<String>,
    /// Whether the login method made it and says who holds it.
    pub managed_by_auth: bool,
}

/// A role to be created or brought up to date.
#[derive(Debug, Clone)]
pub struct NewRole<'a> {
    /// The name.
    pub name: &'a str,
    /// What it is for, for people.
    pub description: &'a str,
    /// The scopes.
    pub scopes: &'a [String],
    /// Whether the login method makes it and says who holds it.
    pub managed_by_auth: bool,
}

/// Who can hold a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoleHolder {
    /// A user.
    User(UserId),
    /// A group, so all its members.
    Group(GroupId),
    /// A service.
    Service(ServiceId),
}

macro_rules! role_columns {
    () => {
        "roles.id AS role_id, roles.name AS role_name, roles.description AS role_description, \
         roles.scopes AS role_scopes, roles.managed_by_auth AS role_managed_by_auth"
    };
}

impl Role {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("role_id")?,
            name: row.get("role_name")?,
            description: row.get("role_description")?,
            scopes: row.json("role_scopes")?,
            managed_by_auth: row.get("role_managed_by_auth")?,
        })
    }
}

reads! {
    /// Finds a role by name.
    find_role(name: &str) -> Option<Role>;
    /// Gets a role by name, or fails with [`StoreError::NotFound`].
    get_role(name: &str) -> Role;
    /// Lists all roles, by name.
    list_roles() -> Vec<Role>;
    /// Lists the roles that a user holds, directly or through groups, each once, by name.
    roles_of_user(user: UserId) -> Vec<Role>;
    /// Lists the roles that a group, a user or a service holds directly, by name.
    roles_held_by(holder: RoleHolder) -> Vec<Role>;
    /// Lists the users with the flag of administrators.
    administrators() -> Vec<UserId>;
    /// Lists who holds a role directly.
    holders_of_role(role: RoleId) -> Vec<RoleHolder>;
}

async fn find_role(db: &mut Db<'_>, name: &str) -> Result<Option<Role>, StoreError> {
    let sql = concat!("SELECT ", role_columns!(), " FROM roles WHERE name = $1");
    let row = db.first("find a role", sql, values![name]).await?;
    row.as_ref().map(Role::read).transpose()
}

async fn get_role(db: &mut Db<'_>, name: &str) -> Result<Role, StoreError> {
    find_role(db, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::Role, name))
}

async fn list_roles(db: &mut Db<'_>) -> Result<Vec<Role>, StoreError> {
    let sql = concat!("SELECT ", role_columns!(), " FROM roles ORDER BY name");
    let rows = db.all("list the roles", sql, Vec::new()).await?;
    rows.iter().map(Role::read).collect()
}

async fn roles_of_user(db: &mut Db<'_>, user: UserId) -> Result<Vec<Role>, StoreError> {
    let sql = concat!(
        "SELECT ",
        role_columns!(),
        " FROM roles WHERE id IN (\
           SELECT role_id FROM user_roles WHERE user_id = $1 \
           UNION SELECT group_roles.role_id FROM group_roles \
             JOIN user_groups ON user_groups.group_id = group_roles.group_id \
             WHERE user_groups.user_id = $1) \
         ORDER BY name"
    );
    let rows = db
        .all("list the roles of a user", sql, values![user])
        .await?;
    rows.iter().map(Role::read).collect()
}

async fn roles_held_by(db: &mut Db<'_>, holder: RoleHolder) -> Result<Vec<Role>, StoreError> {
    let (sql, id) = match holder {
        RoleHolder::User(id) => (
            concat!(
                "SELECT ",
                role_columns!(),
                " FROM roles JOIN user_roles ON role_id = roles.id WHERE user_id = $1 ORDER BY name"
            ),
            Value::from(id),
        ),
        RoleHolder::Group(id) => (
            concat!(
                "SELECT ",
                role_columns!(),
                " FROM roles JOIN group_roles ON role_id = roles.id WHERE group_id = $1 ORDER BY name"
            ),
            Value::from(id),
        ),
        RoleHolder::Service(id) => (
            concat!(
                "SELECT ",
                role_columns!(),
                " FROM roles JOIN service_roles ON role_id = roles.id WHERE service_id = $1 ORDER BY name"
            ),
            Value::from(id),
        ),
    };
    let rows = db.all("list the roles of someone", sql, vec![id]).await?;
    rows.iter().map(Role::read).collect()
}

async fn administrators(db: &mut Db<'_>) -> Result<Vec<UserId>, StoreError> {
    let sql = "SELECT id FROM users WHERE admin ORDER BY id";
    let rows = db.all("list the administrators", sql, Vec::new()).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

async fn holders_of_role(db: &mut Db<'_>, role: RoleId) -> Result<Vec<RoleHolder>, StoreError> {
    let sql = "SELECT CAST(1 AS BIGINT) AS kind, user_id AS id FROM user_roles WHERE role_id = $1 \
               UNION ALL SELECT CAST(2 AS BIGINT) AS kind, group_id AS id FROM group_roles WHERE role_id = $1 \
               UNION ALL SELECT CAST(3 AS BIGINT) AS kind, service_id AS id FROM service_roles WHERE role_id = $1 \
               ORDER BY 1, 2";
    let rows = db.all("list who holds a role", sql, values![role]).await?;
    rows.iter()
        .map(|row| {
            let id: i64 = row.get("id")?;
            Ok(match row.get::<i64>("kind")? {
                1 => RoleHolder::User(UserId(id)),
                2 => RoleHolder::Group(GroupId(id)),
                _ => RoleHolder::Service(ServiceId(id)),
            })
        })
        .collect()
}

impl Tx {
    /// Creates a role, or brings the one of that name up to date; who holds it stays.
    pub async fn upsert_role(&mut self, new: NewRole<'_>) -> Result<Role, StoreError> {
        let sql = concat!(
            "INSERT INTO roles (name, description, scopes, managed_by_auth) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET description = excluded.description, \
             scopes = excluded.scopes, managed_by_auth = excluded.managed_by_auth RETURNING ",
            role_columns!()
        );
        let all = vec![
            new.name.into(),
            new.description.into(),
            Value::json(&new.scopes)?,
            new.managed_by_auth.into(),
        ];
        let row = self
            .db()
            .first("store a role", sql, all)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::Role, new.name))?;
        Role::read(&row)
    }

    /// Deletes a role; succeeds, and says so, if there was none.
    pub async fn delete_role(&mut self, role: RoleId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM roles WHERE id = $1";
        let count = self.db().run("delete a role", sql, values![role]).await?;
        Ok(count > 0)
    }

    /// Gives a role to someone; says whether that was new.
    pub async fn grant_role(
        &mut self,
        role: RoleId,
        holder: RoleHolder,
    ) -> Result<bool, StoreError> {
        let (sql, id) = match holder {
            RoleHolder::User(id) => (
                "INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                Value::from(id),
            ),
            RoleHolder::Group(id) => (
                "INSERT INTO group_roles (group_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                Value::from(id),
            ),
            RoleHolder::Service(id) => (
                "INSERT INTO service_roles (service_id, role_id) VALUES ($1, $2) \
                 ON CONFLICT DO NOTHING",
                Value::from(id),
            ),
        };
        let count = self
            .db()
            .run("grant a role", sql, vec![id, role.into()])
            .await?;
        Ok(count > 0)
    }

    /// Takes a role from someone; says whether they held it directly.
    pub async fn revoke_role(
        &mut self,
        role: RoleId,
        holder: RoleHolder,
    ) -> Result<bool, StoreError> {
        let (sql, id) = match holder {
            RoleHolder::User(id) => (
                "DELETE FROM user_roles WHERE user_id = $1 AND role_id = $2",
                Value::from(id),
            ),
            RoleHolder::Group(id) => (
                "DELETE FROM group_roles WHERE group_id = $1 AND role_id = $2",
                Value::from(id),
            ),
            RoleHolder::Service(id) => (
                "DELETE FROM service_roles WHERE service_id = $1 AND role_id = $2",
                Value::from(id),
            ),
        };
        let count = self
            .db()
            .run("revoke a role", sql, vec![id, role.into()])
            .await?;
        Ok(count > 0)
    }

    /// Makes these users, and no others, hold a role directly.
    pub async fn set_role_users(
        &mut self,
        role: RoleId,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        self.set_holders(
            role,
            users.iter().map(|id| RoleHolder::User(*id)),
            |holder| matches!(holder, RoleHolder::User(_)),
        )
        .await
    }

    /// Makes these groups, and no others, hold a role.
    pub async fn set_role_groups(
        &mut self,
        role: RoleId,
        groups: &[GroupId],
    ) -> Result<(), StoreError> {
        self.set_holders(
            role,
            groups.iter().map(|id| RoleHolder::Group(*id)),
            |holder| matches!(holder, RoleHolder::Group(_)),
        )
        .await
    }

    /// Makes these services, and no others, hold a role.
    pub async fn set_role_services(
        &mut self,
        role: RoleId,
        services: &[ServiceId],
    ) -> Result<(), StoreError> {
        self.set_holders(
            role,
            services.iter().map(|id| RoleHolder::Service(*id)),
            |holder| matches!(holder, RoleHolder::Service(_)),
        )
        .await
    }

    /// Grants and revokes only what differs: at a start, with thousands of users, mostly nothing.
    async fn set_holders(
        &mut self,
        role: RoleId,
        wanted: impl Iterator<Item = RoleHolder>,
        of_this_kind: impl Fn(&RoleHolder) -> bool,
    ) -> Result<(), StoreError> {
        let mut surplus: std::collections::HashSet<RoleHolder> = self
            .holders_of_role(role)
            .await?
            .into_iter()
            .filter(of_this_kind)
            .collect();
        for holder in wanted {
            if !surplus.remove(&holder) {
                self.grant_role(role, holder).await?;
            }
        }
        for holder in surplus {
            self.revoke_role(role, holder).await?;
        }
        Ok(())
    }
}
