//! Taking over, on real files.

use std::os::unix::fs::MetadataExt as _;

use super::*;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The interpreter of the system.
fn python() -> PathBuf {
    Path::new("/usr/bin/python3")
        .canonicalize()
        .expect("this test needs Python: apt install python3")
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn what_is_the_same_is_shared_and_the_rest_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (old, staged, new) = (
        dir.path().join("1"),
        dir.path().join("2.built"),
        dir.path().join("2"),
    );
    for (folder, changed) in [(&old, "1"), (&staged, "2")] {
        write(&folder.join("lib/a.py"), "same");
        write(&folder.join("lib/b.py"), changed);
        write(&folder.join("lib/run.sh"), "same");
        symlink("lib", folder.join("lib64")).unwrap();
        fs::create_dir(folder.join("bin")).unwrap();
        symlink("/usr/bin/python3", folder.join("bin/python")).unwrap();
    }
    fs::set_permissions(staged.join("lib/run.sh"), Permissions::from_mode(0o4775)).unwrap();
    let code = "lib/__pycache__/a.cpython-311.pyc";
    write(&old.join(code), "code of a");
    write(
        &old.join("lib/__pycache__/a.b.cpython-311.pyc"),
        "of another",
    );

    let same = find_same(&staged, None, std::slice::from_ref(&old)).unwrap();
    assert_eq!(
        same,
        Same::from([("lib/a.py".into(), old.join("lib/a.py"))])
    );
    assert_eq!(byte_code_of(&same), [(old.join(code), code.into())]);
    let time = fs::metadata(staged.join("lib/b.py")).unwrap().mtime();
    let taken = take_over(&staged, &new, None, &python(), &same).unwrap();

    assert_eq!(inode(&new.join("lib/a.py")), inode(&old.join("lib/a.py")));
    assert_eq!(fs::read_to_string(new.join("lib/b.py")).unwrap(), "2");
    assert_eq!(fs::metadata(new.join("lib/b.py")).unwrap().mtime(), time);
    // No bit for another account, and none that gives its runner more rights.
    let mode = fs::metadata(new.join("lib/run.sh")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert_eq!(fs::read_link(new.join("lib64")).unwrap(), Path::new("lib"));
    let expected = Taken {
        bytes: 4 + 1 + 4,
        shared: 4,
    };
    assert_eq!(taken, expected);
}

#[test]
fn a_link_to_an_installers_cache_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (staged, new) = (dir.path().join("1.built"), dir.path().join("1"));
    write(&dir.path().join("cache"), "x");
    fs::create_dir(&staged).unwrap();
    fs::hard_link(dir.path().join("cache"), staged.join("a.py")).unwrap();
    take_over(&staged, &new, None, &python(), &Same::new()).unwrap();
    assert_ne!(inode(&new.join("a.py")), inode(&dir.path().join("cache")));
}

/// Takes over what has these links, and a file `lib/a`.
fn with_links(links: &[(&str, &str)]) -> Result<Taken, EnvError> {
    let dir = tempfile::tempdir().unwrap();
    let staged = dir.path().join("1.built");
    write(&staged.join("lib/a"), "x");
    write(&dir.path().join("outside"), "x");
    for (path, target) in links {
        fs::create_dir_all(staged.join(path).parent().unwrap()).unwrap();
        symlink(target, staged.join(path)).unwrap();
    }
    take_over(
        &staged,
        &dir.path().join("1"),
        None,
        &python(),
        &Same::new(),
    )
}

#[test]
fn links_that_lead_out_are_refused() {
    let python = python().display().to_string();
    let deep = "share/a/b/c/up";
    for (links, good) in [
        (vec![("bin/python3", "/usr/bin/python3")], true),
        (
            vec![("bin/python3", &*python), ("bin/python", "python3")],
            true,
        ),
        (vec![("bin/python3", "/bin/sh")], false),
        (vec![("bin/tool", &*python)], false),
        (vec![("lib64", "lib"), ("share/a", "../lib64/a")], true),
        (vec![("share/a", "../nothing")], false),
        (vec![("share/a", "../../outside")], false),
        (vec![("share/a", "/etc/passwd")], false),
        (vec![("a", "lib/../../outside")], false),
        (vec![("loop", "loop")], false),
        // Each of the two stays inside, as far as names tell.
        (vec![(deep, "../../../../lib")], true),
        (
            vec![(deep, "../../../.."), ("x", "share/a/b/c/up/../outside")],
            false,
        ),
    ] {
        let taken = with_links(&links);
        assert_eq!(taken.is_ok(), good, "{links:?}: {taken:?}");
    }
}

#[test]
fn names_that_we_write_to_are_not_taken_over() {
    for name in [
        "requirements.lock",
        "lyceum-environment.json.new",
        "lib/lyceum-user-packages.pth",
    ] {
        let error = with_links(&[(name, "lib/a"), ("lib64", "lib")]).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_we_write_follows_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, link) = (dir.path().join("outside"), dir.path().join("link"));
    fs::write(&outside, "theirs").unwrap();
    symlink(&outside, &link).unwrap();
    crate::library::write_new(&link, b"ours").unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "theirs");
    assert_eq!(fs::read_to_string(&link).unwrap(), "ours");
}

#[test]
fn nothing_is_shared_that_is_reached_over_a_link_or_is_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let (old, staged) = (dir.path().join("1"), dir.path().join("2.built"));
    write(&dir.path().join("cache/a.py"), "same");
    write(&staged.join("lib/a.py"), "same");
    write(&staged.join("b.py"), "same");
    fs::create_dir(&old).unwrap();
    symlink("../cache", old.join("lib")).unwrap();
    symlink("../cache/a.py", old.join("b.py")).unwrap();
    let find = || find_same(&staged, None, std::slice::from_ref(&old)).unwrap();
    assert_eq!(find(), Same::new());
    fs::remove_file(old.join("b.py")).unwrap();
    write(&old.join("b.py"), "same");
    assert_eq!(find().len(), 1);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(old.join("b.py"), Some(12_345), None).unwrap();
        assert_eq!(find(), Same::new());
    }
}

#[test]
fn what_is_no_file_or_anothers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let staged = dir.path().join("1.built");
    write(&staged.join("a.py"), "x");
    let ours = fs::metadata(&staged).unwrap().uid();
    let take = |owner, name: &str| {
        take_over(
            &staged,
            &dir.path().join(name),
            owner,
            &python(),
            &Same::new(),
        )
    };
    let error = take(Some(ours + 1), "one").unwrap_err();
    assert!(error.to_string().contains("another account"), "{error}");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        staged.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let error = take(Some(ours), "two").unwrap_err();
    assert!(error.to_string().contains("no ordinary file"), "{error}");
}
