//! The socket at which the broker is asked, where systemd does not pass it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use lyceum_core::random;

/// Listens at a path which the client's account alone, besides root, can open. A socket that is there already is
/// replaced. The folder has to be root's alone to change.
pub fn bind(path: &Path, client_uid: u32) -> io::Result<UnixListener> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::other("the socket has no folder"))?;
    fs::create_dir_all(folder)?;
    crate::folders::check_own(folder)?;
    // Under another name first: nobody can connect before owner and mode are right.
    let new = folder.join(format!(".broker-{}", random::alphanumeric(8)));
    let listener = UnixListener::bind(&new)?;
    let placed = fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
        .and_then(|()| std::os::unix::fs::lchown(&new, Some(client_uid), None))
        .and_then(|()| fs::rename(&new, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}
