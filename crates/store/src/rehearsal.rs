//! A store to try something out on: nothing that is done there is done to the database.

use jiff::Timestamp;
use tempfile::TempDir;

use crate::config::{StoreSettings, Target};
use crate::open::OpenError;
use crate::sqlite;
use crate::tx::Store;

/// A store that may be thrown away, with what is in the database.
#[derive(Debug)]
pub struct Rehearsal {
    store: Store,
    /// The folder of the copy, removed with it.
    _folder: Option<TempDir>,
}

impl Rehearsal {
    /// The store. With PostgreSQL it is the database itself: what must not last has to be rolled back.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Store {
    /// Opens a copy of the database, brought up to date; an empty one if there is none yet.
    ///
    /// A database file is only read, and not even its folder need exist. Of a database on a PostgreSQL server there
    /// is no copy: it is opened, and brought up to date, as by [`Store::open`].
    pub async fn rehearse(
        settings: &StoreSettings,
        now: Timestamp,
    ) -> Result<Rehearsal, OpenError> {
        let Target::Sqlite(path) = &settings.0 else {
            return Ok(Rehearsal {
                store: Self::open(settings, now).await?,
                _folder: None,
            });
        };
        let failed = |source| OpenError::File {
            doing: "make a folder for a copy of",
            path: path.clone(),
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("lyceum-rehearsal-")
            .tempdir()
            .map_err(failed)?;
        let copy = folder.path().join("lyceum.sqlite");
        sqlite::copy(path, &copy).await?;
        Ok(Rehearsal {
            store: Self::open(&StoreSettings::sqlite(copy), now).await?,
            _folder: Some(folder),
        })
    }
}
