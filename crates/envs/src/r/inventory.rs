//! What there is of a library: its generations, how they differ, who uses them; and which can go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::Stamp;
use super::build::blocking;
use super::error::{RError, io};
use super::interpreter::Interpreter;
use super::library::{LOCK_LIMIT, RLibrary};
use super::usage::{User, find_users};
use crate::command::end_left_over;
use crate::generations::{Generations, held};

/// One generation, as a list shows it.
#[derive(Debug, Clone, Serialize)]
pub struct GenerationInfo {
    /// The series of R.
    pub series: String,
    /// Its number.
    pub number: u32,
    /// Whether new starts of R get it.
    pub current: bool,
    /// Whether all that is required is in it.
    pub complete: bool,
    /// The version of R that built it.
    pub r: String,
    /// When it was finished; in JSON as seconds since 1970, as for Python environments.
    #[serde(serialize_with = "as_seconds")]
    pub finished: SystemTime,
    /// How many packages it has, without the distribution's.
    pub packages: usize,
    /// The bytes of its files.
    pub bytes: u64,
    /// Those of them that no other generation has.
    pub own_bytes: u64,
    /// Packages of the list that are not in it, with the reason.
    pub failed: BTreeMap<String, String>,
    /// The processes that use it, as far as we may see them.
    pub users: Vec<User>,
}

/// How a package differs between two generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The package.
    pub name: String,
    /// Its version in the first, if it is there.
    pub before: Option<String>,
    /// Its version in the second, if it is there.
    pub after: Option<String>,
}

/// What was collected, or why not.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Collected {
    /// The generations that were removed: series and number.
    pub removed: Vec<(String, u32)>,
    /// Those that are kept because of processes.
    pub in_use: Vec<(String, u32, Vec<User>)>,
}

fn as_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    serializer.serialize_u64(since.unwrap_or_default().as_secs())
}

impl RLibrary {
    /// Lists all generations that were finished. Blocks: it looks at every file.
    pub fn list(&self, interpreters: &[Interpreter]) -> Result<Vec<GenerationInfo>, RError> {
        let mut list = Vec::new();
        for series in self.series() {
            let generations = self.generations(&series);
            let current = self.find_current(&series);
            let others = other_homes(interpreters, &series);
            for (number, stamp) in Self::stamps(&generations)? {
                let path = generations.path(number);
                let (bytes, own_bytes) = size(&path);
                let finished = fs::metadata(&path)
                    .and_then(|data| data.modified())
                    .map_err(io("look at", &path))?;
                list.push(GenerationInfo {
                    users: Self::users(&generations, number, &others),
                    series: series.clone(),
                    number,
                    current: current == Some(number),
                    complete: stamp.lacking.is_empty(),
                    r: stamp.r,
                    finished,
                    packages: stamp.packages.len(),
                    bytes,
                    own_bytes,
                    failed: stamp.failed,
                });
            }
        }
        Ok(list)
    }

    /// Who uses a generation; `others` are the homes of R's that have other libraries.
    pub(super) fn users(generations: &Generations, number: u32, others: &[PathBuf]) -> Vec<User> {
        let left = generations.folder().join(format!("{number}.left"));
        let left = fs::metadata(left).and_then(|data| data.modified()).ok();
        find_users(&generations.path(number), others, left)
    }

    /// Compares two generations.
    pub fn diff(&self, series: &str, before: u32, after: u32) -> Result<Vec<Difference>, RError> {
        let generations = self.generations(series);
        let versions = |number| -> Result<BTreeMap<String, String>, RError> {
            let stamp: Stamp =
                generations
                    .find_stamp(number)
                    .ok_or_else(|| RError::NoGeneration {
                        number,
                        path: generations.folder().to_owned(),
                    })?;
            let own = stamp
                .packages
                .into_iter()
                .map(|(name, one)| (name, one.version));
            Ok(stamp.here.into_iter().chain(own).collect())
        };
        let (before, after) = (versions(before)?, versions(after)?);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        Ok(names
            .into_iter()
            .map(|name| Difference {
                name: name.clone(),
                before: before.get(name).cloned(),
                after: after.get(name).cloned(),
            })
            .filter(|one| one.before != one.after)
            .collect())
    }

    /// Removes old generations: all but the current one, the `keep` newest complete ones older than it, newer ones that are
    /// complete, and those that somebody uses.
    pub async fn collect(
        &self,
        keep: usize,
        interpreters: &[Interpreter],
        dry_run: bool,
    ) -> Result<Collected, RError> {
        let mut collected = Collected::default();
        for series in self.series() {
            let generations = self.generations(&series);
            let others = other_homes(interpreters, &series);
            let lock = Arc::new(generations.lock(LOCK_LIMIT, |_| {}).await?);
            let work = self.collect_locked(&series, keep, &others, dry_run);
            let one = held(&lock, Box::pin(work)).await?;
            collected.removed.extend(one.removed);
            collected.in_use.extend(one.in_use);
        }
        Ok(collected)
    }

