//! Watches which generation of each Python environment is the current one, for pages, notices and static files.
//!
//! Starts do not ask here: whoever starts a server looks for itself, at that moment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lyceum_broker::PythonFolders;
use lyceum_core::seams::{PythonNow, Pythons};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often is looked: reading a link for each environment costs microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a start of Lyceum waits for the first look.
const FIRST_LIMIT: Duration = Duration::from_secs(2);

/// The environments of the configuration, and what was seen of them last.
#[derive(Debug)]
pub(crate) struct WatchedPythons {
    folders: PythonFolders,
    titles: BTreeMap<String, String>,
    current: Mutex<BTreeMap<String, Generation>>,
    switched: Notify,
}

/// A generation that is the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Generation {
    number: u32,
    /// Its folder, without links, as servers have it.
    prefix: PathBuf,
}

impl WatchedPythons {
    /// Looks at the environments for the first time; `titles` are those that people see, by name.
    pub(crate) async fn new(folders: PythonFolders, titles: BTreeMap<String, String>) -> Arc<Self> {
        let watched = Arc::new(Self {
            folders,
            titles,
            current: Mutex::default(),
            switched: Notify::new(),
        });
        // On a disk that hangs, Lyceum starts without.
        let _ = timeout(FIRST_LIMIT, watched.look()).await;
        watched
    }

    /// Looks again and again, for ever. May be dropped at any await.
    pub(crate) async fn keep_looking(self: Arc<Self>) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // One look at a time, however long the disk takes.
            self.look().await;
        }
    }

    /// Looks once.
    pub(crate) async fn look(self: &Arc<Self>) {
        let folders = self.folders.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let current = |name: &String| {
                let number = folders.current(name)?;
                let prefix = folders.generations(name).join(number.to_string());
                let prefix = prefix.canonicalize().ok()?;
                Some((name.clone(), Generation { number, prefix }))
            };
            folders.names.iter().filter_map(current).collect()
        });
        let Ok(seen) = looking.await else { return };
        let mut known = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != seen {
            for (name, generation) in &seen {
                if known.get(name) != Some(generation) {
                    tracing::info!(
                        "servers that use the Python environment {name} start from its generation {} from now on",
                        generation.number
                    );
                }
            }
            *known = seen;
            self.switched.notify_one();
        }
    }

    /// Waits until something has been switched since it was last waited for; for one who waits.
    pub(crate) async fn switched(&self) {
        self.switched.notified().await;
    }

    /// The folders of the current generations.
    pub(crate) fn prefixes(&self) -> Vec<PathBuf> {
        let known = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().map(|one| one.prefix.clone()).collect()
    }
}

impl Pythons for WatchedPythons {
    fn find(&self, name: &str) -> Option<PythonNow> {
        let title = self.titles.get(name)?.clone();
        let known = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Some(PythonNow {
            title,
            current: known.get(name).map(|one| one.number),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn a_switch_is_seen_at_the_next_look() {
        let base = tempfile::tempdir().unwrap();
        let folders = PythonFolders {
            folder: base.path().canonicalize().unwrap(),
            default: "base".to_owned(),
            names: ["base", "stats"].map(str::to_owned).into(),
        };
        let folder = folders.generations("base");
        for number in ["1", "2"] {
            fs::create_dir_all(folder.join(number)).unwrap();
        }
        symlink("1", folder.join("current")).unwrap();
        let titles = ["base", "stats"].map(|name| (name.to_owned(), name.to_uppercase()));
        let watched = WatchedPythons::new(folders, titles.into()).await;
        let now = |name: &str| watched.find(name).map(|now| (now.title, now.current));
        assert_eq!(now("base"), Some(("BASE".to_owned(), Some(1))));
        assert_eq!(now("stats"), Some(("STATS".to_owned(), None)));
        assert_eq!(now("other"), None);
        assert_eq!(watched.prefixes(), [folder.join("1")]);
        fs::remove_file(folder.join("current")).unwrap();
        symlink("2", folder.join("current")).unwrap();
        watched.look().await;
        assert_eq!(watched.find("base").and_then(|now| now.current), Some(2));
        assert_eq!(watched.prefixes(), [folder.join("2")]);
    }
}
