//! What lies in a folder, and cannot get its rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::thread;

use rustix::process::Uid;
use rustix::thread::set_thread_uid;

use super::super::*;
use super::open_rights;

#[test]
fn what_cannot_be_opened_is_told_and_not_passed_over_like_a_link() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("closed"), "").unwrap();
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o600)).unwrap();
    chown(dir.path(), Some(2), None).expect("this test has to be run as root");
    // Root can open everything, so that this thread is somebody else.
    let somebody = || {
        set_thread_uid(Uid::from_raw(2)).unwrap();
        apply_below(dir.path(), &open_rights()).unwrap_err()
    };
    let error = thread::scope(|scope| scope.spawn(somebody).join().unwrap());
    assert!(matches!(error, DataError::Io { .. }), "{error}");
}
