//! Lists of users: which of them, in what order, a page at a time.

use lyceum_core::ids::UserId;
use lyceum_core::names::{GroupName, UserName};
use sqlx::AssertSqlSafe;

use crate::engine::{CHUNK, Db};
use crate::error::StoreError;
use crate::page::{Conditions, Page, Paged};
use crate::tx::reads;
use crate::users::{User, user_columns};

/// Which users to list, and in what order.
#[derive(Debug, Clone)]
pub struct UserQuery {
    /// Which part of the list.
    pub page: Page,
    /// Only users whose name contains this text; letter case does not count.
    pub name_contains: Option<String>,
    /// Only users with such servers.
    pub servers: Option<HavingServers>,
    /// Only these users.
    pub only: Option<OnlyUsers>,
    /// What to sort by.
    pub sort: UserSort,
    /// Backwards. Users never seen come first when sorting by activity, and last backwards.
    pub descending: bool,
}

impl Default for UserQuery {
    fn default() -> Self {
        Self {
            page: Page::ALL,
            name_contains: None,
            servers: None,
            only: None,
            sort: UserSort::Id,
            descending: false,
        }
    }
}

/// Some users: each that is named itself, or is in one of the groups.
#[derive(Debug, Clone, Default)]
pub struct OnlyUsers {
    /// The users.
    pub users: Vec<UserName>,
    /// The groups.
    pub groups: Vec<GroupName>,
}

/// What users can be sorted by; equal ones by their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserSort {
    /// By id, so by age.
    #[default]
    Id,
    /// By name, in the order of the characters' codes.
    Name,
    /// By last activity.
    LastActivity,
}

/// A condition on a user's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HavingServers {
    /// At least one of them is not stopped.
    Active,
    /// All are stopped, or there is none.
    NoneActive,
}

reads! {
    /// Lists users.
    list_users(query: &UserQuery) -> Paged<User>;
    /// Finds users by their names; who does not exist is left out.
    find_user_ids(names: &[UserName]) -> Vec<(UserId, UserName)>;
}

async fn list_users(db: &mut Db<'_>, query: &UserQuery) -> Result<Paged<User>, StoreError> {
    let order = match (query.sort, query.descending) {
        (UserSort::Id, false) => "users.id",
        (UserSort::Id, true) => "users.id DESC",
        (UserSort::Name, false) => "users.name",
        (UserSort::Name, true) => "users.name DESC",
        (UserSort::LastActivity, false) => "users.last_activity NULLS FIRST, users.id",
        (UserSort::LastActivity, true) => "users.last_activity DESC NULLS LAST, users.id DESC",
    };
    let all = conditions(query);
    let (rest, values) = all.page(order, query.page);
    let sql = format!(concat!("SELECT ", user_columns!(), " FROM users{}"), rest);
    let rows = db.all("list the users", AssertSqlSafe(sql), values).await?;
    let items = rows.iter().map(User::read).collect::<Result<Vec<_>, _>>()?;
    let total = all.total(db, "users", query.page, items.len()).await?;
    Ok(Paged { items, total })
}

async fn find_user_ids(
    db: &mut Db<'_>,
    names: &[UserName],
) -> Result<Vec<(UserId, UserName)>, StoreError> {
    let mut found = Vec::with_capacity(names.len());
    for chunk in names.chunks(CHUNK) {
        let mut all = Conditions::default();
        let list = all.list(chunk);
        all.add(format!("users.name IN ({list})"));
        let (rest, values) = all.page("users.id", Page::ALL);
        let sql = format!("SELECT users.id AS user_id, users.name AS user_name FROM users{rest}");
        for row in db
            .all("find users by name", AssertSqlSafe(sql), values)
            .await?
        {
            found.push((row.get("user_id")?, row.get("user_name")?));
        }
    }
    Ok(found)
}

fn conditions(query: &UserQuery) -> Conditions {
    let mut all = Conditions::default();
    if let Some(text) = &query.name_contains {
        let pattern = all.value(contains_pattern(text));
        all.add(format!("users.name_folded LIKE {pattern} ESCAPE '\\'"));
    }
    match query.servers {
        None => {}
        Some(HavingServers::Active) => all.add(
            "users.id IN (SELECT servers.user_id FROM servers WHERE servers.phase <> 'stopped')"
                .to_owned(),
        ),
        Some(HavingServers::NoneActive) => all.add(
            "users.id NOT IN (SELECT servers.user_id FROM servers WHERE servers.phase <> 'stopped')"
                .to_owned(),
        ),
    }
    if let Some(only) = &query.only {
        let named = all.list(&only.users);
        let grouped = all.list(&only.groups);
        all.add(format!(
            "(users.name IN ({named}) OR users.id IN (SELECT user_groups.user_id FROM user_groups \
             JOIN groups ON groups.id = user_groups.group_id WHERE groups.name IN ({grouped})))"
        ));
    }
    all
}

/// Folds letter case away, the same way for stored names and for what is searched.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Makes a LIKE pattern for "contains this text", in which nothing is a wildcard.
fn contains_pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in fold(text).chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_in_a_search_are_ordinary_characters() {
        assert_eq!(contains_pattern("a%b_c\\d"), "%a\\%b\\_c\\\\d%");
        assert_eq!(contains_pattern("ÜBER"), "%über%");
    }
}
