//! Folders and archives of any kind: what is taken, what is refused, and what is left when it is broken off.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use super::super::folder::sha256;
use super::super::*;
use super::{open_rights, target, zip_of};
use crate::progress::Silent;

fn wish(source: &Path) -> FolderWish {
    FolderWish {
        source: source.to_str().unwrap().to_owned(),
        sha256: None,
        max_size: 1 << 20,
        rights: open_rights(),
    }
}

async fn add(source: &Path, place: &Path) -> Result<Option<DataStamp>, DataError> {
    add_folder(place, &wish(source), &Silent).await
}

#[tokio::test]
async fn archives_that_could_do_harm_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = target();
    let file = dir.path().join("a.zip");
    let add = async |limit: u64| {
        let wish = FolderWish {
            source: file.to_str().unwrap().to_owned(),
            sha256: None,
            max_size: limit,
            rights: open_rights(),
        };
        let error = add_folder(&target.path, &wish, &Silent).await.unwrap_err();
        assert!(!target.path.exists(), "{error}");
        error.to_string()
    };
    for name in [
        "../x",
        "a/../../x",
        "/etc/x",
        "a\\..\\x",
        "a/\u{1}",
        ".lyceum-data.json",
    ] {
        zip_of(&file, &[("ok", "1"), (name, "2")]);
        add(1 << 20).await;
    }
    zip_of(&file, &[("big", &"0".repeat(100_000))]);
    assert!(add(50_000).await.contains("larger"));
    fs::write(&file, "no archive at all").unwrap();
    add(1 << 20).await;
    // A link in a tar archive, through which a later entry would go.
    let mut builder = tar::Builder::new(fs::File::create(&file).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "way", "/etc").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder
        .append_data(&mut header, "way/x", &b"1"[..])
        .unwrap();
    builder.finish().unwrap();
    assert!(add(1 << 20).await.contains("`way`"));
}

#[tokio::test]
async fn folders_and_archives_replace_each_other_whole() {
    let (dir, target) = (tempfile::tempdir().unwrap(), target());
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::write(source.join("deep/er/a.csv"), "1").unwrap();
    let mut wish = FolderWish {
        source: source.to_str().unwrap().to_owned(),
        sha256: None,
        max_size: 1 << 20,
        rights: open_rights(),
    };
    let stamp = add_folder(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(stamp.unwrap().bytes(), 1);
    assert!(target.path.join("deep/er/a.csv").is_file());
    let archive = dir.path().join("b.tar.gz");
    let gzip = flate2::write::GzEncoder::new(
        fs::File::create(&archive).unwrap(),
        flate2::Compression::fast(),
    );
    let mut builder = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    builder
        .append_data(&mut header, "b.csv", &b"123"[..])
        .unwrap();
    builder.into_inner().unwrap().finish().unwrap();
    wish.source = archive.to_str().unwrap().to_owned();
    wish.sha256 = Some("0".repeat(64));
    let error = add_folder(&target.path, &wish, &Silent).await.unwrap_err();
    assert!(matches!(error, DataError::Checksum { .. }), "{error}");
    assert!(target.path.join("deep").exists());
    wish.sha256 = Some(sha256(&archive).unwrap());
    let stamp = add_folder(&target.path, &wish, &Silent)
        .await
        .unwrap()
        .unwrap();
    assert!(!target.path.join("deep").exists() && target.path.join("b.csv").is_file());
    assert_eq!(
        add_folder(&target.path, &wish, &Silent).await.unwrap(),
        None
    );
    assert_eq!(check(&target.path, &stamp).unwrap(), Vec::<String>::new());
    fs::write(target.path.join("b.csv"), "1234").unwrap();
    assert_eq!(check(&target.path, &stamp).unwrap().len(), 1);
    // What was damaged comes again.
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(check(&target.path, &stamp).unwrap(), Vec::<String>::new());
    remove(&target.path).unwrap();
    assert!(matches!(
        remove(&target.path),
        Err(DataError::Missing { .. })
    ));
}

#[test]
fn what_becomes_a_link_while_a_folder_is_copied_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source"), dir.path().join("target"));
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(&source).unwrap();
    fs::create_dir(&target).unwrap();
    let names = ["a", "b"];
    for name in names {
        let file = fs::File::create(source.join(name)).unwrap();
        file.set_len(64 << 20).unwrap();
    }
    thread::scope(|scope| {
        let copied = scope.spawn(|| unpack::copy(&source, &target, 1 << 30));
        // As soon as one of them is being copied, its owner replaces the other.
        let other = loop {
            let is_there = names.map(|name| target.join(name).exists());
            match is_there {
                [true, false] => break Some("b"),
                [false, true] => break Some("a"),
                [true, true] => break None,
                [false, false] if copied.is_finished() => break None,
                [false, false] => thread::yield_now(),
            }
        };
        let other = other.expect("one file at a time");
        symlink(&secret, source.join("new")).unwrap();
        fs::rename(source.join("new"), source.join(other)).unwrap();
        let error = copied.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("neither a file nor a folder"), "{error}");
        assert!(!target.join(other).exists());
    });
}

