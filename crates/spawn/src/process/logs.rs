//! The log of a server: what it writes to its standard output and error.
//!
//! The process writes to the file itself, so that its lines outlive Lyceum; we only rotate, shorten and read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lyceum_broker::engine::lines::clean_lines;
use rustix::fs::OFlags;

/// How much of the end of a log is read for [`Log::tail`], in bytes.
const TAIL_BYTES: u64 = 64 * 1024;
/// How much is kept at most when a log is shortened, in bytes.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;

/// One server's log file, and how large it may grow.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) limit: u64,
}

impl Log {
    /// Sets the log of the start before aside and opens an empty one, for the owner only, to append to.
    pub(super) fn renew(&self) -> io::Result<File> {
        match fs::rename(&self.path, previous(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // A new file is never a FIFO or a link that somebody put there.
        // Appending matters: shortening the file under a process that does not append would leave a hole.
        OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
    }

    /// Drops the older part of the log if it has outgrown its limit; lines written in this very moment
    /// may be lost. A failure is logged. Tells whether the log had a quarter of its limit or more.
    pub(super) fn shorten(&self) -> bool {
        self.try_shorten().unwrap_or_else(|error| {
            tracing::warn!(log = %self.path.display(), error = %error, "could not shorten a server's log");
            false
        })
    }

    fn try_shorten(&self) -> io::Result<bool> {
        let mut file = match open_file(OpenOptions::new().read(true).append(true), &self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        if length <= self.limit {
            return Ok(length >= self.limit / 4);
        }
        let kept = read_end(&mut file, (self.limit / 2).min(KEPT_BYTES))?;
        file.set_len(0)?;
        file.write_all(b"[earlier lines were dropped, because the log had reached its limit]\n")?;
        file.write_all(after_first_line(&kept))?;
        Ok(true)
    }

    /// Gives the last lines, oldest first, fit for people: readable text without control characters, and
    /// without anything that looks like a token. Empty if there is no log.
    pub(super) fn tail(&self, lines: usize) -> Vec<String> {
        let read = open_file(OpenOptions::new().read(true), &self.path).and_then(|mut file| {
            let length = file.metadata()?.len();
            Ok((read_end(&mut file, TAIL_BYTES)?, length > TAIL_BYTES))
        });
        match read {
            Ok((bytes, cut)) => {
                let bytes = if cut {
                    after_first_line(&bytes)
                } else {
                    &bytes
                };
                clean_lines(bytes, lines)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(log = %self.path.display(), error = %error, "could not read a server's log");
                }
                Vec::new()
            }
        }
    }

    /// Removes the log and the one before; succeeds if there is none.
    pub(super) fn remove(&self) -> io::Result<()> {
        for path in [&self.path, &previous(&self.path)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens a file that others of our account may have replaced meanwhile: only a regular file will do, and
/// nothing that they put there makes us wait or follow it elsewhere.
fn open_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// The file that keeps the log of the start before.
fn previous(path: &Path) -> PathBuf {
    path.with_added_extension("1")
}

fn read_end(file: &mut File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn after_first_line(bytes: &[u8]) -> &[u8] {
    bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .and_then(|end| bytes.get(end + 1..))
        .unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_its_own_log_and_the_one_before_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log {
            path: dir.path().join("ada.log"),
            limit: 1_000,
        };
        assert_eq!(log.tail(5), Vec::<String>::new());
        log.renew().unwrap().write_all(b"first\n").unwrap();
        log.renew().unwrap().write_all(b"second\n").unwrap();
        assert_eq!(log.tail(5), ["second"]);
        let kept = fs::read_to_string(dir.path().join("ada.log.1")).unwrap();
        assert_eq!(kept, "first\n");
        log.remove().unwrap();
        log.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_put_in_the_place_of_a_log_is_neither_read_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log {
            path: dir.path().join("ada.log"),
            limit: 1,
        };
        let other = dir.path().join("other");
        fs::write(&other, "not for you\n").unwrap();
        let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let link = |path: &Path| std::os::unix::fs::symlink(&other, path).unwrap();
        for put in [&fifo as &dyn Fn(&Path), &link] {
            put(&log.path);
            let (sender, receiver) = std::sync::mpsc::channel();
            let worker = log.clone();
            std::thread::spawn(move || {
                let shortened = worker.try_shorten().map_err(|error| error.kind());
                sender.send((worker.tail(5), shortened)).unwrap();
            });
            let limit = std::time::Duration::from_secs(10);
            let (tail, shortened) = receiver.recv_timeout(limit).expect("it waits");
            assert_eq!(tail, Vec::<String>::new());
            shortened.unwrap_err();
            log.renew().unwrap().write_all(b"mine\n").unwrap();
            assert_eq!(log.tail(5), ["mine"]);
            log.remove().unwrap();
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "not for you\n");
    }

    #[test]
    fn a_log_that_outgrows_its_limit_keeps_its_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log {
            path: dir.path().join("ada.log"),
            limit: 1_000,
        };
        let mut writer = log.renew().unwrap();
        for number in 0..200 {
            writeln!(writer, "line {number}").unwrap();
        }
        log.shorten();
        writeln!(writer, "after").unwrap();
        assert!(fs::metadata(&log.path).unwrap().len() < 1_000);
        assert_eq!(log.tail(2), ["line 199", "after"]);
        let all = log.tail(1_000);
        assert!(all[0].contains("dropped"), "{}", all[0]);
        assert!(all[1].starts_with("line 1"), "{}", all[1]);
    }
}
