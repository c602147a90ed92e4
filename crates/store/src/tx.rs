//! The store and its transactions: reads on [`Store`], writes on [`Tx`].

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use crate::cache::{Changes, Recorded, Recorder, Tag};
use crate::engine::{Db, limited};
use crate::error::StoreError;

/// How long to wait for a connection, and so for the other writers.
pub(crate) const ACQUIRE_LIMIT: Duration = Duration::from_secs(15);

/// The database: cheap to clone, and usable from many tasks at once.
#[derive(Clone)]
pub struct Store {
    pub(crate) engine: Engine,
    /// What was changed when, for what is remembered of the database.
    pub(crate) changes: Arc<Changes>,
}

#[derive(Clone)]
pub(crate) enum Engine {
    Sqlite(Arc<SqliteStore>),
    Postgres(PgPool),
}

/// SQLite allows one writer at a time: a pool of one connection makes the others queue in good order,
/// instead of meeting "database is locked".
pub(crate) struct SqliteStore {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    /// Tells other processes that the file is in use, as long as we live.
    pub(crate) lock: std::fs::File,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.engine {
            Engine::Sqlite(_) => "Store(SQLite)",
            Engine::Postgres(_) => "Store(PostgreSQL)",
        })
    }
}

impl Store {
    /// Begins a transaction that may write.
    ///
    /// Dropping it undoes all that was done in it. Keep it short and do nothing outside of the database
    /// meanwhile: with SQLite, all other writers wait.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let begin = async {
            Ok(match &self.engine {
                Engine::Sqlite(store) => {
                    TxInner::Sqlite(store.writer.begin_with("BEGIN IMMEDIATE").await?)
                }
                Engine::Postgres(pool) => TxInner::Postgres(pool.begin().await?),
            })
        };
        let inner = limited("begin a transaction", begin).await?;
        self.changes.writer_begins();
        Ok(Tx {
            inner,
            changes: Arc::clone(&self.changes),
            recorded: Recorded::default(),
        })
    }

    /// Closes all connections; later calls fail. With SQLite, this leaves a single complete file behind,
    /// and other processes may bring it up to date.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(store) => {
                store.readers.close().await;
                store.writer.close().await;
                // If this fails, the lock ends with the last clone of the store.
                let _ = store.lock.unlock();
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }

    /// Asks the database for a sign of life.
    pub async fn check(&self) -> Result<(), StoreError> {
        let doing = "reach the database";
        self.reader()
            .await?
            .db()
            .run(doing, "SELECT 1", Vec::new())
            .await
            .map(drop)
    }

    pub(crate) async fn reader(&self) -> Result<Reader, StoreError> {
        let doing = "get a connection to the database";
        match &self.engine {
            Engine::Sqlite(store) => store.readers.acquire().await.map(Reader::Sqlite),
            Engine::Postgres(pool) => pool.acquire().await.map(Reader::Postgres),
        }
        .map_err(|error| StoreError::from_engine(doing, error))
    }
}

/// A connection for reads.
pub(crate) enum Reader {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Reader {
    pub(crate) fn db(&mut self) -> Db<'_> {
        match self {
            Self::Sqlite(connection) => Db::sqlite(connection),
            Self::Postgres(connection) => Db::postgres(connection),
        }
    }
}

/// A transaction: all of it is done, or nothing.
pub struct Tx {
    inner: TxInner,
    changes: Arc<Changes>,
    recorded: Recorded,
}

enum TxInner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tx")
    }
}

impl Tx {
    /// Makes everything done in this transaction last; it survives a power cut once this has returned.
    ///
    /// From then on nothing is remembered any more that this transaction has changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        let changes = self.changes.commit(self.recorded);
        let commit = async {
            match self.inner {
                TxInner::Sqlite(tx) => tx.commit().await,
                TxInner::Postgres(tx) => tx.commit().await,
            }
        };
        limited("commit a transaction", commit).await?;
        changes.done();
        Ok(())
    }

    /// Undoes everything done in this transaction; dropping it does the same, a little later.
    pub async fn rollback(self) -> Result<(), StoreError> {
        let rollback = async {
            match self.inner {
                TxInner::Sqlite(tx) => tx.rollback().await,
                TxInner::Postgres(tx) => tx.rollback().await,
            }
        };
        limited("roll a transaction back", rollback).await
    }

    /// The connection. A statement that changes something makes everything forgotten that is remembered of the
    /// database, unless it is known to be harmless: see [`Tx::touching`].
    pub(crate) fn db(&mut self) -> Db<'_> {
        match &mut self.inner {
            TxInner::Sqlite(tx) => Db::sqlite(tx),
            TxInner::Postgres(tx) => Db::postgres(tx),
        }
        .recorded(Recorder::Careful(&mut self.recorded))
    }

    /// The connection, for a statement that changes nothing but what these tags stand for.
    pub(crate) fn touching<'t>(&mut self, tags: impl IntoIterator<Item = Tag<'t>>) -> Db<'_> {
        for tag in tags {
            self.recorded.tag(tag);
        }
        match &mut self.inner {
            TxInner::Sqlite(tx) => Db::sqlite(tx),
            TxInner::Postgres(tx) => Db::postgres(tx),
        }
    }
}

/// Makes methods of [`Store`] and [`Tx`] from functions of the same name that take a [`Db`] first.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),* $(,)?) -> $output:ty;)+) => {
        impl $crate::tx::Store {$(
            $(#[$doc])*
            pub async fn $name(
                &self,
                $($argument: $type),*
            ) -> Result<$output, $crate::error::StoreError> {
                let mut reader = self.reader().await?;
                $name(&mut reader.db(), $($argument),*).await
            }
        )+}
        impl $crate::tx::Tx {$(
            $(#[$doc])*
            pub async fn $name(
                &mut self,
                $($argument: $type),*
            ) -> Result<$output, $crate::error::StoreError> {
                $name(&mut self.db(), $($argument),*).await
            }
        )+}
    };
}
pub(crate) use reads;
