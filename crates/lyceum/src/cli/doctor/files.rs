//! Owners and modes of the files that are Lyceum's own.
//!
//! Run as root, this walks through folders that Lyceum's account can change at any moment. So it goes from folder to
//! folder by open files, follows no link, and gives nothing to anybody: it only takes rights away from others.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lyceum_certs::Verdict;
use lyceum_config::settings::Config;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat, fchmod, fstat, openat};

use super::Finding;
use crate::wire::{internal_tls, tls};

/// Beyond this nobody has so many files of certificates: something else lies there.
const MOST: usize = 10_000;
/// The deepest folder below the one for certificates: accounts and orders of an authority.
const DEEPEST: usize = 4;

/// The folders with keys in the data folder.
const FOLDERS: [&str; 2] = [tls::FOLDER, internal_tls::FOLDER];

/// What is done about what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// It is told.
    No,
    /// It is told what would be done.
    Tell,
    /// It is mended.
    Do,
}

/// A look at all files.
struct Look {
    /// To whom all should belong.
    owner: u32,
    repair: Repair,
    fine: usize,
    findings: Vec<Finding>,
}

/// Looks at all of them.
pub(super) fn check(config: &Config, repair: Repair) -> Vec<Finding> {
    let data_dir = &config.hub.data_dir;
    let owner = match fs::metadata(data_dir) {
        Ok(data) => data.uid(),
        Err(error) => {
            return vec![Finding::bad(
                Verdict::Warning,
                format!("{} cannot be looked at: {error}", data_dir.display()),
                "`lyceum serve` makes it at its first start; if it is there, run this as Lyceum's user or as root",
            )];
        }
    };
    let mut look = Look {
        owner,
        repair,
        fine: 0,
        findings: Vec::new(),
    };
    match open(CWD, data_dir) {
        Ok(folder) => {
            look.at(&folder, data_dir, "holds the database and all keys");
            look.below(&folder, data_dir, |name| FOLDERS.contains(&name), DEEPEST);
        }
        Err(error) => look.unreadable(data_dir, &error),
    }
    look.runtime_dir(&config.hub.runtime_dir);
    if look.findings.is_empty() {
        look.findings.push(Finding::fine(format!(
            "{} files and folders are their owner's alone",
            look.fine
        )));
    }
    look.findings
}

