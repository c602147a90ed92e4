//! Opening the database for somebody who only looks: nothing is created, brought up to date or changed.

use std::sync::Arc;

use crate::cache::Changes;
use crate::config::{StoreSettings, Target};
use crate::migrations::{MIGRATIONS, newest};
use crate::open::OpenError;
use crate::postgres;
use crate::sqlite;
use crate::tx::{Engine, Store};

impl Store {
    /// Opens the database to read it, also while a Lyceum uses it. The database refuses writes.
    pub async fn open_to_read(settings: &StoreSettings) -> Result<Self, OpenError> {
        let known = newest(MIGRATIONS);
        let engine = match &settings.0 {
            Target::Sqlite(path) => {
                Engine::Sqlite(Arc::new(sqlite::open_to_read(path, known).await?))
            }
            Target::Postgres {
                options,
                shown,
                password_file,
            } => {
                let login = postgres::Login {
                    options,
                    shown,
                    password_file: password_file.as_deref(),
                };
                Engine::Postgres(postgres::open_to_read(&login, known).await?)
            }
        };
        Ok(Self {
            engine,
            changes: Changes::new(),
        })
    }
}
