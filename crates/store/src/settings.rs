//! Settings: single values that the hub remembers, under a name.

use crate::engine::{Db, values};
use crate::error::StoreError;
use crate::tx::{Tx, reads};

reads! {
    /// Finds a setting.
    find_setting(key: &str) -> Option<String>;
}

async fn find_setting(db: &mut Db<'_>, key: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM settings WHERE key = $1";
    let row = db.first("find a setting", sql, values![key]).await?;
    row.map(|row| row.get("value")).transpose()
}

impl Tx {
    /// Sets a setting; `None` removes it.
    pub async fn set_setting(&mut self, key: &str, value: Option<&str>) -> Result<(), StoreError> {
        let doing = "change a setting";
        if let Some(value) = value {
            let sql = "INSERT INTO settings (key, value) VALUES ($1, $2) \
                           ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            self.db().run(doing, sql, values![key, value]).await
        } else {
            let sql = "DELETE FROM settings WHERE key = $1";
            self.db().run(doing, sql, values![key]).await
        }
        .map(drop)
    }
}
