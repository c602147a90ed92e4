//! Taking over what a JupyterHub has stored: from files that the real program has made, and from rows that it might
//! have made.

#[cfg(test)]
mod files;
#[cfg(test)]
mod merging;
#[cfg(test)]
mod real;

use std::collections::BTreeSet;

use lyceum_core::scope::Catalogue;
use lyceum_core::{Clock as _, SystemClock, Timestamp};
use lyceum_hub::CryptKeys;
use lyceum_hub::import::{ImportOptions, Item, Kind, Report, import};
use lyceum_store::jupyterhub::Database;
use lyceum_store::{Store, StoreSettings};
use tempfile::TempDir;

/// A database of ours, in a folder of its own.
struct Ours {
    store: Store,
    _folder: TempDir,
    keys: Option<CryptKeys>,
    catalogue: Catalogue,
    roles: BTreeSet<String>,
    services: BTreeSet<String>,
}

impl Ours {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings::sqlite(folder.path().join("lyceum.sqlite"));
        Self {
            store: Store::open(&settings, now()).await.unwrap(),
            _folder: folder,
            keys: None,
            catalogue: Catalogue::built_in(),
            roles: BTreeSet::new(),
            services: BTreeSet::new(),
        }
    }

    fn options(&self) -> ImportOptions<'_> {
        ImportOptions {
            now: now(),
            catalogue: &self.catalogue,
            named_servers: true,
            configured_roles: &self.roles,
            configured_services: &self.services,
            keys: self.keys.as_ref(),
            keeps_auth_state: true,
        }
    }

    /// Takes over, and lets it last.
    async fn import(&self, source: &Database) -> Report {
        let mut tx = self.store.begin().await.unwrap();
        let report = import(&mut tx, source, self.options()).await.unwrap();
        tx.commit().await.unwrap();
        report
    }

    /// Takes over, and vanishes before the end.
    async fn break_off(&self, source: &Database) -> Report {
        let mut tx = self.store.begin().await.unwrap();
        import(&mut tx, source, self.options()).await.unwrap()
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// Each item of a kind as one line.
fn lines(report: &Report, kind: Kind) -> Vec<String> {
    let line = |item: &Item| {
        let mut line = format!("{} {}", item.outcome.as_str(), item.name);
        if !item.notes.is_empty() {
            line.push_str(": ");
            line.push_str(&item.notes.join("; "));
        }
        line
    };
    report
        .items
        .iter()
        .filter(|item| item.kind == kind)
        .map(line)
        .collect()
}
