//! Which JupyterHub made a database: known by the revision that Alembic keeps in it.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::ReadError;
use crate::engine::Db;

/// A layout of JupyterHub's tables that we can read.
#[derive(Debug, PartialEq, Eq)]
pub struct Revision {
    /// Alembic's name for it.
    pub id: &'static str,
    /// Which JupyterHub has it, for people.
    pub made_by: &'static str,
    /// Whether users have `user_info`.
    pub(super) user_info: bool,
    /// Whether servers have `display_name`.
    pub(super) display_names: bool,
}

/// Those that we can read, the oldest first (`jupyterhub/alembic/versions`).
static KNOWN: [Revision; 5] = [
    Revision {
        id: "4621fec11365",
        made_by: "JupyterHub 5",
        user_info: false,
        display_names: false,
    },
    // Steps on the way to 6, which a pre-release may have left.
    Revision {
        id: "be8ecf03ddac",
        made_by: "a pre-release of JupyterHub 6",
        user_info: false,
        display_names: false,
    },
    Revision {
        id: "afd65840b69e",
        made_by: "a pre-release of JupyterHub 6",
        user_info: false,
        display_names: false,
    },
    Revision {
        id: "ff1860e38070",
        made_by: "a pre-release of JupyterHub 6",
        user_info: true,
        display_names: false,
    },
    Revision {
        id: "f460b0348206",
        made_by: "JupyterHub 6",
        user_info: true,
        display_names: true,
    },
];

/// Those of JupyterHub 4 and older.
const OLDER: [&str; 14] = [
    "19c0846f6344",
    "af4cbdb2d13c",
    "eeb276e51423",
    "99a28a4418e1",
    "56cc5a70207e",
    "3ec6993fe20c",
    "1cebaf56856c",
    "896818069c98",
    "4dc2d5a8c53c",
    "d68c98b66cd4",
    "833da8570507",
    "651f5419b74d",
    "0eee8c825d24",
    "3c2384c5aae1",
];

/// Finds out which JupyterHub made a database, and refuses those that we cannot read.
pub(super) async fn find(
    path: &Path,
    db: &mut Db<'_>,
    tables: &BTreeSet<String>,
) -> Result<&'static Revision, ReadError> {
    let path = path.to_owned();
    if tables.contains("schema_migrations") {
        return Err(ReadError::Ours { path });
    }
    let jupyterhubs = ["users", "servers"].iter().all(|one| tables.contains(*one));
    if !jupyterhubs {
        return Err(ReadError::Foreign { path });
    }
    if !tables.contains("alembic_version") {
        // Before 0.8, nothing was noted.
        let revision = "missing".to_owned();
        return Err(ReadError::TooOld { path, revision });
    }
    let sql = "SELECT CAST(version_num AS TEXT) AS revision FROM alembic_version";
    let row = db
        .first("read the revision", sql, Vec::new())
        .await
        .map_err(|error| ReadError::damaged(&path, error))?;
    let revision: String = match row {
        Some(row) => row
            .get("revision")
            .map_err(|error| ReadError::damaged(&path, error))?,
        None => "missing".to_owned(),
    };
    if let Some(known) = KNOWN.iter().find(|known| known.id == revision) {
        return Ok(known);
    }
    if revision == "missing" || OLDER.contains(&revision.as_str()) {
        return Err(ReadError::TooOld { path, revision });
    }
    Err(ReadError::TooNew { path, revision })
}
