//! A database of JupyterHub's, read into plain data; the file and its folder are never written to.
//!
//! What it all means here is `hub`'s business (`hub/src/import`). Names and hashes come as they are stored: whoever
//! uses them parses them. PostgreSQL and MySQL databases of JupyterHub's are not read.

mod copy;
mod data;
mod error;
mod revision;
mod rows;

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

pub use data::{
    Database, Group, OAuthClient, Role, Server, Service, Share, ShareCode, ShareReceiver, Token,
    TokenOwner, User,
};
pub use error::ReadError;
pub use revision::Revision;

use crate::engine::Db;
use crate::error::{StoreError, Trouble};

/// Reads a `jupyterhub.sqlite`.
///
/// It is copied to a temporary folder first, with the journal beside it: so nothing is written where it lies, not
/// even an index of the journal, and a JupyterHub that runs does not change it while it is read.
pub async fn read(path: &Path) -> Result<Database, ReadError> {
    let copy = copy::take(path).await?;
    let options = SqliteConnectOptions::new()
        .filename(copy.file())
        .create_if_missing(false)
        .disable_statement_logging();
    let damaged = |error: StoreError| ReadError::damaged(path, error);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| damaged(StoreError::from_engine("open the copy", error)))?;
    let database = read_from(path, &mut Db::sqlite(&mut connection)).await;
    // The copy is thrown away; how its connection ends makes no difference.
    let _ = connection.close().await;
    database
}

async fn read_from(path: &Path, db: &mut Db<'_>) -> Result<Database, ReadError> {
    let damaged = |error| ReadError::damaged(path, error);
    // First of all: in a damaged file, any answer may be wrong.
    rows::check_integrity(db).await.map_err(damaged)?;
    let tables = rows::tables(db).await.map_err(damaged)?;
    let revision = revision::find(path, db, &tables).await?;
    rows::read(db, revision).await.map_err(damaged)
}

impl ReadError {
    fn damaged(path: &Path, error: StoreError) -> Self {
        let path = path.to_owned();
        match &error {
            StoreError::Query { source, .. } if Trouble::of(&source.0) == Trouble::NotADatabase => {
                Self::NotADatabase { path }
            }
            StoreError::Full { .. } => Self::Full {
                folder: std::env::temp_dir(),
            },
            _ => Self::Damaged {
                path,
                source: Box::new(error),
            },
        }
    }
}
