//! The files by which a server gets its key and certificate, in a folder of its own that goes with it.

use std::cell::Cell;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lyceum_core::random;
use lyceum_core::seams::ServerCredentials;

/// What the folders begin with; the letters that this life of Lyceum has for its own follow, then those of the start.
const START: &str = "tls-";
const RANDOM: usize = 8;
/// The files, with the variables that name them (JupyterHub `Spawner.get_env`).
const KEY: (&str, &str) = ("key.pem", "JUPYTERHUB_SSL_KEYFILE");
const CERTIFICATE: (&str, &str) = ("certificate.pem", "JUPYTERHUB_SSL_CERTFILE");
const CLIENT_CA: (&str, &str) = ("client-ca.pem", "JUPYTERHUB_SSL_CLIENT_CA");

/// The folder of one start. Dropped before [`Credentials::keep`], it is removed: the server did not come to be.
#[derive(Debug)]
pub(super) struct Credentials {
    folder: PathBuf,
    server_name: String,
    kept: Cell<bool>,
}

impl Credentials {
    /// Writes the files below the runtime folder, for the owner only.
    pub(super) fn write(
        runtime_dir: &Path,
        life: &str,
        tls: &ServerCredentials,
    ) -> io::Result<Self> {
        let name = format!("{START}{life}-{}", random::alphanumeric(RANDOM));
        let folder = runtime_dir.join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        let credentials = Self {
            folder,
            server_name: tls.server_name.clone(),
            kept: Cell::new(false),
        };
        for ((file, _), text) in [
            (KEY, tls.key.expose()),
            (CERTIFICATE, &tls.certificate),
            (CLIENT_CA, &tls.client_ca),
        ] {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(credentials.folder.join(file))?
                .write_all(text.as_bytes())?;
        }
        Ok(credentials)
    }

    /// The name in the certificate.
    pub(super) fn server_name(&self) -> &str {
        &self.server_name
    }

    /// The variables that tell the server where the files are.
    pub(super) fn variables(&self) -> [(String, String); 3] {
        [KEY, CERTIFICATE, CLIENT_CA].map(|(file, variable)| {
            let path = self.folder.join(file);
            (variable.to_owned(), path.display().to_string())
        })
    }

    /// Leaves the files where they are; gives their folder, for whoever removes it.
    pub(super) fn keep(&self) -> PathBuf {
        self.kept.set(true);
        self.folder.clone()
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        if !self.kept.get() {
            let _ = remove(&self.folder);
        }
    }
}

/// Removes a folder of ours; succeeds if there is none. What somebody else has put there stays.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let mut outcome = Ok(());
    for (file, _) in [KEY, CERTIFICATE, CLIENT_CA] {
        // One that cannot be removed is no reason to leave the others.
        outcome = outcome.and(super::paths::remove_file(&folder.join(file)));
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => outcome.and(Err(error)),
        _ => outcome,
    }
}

/// Invents the letters by which folders of this life of Lyceum are known.
pub(super) fn new_life() -> String {
    random::alphanumeric(RANDOM)
}

/// Removes the folders of servers that are no more, such as those of a killed one. Those of this life of Lyceum may be
/// of starts that are just under way, and go with their servers.
pub(super) fn remove_stale(
    runtime_dir: &Path,
    life: &str,
    keep: impl Fn(&Path) -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(runtime_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut outcome = Ok(());
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let ours = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(START))
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(made_in, rest)| made_in != life && rest.len() == RANDOM);
        if ours && entry.file_type()?.is_dir() && !keep(&path) {
            outcome = outcome.and(remove(&path));
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use lyceum_core::Secret;

    use super::*;

    fn write(dir: &Path, life: &str) -> Credentials {
        let tls = ServerCredentials {
            key: Secret::from("key"),
            certificate: "certificate".to_owned(),
            client_ca: "ca".to_owned(),
            server_name: "a.server.lyceum.internal".to_owned(),
        };
        Credentials::write(dir, life, &tls).unwrap()
    }

    #[test]
    fn the_files_are_for_the_owner_alone_and_go_with_a_start_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = write(dir.path(), "now");
        for ((_, path), text) in credentials
            .variables()
            .iter()
            .zip(["key", "certificate", "ca"])
        {
            assert_eq!(fs::read_to_string(path).unwrap(), text);
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(credentials);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let folder = write(dir.path(), "now").keep();
        assert!(folder.exists());
        remove(&folder).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn only_folders_of_earlier_lives_that_nobody_uses_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let stale = write(dir.path(), "before").keep();
        let used = write(dir.path(), "before").keep();
        let starting = write(dir.path(), "now").keep();
        fs::create_dir(dir.path().join("tls-other")).unwrap();
        remove_stale(dir.path(), "now", |path| path == used).unwrap();
        assert!(!stale.exists());
        assert!(used.exists() && starting.exists() && dir.path().join("tls-other").exists());
        remove_stale(&dir.path().join("missing"), "now", |_| false).unwrap();
    }
}
