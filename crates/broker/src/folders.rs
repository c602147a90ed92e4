//! The folders of running servers, and what is known of them: made, written and removed by descriptors, never by paths
//! that an account could change meanwhile.
//!
//! Everything here blocks for moments, on file systems of this machine's memory.

mod record;
mod remove;

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lyceum_core::random;
use rustix::fs::{Gid, Mode, OFlags, Uid};

use crate::account::Account;
use crate::decide::{CERTIFICATE, CLIENT_CA, KEY, RUNTIME, folder_name};
use crate::protocol::TlsFiles;

pub(crate) use self::record::{Found, Record};

/// What removed folders are called until they are gone; no server's folder begins so.
const GONE: &str = ".gone-";
/// How a folder is opened: itself, and not what a link points at.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// The owner may do everything, Lyceum's group may pass, and what is made inside is that group's, too.
const SERVER_MODE: u32 = 0o2710;

/// The folders of the broker.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// Those with the sockets of servers.
    servers: PathBuf,
    /// What is known of servers.
    records: PathBuf,
    /// The group that gets into servers' folders.
    client_gid: u32,
}

impl Folders {
    /// Makes the folders that lack, and sees that nobody but root can change them.
    pub(crate) fn open(state_dir: &Path, servers_dir: &Path, client_gid: u32) -> io::Result<Self> {
        let folders = Self {
            servers: servers_dir.to_owned(),
            records: state_dir.join("servers"),
            client_gid,
        };
        // The socket may be in it, which the client has to reach.
        own_folder(state_dir, 0o711)?;
        own_folder(&folders.records, 0o700)?;
        own_folder(&state_dir.join("logs"), 0o700)?;
        own_folder(servers_dir, 0o711)?;
        Ok(folders)
    }

    /// Makes the folder of a server that is about to start, empty but for what it needs; what was there is removed.
    pub(crate) fn make(
        &self,
        unit: &str,
        account: &Account,
        tls: Option<&TlsFiles>,
    ) -> io::Result<()> {
        let name = folder_name(unit);
        self.remove(unit)?;
        let servers = open_own(&self.servers)?;
        rustix::fs::mkdirat(&servers, &name, Mode::from_raw_mode(0o700))?;
        let folder = rustix::fs::openat(&servers, &name, DIRECTORY, Mode::empty())?;
        // Root's and closed until everything is in it: nobody can be in between.
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        let filled = (|| {
            rustix::fs::mkdirat(&folder, RUNTIME, Mode::from_raw_mode(0o700))?;
            let runtime = rustix::fs::openat(&folder, RUNTIME, DIRECTORY, Mode::empty())?;
            rustix::fs::fchown(&runtime, Some(uid), Some(gid))?;
            if let Some(tls) = tls {
                write_tls(&folder, tls, uid, gid)?;
            }
            let group = Gid::from_raw(self.client_gid);
            rustix::fs::fchown(&folder, Some(uid), Some(group))?;
            // After the owner: a change of owner may take the bit of the group away.
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(SERVER_MODE))?;
            io::Result::Ok(())
        })();
        if filled.is_err() {
            let _ = self.remove(unit);
        }
        filled
    }

    /// Removes a server's folder with all that the account has put there; succeeds if there is none.
    pub(crate) fn remove(&self, unit: &str) -> io::Result<()> {
        let servers = open_own(&self.servers)?;
        let gone = format!("{GONE}{}", random::alphanumeric(12));
        // Out of the way at once; however much there is in it, the next start does not wait.
        match rustix::fs::renameat(&servers, folder_name(unit), &servers, &gone) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            renamed => renamed?,
        }
        remove::remove(&servers, &gone)
    }

    /// Removes what an earlier removal has left, and folders whose server nobody knows.
    pub(crate) fn sweep(&self, keep: impl Fn(&str) -> bool) -> io::Result<()> {
        let servers = open_own(&self.servers)?;
        let mut outcome = Ok(());
        for entry in fs::read_dir(&self.servers)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            // Other hidden ones are not servers', such as the one that `lyceum` itself fills for all.
            if name.starts_with(GONE) || !(name.starts_with('.') || keep(name)) {
                outcome = outcome.and(remove::remove(&servers, name));
            }
        }
        outcome
    }
}

/// Removes a folder of root's in one where others may make things beside it, such as `/tmp`, with all that somebody else
/// has put there; succeeds if there is none.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // The place itself may be a link of root's, as some machines have for `/var/tmp`.
    let parent = match rustix::fs::open(
        parent,
        DIRECTORY.difference(OFlags::NOFOLLOW),
        Mode::empty(),
    ) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    remove::remove(&parent, name)
}

/// Makes a folder of root's, or sees that one that exists is root's alone to change.
fn own_folder(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = open_own(path)?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))?;
    Ok(())
}

/// Sees that nobody but root, or whoever runs this, can change a folder.
pub(crate) fn check_own(path: &Path) -> io::Result<()> {
    open_own(path).map(drop)
}

/// Opens a folder that nobody but root, or whoever runs this, can change.
fn open_own(path: &Path) -> io::Result<OwnedFd> {
    let folder = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
    let stat = rustix::fs::fstat(&folder)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not root's alone to change", path.display()),
        ));
    }
    Ok(folder)
}

fn write_tls(folder: impl AsFd, tls: &TlsFiles, uid: Uid, gid: Gid) -> io::Result<()> {
    for ((name, _), text) in [
        (KEY, tls.key.expose()),
        (CERTIFICATE, &tls.certificate),
        (CLIENT_CA, &tls.client_ca),
    ] {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        fs::File::from(file).write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Finds a program as a shell would, but only one that is a file and may be run by somebody.
pub(crate) fn find_program(name: &str, search: &[String]) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = PathBuf::from(name);
        return Some(path).filter(|path| path.is_absolute() && is_program(path));
    }
    search
        .iter()
        .filter(|dir| dir.starts_with('/'))
        .map(|dir| Path::new(dir).join(name))
        .filter(|path| !path.as_os_str().as_bytes().contains(&b'\n'))
        .find(is_program)
}

#[cfg(test)]
mod tests;
