//! The two engines behind one small face: values in, rows out, the same SQL text for both.
//!
//! It knows nothing of users or servers. sqlx's own `Any` driver is not used, because it cannot read a
//! BOOLEAN column of SQLite (sqlx issue 2778).

use std::time::Duration;

use jiff::Timestamp;
use lyceum_core::ids::{
    ClientId, GroupId, RoleId, ServerId, ServiceId, SessionId, ShareCodeId, ShareId, TokenId,
    UserId,
};
use lyceum_core::names::{GroupName, ServerName, ServiceName, UserName};
use lyceum_core::token::TokenHash;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, PgConnection, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite,
    SqliteConnection,
};

use crate::cache::Recorder;
use crate::error::StoreError;

/// How long one statement may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(30);

/// A connection of either engine, and who wants to know what is written with it.
pub(crate) struct Db<'a> {
    connection: Connection<'a>,
    recorder: Recorder<'a>,
}

pub(crate) enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl<'a> Db<'a> {
    pub(crate) fn sqlite(connection: &'a mut SqliteConnection) -> Self {
        Connection::Sqlite(connection).into()
    }

    pub(crate) fn postgres(connection: &'a mut PgConnection) -> Self {
        Connection::Postgres(connection).into()
    }

    /// Tells of the statements from now on, so that what is remembered of the database ends with them.
    pub(crate) fn recorded(mut self, recorder: Recorder<'a>) -> Self {
        self.recorder = recorder;
        self
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.connection, Connection::Sqlite(_))
    }
}

impl<'a> From<Connection<'a>> for Db<'a> {
    fn from(connection: Connection<'a>) -> Self {
        Self {
            connection,
            recorder: Recorder::Nobody,
        }
    }
}

impl Db<'_> {
    /// Runs a statement and gives all its rows.
    pub(crate) async fn all(
        &mut self,
        doing: &'static str,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = self.noted(sql);
        let run = async {
            Ok(match &mut self.connection {
                Connection::Sqlite(connection) => {
                    sqlx::query_with::<Sqlite, _>(sql, sqlite_arguments(values)?)
                        .fetch_all(&mut **connection)
                        .await?
                        .into_iter()
                        .map(Row::Sqlite)
                        .collect()
                }
                Connection::Postgres(connection) => {
                    sqlx::query_with::<Postgres, _>(sql, postgres_arguments(values)?)
                        .fetch_all(&mut **connection)
                        .await?
                        .into_iter()
                        .map(Row::Postgres)
                        .collect()
                }
            })
        };
        limited(doing, run).await
    }

    /// Runs a statement and gives its first row, if there is one.
    pub(crate) async fn first(
        &mut self,
        doing: &'static str,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.all(doing, sql, values).await?.into_iter().next())
    }

    /// Runs a statement and gives the number of rows that it wrote.
    pub(crate) async fn run(
        &mut self,
        doing: &'static str,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<u64, StoreError> {
        let sql = self.noted(sql);
        let run = async {
            Ok(match &mut self.connection {
                Connection::Sqlite(connection) => {
                    sqlx::query_with::<Sqlite, _>(sql, sqlite_arguments(values)?)
                        .execute(&mut **connection)
                        .await?
                        .rows_affected()
                }
                Connection::Postgres(connection) => {
                    sqlx::query_with::<Postgres, _>(sql, postgres_arguments(values)?)
                        .execute(&mut **connection)
                        .await?
                        .rows_affected()
                }
            })
        };
        limited(doing, run).await
    }

    /// Runs a statement that may take its time, as long as the database is large.
    pub(crate) async fn unlimited(
        &mut self,
        doing: &'static str,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<(), StoreError> {
        let sql = self.noted(sql);
        let run = async {
            match &mut self.connection {
                Connection::Sqlite(connection) => {
                    sqlx::query_with::<Sqlite, _>(sql, sqlite_arguments(values)?)
                        .execute(&mut **connection)
                        .await
                        .map(drop)
                }
                Connection::Postgres(connection) => {
                    sqlx::query_with::<Postgres, _>(sql, postgres_arguments(values)?)
                        .execute(&mut **connection)
                        .await
                        .map(drop)
                }
            }
        };
        run.await
            .map_err(|error| StoreError::from_engine(doing, error))
    }

    /// Runs a text of several statements, without values and without rows.
    pub(crate) async fn script(
        &mut self,
        doing: &'static str,
        sql: &'static str,
    ) -> Result<(), StoreError> {
        // No limit per statement: a migration of a large table may take its time.
        let sql = self.noted(sql);
        match &mut self.connection {
            Connection::Sqlite(connection) => sqlx::raw_sql(sql)
                .execute(&mut **connection)
                .await
                .map(drop),
            Connection::Postgres(connection) => sqlx::raw_sql(sql)
                .execute(&mut **connection)
                .await
                .map(drop),
        }
        .map_err(|error| StoreError::from_engine(doing, error))
    }

    fn noted(&mut self, sql: impl SqlSafeStr) -> SqlStr {
        let sql = sql.into_sql_str();
        self.recorder.statement(sql.as_str());
        sql
    }
}

/// Gives up waiting for the engine after a while.
pub(crate) async fn limited<T>(
    doing: &'static str,
    run: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(STATEMENT_LIMIT, run).await {
        Ok(result) => result.map_err(|error| StoreError::from_engine(doing, error)),
        Err(_) => Err(StoreError::Timeout { doing }),
    }
}

/// A value for a `$n` of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bool(Option<bool>),
    Bytes(Option<Vec<u8>>),
}

