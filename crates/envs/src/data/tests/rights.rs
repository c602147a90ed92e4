//! The rights of real accounts.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::super::*;

/// Runs a shell command as an account that every Debian has, in these groups besides.
pub(super) fn as_account(name: &str, groups: &str, command: &str) -> bool {
    let done = Command::new("setpriv")
        .args(["--reuid", name, "--regid", name])
        .args(["--groups", groups, "sh", "-c", command])
        .output()
        .expect("these tests need setpriv (apt install util-linux), and root");
    done.status.success()
}

#[test]
fn writers_write_readers_read_and_others_do_neither() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test has to be run as root"
    );
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = dir.path().join("edu");
    let text = folder.display();
    let rights = Rights {
        read: Audience::Some {
            users: vec!["daemon".to_owned()],
            groups: vec!["games".to_owned()],
        },
        write: Audience::Some {
            users: Vec::new(),
            groups: vec!["audio".to_owned(), "video".to_owned()],
        },
    };
    assert_eq!(create(&folder, &rights, true).unwrap(), Change::Changed);
    assert!(!folder.exists());
    assert_eq!(create(&folder, &rights, false).unwrap(), Change::Changed);
    assert_eq!(create(&folder, &rights, false).unwrap(), Change::None);
    // Whatever the umask, what one writer makes another one may change, and readers may read.
    assert!(as_account(
        "bin",
        "audio",
        &format!("umask 077; mkdir {text}/d && echo 1 > {text}/d/f")
    ));
    assert!(as_account(
        "sys",
        "video",
        &format!("echo 2 >> {text}/d/f && mv {text}/d/f {text}/d/g")
    ));
    assert!(as_account("daemon", "daemon", &format!("cat {text}/d/g")));
    assert!(as_account(
        "man",
        "games",
        &format!("ls {text} && cat {text}/d/g")
    ));
    assert!(!as_account(
        "daemon",
        "daemon",
        &format!("echo 3 >> {text}/d/g")
    ));
    assert!(!as_account("man", "games", &format!("touch {text}/x")));
    assert!(!as_account("man", "man", &format!("ls {text}")));
    // What was there before, and was made elsewhere, gets the same; what could be somebody else's does not.
    fs::write(folder.join("old"), "").unwrap();
    fs::set_permissions(folder.join("old"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.path().join("outside"), "").unwrap();
    let outside = dir.path().join("outside");
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&outside, folder.join("hard")).unwrap();
    symlink(&outside, folder.join("soft")).unwrap();
    assert_eq!(apply_below(&folder, &rights).unwrap(), 2);
    assert!(as_account("bin", "video", &format!("echo 1 > {text}/old")));
    assert!(!as_account("bin", "video", &format!("cat {text}/soft")));
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn names_that_nobody_has_are_told_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let rights = Rights {
        read: Audience::Everybody,
        write: Audience::Some {
            users: Vec::new(),
            groups: vec!["nobody-has-this".to_owned()],
        },
    };
    let error = create(&dir.path().join("x"), &rights, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this machine has no group `nobody-has-this`"
    );
    assert!(!dir.path().join("x").exists());
}

#[test]
fn where_everybody_writes_nobody_removes_what_is_not_theirs() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = dir.path().join("all");
    let rights = Rights {
        read: Audience::Everybody,
        write: Audience::Everybody,
    };
    create(&folder, &rights, false).unwrap();
    let text = folder.display();
    assert!(as_account(
        "bin",
        "bin",
        &format!("umask 077; echo 1 > {text}/f")
    ));
    assert!(as_account("sys", "sys", &format!("cat {text}/f")));
    assert!(!as_account("sys", "sys", &format!("rm -f {text}/f")));
    let mut read = String::new();
    fs::File::open(folder.join("f"))
        .unwrap()
        .read_to_string(&mut read)
        .unwrap();
    assert_eq!(read, "1\n");
}

#[test]
fn folders_by_the_thousand_get_their_rights() {
    let dir = tempfile::tempdir().unwrap();
    // More than a process may usually have open, and one in the other as well.
    for number in 0..1100 {
        fs::create_dir(dir.path().join(number.to_string())).unwrap();
    }
    let deep = dir.path().join("a/".repeat(150));
    fs::create_dir_all(&deep).unwrap();
    let rights = Rights {
        read: Audience::Nobody,
        write: Audience::Nobody,
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit {
        current: Some(1024),
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    assert_eq!(apply_below(dir.path(), &rights).unwrap(), 0);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    for path in [&dir.path().join("0"), &dir.path().join("1099"), &deep] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o700);
    }
}

#[test]
fn modes_are_enough_where_there_are_no_lists_if_they_can_say_it() {
    let dir = tempfile::tempdir().unwrap();
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)
        .expect("this test mounts something, so it has to be run as root");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).unwrap();
    mount(none, dir.path(), Some("ramfs"), MsFlags::empty(), none).unwrap();
    let of = |groups: &[&str]| Rights {
        read: Audience::Everybody,
        write: Audience::Some {
            users: Vec::new(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        },
    };
    let folder = dir.path().join("edu");
    let one = of(&["audio"]);
    assert_eq!(create(&folder, &one, false).unwrap(), Change::WithoutLists);
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o2775);
    // It is as good as it can be, so it is not told again and again.
    assert_eq!(apply(&folder, &one, true).unwrap(), Change::None);
    let error = apply(&folder, &of(&["audio", "video"]), false).unwrap_err();
    assert!(matches!(error, DataError::NoLists { .. }), "{error}");
}
