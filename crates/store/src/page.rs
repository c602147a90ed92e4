//! Long lists come in pages.

use sqlx::SqlSafeStr;

use crate::engine::{Db, Row, Value};
use crate::error::StoreError;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// How many rows to leave out at the beginning.
    pub offset: u64,
    /// How many rows to give at most.
    pub limit: u64,
}

impl Page {
    /// All rows; for lists that are known to be short.
    pub const ALL: Self = Self {
        offset: 0,
        limit: u64::MAX,
    };

    pub(crate) fn sql_offset(self) -> i64 {
        i64::try_from(self.offset).unwrap_or(i64::MAX)
    }

    pub(crate) fn sql_limit(self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX)
    }
}

/// A part of a list, and how long the whole list is.
#[derive(Debug, Clone, PartialEq)]
pub struct Paged<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// The number of rows on all pages.
    pub total: u64,
}

/// Gives the number of rows on all pages: each row of a page carries it in column `total`.
///
/// Beyond the end there is no row to tell it; then it is counted.
pub(crate) async fn total(
    db: &mut Db<'_>,
    rows: &[Row],
    count: impl SqlSafeStr,
    values: Vec<Value>,
) -> Result<u64, StoreError> {
    let total: i64 = if let Some(row) = rows.first() {
        row.get("total")?
    } else {
        let row = db.first("count a list", count, values).await?;
        row.map_or(Ok(0), |row| row.get("total"))?
    };
    Ok(u64::try_from(total).unwrap_or_default())
}