    /// The same for one series, by the holder of the lock.
    async fn collect_locked(
        &self,
        series: &str,
        keep: usize,
        others: &[PathBuf],
        dry_run: bool,
    ) -> Result<Collected, RError> {
        let mut collected = Collected::default();
        let generations = self.generations(series);
        end_left_over(generations.folder()).await?;
        if !dry_run {
            let (owned, others) = (generations.clone(), others.to_vec());
            blocking(move || {
                let in_use = |number| Ok(!Self::users(&owned, number, &others).is_empty());
                Ok(owned.clean_moved(in_use)?)
            })
            .await?;
        }
        let stamps = Self::stamps(&generations)?;
        let current = self.find_current(series);
        let older: Vec<u32> = stamps
            .iter()
            .filter(|(number, stamp)| {
                current.is_some_and(|current| **number < current) && stamp.lacking.is_empty()
            })
            .map(|(number, _)| *number)
            .rev()
            .take(keep)
            .collect();
        let newest = stamps.keys().next_back().copied();
        for number in generations.list()? {
            let stays = match stamps.get(&number) {
                None => false,
                Some(stamp) => {
                    // Without a current one nothing is old; and the newest is where the next build takes from.
                    let newer =
                        current.is_none_or(|current| number >= current) && stamp.lacking.is_empty();
                    newer || older.contains(&number) || newest == Some(number)
                }
            };
            if stays {
                continue;
            }
            let users = Self::users(&generations, number, others);
            if !users.is_empty() {
                collected.in_use.push((series.to_owned(), number, users));
                continue;
            }
            if !dry_run {
                let (owned, others) = (generations.clone(), others.to_vec());
                let went = blocking(move || {
                    // Somebody may have switched to it, or begun to use it, since it was looked at.
                    let in_use = || Ok(!Self::users(&owned, number, &others).is_empty());
                    let Some(gone) = owned.move_away(number, in_use)? else {
                        return Ok(false);
                    };
                    fs::remove_dir_all(&gone).map_err(io("remove", &gone))?;
                    let _ = fs::remove_dir_all(owned.folder().join(format!("{number}.logs")));
                    let _ = fs::remove_file(owned.folder().join(format!("{number}.left")));
                    Ok(true)
                })
                .await?;
                if !went {
                    continue;
                }
            }
            collected.removed.push((series.to_owned(), number));
        }
        Ok(collected)
    }
}

/// The homes of the R's that are of another series, as the system tells them of processes: without links.
fn other_homes(interpreters: &[Interpreter], series: &str) -> Vec<PathBuf> {
    let homes = |is_of: bool| {
        interpreters
            .iter()
            .filter(move |one| (one.version.series() == series) == is_of)
            .filter_map(|one| one.home.canonicalize().ok())
    };
    let own: Vec<PathBuf> = homes(true).collect();
    homes(false).filter(|home| !own.contains(home)).collect()
}

/// The bytes of all files, and of those with one name only.
fn size(folder: &Path) -> (u64, u64) {
    let (mut all, mut own) = (0, 0);
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.path().symlink_metadata() else {
                continue;
            };
            if data.is_dir() {
                pending.push(entry.path());
            } else {
                let bytes = data.blocks() * 512;
                all += bytes;
                own += if data.nlink() > 1 { 0 } else { bytes };
            }
        }
    }
    (all, own)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn times_are_told_in_seconds() {
        let info = GenerationInfo {
            series: "4.2".to_owned(),
            number: 1,
            current: true,
            complete: true,
            r: "4.2.2".to_owned(),
            finished: SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_795_785_292_700),
            packages: 0,
            bytes: 0,
            own_bytes: 0,
            failed: BTreeMap::new(),
            users: Vec::new(),
        };
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["finished"], 1_795_785_292);
    }

    #[tokio::test]
    async fn what_a_killed_run_was_moving_away_comes_back_if_somebody_uses_it() {
        let root = tempfile::tempdir().unwrap();
        let library = RLibrary::new(&root.path().join("envs"), "base").unwrap();
        let folder = library.generations("4.2").folder().to_owned();
        let gone = folder.join("1.gone");
        fs::create_dir_all(gone.join("library/x")).unwrap();
        fs::write(gone.join(crate::generations::STAMP), "{}").unwrap();
        let sleeper = gone.join("library/x/sleeper");
        fs::copy("/bin/sleep", &sleeper).unwrap();
        let mut user = Command::new(&sleeper).arg("1000").spawn().unwrap();
        let collected = library.collect(0, &[], false).await;
        user.kill().unwrap();
        let pid = user.id();
        user.wait().unwrap();
        let collected = collected.unwrap();
        assert_eq!(collected.in_use.len(), 1, "{collected:?}");
        assert!(collected.in_use[0].2.iter().any(|user| user.pid == pid));
        assert!(folder.join("1/library").is_dir() && !gone.exists());
        let collected = library.collect(0, &[], false).await.unwrap();
        assert_eq!(collected.removed, [("4.2".to_owned(), 1)]);
    }
}
