//! Keeps the sets of static files in step with the environments that users' servers run from.
//!
//! Nothing depends on it: what is in no set is answered by the servers themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::seams::Routes as _;
use lyceum_gateway::{Coding, RouteTable, StaticError, StaticSet, StaticSets};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::pythons::WatchedPythons;

/// How often it is looked whether there is another environment, or one has changed.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// What is made before a set is used, in half a second: every browser understands it.
const FIRST: Coding = Coding::Gzip;
/// What is made then, in some 25 seconds; the quicker one first.
const THEN: [Coding; 2] = [Coding::Zstd, Coding::Brotli];

/// The static files of all environments.
#[derive(Debug)]
pub(crate) struct Statics {
    /// Where the sets go.
    pub(crate) sets: StaticSets,
    /// The folder for compressed files.
    pub(crate) cache: PathBuf,
    /// The environment of servers that are started from now on.
    pub(crate) expected: Option<PathBuf>,
    /// The environments of the configuration: servers start from what is current in them.
    pub(crate) pythons: Option<Arc<WatchedPythons>>,
    /// Tells which environments servers were started from that still run.
    pub(crate) routes: RouteTable,
}

/// What has become of one environment at a look.
enum Looked {
    Unchanged,
    New(Arc<StaticSet>),
    Failed(StaticError),
}

impl Statics {
    /// Keeps the sets in step, for ever. May be dropped at any await.
    pub(crate) async fn keep_up(self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = BTreeSet::new();
        // Sets that can be used, and get smaller yet.
        let mut unfinished = BTreeSet::new();
        // What was read of environments that cannot be read just now: their files are not made again for that.
        let mut lost: BTreeMap<String, Arc<StaticSet>> = BTreeMap::new();
        // Whether there may be files that nobody needs: what an earlier run has left, and what old generations had.
        let mut littered = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.switched() => {}
            }
            let wanted = self.wanted().await;
            for key in self.sets.keys() {
                if !wanted.contains(&key) {
                    self.sets.remove(&key);
                    littered = true;
                }
            }
            let known = lost.len();
            lost.retain(|key, _| wanted.contains(key));
            littered |= lost.len() < known;
            for key in wanted {
                let before = self.sets.get(&key);
                match self.look(&key).await {
                    Ok(is_new) => {
                        told.remove(&key);
                        lost.remove(&key);
                        if is_new {
                            littered = true;
                            unfinished.insert(key);
                        }
                    }
                    Err(error) => {
                        lost.extend(before.map(|set| (key.clone(), set)));
                        tell(&mut told, key, &error);
                    }
                }
            }
            // One at a time, and only when all can be used: this takes long, and people come meanwhile.
            if let Some(key) = unfinished.pop_first()
                && let Some(set) = self.sets.get(&key)
            {
                match compress(&set, &THEN).await {
                    Ok(()) => {
                        tracing::info!(
                            "static files of {key} are compressed as far as they can be"
                        );
                    }
                    Err(error) => tell(&mut told, key, &error),
                }
            }
            if !unfinished.is_empty() {
                ticks.reset_immediately();
            } else if littered {
                littered = false;
                self.sweep(lost.values()).await;
            }
        }
    }

    /// Waits until another generation of a Python environment is the current one.
    async fn switched(&self) {
        match &self.pythons {
            Some(pythons) => pythons.switched().await,
            None => std::future::pending().await,
        }
    }

    async fn wanted(&self) -> BTreeSet<String> {
        let routes = self.routes.list().await.unwrap_or_default();
        let running = routes
            .iter()
            .filter_map(|status| status.route.environment());
        let current = self.pythons.iter().flat_map(|pythons| pythons.prefixes());
        let expected: Vec<PathBuf> = self.expected.iter().cloned().chain(current).collect();
        let expected = expected.iter().filter_map(|path| path.to_str());
        running.chain(expected).map(str::to_owned).collect()
    }

    /// Makes the set of an environment if there is none, or the environment has changed; tells whether it has.
    async fn look(&self, key: &str) -> Result<bool, StaticError> {
        let (known, cache, prefix) = (self.sets.get(key), self.cache.clone(), PathBuf::from(key));
        let looking = tokio::task::spawn_blocking(move || match known {
            Some(set) if set.is_current() => Looked::Unchanged,
            _ => match StaticSet::read(&prefix, &cache) {
                Ok(set) => Looked::New(Arc::new(set)),
                Err(error) => Looked::Failed(error),
            },
        });
        let set = match looking.await {
            Ok(Looked::New(set)) => set,
            Ok(Looked::Failed(error)) => {
                // What was there is not what is there now.
                self.sets.remove(key);
                return Err(error);
            }
            // A panic was logged; the next look may do better.
            Ok(Looked::Unchanged) | Err(_) => return Ok(false),
        };
        let made = compress(&set, &[FIRST]).await;
        let summary = set.summary();
        self.sets.put(key, &set);
        tracing::info!(
            files = summary.files,
            "static files of {key} are answered without users' servers"
        );
        if summary.distrusted > 0 {
            tracing::warn!(
                "{} files or folders of {key} are left to users' servers, since other accounts can write to them",
                summary.distrusted
            );
        }
        made?;
        Ok(true)
    }

    /// Removes what no environment has any more; those that are `lost` have theirs.
    async fn sweep(&self, lost: impl Iterator<Item = &Arc<StaticSet>>) {
        let keys = self.sets.keys();
        let known = keys.iter().filter_map(|key| self.sets.get(key));
        let sets: Vec<_> = known.chain(lost.cloned()).collect();
        let swept = tokio::task::spawn_blocking(move || StaticSet::sweep(&sets)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not remove compressed files that nobody needs"
            );
        }
    }
}

