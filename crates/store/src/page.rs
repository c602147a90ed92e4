//! Long lists come in pages.

use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::engine::{Db, Row, Value, rounded};
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

/// The conditions of a statement that lists rows, with their values: only those that are asked for are in its text,
/// so that the database chooses by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition; all of them must hold. Nothing from outside may be in its text.
    pub(crate) fn add(&mut self, text: String) {
        self.texts.push(text);
    }

    /// Takes a value, and gives what stands for it in the text of a condition.
    pub(crate) fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Takes the values of a list, and gives what stands for them in an `IN (…)`.
    pub(crate) fn list<'a, T>(&mut self, items: &'a [T]) -> String
    where
        Value: From<&'a T>,
    {
        let Some(last) = items.last() else {
            return "NULL".to_owned();
        };
        let filling = std::iter::repeat(last);
        let marks: Vec<String> = items
            .iter()
            .chain(filling)
            .take(rounded(items.len()))
            .map(|item| self.value(item))
            .collect();
        marks.join(", ")
    }

    fn clause(&self) -> String {
        if self.texts.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.texts.join(" AND "))
        }
    }

    /// What follows the name of the table in a statement that gives a page, and its values.
    pub(crate) fn page(&self, order: &str, page: Page) -> (String, Vec<Value>) {
        let mut values = self.values.clone();
        values.extend([page.sql_limit().into(), page.sql_offset().into()]);
        let (limit, offset) = (values.len() - 1, values.len());
        let clause = self.clause();
        (
            format!("{clause} ORDER BY {order} LIMIT ${limit} OFFSET ${offset}"),
            values,
        )
    }

    /// Gives the number of rows on all pages, after `found` of them were on this one. Only counted where the page
    /// does not tell it: counting in the same statement would read all rows of the table for each page.
    pub(crate) async fn total(
        self,
        db: &mut Db<'_>,
        table: &'static str,
        page: Page,
        found: usize,
    ) -> Result<u64, StoreError> {
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        if found < page.limit && (found > 0 || page.offset == 0) {
            return Ok(page.offset.saturating_add(found));
        }
        let sql = format!("SELECT COUNT(*) AS total FROM {table}{}", self.clause());
        total(db, &[], AssertSqlSafe(sql), self.values).await
    }
}
