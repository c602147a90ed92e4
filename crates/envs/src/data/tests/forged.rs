//! Records and packages that somebody else has put into a place that was theirs to write once.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use super::super::*;
use super::nltk::Mirror;
use super::{Target, open_rights, target};
use crate::progress::Silent;

/// An account that every Debian has.
const TEACHER: u32 = 2;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file of root's that nobody else may read, beside the place.
fn secret(target: &Target) -> PathBuf {
    let folder = target.path.with_file_name("etc");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("shadow");
    fs::write(&file, "secret").unwrap();
    set_mode(&file, 0o600);
    file
}

fn stamp_of(id: &str, place: &str) -> DataStamp {
    DataStamp {
        source: String::new(),
        packages: vec![Package {
            id: id.to_owned(),
            place: place.to_owned(),
            checksum: "0".repeat(32),
            files: 1,
            bytes: 6,
        }],
    }
}

fn assert_untouched(secret: &Path) {
    let data = fs::metadata(secret).unwrap();
    assert_eq!((data.mode() & 0o7777, data.nlink()), (0o600, 1));
}

#[tokio::test]
async fn a_record_that_somebody_else_could_have_written_is_not_believed() {
    let (mirror, target) = (Mirror::new(), target());
    let secret = secret(&target);
    fs::create_dir(&target.path).unwrap();
    symlink(secret.parent().unwrap(), target.path.join("l")).unwrap();
    stamp_of("shadow", "l/shadow").write(&target.path).unwrap();
    let record = target.path.join(stamp::FILE);
    let is_believed = || matches!(find(&target.path).unwrap(), Found::Data(_));
    assert!(is_believed(), "root's own is");
    let refused = async || {
        assert_eq!(find(&target.path).unwrap(), Found::Other);
        let wish = mirror.wish(&["punkt"]);
        let error = add_nltk(&target.path, &wish, &Silent).await.unwrap_err();
        assert!(matches!(error, DataError::NotOurs { .. }), "{error}");
        let error = remove(&target.path).unwrap_err();
        assert!(matches!(error, DataError::NotOurs { .. }), "{error}");
        assert!(record.exists());
        assert_untouched(&secret);
    };
    // A teacher's record in a folder that has become root's alone again.
    chown(&record, Some(TEACHER), None).expect("this test has to be run as root");
    refused().await;
    chown(&record, Some(0), None).unwrap();
    // Root's, but others may write it, or what is around it.
    for path in [&record, &target.path] {
        let before = mode(path);
        set_mode(path, before | 0o020);
        refused().await;
        set_mode(path, before);
    }
    chown(&target.path, Some(TEACHER), None).unwrap();
    refused().await;
    chown(&target.path, Some(0), None).unwrap();
    // Root's, from elsewhere.
    fs::hard_link(&record, target.path.with_file_name("other")).unwrap();
    refused().await;
    fs::remove_file(target.path.with_file_name("other")).unwrap();
    fs::rename(&record, target.path.with_file_name("other")).unwrap();
    symlink("../other", &record).unwrap();
    refused().await;
}

#[tokio::test]
async fn what_lies_where_a_package_was_is_kept_only_if_nobody_else_could_have_put_it_there() {
    let (mirror, target) = (Mirror::new(), target());
    let secret = secret(&target);
    fs::create_dir(&target.path).unwrap();
    let refused = async |stamp: &DataStamp| {
        stamp.write(&target.path).unwrap();
        let wish = mirror.wish(&["punkt"]);
        let error = add_nltk(&target.path, &wish, &Silent).await.unwrap_err();
        assert!(matches!(error, DataError::Changed { .. }), "{error}");
        assert!(!target.path.join("tokenizers").exists());
        assert!(!target.path.with_file_name(".nltk.new").exists());
        assert_untouched(&secret);
    };
    // Over a link on the way, and at places where we put nothing.
    let corpora = target.path.join("corpora");
    symlink(secret.parent().unwrap(), &corpora).unwrap();
    refused(&stamp_of("shadow", "corpora/shadow")).await;
    for place in [
        "",
        "..",
        "../etc/shadow",
        "/etc/passwd",
        "shadow",
        "etc/other",
    ] {
        refused(&stamp_of("shadow", place)).await;
    }
    fs::remove_file(&corpora).unwrap();
    // A link itself, another name of a file, somebody else's file, and all of them in a package's folder.
    for (folder, place) in [("corpora", "corpora/shadow"), ("corpora/x", "corpora/x")] {
        fs::create_dir(target.path.join(folder)).unwrap();
        let file = target.path.join(folder).join("shadow");
        let stamp = stamp_of(place.rsplit('/').next().unwrap(), place);
        symlink(&secret, &file).unwrap();
        refused(&stamp).await;
        fs::remove_file(&file).unwrap();
        let public = target.path.with_file_name("public");
        fs::write(&public, "").unwrap();
        fs::hard_link(&public, &file).unwrap();
        refused(&stamp).await;
        fs::remove_file(&public).unwrap();
        chown(&file, Some(TEACHER), None).expect("this test has to be run as root");
        refused(&stamp).await;
        fs::remove_file(&file).unwrap();
    }
    // What is gone holds nobody up, and is not told to be there.
    stamp_of("gone", "corpora/gone")
        .write(&target.path)
        .unwrap();
    let wish = mirror.wish(&["punkt"]);
    let stamp = add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(stamp.unwrap().packages.len(), 1);
}

#[tokio::test]
async fn what_others_may_write_is_nobodys_data_any_more_even_when_they_may_not_again() {
    let (mirror, target) = (Mirror::new(), target());
    add_nltk(&target.path, &mirror.wish(&["punkt"]), &Silent)
        .await
        .unwrap();
    let shared = Rights {
        read: Audience::Everybody,
        write: Audience::Some {
            users: Vec::new(),
            groups: vec!["games".to_owned()],
        },
    };
    apply(&target.path, &shared, true).unwrap();
    assert!(matches!(find(&target.path).unwrap(), Found::Data(_)));
    apply(&target.path, &shared, false).unwrap();
    apply(&target.path, &open_rights(), false).unwrap();
    assert_eq!(find(&target.path).unwrap(), Found::Other);
    let error = remove(&target.path).unwrap_err();
    assert!(matches!(error, DataError::NotOurs { .. }), "{error}");
    assert!(target.path.join("tokenizers/punkt").is_dir());
}

#[tokio::test]
async fn what_a_killed_run_has_left_of_the_old_does_not_make_the_new_strange() {
    let (mirror, target) = (Mirror::new(), target());
    add_nltk(&target.path, &mirror.wish(&["punkt"]), &Silent)
        .await
        .unwrap();
    let file = "tokenizers/punkt/PY3/czech.pickle";
    let old = target.path.with_file_name(".nltk.old");
    fs::create_dir_all(old.join(file).parent().unwrap()).unwrap();
    fs::hard_link(target.path.join(file), old.join(file)).unwrap();
    let wish = mirror.wish(&["stopwords"]);
    add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert!(target.path.join(file).is_file() && !old.exists());
}