impl Look {
    /// Looks at what is in a folder, and at what is in those below it that are wanted.
    fn below(&mut self, folder: &OwnedFd, path: &Path, wanted: fn(&str) -> bool, depth: usize) {
        let entries = match Dir::read_from(folder) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(path, &error.into()),
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_file = match entry.file_type() {
                FileType::RegularFile => true,
                FileType::Directory => false,
                // Links lead to what is not ours; sockets hold nothing.
                _ => continue,
            };
            let is_enough = self.fine + self.findings.len() > MOST;
            if name == "." || name == ".." || is_enough || !(is_file || wanted(&name) && depth > 0)
            {
                continue;
            }
            let place = path.join(&name);
            match open(folder, Path::new(&name)) {
                Ok(file) => {
                    self.at(&file, &place, "may hold a key");
                    if !is_file {
                        self.below(&file, &place, |_| true, depth - 1);
                    }
                }
                // It is gone meanwhile, or is another thing now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unreadable(&place, &error),
            }
        }
    }

    /// Looks at one, and mends it if that is wanted.
    fn at(&mut self, file: &OwnedFd, path: &Path, why: &str) {
        let data = match fstat(file) {
            Ok(data) => data,
            Err(error) => return self.unreadable(path, &error.into()),
        };
        let shown = path.display();
        let mode = data.st_mode & 0o7777;
        let right = mode & !0o077;
        if data.st_uid != self.owner {
            self.findings.push(Finding::bad(
                Verdict::Problem,
                format!(
                    "{shown} belongs to user {} and not {}; it {why}",
                    data.st_uid, self.owner
                ),
                format!(
                    "look how it came there; then, as root: `chown -h {} {shown}`",
                    self.owner
                ),
            ));
        }
        if mode == right {
            self.fine += usize::from(data.st_uid == self.owner);
            return;
        }
        let what = format!("{shown}: others can use it (mode {mode:04o}); it {why}");
        let order = format!("chmod {right:04o} {shown}");
        let finding = match self.repair {
            Repair::No => Finding::bad(
                Verdict::Problem,
                what,
                format!("`{order}`, or `lyceum doctor --fix`"),
            ),
            Repair::Tell => {
                Finding::bad(Verdict::Problem, what, format!("--fix would do: {order}"))
            }
            Repair::Do => match self.mend(file, &data, right) {
                Ok(()) => Finding::fine(format!("{what}; mended: {order}")),
                Err(error) => Finding::bad(
                    Verdict::Problem,
                    format!("{what}; it could not be mended: {error}"),
                    format!("as its owner or as root: `{order}`"),
                ),
            },
        };
        self.findings.push(finding);
    }

    fn mend(&self, file: &OwnedFd, data: &Stat, mode: u32) -> io::Result<()> {
        // A second name of a file, put here by Lyceum's account, would have us change what is somebody else's.
        let is_file = FileType::from_raw_mode(data.st_mode) == FileType::RegularFile;
        if (is_file && data.st_nlink > 1) || data.st_uid != self.owner {
            return Err(io::Error::other("it is not Lyceum's own"));
        }
        fchmod(file, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// The folder for sockets: others may pass through it, as another proxy may have to, but not write to it.
    fn runtime_dir(&mut self, path: &Path) {
        let data = match fs::symlink_metadata(path) {
            Ok(data) => data,
            // It is made at each start.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.unreadable(path, &error),
        };
        let shown = path.display();
        if data.uid() != self.owner || data.mode() & 0o002 != 0 {
            self.findings.push(Finding::bad(
                Verdict::Problem,
                format!("{shown}, which holds the sockets of servers, belongs to another user, or everybody can write to it"),
                format!("as root: `chown {} {shown} && chmod o-w {shown}`", self.owner),
            ));
        } else {
            self.fine += 1;
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.findings.push(Finding::bad(
            Verdict::Warning,
            format!("{} cannot be looked at: {error}", path.display()),
            "run this as Lyceum's user, or as root",
        ));
    }
}

/// Opens a file or folder, but nothing that a link leads to.
fn open(folder: impl std::os::fd::AsFd, name: &Path) -> io::Result<OwnedFd> {
    // Whatever is there now, opening it must not wait.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// A data folder with a folder for certificates.
    fn place() -> (tempfile::TempDir, Config, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.hub.data_dir = folder.path().join("data");
        config.hub.runtime_dir = folder.path().join("run");
        let certificates = config.hub.data_dir.join(tls::FOLDER);
        fs::create_dir_all(&certificates).unwrap();
        fs::create_dir_all(&config.hub.runtime_dir).unwrap();
        for path in [&config.hub.data_dir, &certificates] {
            set(path, 0o700);
        }
        set(&config.hub.runtime_dir, 0o755);
        (folder, config, certificates)
    }

    #[test]
    fn keys_that_others_can_read_are_found_and_mended() {
        let (_folder, config, certificates) = place();
        let key = certificates.join("a.org.pem");
        fs::write(&key, "key").unwrap();
        set(&key, 0o644);

        let found = check(&config, Repair::No);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].verdict, Verdict::Problem);
        assert!(found[0].what.contains("a.org.pem"), "{found:?}");
        assert!(found[0].hint.as_ref().unwrap().contains("chmod 0600"));

        check(&config, Repair::Tell);
        assert_eq!(mode(&key), 0o644, "a trial changes nothing");
        let mended = check(&config, Repair::Do);
        assert_eq!(mended[0].verdict, Verdict::Fine);
        assert_eq!(mode(&key), 0o600);
        assert_eq!(check(&config, Repair::No)[0].verdict, Verdict::Fine);
    }

    #[test]
    fn what_links_and_second_names_lead_to_is_left_alone() {
        let (folder, config, certificates) = place();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let file = outside.join("file");
        fs::write(&file, "x").unwrap();
        set(&outside, 0o755);
        set(&file, 0o644);
        std::os::unix::fs::symlink(&file, certificates.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, certificates.join("folder")).unwrap();
        fs::hard_link(&file, certificates.join("second")).unwrap();
        let found = check(&config, Repair::Do);
        assert_eq!((mode(&outside), mode(&file)), (0o755, 0o644));
        assert!(found[0].what.contains("not Lyceum's own"), "{found:?}");
    }
}
