//! Generations of one environment in a folder: numbered, complete or not, one of them current.
//!
//! ```text
//! base/
//!   1/            a complete generation: it holds a stamp
//!   2/            without a stamp: half-built, removed by the next run
//!   1.log         what the programs printed while it was built
//!   current -> 1  switched by one atomic rename
//! base.lock       held by whoever builds
//! base.switching  held for a moment by whoever switches, or moves a generation away
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::EnvError;
use crate::library::write_new;

mod held;
mod lock;

pub(crate) use held::{held, held_now};
pub(crate) use lock::Lock;

/// The file that makes a generation complete.
pub(crate) const STAMP: &str = "lyceum-environment.json";
/// How it is named until it is whole.
pub(crate) const STAMP_DRAFT: &str = "lyceum-environment.json.new";
/// How the folder of a generation ends that is being removed.
pub(crate) const GONE: &str = ".gone";

/// The folder that holds an environment's generations.
#[derive(Debug, Clone)]
pub(crate) struct Generations {
    folder: PathBuf,
}

impl Generations {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of one generation, there or not.
    pub(crate) fn path(&self, number: u32) -> PathBuf {
        self.folder.join(number.to_string())
    }

    pub(crate) fn log_path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.log"))
    }

    /// The file that makes a generation complete.
    pub(crate) fn stamp_path(&self, number: u32) -> PathBuf {
        self.path(number).join(STAMP)
    }

    /// The current generation and its stamp, if there is a complete one. Reads two small files, starts nothing.
    pub(crate) fn find_current<S: DeserializeOwned>(&self) -> Option<(u32, S)> {
        let target = fs::read_link(self.folder.join("current")).ok()?;
        let number = number_of(target.to_str()?)?;
        Some((number, self.find_stamp(number)?))
    }

    /// The stamp of a generation, if it is complete.
    pub(crate) fn find_stamp<S: DeserializeOwned>(&self, number: u32) -> Option<S> {
        let text = fs::read(self.path(number).join(STAMP)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The numbers of all generations, complete or not, ascending.
    pub(crate) fn list(&self) -> Result<Vec<u32>, EnvError> {
        let fail = |source| self.error("read", &self.folder, source);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir()
                && let Some(number) = entry.file_name().to_str().and_then(number_of)
            {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The numbers of the generations that nobody finished.
    pub(crate) fn list_half_built(&self) -> Result<Vec<u32>, EnvError> {
        let mut numbers = self.list()?;
        numbers.retain(|number| !self.path(*number).join(STAMP).is_file());
        Ok(numbers)
    }

    /// The newest complete generation and its stamp.
    pub(crate) fn find_newest<S: DeserializeOwned>(&self) -> Result<Option<(u32, S)>, EnvError> {
        Ok(self
            .list()?
            .into_iter()
            .rev()
            .find_map(|number| Some((number, self.find_stamp(number)?))))
    }

    /// The number for the next generation.
    pub(crate) fn next_number(&self) -> Result<u32, EnvError> {
        Ok(self.list()?.last().map_or(1, |last| last + 1))
    }

    /// The number for the next generation, where the logs of builds that failed have to stay readable: no log has it.
    pub(crate) fn next_unlogged_number(&self) -> Result<u32, EnvError> {
        let logged = self.list_logs()?.last().map_or(1, |last| last + 1);
        Ok(logged.max(self.next_number()?))
    }

    /// The numbers of all logs, ascending.
    pub(crate) fn list_logs(&self) -> Result<Vec<u32>, EnvError> {
        let fail = |source| self.error("read", &self.folder, source);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
            numbers.extend(number.and_then(number_of));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(crate) fn create_folder(&self) -> Result<(), EnvError> {
        fs::create_dir_all(&self.folder)
            .map_err(|source| self.error("create the folder", &self.folder, source))
    }

    /// Removes a generation that is not complete. Blocks.
    pub(crate) fn remove(&self, number: u32) -> Result<(), EnvError> {
        let path = self.path(number);
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// Makes a generation complete and current. Blocks until all its files are on the disk.
    pub(crate) fn finish<S: Serialize>(&self, number: u32, stamp: &S) -> Result<(), EnvError> {
        self.complete(number, stamp)?;
        self.switch(number)
    }

    /// Makes a generation complete. Blocks until all its files are on the disk.
    ///
    /// The order is what makes a crash harmless: files, then stamp, then `current`.
    pub(crate) fn complete<S: Serialize>(&self, number: u32, stamp: &S) -> Result<(), EnvError> {
        let path = self.path(number);
        let stamp_path = path.join(STAMP);
        let text = serde_json::to_vec_pretty(stamp)
            .map_err(|source| self.error("write", &stamp_path, source.into()))?;
        let fail = |source| self.error("write", &stamp_path, source);
        let folder = File::open(&path).map_err(fail)?;
        rustix::fs::syncfs(&folder).map_err(|error| fail(error.into()))?;
        let draft = path.join(STAMP_DRAFT);
        write_new(&draft, &text)
            .and_then(|file| file.sync_all())
            .map_err(fail)?;
        fs::rename(&draft, &stamp_path)
            .and_then(|()| folder.sync_all())
            .map_err(fail)
    }

    /// Makes a complete generation the current one, by one atomic rename. Blocks while another switches.
    pub(crate) fn switch(&self, number: u32) -> Result<(), EnvError> {
        let _lock = self.lock_switching()?;
        // It may have been removed since it was chosen.
        if !self.stamp_path(number).is_file() {
            return Err(EnvError::NoGeneration {
                folder: self.folder.clone(),
                number: Some(number),
            });
        }
        let current = self.folder.join("current");
        let draft = self.folder.join("current.new");
        let fail = |source| self.error("switch", &current, source);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        symlink(number.to_string(), &draft)
            .and_then(|()| fs::rename(&draft, &current))
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(fail)
    }

    /// Moves a generation to where it is not found any more, and gives that path; `None` if it is current, or if `in_use`
    /// says afterwards that it is used, and then it is back in its place. Blocks.
    ///
    /// What was moved has no stamp, so that it is never taken back when the caller is killed while it removes it.
    pub(crate) fn move_away(
        &self,
        number: u32,
        in_use: impl FnOnce() -> Result<bool, EnvError>,
    ) -> Result<Option<PathBuf>, EnvError> {
        let _lock = self.lock_switching()?;
        if self.target() == Some(number) {
            return Ok(None);
        }
        let path = self.path(number);
        let gone = self.gone_path(number);
        let fail = |source| self.error("remove", &path, source);
        fs::rename(&path, &gone).map_err(fail)?;
        match in_use() {
            Ok(false) => {}
            other => {
                fs::rename(&gone, &path).map_err(fail)?;
                return other.map(|_| None);
            }
        }
        self.remove_gone(&gone).map(Some)
    }

    /// Looks after generations that somebody was moving away when he was killed: what is complete and current, or used,
    /// goes back, and the rest is removed. Tells whether there was any. The caller holds the right to build. Blocks.
    pub(crate) fn clean_moved(
        &self,
        in_use: impl Fn(u32) -> Result<bool, EnvError>,
    ) -> Result<bool, EnvError> {
        let mut found = false;
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(GONE));
            let Some(number) = number.and_then(number_of) else {
                continue;
            };
            found = true;
            let (path, gone) = (self.path(number), entry.path());
            let fail = |source| self.error("remove", &gone, source);
            let lock = self.lock_switching()?;
            let complete = gone.join(STAMP).is_file() && !path.exists();
            if complete && (self.target() == Some(number) || in_use(number)?) {
                fs::rename(&gone, &path).map_err(fail)?;
                continue;
            }
            self.remove_gone(&gone)?;
            drop(lock);
            match fs::remove_dir_all(&gone) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Takes the stamp out of what was moved away.
    fn remove_gone(&self, gone: &Path) -> Result<PathBuf, EnvError> {
        match fs::remove_file(gone.join(STAMP)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", gone, source))
            }
            _ => Ok(gone.to_owned()),
        }
    }

    fn gone_path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}{GONE}"))
    }

    /// Where `current` leads, complete or not.
    fn target(&self) -> Option<u32> {
        let target = fs::read_link(self.folder.join("current")).ok()?;
        number_of(target.to_str()?)
    }

    /// A path beside the folder. Not `with_extension`: `4.2` and `4.3` would have the same one.
    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.folder.clone().into_os_string();
        path.push(end);
        path.into()
    }

    #[expect(clippy::unused_self, reason = "reads better at its many callers")]
    fn error(&self, doing: &'static str, path: &Path, source: io::Error) -> EnvError {
        EnvError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads a generation's number as we write it: no sign, no leading zero.
fn number_of(name: &str) -> Option<u32> {
    let number: u32 = name.parse().ok()?;
    (number > 0 && number.to_string() == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generations(root: &Path) -> Generations {
        let generations = Generations::new(root.join("base"));
        generations.create_folder().unwrap();
        generations
    }

    #[test]
    fn a_generation_is_complete_once_it_is_stamped() {
        let root = tempfile::tempdir().unwrap();
        let generations = generations(root.path());
        assert_eq!(generations.next_number().unwrap(), 1);
        assert_eq!(generations.find_current::<String>(), None);
        fs::create_dir(generations.path(1)).unwrap();
        fs::create_dir(generations.folder().join("01")).unwrap();
        assert_eq!(generations.list_half_built().unwrap(), [1]);
        generations.finish(1, &"first").unwrap();
        assert!(generations.list_half_built().unwrap().is_empty());
        assert_eq!(generations.find_current(), Some((1, "first".to_owned())));
        fs::create_dir(generations.path(2)).unwrap();
        assert_eq!(generations.find_current(), Some((1, "first".to_owned())));
        generations.finish(2, &"second").unwrap();
        assert_eq!(generations.find_current(), Some((2, "second".to_owned())));
        generations.switch(1).unwrap();
        assert_eq!(generations.find_current(), Some((1, "first".to_owned())));
        assert_eq!(generations.next_number().unwrap(), 3);
    }

    #[test]
    fn everybody_may_read_a_stamp_whatever_the_umask_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let generations = generations(root.path());
        fs::create_dir(generations.path(1)).unwrap();
        let other = generations.clone();
        let thread = std::thread::spawn(move || {
            // This thread alone gets the umask.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            other.finish(1, &"first").unwrap();
        });
        thread.join().unwrap();
        let stamp = fs::metadata(generations.stamp_path(1)).unwrap();
        assert_eq!(stamp.permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_broken_stamp_or_link_is_no_generation() {
        let root = tempfile::tempdir().unwrap();
        let generations = generations(root.path());
        fs::create_dir(generations.path(1)).unwrap();
        generations.finish(1, &"first").unwrap();
        fs::write(generations.path(1).join(STAMP), "{").unwrap();
        assert_eq!(generations.find_current::<String>(), None);
        fs::remove_file(generations.folder().join("current")).unwrap();
        symlink("../elsewhere", generations.folder().join("current")).unwrap();
        assert_eq!(generations.find_current::<String>(), None);
    }

    #[test]
    fn what_was_switched_to_meanwhile_is_not_moved_away() {
        let root = tempfile::tempdir().unwrap();
        let generations = generations(root.path());
        for number in [1, 2, 3] {
            fs::create_dir(generations.path(number)).unwrap();
            generations.finish(number, &"x").unwrap();
        }
        generations.switch(1).unwrap();
        assert_eq!(generations.move_away(1, || Ok(false)).unwrap(), None);
        assert_eq!(generations.move_away(2, || Ok(true)).unwrap(), None);
        assert_eq!(generations.list().unwrap(), [1, 2, 3]);
        let gone = generations.move_away(2, || Ok(false)).unwrap().unwrap();
        assert!(gone.is_dir() && !gone.join(STAMP).exists());
        // And what is moved away cannot be switched to.
        let error = generations.switch(2).unwrap_err();
        assert!(matches!(error, EnvError::NoGeneration { .. }), "{error}");
        assert_eq!(generations.find_current(), Some((1, "x".to_owned())));
        // Nobody switches while one is looked at.
        let (started, begun) = std::sync::mpsc::channel();
        let switching = std::thread::scope(|scope| {
            let other = generations.clone();
            let moved = generations.move_away(3, || {
                let thread = scope.spawn(move || {
                    started.send(()).unwrap();
                    other.switch(3)
                });
                begun.recv().unwrap();
                assert_eq!(generations.target(), Some(1));
                drop(thread);
                Ok(true)
            });
            moved.unwrap()
        });
        assert_eq!(switching, None);
        assert_eq!(generations.find_current(), Some((3, "x".to_owned())));
    }

    #[test]
    fn what_was_being_moved_away_comes_back_if_it_is_wanted() {
        let root = tempfile::tempdir().unwrap();
        let generations = generations(root.path());
        for number in [1, 2, 3, 4] {
            fs::create_dir(generations.path(number)).unwrap();
            generations.finish(number, &"x").unwrap();
        }
        generations.switch(1).unwrap();
        for number in [1, 2, 3, 4] {
            fs::rename(generations.path(number), generations.gone_path(number)).unwrap();
        }
        // Half of it is gone already.
        fs::remove_file(generations.gone_path(4).join(STAMP)).unwrap();
        assert!(generations.clean_moved(|number| Ok(number != 3)).unwrap());
        assert_eq!(generations.list().unwrap(), [1, 2]);
        assert!(!generations.clean_moved(|_| Ok(true)).unwrap());
    }

    #[test]
    fn the_log_of_a_failed_build_keeps_its_number() {
        let root = tempfile::tempdir().unwrap();
        let generations = generations(root.path());
        fs::create_dir(generations.path(1)).unwrap();
        for name in ["1.log", "2.log", "3.logs", "x.log"] {
            fs::write(generations.folder().join(name), "").unwrap();
        }
        assert_eq!(generations.next_unlogged_number().unwrap(), 3);
    }
}
