//! The rights to build and to switch, each held by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Generations;
use crate::error::EnvError;

/// How often we look whether the lock is free.
const LOCK_PERIOD: Duration = Duration::from_millis(200);

impl Generations {
    /// Waits until nobody else switches or moves away; that takes them moments.
    pub(super) fn lock_switching(&self) -> Result<Lock, EnvError> {
        let path = self.beside(".switching");
        let file = open_lock(&path).and_then(|file| file.lock().map(|()| file));
        file.map(|file| Lock { _file: file })
            .map_err(|source| self.error("lock", &path, source))
    }

    /// Waits for the right to build, for at most `limit`. `waiting` is called once, if somebody else has it,
    /// with their process number if known.
    pub(crate) async fn lock(
        &self,
        limit: Duration,
        waiting: impl FnOnce(Option<&str>),
    ) -> Result<Lock, EnvError> {
        let path = self.beside(".lock");
        let fail = |source| self.error("lock", &path, source);
        let mut file = open_lock(&path).map_err(fail)?;
        let begun = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            let holder = holder(&mut file);
            if begun.elapsed() >= limit {
                return Err(EnvError::Busy {
                    path: self.folder.clone(),
                    holder,
                    waited: begun.elapsed(),
                });
            }
            if let Some(waiting) = waiting.take() {
                waiting(holder.as_deref());
            }
            sleep(LOCK_PERIOD).await;
        }
        // For those who wait; a lock whose holder cannot be named still locks.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {}", std::process::id()));
        Ok(Lock { _file: file })
    }
}

/// Opens a file for locking. Only its owner can: whoever can read a file can lock it, and keep it.
fn open_lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// The right to build, or to switch; the system takes it back when the holder ends, however that happens.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(100).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_can_hold_a_lock() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("base.lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = open_lock(&path).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn only_one_holds_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let generations = Generations::new(root.path().join("base"));
        generations.create_folder().unwrap();
        let first = generations
            .lock(Duration::ZERO, |_| panic!("nobody has it"))
            .await
            .unwrap();
        let mut told = None;
        let refused = generations
            .lock(Duration::from_millis(300), |holder| {
                told = holder.map(str::to_owned);
            })
            .await;
        assert!(matches!(refused, Err(EnvError::Busy { .. })), "{refused:?}");
        assert_eq!(told, Some(format!("process {}", std::process::id())));
        drop(first);
        // A program that another test starts at this moment holds all our files until it runs.
        generations
            .lock(Duration::from_secs(10), |_| {})
            .await
            .unwrap();
    }
}
