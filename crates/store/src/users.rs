//! Users, one at a time. Lists are in `user_list`; groups, roles and servers in the files of those, for many users
//! at once in [`crate::UserDetails`].

use jiff::Timestamp;
use lyceum_core::ids::UserId;
use lyceum_core::names::{GroupName, UserName};
use lyceum_core::secret::Secret;
use serde_json::{Map, Value as Json};

use crate::cache::Tag;
use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::tx::{Tx, reads};
use crate::user_list::fold;

/// A user of the hub.
#[derive(Debug, Clone)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The name; letter case counts.
    pub name: UserName,
    /// Whether the user is an administrator.
    pub admin: bool,
    /// When the user was created.
    pub created: Timestamp,
    /// When the user was last seen, if ever.
    pub last_activity: Option<Timestamp>,
    /// A random text that is new when all the user's browsers are to be logged out.
    pub cookie_id: Secret<String>,
    /// What clients may know of the user.
    pub user_info: Option<Map<String, Json>>,
    /// The groups that the login method told of at the last login. They are none of the hub's.
    pub told_groups: Vec<GroupName>,
}

/// A user to be created.
#[derive(Debug, Clone)]
pub struct NewUser<'a> {
    /// The name.
    pub name: &'a UserName,
    /// Whether the user is an administrator.
    pub admin: bool,
    /// The instant of creation.
    pub created: Timestamp,
    /// A fresh random text, unique among all users.
    pub cookie_id: &'a Secret<String>,
}

/// The columns of a user, as [`User::read`] wants them.
macro_rules! user_columns {
    () => {
        "users.id AS user_id, users.name AS user_name, users.admin AS user_admin, \
         users.created AS user_created, users.last_activity AS user_last_activity, \
         users.cookie_id AS user_cookie_id, users.user_info AS user_info, \
         users.told_groups AS user_told_groups"
    };
}
pub(crate) use user_columns;

impl User {
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("user_id")?,
            name: row.get("user_name")?,
            admin: row.get("user_admin")?,
            created: row.get("user_created")?,
            last_activity: row.get("user_last_activity")?,
            cookie_id: Secret::new(row.get("user_cookie_id")?),
            user_info: row.json_or_null("user_info")?,
            told_groups: row.json_or_null("user_told_groups")?.unwrap_or_default(),
        })
    }
}

reads! {
    /// Finds a user by name.
    find_user(name: &UserName) -> Option<User>;
    /// Gets a user by name, or fails with [`StoreError::NotFound`].
    get_user(name: &UserName) -> User;
    /// Finds a user by id.
    find_user_by_id(id: UserId) -> Option<User>;
    /// Finds the encrypted state that the login method keeps for a user.
    find_auth_state(id: UserId) -> Option<Vec<u8>>;
    /// Counts all users.
    count_users() -> u64;
    /// Counts the users who were active at this time or later.
    count_users_active_since(since: Timestamp) -> u64;
}

async fn find_user(db: &mut Db<'_>, name: &UserName) -> Result<Option<User>, StoreError> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE name = $1");
    let row = db.first("find a user", sql, values![name]).await?;
    row.as_ref().map(User::read).transpose()
}

async fn get_user(db: &mut Db<'_>, name: &UserName) -> Result<User, StoreError> {
    find_user(db, name)
        .await?
        .ok_or_else(|| StoreError::not_found(Kind::User, name))
}

async fn find_user_by_id(db: &mut Db<'_>, id: UserId) -> Result<Option<User>, StoreError> {
    let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
    let row = db.first("find a user", sql, values![id]).await?;
    row.as_ref().map(User::read).transpose()
}

async fn find_auth_state(db: &mut Db<'_>, id: UserId) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT encrypted_auth_state FROM users WHERE id = $1";
    let row = db
        .first("find a user's auth state", sql, values![id])
        .await?;
    row.map_or(Ok(None), |row| row.get("encrypted_auth_state"))
}

async fn count_users_active_since(db: &mut Db<'_>, since: Timestamp) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS total FROM users WHERE last_activity >= $1";
    let row = db
        .first("count the active users", sql, values![since])
        .await?;
    let total: i64 = row.map_or(Ok(0), |row| row.get("total"))?;
    Ok(u64::try_from(total).unwrap_or_default())
}

