//! The broker's configuration: believed only if root alone can change it, and read again when it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use lyceum_broker::policy::Policy;
use lyceum_broker::serve::PolicySource;
use lyceum_config::LoadOptions;

use crate::wire;

/// Files of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files(Vec<PathBuf>);

/// How the files and their folders were at a moment.
type Stamp = Vec<(PathBuf, Option<[i64; 6]>)>;

impl Files {
    pub(super) fn of(files: &[PathBuf]) -> Self {
        Self(files.to_vec())
    }

    /// Refuses files that somebody besides root can change, or put others in the place of.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for file in &self.0 {
            check_with_folders(file)?;
            let real = file
                .canonicalize()
                .with_context(|| format!("could not look at {}", file.display()))?;
            check_with_folders(&real)?;
        }
        Ok(())
    }

    fn stamp(&self) -> Stamp {
        let folders = self.0.iter().filter_map(|file| file.parent());
        let all = folders.chain(self.0.iter().map(PathBuf::as_path));
        all.map(|path| {
            let state = fs::metadata(path).ok().map(|metadata| {
                [
                    metadata.ino().cast_signed(),
                    metadata.size().cast_signed(),
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                ]
            });
            (path.to_owned(), state)
        })
        .collect()
    }
}

fn check_with_folders(path: &Path) -> anyhow::Result<()> {
    let path = std::path::absolute(path)
        .with_context(|| format!("could not look at {}", path.display()))?;
    for part in path.ancestors() {
        let metadata = fs::symlink_metadata(part)
            .with_context(|| format!("could not look at {}", part.display()))?;
        // The mode of a link says nothing; its folder says who can change it.
        let open = metadata.mode() & 0o022 != 0 && !metadata.is_symlink();
        if metadata.uid() != 0 || open {
            bail!(
                "others than root can change {}, so the broker does not believe its configuration",
                part.display()
            );
        }
    }
    Ok(())
}

/// Reads the configuration again when a file of it has changed.
#[derive(Debug)]
pub(super) struct Source {
    file: Option<PathBuf>,
    seen: Mutex<(Files, Stamp)>,
}

impl Source {
    /// Of a configuration that has been read just now.
    pub(super) fn new(file: Option<PathBuf>, files: Files) -> Self {
        let stamp = files.stamp();
        Self {
            file,
            seen: Mutex::new((files, stamp)),
        }
    }
}

impl PolicySource for Source {
    fn changed(&self) -> Result<Option<Policy>, String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stamp = seen.0.stamp();
        if stamp == seen.1 {
            return Ok(None);
        }
        let options = LoadOptions::from_process(self.file.clone(), Vec::new());
        let mut loaded = lyceum_config::load(&options);
        if let Ok(found) = &loaded
            && Files::of(&found.files) != seen.0
        {
            // Read once more, after a look at how all of its files are now: none may change unseen.
            seen.0 = Files::of(&found.files);
            stamp = seen.0.stamp();
            loaded = lyceum_config::load(&options);
        }
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(errors) => {
                // It lies in the files, which are not read again before they change again.
                seen.1 = stamp;
                return Err(errors.render(false));
            }
        };
        let files = Files::of(&loaded.files);
        let policy = files
            .check()
            .and_then(|()| wire::broker::policy(&loaded.config))
            .map_err(|error| format!("{error:#}"))?;
        // Not before: whatever else goes wrong, such as a look-up of an account, may go right the next time.
        *seen = (files, stamp);
        Ok(Some(policy))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_that_others_can_change_or_replace_are_not_believed() -> io::Result<()> {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test has to run as root: it gives files to other accounts"
        );
        // Not below a folder that everybody can write to.
        let dir = tempfile::tempdir_in("/var/lib")?;
        let mode = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(dir.path(), 0o755);
        let file = dir.path().join("lyceum.toml");
        fs::write(&file, "")?;
        let files = Files::of(std::slice::from_ref(&file));
        files.check().unwrap();
        mode(&file, 0o664);
        assert!(files.check().is_err(), "writable by a group");
        mode(&file, 0o644);
        std::os::unix::fs::chown(&file, Some(12_345), None)?;
        assert!(files.check().is_err(), "another account's");
        std::os::unix::fs::chown(&file, Some(0), None)?;
        mode(dir.path(), 0o777);
        assert!(files.check().is_err(), "in a folder of everybody's");
        mode(dir.path(), 0o755);
        let link = dir.path().join("link.toml");
        let elsewhere = tempfile::NamedTempFile::new()?;
        std::os::unix::fs::symlink(elsewhere.path(), &link)?;
        assert!(
            Files::of(&[link]).check().is_err(),
            "a link to a folder of everybody's"
        );
        assert!(Files::of(&[dir.path().join("none")]).check().is_err());
        Ok(())
    }
}
