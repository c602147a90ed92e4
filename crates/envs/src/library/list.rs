//! What generations there are, how large they are, and who uses them.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

use super::build::Stamp;
use super::uses::{self, InUse};
use crate::error::EnvError;
use crate::generations::Generations;

/// A generation, complete or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its number.
    pub number: u32,
    /// Whether it is the one that new servers get.
    pub current: bool,
    /// Whether it is complete: one that is not is being built, or was left by an interrupted run.
    pub complete: bool,
    /// When it was finished, in seconds since 1970; for one that is not complete, when it was begun.
    pub time: i64,
    /// The version of its Python.
    pub python: String,
    /// How many packages it has.
    pub packages: usize,
    /// What it alone has on the disk, in bytes: so much is free when it is removed.
    pub own: u64,
    /// What it shares with other generations, in bytes.
    pub shared: u64,
    /// Which processes use it.
    pub used_by: Vec<InUse>,
    /// Why it does not run any more; `None` if it does.
    pub fault: Option<String>,
}

/// Lists the generations in a folder. Blocks.
pub(super) fn list(folder: &Path) -> Result<Vec<Listed>, EnvError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let generations = Generations::new(folder.to_owned());
    let current = generations
        .find_current::<Stamp>()
        .map(|(number, _)| number);
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let uses = uses::find(&real).map_err(|source| EnvError::Io {
        doing: "read",
        path: "/proc".into(),
        source,
    })?;
    let mut listed = Vec::new();
    for number in generations.list()? {
        let prefix = generations.path(number);
        let stamp = generations.find_stamp::<Stamp>(number);
        let (own, shared) = sizes(&prefix);
        let stamp_file = generations.stamp_path(number);
        let seen = fs::metadata(stamp_file).or_else(|_| fs::metadata(&prefix));
        listed.push(Listed {
            number,
            current: current == Some(number),
            complete: stamp.is_some(),
            time: seen.map_or(0, |data| data.mtime()),
            python: stamp
                .as_ref()
                .map_or(String::new(), |stamp| stamp.python.clone()),
            packages: stamp.as_ref().map_or(0, |stamp| stamp.packages.len()),
            own,
            shared,
            used_by: uses.of.get(&number).cloned().unwrap_or_default(),
            fault: stamp.and_then(|stamp| stamp.fault(&prefix)),
        });
    }
    Ok(listed)
}

/// What a folder has on the disk: alone, and together with others.
pub(super) fn sizes(folder: &Path) -> (u64, u64) {
    /// What was seen of a file: its size, how many names it has in all, and how many here.
    struct Seen {
        bytes: u64,
        names: u64,
        here: u64,
    }
    let mut files: HashMap<(u64, u64), Seen> = HashMap::new();
    let mut own = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            let bytes = data.blocks() * 512;
            if data.is_dir() {
                own += bytes;
                folders.push(entry.path());
            } else {
                let seen = files.entry((data.dev(), data.ino())).or_insert(Seen {
                    bytes,
                    names: data.nlink(),
                    here: 0,
                });
                seen.here += 1;
            }
        }
    }
    let mut shared = 0;
    for seen in files.values() {
        if seen.names > seen.here {
            shared += seen.bytes;
        } else {
            own += seen.bytes;
        }
    }
    (own, shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_too_is_shared() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        fs::write(one.join("a"), vec![1; 100_000]).unwrap();
        fs::hard_link(one.join("a"), one.join("again")).unwrap();
        let (own, shared) = sizes(&one);
        assert!((100_000..200_000).contains(&own), "{own}");
        assert_eq!(shared, 0);
        fs::hard_link(one.join("a"), two.join("a")).unwrap();
        let (own, shared) = sizes(&two);
        assert!(own < 10_000, "{own}");
        assert!(shared >= 100_000, "{shared}");
    }
}
