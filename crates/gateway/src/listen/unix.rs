//! Unix sockets of our own: bound for owner and group, and removed at the end. Those of others are left alone.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};

use super::{BACKLOG, GatewayError};
use crate::address::ListenAddress;

/// A Unix socket; one of our own is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct BoundUnix {
    pub(crate) listener: UnixListener,
    /// Whether TLS is spoken on it.
    pub(crate) secure: bool,
    /// `None` if it was passed: then it is not ours to remove.
    file: Option<SocketFile>,
}

impl BoundUnix {
    /// One that was passed.
    pub(super) fn passed(listener: UnixListener) -> Self {
        Self {
            listener,
            secure: false,
            file: None,
        }
    }
}

/// The file of a Unix socket of our own.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and number of the file: by the time it is dropped, a successor's may have its name.
    identity: (u64, u64),
}

/// Who may connect to a Unix socket: owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Binds a Unix socket for owner and group; one that nobody listens on any more is replaced.
pub(super) fn bind_unix(path: &Path) -> Result<BoundUnix, GatewayError> {
    let address = || ListenAddress::Unix(path.to_owned());
    let failed = |source| GatewayError::Bind {
        address: address(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(GatewayError::NotASocket(path.to_owned()));
        }
        Ok(_) if is_served(path).map_err(failed)? => {
            return Err(GatewayError::InUse {
                address: address(),
                by: String::new(),
            });
        }
        Ok(_) => remove(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    listen_unix(path).map_err(failed)
}

/// Tells whether somebody listens on a Unix socket. Only a refused connection says that nobody does: any
/// other failure, such as a missing right, says nothing, and the socket may be another program's.
fn is_served(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose queue is full would keep us waiting.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn listen_unix(path: &Path) -> io::Result<BoundUnix> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Set on the socket itself, the mode is the widest that its file is ever made with; the process's own
    // mask may only have narrowed it.
    let same = File::from(OwnedFd::from(socket.try_clone()?));
    same.set_permissions(Permissions::from_mode(SOCKET_MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let bound = BoundUnix {
        file: Some(SocketFile {
            identity: identity(&std::fs::symlink_metadata(path)?),
            path: path.to_owned(),
        }),
        listener: OwnedFd::from(socket.try_clone()?).into(),
        secure: false,
    };
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(bound)
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for BoundUnix {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        // While the listener is open, the system gives the number of its file to no other.
        if std::fs::symlink_metadata(&file.path).is_ok_and(|now| identity(&now) == file.identity) {
            let _ = std::fs::remove_file(&file.path);
        }
    }
}
