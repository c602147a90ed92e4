//! The rights of people who are named in more than one way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::*;
use super::rights::as_account;

fn some(users: &[&str], groups: &[&str]) -> Audience {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Audience::Some {
        users: owned(users),
        groups: owned(groups),
    }
}

fn shared(read: Audience, write: Audience) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = dir.path().join("edu");
    create(&folder, &Rights { read, write }, false).unwrap();
    (dir, folder)
}

#[test]
fn a_reader_whose_group_writes_writes() {
    // The account `man` is in the group `man`; `daemon` and `bin` are in none of these.
    let read = some(&["man", "daemon"], &[]);
    let (_dir, folder) = shared(read, some(&["bin"], &["games", "man"]));
    let touch = format!("touch {}/x", folder.display());
    assert!(as_account("man", "man", &touch));
    assert!(as_account("bin", "bin", &touch));
    assert!(!as_account("daemon", "daemon", &touch));
    let list = format!("ls {}", folder.display());
    assert!(as_account("daemon", "daemon", &list));
    assert!(!as_account("sys", "sys", &list));
}

#[test]
fn whoever_is_named_for_reading_writes_where_everybody_writes() {
    let read = some(&["daemon"], &["games", "man"]);
    let (_dir, folder) = shared(read, Audience::Everybody);
    for name in ["daemon", "games", "man", "sys"] {
        let command = format!("touch {}/{name}", folder.display());
        assert!(as_account(name, name, &command), "{name}");
    }
}