/// Says once why an environment's files are left to the servers.
fn tell(told: &mut BTreeSet<String>, key: String, error: &StaticError) {
    if told.insert(key) {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "static files are left to users' servers; {}",
            error.hint()
        );
    }
}

/// Compresses on a thread of its own, at the lowest priority; ends soon after it is dropped.
async fn compress(set: &Arc<StaticSet>, codings: &'static [Coding]) -> Result<(), StaticError> {
    let dropped = CancellationToken::new();
    let _guard = dropped.clone().drop_guard();
    let (ended, end) = oneshot::channel();
    let set = Arc::clone(set);
    let thread = std::thread::Builder::new().name("static-files".to_owned());
    let started = thread.spawn(move || {
        // On Linux this is the priority of this thread alone. Without it, it is only less polite.
        let _ = rustix::process::setpriority_process(None, 19);
        let mut go_on = |_| !dropped.is_cancelled();
        let outcome = codings
            .iter()
            .try_for_each(|coding| set.compress(*coding, &mut go_on));
        let _ = ended.send(outcome);
    });
    if let Err(error) = started {
        tracing::warn!(error = %error, "could not start a thread to compress static files");
        return Ok(());
    }
    end.await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use lyceum_core::{Route, RouteSpec, Upstream};

    use super::*;

    fn environment(base: &Path, name: &str) -> String {
        let prefix = base.join(name);
        let lab = prefix.join("share/jupyter/lab/static");
        fs::create_dir_all(&lab).unwrap();
        fs::write(lab.join("0123456789abcdef.js"), "text ".repeat(1000)).unwrap();
        prefix.to_str().unwrap().to_owned()
    }

    fn route(environment: &str) -> Route {
        let mut data = serde_json::Map::new();
        data.insert(Route::ENVIRONMENT.to_owned(), environment.into());
        Route {
            spec: RouteSpec::path("/user/ada/"),
            target: Upstream::Unix(PathBuf::new()),
            target_path: String::new(),
            data,
        }
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        let holds = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), holds)
            .await
            .unwrap_or_else(|_| panic!("not within the time limit: {what}"));
    }

    #[tokio::test]
    async fn there_is_a_set_for_each_environment_that_servers_run_from() {
        let base = tempfile::tempdir().unwrap();
        let (next, running) = (environment(base.path(), "2"), environment(base.path(), "1"));
        let sets = StaticSets::new();
        let routes = RouteTable::new();
        routes.put(route(&running)).await.unwrap();
        let cache = base.path().join("cache");
        fs::create_dir_all(cache.join("1")).unwrap();
        fs::write(cache.join("1/left-over.br.new"), "half").unwrap();
        let statics = Statics {
            sets: sets.clone(),
            cache: cache.clone(),
            expected: Some(PathBuf::from(&next)),
            pythons: None,
            routes: routes.clone(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(statics.keep_up());
        until("both have their set", || {
            sets.get(&running).is_some() && sets.get(&next).is_some()
        })
        .await;
        until("all forms are there, and no left-overs", || {
            let names = fs::read_dir(cache.join("1")).unwrap();
            let mut names: Vec<_> = names
                .map(|entry| entry.unwrap().path().extension().unwrap().to_owned())
                .collect();
            names.sort();
            names == ["br", "gz", "zst"]
        })
        .await;
        let found = sets.find(&route(&running), "/user/ada/static/lab/0123456789abcdef.js");
        assert!(found.is_some());
    }

    fn switch(generations: &Path, number: &str) {
        let draft = generations.join("current.new");
        std::os::unix::fs::symlink(number, &draft).unwrap();
        fs::rename(draft, generations.join("current")).unwrap();
    }

    /// The environment `base`, with this generation.
    async fn current(folder: &Path, number: &str) -> Arc<WatchedPythons> {
        switch(&folder.join("python/base"), number);
        let folders = lyceum_broker::PythonFolders {
            folder: folder.to_owned(),
            default: "base".to_owned(),
            names: ["base".to_owned()].into(),
        };
        let titles = [("base".to_owned(), "Base".to_owned())].into();
        WatchedPythons::new(folders, titles).await
    }

    #[tokio::test]
    async fn a_switch_brings_the_set_of_the_new_generation_and_leaves_that_of_servers_that_run() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().canonicalize().unwrap();
        let generations = folder.join("python/base");
        let (old, new) = (
            environment(&generations, "1"),
            environment(&generations, "2"),
        );
        let pythons = current(&folder, "1").await;
        let (sets, routes) = (StaticSets::new(), RouteTable::new());
        let statics = Statics {
            sets: sets.clone(),
            cache: folder.join("cache"),
            expected: None,
            pythons: Some(Arc::clone(&pythons)),
            routes: routes.clone(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(statics.keep_up());
        until("the current one has a set", || sets.get(&old).is_some()).await;
        routes.put(route(&old)).await.unwrap();
        switch(&generations, "2");
        pythons.look().await;
        until("so has the new one, at once", || sets.get(&new).is_some()).await;
        assert!(sets.get(&old).is_some(), "a server runs from it");
        let found = sets.find(&route(&old), "/user/ada/static/lab/0123456789abcdef.js");
        assert!(found.is_some());
    }

    /// How many compressed files there are.
    fn count(cache: &Path) -> usize {
        let entries = fs::read_dir(cache.join("1")).into_iter().flatten();
        entries.flatten().count()
    }

    #[tokio::test]
    async fn what_an_old_generation_had_goes_also_while_another_fails() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().canonicalize().unwrap();
        let generations = folder.join("python/base");
        let (old, new) = (
            environment(&generations, "1"),
            environment(&generations, "2"),
        );
        let script = Path::new(&old).join("share/jupyter/lab/static/0123456789abcdef.js");
        fs::write(script, "old ".repeat(1000)).unwrap();
        let pythons = current(&folder, "1").await;
        let sets = StaticSets::new();
        let cache = folder.join("cache");
        let statics = Statics {
            sets: sets.clone(),
            cache: cache.clone(),
            expected: Some(folder.join("broken")),
            pythons: Some(Arc::clone(&pythons)),
            routes: RouteTable::new(),
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(statics.keep_up());
        until("all forms are there", || count(&cache) == 3).await;
        switch(&generations, "2");
        pythons.look().await;
        until("the old one's are gone", || {
            sets.get(&new).is_some() && count(&cache) == 3
        })
        .await;
        assert!(sets.get(&old).is_none());
    }

    #[tokio::test]
    async fn an_environment_that_goes_loses_its_set() {
        let base = tempfile::tempdir().unwrap();
        let key = environment(base.path(), "1");
        let sets = StaticSets::new();
        let statics = Statics {
            sets: sets.clone(),
            cache: base.path().join("cache"),
            expected: None,
            pythons: None,
            routes: RouteTable::new(),
        };
        statics.look(&key).await.unwrap();
        assert!(sets.get(&key).is_some());
        let before = sets.get(&key).unwrap();
        statics.look(&key).await.unwrap();
        assert!(Arc::ptr_eq(&before, &sets.get(&key).unwrap()));
        fs::remove_dir_all(&key).unwrap();
        assert!(statics.look(&key).await.is_err());
        assert!(sets.get(&key).is_none());
    }
}