impl Value {
    /// A value as JSON text.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, StoreError> {
        let text = serde_json::to_string(value).map_err(StoreError::Encode)?;
        Ok(Self::Text(Some(text)))
    }

    /// A value as JSON text, or NULL.
    pub(crate) fn json_or_null(value: Option<&impl Serialize>) -> Result<Self, StoreError> {
        value.map_or(Ok(Self::Text(None)), Self::json)
    }
}

/// The values of a statement, each turned into a [`Value`].
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::engine::Value::from($value)),*] };
}
pub(crate) use values;

fn sqlite_arguments(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres_arguments(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

macro_rules! value_from {
    ($variant:ident, $value:ident => $convert:expr, $($type:ty),+ $(,)?) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Self::$variant(Some($convert))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $convert))
            }
        }
    )+};
}

value_from!(Int, value => value, i64);
value_from!(Int, id => id.0, UserId, GroupId, RoleId, ServerId, ServiceId, SessionId, TokenId, ClientId, ShareId, ShareCodeId);
value_from!(Int, at => at.as_microsecond(), Timestamp);
value_from!(Text, text => text.to_owned(), &str);
value_from!(Text, text => text, String);
value_from!(Text, name => name.as_str().to_owned(), &UserName, &GroupName, &ServerName, &ServiceName, &TokenHash);
value_from!(Bool, value => value, bool);
value_from!(Bytes, bytes => bytes.to_vec(), &[u8]);

/// A row of either engine.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Reads a column.
    pub(crate) fn get<T: Column>(&self, column: &'static str) -> Result<T, StoreError> {
        T::read(self, column)
    }

    /// Reads a column of JSON text.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|error| StoreError::corrupt(column, error))
    }

    /// Reads a column of JSON text that may be NULL.
    pub(crate) fn json_or_null<T: DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| StoreError::corrupt(column, error))
    }
}

/// What can be read from a column.
pub(crate) trait Column: Sized {
    fn read(row: &Row, column: &'static str) -> Result<Self, StoreError>;
}

macro_rules! plain_column {
    ($($type:ty),+ $(,)?) => {$(
        impl Column for $type {
            fn read(row: &Row, column: &'static str) -> Result<Self, StoreError> {
                match row {
                    Row::Sqlite(row) => row.try_get(column),
                    Row::Postgres(row) => row.try_get(column),
                }
                .map_err(|error| StoreError::corrupt(column, error))
            }
        }
    )+};
}

plain_column!(
    i64,
    Option<i64>,
    String,
    Option<String>,
    bool,
    Option<bool>,
    Option<Vec<u8>>
);

/// Types that are read through a plain one.
macro_rules! column_through {
    ($plain:ty, $value:ident => $convert:expr, $($type:ident),+ $(,)?) => {$(
        impl Column for $type {
            fn read(row: &Row, column: &'static str) -> Result<Self, StoreError> {
                let $value: $plain = row.get(column)?;
                let convert: Result<Self, _> = $convert;
                convert.map_err(|error| StoreError::corrupt(column, error))
            }
        }
        impl Column for Option<$type> {
            fn read(row: &Row, column: &'static str) -> Result<Self, StoreError> {
                let value: Option<$plain> = row.get(column)?;
                value
                    .map(|$value| -> Result<$type, _> { $convert })
                    .transpose()
                    .map_err(|error| StoreError::corrupt(column, error))
            }
        }
    )+};
}

/// Adds `From<i64>` semantics for ids, whose inner value is public.
macro_rules! id_column {
    ($($type:ident),+ $(,)?) => {$(
        column_through!(i64, id => Ok::<$type, std::convert::Infallible>($type(id)), $type);
    )+};
}

id_column!(
    UserId,
    GroupId,
    RoleId,
    ServerId,
    ServiceId,
    SessionId,
    TokenId,
    ClientId,
    ShareId,
    ShareCodeId,
);
column_through!(i64, at => Timestamp::from_microsecond(at), Timestamp);
column_through!(String, name => name.try_into(), UserName, GroupName, ServerName, ServiceName);
column_through!(String, text => Ok::<_, std::convert::Infallible>(TokenHash::from_stored(text)), TokenHash);

/// A list of placeholders for `IN (…)` or `VALUES …`, and how often the last value is repeated to fill it.
///
/// Lengths are rounded up to powers of two, so that few different statements have to be prepared.
pub(crate) fn rounded(length: usize) -> usize {
    length.max(1).next_power_of_two()
}

/// How many values one statement takes at most; longer lists are cut.
pub(crate) const CHUNK: usize = 256;

/// Puts placeholders in place of each word `LIST` of a statement that has no others, and gives the values for it.
///
/// SQLite gets `?`: sqlx looks each `$n` up by its name, for which SQLite goes through all of them.
pub(crate) fn in_list<T: Copy>(
    db: &Db<'_>,
    sql: &'static str,
    items: &[T],
) -> (AssertSqlSafe<String>, Vec<Value>)
where
    Value: From<T>,
{
    let count = rounded(items.len());
    let filling = std::iter::repeat_n(items.last(), count.saturating_sub(items.len())).flatten();
    let values: Vec<Value> = items
        .iter()
        .chain(filling)
        .map(|item| Value::from(*item))
        .collect();
    if db.is_sqlite() {
        let lists = sql.matches("LIST").count();
        let sql = sql.replace("LIST", &vec!["?"; count].join(", "));
        let values = std::iter::repeat_n(values, lists).flatten().collect();
        (AssertSqlSafe(sql), values)
    } else {
        let placeholders: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
        (
            AssertSqlSafe(sql.replace("LIST", &placeholders.join(", "))),
            values,
        )
    }
}