#[test]
fn a_folder_is_copied_without_links_pipes_and_names_of_others_files() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("plain"), "1").unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    // The folder is somebody's, the secret is root's.
    std::os::unix::fs::chown(&source, Some(2), None).expect("this test has to be run as root");
    let check = |expected: &str| {
        let target = tempfile::tempdir().unwrap();
        let error = unpack::copy(&source, target.path(), 1 << 20).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!target.path().join("x").exists());
    };
    let x = source.join("x");
    symlink(&secret, &x).unwrap();
    check("`x` is neither a file nor a folder");
    fs::remove_file(&x).unwrap();
    fs::hard_link(&secret, &x).unwrap();
    check("`x` has several names");
    fs::remove_file(&x).unwrap();
    assert!(Command::new("mkfifo").arg(&x).status().unwrap().success());
    check("`x` is neither a file nor a folder");
    fs::remove_file(&x).unwrap();
    // A link to the folder may lead elsewhere by now.
    let link = dir.path().join("link");
    symlink(&source, &link).unwrap();
    for link in [link.clone(), link.join("")] {
        let error = unpack::copy(&link, dir.path(), 1 << 20).unwrap_err();
        assert!(error.to_string().contains("name the folder"), "{error}");
    }
    let target = tempfile::tempdir().unwrap();
    assert_eq!(
        unpack::copy(&source, target.path(), 1 << 20).unwrap().files,
        1
    );
}

#[tokio::test]
async fn what_a_killed_run_has_moved_aside_comes_back() {
    let (dir, target) = (tempfile::tempdir().unwrap(), target());
    fs::write(dir.path().join("a"), "1").unwrap();
    let wish = FolderWish {
        source: dir.path().to_str().unwrap().to_owned(),
        sha256: None,
        max_size: 1 << 20,
        rights: open_rights(),
    };
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    let name = target.path.file_name().unwrap().to_str().unwrap();
    let old = target.path.with_file_name(format!(".{name}.old"));
    let move_aside = || fs::rename(&target.path, &old).unwrap();
    move_aside();
    drop(place::Place::take(&target.path).unwrap());
    assert!(target.path.join("a").is_file() && !old.exists());
    // What is removed is removed, wherever it was left, and comes back no more.
    move_aside();
    remove(&target.path).unwrap();
    assert!(!old.exists() && !target.path.exists());
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    fs::create_dir(&old).unwrap();
    remove(&target.path).unwrap();
    assert!(!old.exists() && !target.path.exists());
}

#[tokio::test]
async fn nothing_of_what_was_refused_is_left_on_the_disk() {
    let (dir, target) = (tempfile::tempdir().unwrap(), target());
    let file = dir.path().join("a.zip");
    zip_of(&file, &[("big", &"0".repeat(100_000)), ("../x", "1")]);
    let error = add(&file, &target.path).await.unwrap_err();
    assert!(matches!(error, DataError::BadArchive { .. }), "{error}");
    let above = target.path.parent().unwrap();
    let left: Vec<_> = fs::read_dir(above)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".nltk.lock"]);
    assert!(!is_unfinished(&target.path));
}

#[tokio::test]
async fn what_is_no_archive_and_no_folder_is_told_so() {
    let (dir, target) = (tempfile::tempdir().unwrap(), target());
    let check = async |content: &[u8], expected: &str| {
        let file = dir.path().join("a.zip");
        fs::write(&file, content).unwrap();
        let error = add(&file, &target.path).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        b"<html>not found</html>",
        "neither a zip file nor a tar archive",
    )
    .await;
    check(b"\xfd7zXZ\0and so on", "compressed by xz").await;
    check(b"BZh9and so on", "compressed by bzip2").await;
    // A device without end, and a pipe that nobody writes to, are not even begun.
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for strange in [&pipe, Path::new("/dev/zero")] {
        let error = add(strange, &target.path).await.unwrap_err();
        assert!(matches!(error, DataError::BadSource { .. }), "{error}");
    }
    let wish = FolderWish {
        sha256: Some("0".repeat(64)),
        ..wish(dir.path())
    };
    let error = add_folder(&target.path, &wish, &Silent).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "--sha256 cannot be used: a folder has no checksum"
    );
}

#[tokio::test]
async fn what_others_could_lead_elsewhere_is_no_place_even_for_root() {
    let (dir, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(source.path().join("a"), "1").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let error = add(source.path(), &dir.path().join("x")).await.unwrap_err();
    assert!(matches!(error, DataError::Exposed { .. }), "{error}");
    assert!(!error.hint().unwrap().contains("sudo"));
}

#[test]
fn what_is_left_of_a_broken_change_is_told_and_can_be_removed() {
    let target = target();
    let beside = |what: &str| target.path.with_file_name(format!(".nltk.{what}"));
    let place = place::Place::take(&target.path).unwrap();
    fs::create_dir_all(beside("downloads")).unwrap();
    assert!(!is_unfinished(&target.path), "it is going on");
    drop(place);
    assert!(is_unfinished(&target.path));
    assert_eq!(remove(&target.path).unwrap(), DataStamp::default());
    assert!(!is_unfinished(&target.path) && !beside("downloads").exists());
    let error = remove(&target.path).unwrap_err();
    assert!(matches!(error, DataError::Missing { .. }), "{error}");
}