async fn count_users(db: &mut Db<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS total FROM users";
    let row = db.first("count the users", sql, Vec::new()).await?;
    let total: i64 = row.map_or(Ok(0), |row| row.get("total"))?;
    Ok(u64::try_from(total).unwrap_or_default())
}

impl Tx {
    /// Creates a user; fails with [`StoreError::Exists`] if the name is taken.
    pub async fn create_user(&mut self, new: NewUser<'_>) -> Result<User, StoreError> {
        let sql = concat!(
            "INSERT INTO users (name, name_folded, admin, created, cookie_id) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING RETURNING ",
            user_columns!()
        );
        let all = values![
            new.name,
            fold(new.name.as_str()),
            new.admin,
            new.created,
            new.cookie_id.expose().as_str()
        ];
        let row = self.db().first("create a user", sql, all).await?;
        let row = row.ok_or_else(|| StoreError::exists(Kind::User, new.name))?;
        User::read(&row)
    }

    /// Gives a user another name; fails with [`StoreError::Exists`] if it is taken. The same name is fine. The groups
    /// that were told of the old name are forgotten.
    pub async fn rename_user(&mut self, id: UserId, name: &UserName) -> Result<(), StoreError> {
        if find_user(&mut self.db(), name)
            .await?
            .is_some_and(|other| other.id != id)
        {
            return Err(StoreError::exists(Kind::User, name));
        }
        let sql = "UPDATE users SET told_groups = CASE WHEN name = $2 THEN told_groups END, \
                   name = $2, name_folded = $3 WHERE id = $1";
        let all = values![id, name, fold(name.as_str())];
        let renamed = self.db().run("rename a user", sql, all).await;
        match renamed {
            Ok(0) => Err(StoreError::not_found(Kind::User, id)),
            Ok(_) => Ok(()),
            Err(error) if error.is_duplicate() => Err(StoreError::exists(Kind::User, name)),
            Err(error) => Err(error),
        }
    }

    /// Makes a user an administrator, or not.
    pub async fn set_admin(&mut self, id: UserId, admin: bool) -> Result<(), StoreError> {
        let sql = "UPDATE users SET admin = $2 WHERE id = $1";
        self.change_user(id, "change a user", sql, values![id, admin])
            .await
    }

    /// Sets what clients may know of a user.
    pub async fn set_user_info(
        &mut self,
        id: UserId,
        user_info: Option<&Map<String, Json>>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE users SET user_info = $2 WHERE id = $1";
        let all = vec![id.into(), Value::json_or_null(user_info)?];
        self.change_user(id, "change a user", sql, all).await
    }

    /// Sets the groups that the login method tells of a user.
    pub async fn set_told_groups(
        &mut self,
        id: UserId,
        groups: &[GroupName],
    ) -> Result<(), StoreError> {
        let sql = "UPDATE users SET told_groups = $2 WHERE id = $1";
        let told = (!groups.is_empty()).then_some(groups);
        let all = vec![id.into(), Value::json_or_null(told.as_ref())?];
        self.change_user(id, "change a user", sql, all).await
    }

    /// Gives a user a new cookie id, unique among all users.
    pub async fn set_cookie_id(
        &mut self,
        id: UserId,
        cookie_id: &Secret<String>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE users SET cookie_id = $2 WHERE id = $1";
        let all = values![id, cookie_id.expose().as_str()];
        self.change_user(id, "change a user", sql, all).await
    }

    /// Sets the encrypted state that the login method keeps for a user.
    pub async fn set_auth_state(
        &mut self,
        id: UserId,
        encrypted: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE users SET encrypted_auth_state = $2 WHERE id = $1";
        self.change_user(id, "change a user", sql, values![id, encrypted])
            .await
    }

    /// Deletes a user with everything that is theirs; succeeds, and says so, if there was none.
    pub async fn delete_user(&mut self, id: UserId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM users WHERE id = $1";
        let count = self.db().run("delete a user", sql, values![id]).await?;
        Ok(count > 0)
    }

    async fn change_user(
        &mut self,
        id: UserId,
        doing: &'static str,
        sql: &'static str,
        all: Vec<Value>,
    ) -> Result<(), StoreError> {
        match self.touching([Tag::User(id)]).run(doing, sql, all).await? {
            0 => Err(StoreError::not_found(Kind::User, id)),
            _ => Ok(()),
        }
    }
}
