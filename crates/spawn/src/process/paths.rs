//! Where things lie: names that are safe in paths, folders for the owner only, sockets and ports.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use lyceum_core::names::ServerRef;
use lyceum_core::random;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

/// The longest path of a socket that we use, in bytes; the system takes 107, other programs less.
const MAX_SOCKET_PATH: usize = 100;
/// How a socket's file name is built: start, random letters and digits, end.
const SOCKET_START: &str = "s-";
const SOCKET_RANDOM: usize = 12;
const SOCKET_END: &str = ".sock";
/// The longest name that is written out in a file name, in bytes; from there on it is cut and hashed.
const MAX_PLAIN_NAME: usize = 100;

/// Writes a name so that it is one safe segment of a path, and no two names are written alike.
///
/// Lowercase letters, digits, `@`, `_`, and inside the name `-` and `.` stay. Every other byte becomes `~` and two hexadecimal
/// digits, uppercase letters too: some file systems do not tell case apart. Too long names are cut and
/// end in `~~` and a hash of the whole.
pub(super) fn safe_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'@' | b'_' => safe.push(char::from(byte)),
            b'-' | b'.' if !safe.is_empty() => safe.push(char::from(byte)),
            _ => {
                safe.push('~');
                safe.push_str(&random::to_hex(&[byte]));
            }
        }
    }
    if safe.len() > MAX_PLAIN_NAME {
        let hash = random::to_hex(&Sha256::digest(name.as_bytes()));
        safe.truncate(MAX_PLAIN_NAME - 34);
        safe.push_str("~~");
        safe.extend(hash.chars().take(32));
    }
    safe
}

/// The name of a server's log: `ada.log`, or `ada+lab.log` for a named server.
pub(super) fn log_name(server: &ServerRef) -> String {
    let user = safe_name(server.user.as_str());
    if server.server.is_default() {
        format!("{user}.log")
    } else {
        format!("{user}+{}.log", safe_name(server.server.as_str()))
    }
}

/// Makes a folder and those above it, for the owner only; one that exists is left as it is.
pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder that nobody else may enter, or closes one that exists; it has to be ours.
pub(super) fn secure_dir(path: &Path) -> io::Result<()> {
    make_private_dir(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another account, or is not a folder",
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Invents the path of a new socket.
pub(super) fn new_socket(runtime_dir: &Path) -> PathBuf {
    let random = random::alphanumeric(SOCKET_RANDOM);
    runtime_dir.join(format!("{SOCKET_START}{random}{SOCKET_END}"))
}

/// How many bytes a folder's path is too long for sockets inside it; 0 if it is short enough.
pub(super) fn excess_length(runtime_dir: &Path) -> usize {
    new_socket(runtime_dir)
        .as_os_str()
        .as_bytes()
        .len()
        .saturating_sub(MAX_SOCKET_PATH)
}

/// Removes sockets of ours on which nobody listens any more, such as those of a killed server.
pub(super) fn remove_stale_sockets(
    runtime_dir: &Path,
    keep: impl Fn(&Path) -> bool,
) -> io::Result<()> {
    let entries = match fs::read_dir(runtime_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(SOCKET_START) && name.ends_with(SOCKET_END));
        let path = entry.path();
        if ours && entry.file_type()?.is_socket() && !keep(&path) && is_deserted(&path) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn is_deserted(socket: &Path) -> bool {
    // Connecting to a local socket does not wait, unless its queue is full; then somebody is there.
    let refused = Errno::CONNREFUSED.raw_os_error();
    UnixStream::connect(socket).is_err_and(|error| error.raw_os_error() == Some(refused))
}

/// Removes a file; succeeds if there is none.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use lyceum_core::names::{ServerName, UserName};

    use super::*;

    #[test]
    fn names_become_safe_segments_that_differ() {
        let check = |name: &str, expected: &str| assert_eq!(safe_name(name), expected);
        check("ada", "ada");
        check("a.b-c_d@example.org", "a.b-c_d@example.org");
        check("..", "~2e.");
        check(".ssh", "~2essh");
        check("-rf", "~2drf");
        check("Ada", "~41da");
        check("ada lovelace", "ada~20lovelace");
        check("a~b", "a~7eb");
        check("%2F", "~252~46");
        check("ü", "~c3~bc");
        for long in ["x".repeat(255), "ü".repeat(255)] {
            assert!(
                safe_name(&long).len() <= MAX_PLAIN_NAME,
                "{}",
                safe_name(&long)
            );
        }
        let one = format!("{}a", "x".repeat(254));
        let other = format!("{}b", "x".repeat(254));
        assert_ne!(safe_name(&one), safe_name(&other));
    }

    #[test]
    fn logs_of_different_servers_have_different_names() {
        let name = |user: &str, server: &str| {
            log_name(&ServerRef::new(
                UserName::parse(user).unwrap(),
                ServerName::parse(server).unwrap(),
            ))
        };
        assert_eq!(name("ada", ""), "ada.log");
        assert_eq!(name("ada", "lab"), "ada+lab.log");
        assert_eq!(name("ada+lab", ""), "ada~2blab.log");
        let long = "ü".repeat(255);
        assert!(name(&long, &long).len() < 250);
    }

    #[test]
    fn only_deserted_sockets_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let deserted = new_socket(dir.path());
        drop(UnixListener::bind(&deserted).unwrap());
        let kept = new_socket(dir.path());
        drop(UnixListener::bind(&kept).unwrap());
        let alive = new_socket(dir.path());
        let _listener = UnixListener::bind(&alive).unwrap();
        fs::write(dir.path().join("s-note.sock"), "not a socket").unwrap();
        remove_stale_sockets(dir.path(), |path| path == kept).unwrap();
        assert!(!deserted.exists());
        assert!(kept.exists() && alive.exists());
        assert!(dir.path().join("s-note.sock").exists());
        remove_stale_sockets(&dir.path().join("missing"), |_| false).unwrap();
    }

    #[test]
    fn a_runtime_folder_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/servers");
        secure_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        secure_dir(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(secure_dir(&link).is_err());
        assert_eq!(excess_length(&path), 0);
        assert!(excess_length(Path::new(&format!("/{}", "x".repeat(99)))) > 0);
    }
}
