//! Archives from a server, with what an earlier run has left of others.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::super::folder::sha256;
use super::super::*;
use super::nltk::Mirror;
use super::{Target, open_rights, target, zip_of};
use crate::progress::Silent;

/// An archive of one file beside the mirror's own.
fn archive(mirror: &Mirror, name: &str, content: &str) -> String {
    let file = mirror.path().join(name);
    zip_of(&file, &[("a.txt", content)]);
    sha256(&file).unwrap()
}

fn wish(source: &str, sum: &str) -> FolderWish {
    FolderWish {
        source: source.to_owned(),
        sha256: Some(sum.to_owned()),
        max_size: 1 << 20,
        rights: open_rights(),
    }
}

fn downloads(target: &Target) -> PathBuf {
    target.path.with_file_name(".nltk.downloads")
}

fn content(target: &Target) -> String {
    fs::read_to_string(target.path.join("a.txt")).unwrap()
}

#[tokio::test]
async fn another_archive_does_not_go_on_with_what_is_left_of_the_first() {
    let (mirror, target) = (Mirror::new(), target());
    let first = archive(&mirror, "first.zip", "first, and longer than the second");
    let second = archive(&mirror, "second.zip", "second");
    let (address, _asked) = mirror.serve("");
    // The whole of the first, as a killed run has left it.
    fs::create_dir_all(downloads(&target)).unwrap();
    for name in ["archive".to_owned(), format!("archive-{first}")] {
        let left = downloads(&target).join(name);
        fs::copy(mirror.path().join("first.zip"), left).unwrap();
    }
    let wish = wish(&format!("{address}second.zip"), &second);
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(content(&target), "second");
}

#[tokio::test]
async fn what_is_left_of_an_archive_and_is_broken_is_got_again() {
    let (mirror, target) = (Mirror::new(), target());
    let sum = archive(&mirror, "one.zip", "one");
    let (address, asked) = mirror.serve("");
    fs::create_dir_all(downloads(&target)).unwrap();
    let left = downloads(&target).join(format!("archive-{sum}"));
    fs::write(&left, "broken").unwrap();
    let wish = wish(&format!("{address}one.zip"), &sum);
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(content(&target), "one");
    assert_eq!(*asked.lock().unwrap(), ["/one.zip 6", "/one.zip 0"]);
    assert!(!downloads(&target).exists());
}

#[tokio::test]
async fn what_has_the_wrong_checksum_is_no_beginning_of_what_is_got_later() {
    let (mirror, target) = (Mirror::new(), target());
    let sum = archive(&mirror, "one.zip", "one");
    let right = fs::read(mirror.path().join("one.zip")).unwrap();
    archive(&mirror, "one.zip", "something else");
    let (address, _asked) = mirror.serve("");
    let wish = wish(&format!("{address}one.zip"), &sum);
    let error = add_folder(&target.path, &wish, &Silent).await.unwrap_err();
    assert!(matches!(error, DataError::Checksum { .. }), "{error}");
    assert_eq!(fs::read_dir(downloads(&target)).unwrap().count(), 0);
    fs::write(mirror.path().join("one.zip"), right).unwrap();
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(content(&target), "one");
}

#[tokio::test]
async fn what_is_there_already_gets_its_rights_and_leaves_no_download() {
    let (mirror, target) = (Mirror::new(), target());
    let sum = archive(&mirror, "one.zip", "one");
    let (address, _asked) = mirror.serve("");
    let mut wish = wish(&format!("{address}one.zip"), &sum);
    add_folder(&target.path, &wish, &Silent).await.unwrap();
    let mode = || fs::metadata(&target.path).unwrap().mode() & 0o7777;
    assert_eq!(mode(), 0o755);
    wish.rights.read = Audience::Nobody;
    let same = add_folder(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!((same, mode()), (None, 0o700));
    assert!(!downloads(&target).exists());
}

#[tokio::test]
async fn packages_that_are_there_already_get_their_rights_and_leave_no_download() {
    let (mirror, target) = (Mirror::new(), target());
    let mut wish = mirror.wish(&["punkt"]);
    add_nltk(&target.path, &wish, &Silent).await.unwrap();
    fs::create_dir_all(downloads(&target)).unwrap();
    wish.rights.read = Audience::Nobody;
    let same = add_nltk(&target.path, &wish, &Silent).await.unwrap();
    let mode = fs::metadata(&target.path).unwrap().mode() & 0o7777;
    assert_eq!((same, mode), (None, 0o700));
    assert!(!downloads(&target).exists());
}

#[test]
fn a_download_that_nothing_can_go_on_with_does_not_stay() {
    let target = target();
    let half = |broken: bool| {
        let mut place = place::Place::take(&target.path).unwrap();
        if broken {
            fs::write(place.downloads().unwrap().join("archive-0"), "half").unwrap();
        }
        fs::write(place.passing_download("archive").unwrap(), "half").unwrap();
    };
    half(false);
    assert!(!downloads(&target).exists());
    // What can go on does stay.
    half(true);
    let left: Vec<_> = fs::read_dir(downloads(&target))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["archive-0"]);
}
