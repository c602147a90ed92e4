//! NLTK's packages, from a mirror made here.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::super::folder::md5;
use super::super::*;
use super::{open_rights, target, zip_of};
use crate::progress::Silent;

/// A copy of what NLTK has on the web, of our own making.
pub(super) struct Mirror {
    dir: TempDir,
}

impl Mirror {
    pub(super) fn new() -> Self {
        let mirror = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        mirror.package(
            "tokenizers",
            "punkt",
            &[("punkt/PY3/czech.pickle", "czech")],
        );
        mirror.package("corpora", "stopwords", &[("stopwords/czech", "a\ni\n")]);
        mirror.index(&[
            ("tokenizers", "punkt", true),
            ("corpora", "stopwords", false),
        ]);
        mirror
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, subdir: &str, id: &str) -> PathBuf {
        self.path().join(format!("packages/{subdir}/{id}.zip"))
    }

    fn package(&self, subdir: &str, id: &str, files: &[(&str, &str)]) {
        let path = self.file(subdir, id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        zip_of(&path, files);
    }

    fn index(&self, packages: &[(&str, &str, bool)]) {
        let mut text = "<?xml version=\"1.0\"?>\n<nltk_data>\n<packages>\n".to_owned();
        let mut items = String::new();
        for (subdir, id, unzip) in packages {
            let file = self.file(subdir, id);
            let (sum, size) = (md5(&file).unwrap(), fs::metadata(&file).unwrap().len());
            let _ = writeln!(
                text,
                "<package id=\"{id}\" subdir=\"{subdir}\" checksum=\"{sum}\" size=\"{size}\" unzipped_size=\"9\" \
                 unzip=\"{}\" url=\"https://raw.example.org/gh-pages/packages/{subdir}/{id}.zip\"/>",
                u8::from(*unzip)
            );
            let _ = write!(items, "<item ref=\"{id}\"/>");
        }
        let _ = write!(
            text,
            "</packages><collections><collection id=\"popular\">{items}</collection></collections></nltk_data>"
        );
        fs::write(self.path().join("index.xml"), text).unwrap();
    }

    pub(super) fn wish(&self, names: &[&str]) -> NltkWish {
        Self::wish_from(names, self.path().to_str().unwrap())
    }

    fn wish_from(names: &[&str], source: &str) -> NltkWish {
        NltkWish {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            source: NltkSource::parse(Some(source)).unwrap(),
            max_size: 1 << 20,
            rights: open_rights(),
        }
    }

    /// Serves the folder on loopback, pieces of files, too; notes what is asked for. Breaks off the first answer for a
    /// file that `breaks` names, in its middle.
    pub(super) fn serve(&self, breaks: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (folder, log) = (self.path().to_owned(), Arc::clone(&asked));
        let mut to_break = !breaks.is_empty();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                let path = first.split(' ').nth(1).unwrap().to_owned();
                let mut start = 0;
                for line in lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                {
                    if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                        start = range.trim_end_matches('-').parse().unwrap();
                    }
                }
                log.lock().unwrap().push(format!("{path} {start}"));
                let Ok(all) = fs::read(folder.join(path.trim_start_matches('/'))) else {
                    let _ = stream.write_all(
                        b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    );
                    continue;
                };
                let rest = &all[start.min(all.len())..];
                let status = if start > 0 {
                    format!(
                        "206 Partial Content\r\ncontent-range: bytes {start}-{}/{}",
                        all.len() - 1,
                        all.len()
                    )
                } else {
                    "200 OK".to_owned()
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    rest.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                let sent = if to_break && path.ends_with(breaks) {
                    to_break = false;
                    &rest[..rest.len() / 2]
                } else {
                    rest
                };
                let _ = stream.write_all(sent);
            }
        });
        (address, asked)
    }
}

fn ids(stamp: &DataStamp) -> Vec<&str> {
    stamp.packages.iter().map(|one| one.id.as_str()).collect()
}

#[tokio::test]
async fn packages_come_from_a_mirror_and_a_broken_download_goes_on() {
    let (mirror, target) = (Mirror::new(), target());
    let (address, asked) = mirror.serve("punkt.zip");
    let wish = Mirror::wish_from(&[], &address);
    let stamp = add_nltk(&target.path, &wish, &Silent)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ids(&stamp), ["punkt", "stopwords"]);
    let punkt = target.path.join("tokenizers/punkt/PY3/czech.pickle");
    assert_eq!(fs::read_to_string(&punkt).unwrap(), "czech");
    assert!(target.path.join("corpora/stopwords.zip").is_file());
    assert_eq!(fs::metadata(&punkt).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(fs::metadata(&target.path).unwrap().mode() & 0o7777, 0o755);
    let half = fs::metadata(mirror.file("tokenizers", "punkt"))
        .unwrap()
        .len()
        / 2;
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked.contains(&format!("/packages/tokenizers/punkt.zip {half}")),
        "{asked:?}"
    );
    // The second time there is nothing to get.
    assert_eq!(add_nltk(&target.path, &wish, &Silent).await.unwrap(), None);
    let left: Vec<_> = fs::read_dir(target.path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".nltk.lock")
        .collect();
    assert_eq!(left, ["nltk"]);
}

#[tokio::test]
async fn what_is_added_later_joins_what_is_there_and_a_new_version_replaces_an_old_one() {
    let (mirror, target) = (Mirror::new(), target());
    add_nltk(&target.path, &mirror.wish(&["punkt"]), &Silent)
        .await
        .unwrap();
    let wish = mirror.wish(&["stopwords"]);
    let stamp = add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(ids(&stamp.unwrap()), ["punkt", "stopwords"]);
    assert!(
        target
            .path
            .join("tokenizers/punkt/PY3/czech.pickle")
            .is_file()
    );
    mirror.package("tokenizers", "punkt", &[("punkt/PY3/german.pickle", "new")]);
    mirror.index(&[("tokenizers", "punkt", true)]);
    let wish = mirror.wish(&["punkt"]);
    let plan = plan_nltk(&target.path, &wish).await.unwrap();
    assert!(plan.wanted.len() == 1 && plan.wanted[0].replaces);
    add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert!(
        !target
            .path
            .join("tokenizers/punkt/PY3/czech.pickle")
            .exists()
    );
    assert!(
        target
            .path
            .join("tokenizers/punkt/PY3/german.pickle")
            .is_file()
    );
    assert!(target.path.join("corpora/stopwords.zip").is_file());
}

#[tokio::test]
async fn a_zip_of_everything_will_do_and_planning_changes_nothing() {
    let (mirror, target) = (Mirror::new(), target());
    let zip = mirror.path().join("all.zip");
    let mut writer = zip::ZipWriter::new(fs::File::create(&zip).unwrap());
    for name in ["index.xml", "packages/tokenizers/punkt.zip"] {
        let options = zip::write::SimpleFileOptions::default();
        writer
            .start_file(format!("nltk_data-gh-pages/{name}"), options)
            .unwrap();
        writer
            .write_all(&fs::read(mirror.path().join(name)).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    let wish = Mirror::wish_from(&["punkt"], zip.to_str().unwrap());
    let plan = plan_nltk(&target.path, &wish).await.unwrap();
    assert_eq!(plan.wanted[0].place, "tokenizers/punkt");
    assert!(!target.path.parent().unwrap().exists());
    add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert!(
        target
            .path
            .join("tokenizers/punkt/PY3/czech.pickle")
            .is_file()
    );
}

#[tokio::test]
async fn what_has_another_checksum_changes_nothing() {
    let (mirror, target) = (Mirror::new(), target());
    add_nltk(&target.path, &mirror.wish(&["stopwords"]), &Silent)
        .await
        .unwrap();
    let before = fs::read_to_string(target.path.join(stamp::FILE)).unwrap();
    mirror.package("tokenizers", "punkt", &[("punkt/PY3/czech.pickle", "evil")]);
    let error = add_nltk(&target.path, &mirror.wish(&[]), &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, DataError::Checksum { .. }), "{error}");
    assert!(!target.path.join("tokenizers").exists());
    assert_eq!(
        fs::read_to_string(target.path.join(stamp::FILE)).unwrap(),
        before
    );
}

#[tokio::test]
async fn what_a_killed_run_has_left_is_in_nobodys_way() {
    let (mirror, target) = (Mirror::new(), target());
    let parent = target.path.parent().unwrap();
    fs::create_dir_all(parent.join(".nltk.new/half")).unwrap();
    fs::create_dir_all(parent.join(".nltk.downloads")).unwrap();
    let sum = md5(&mirror.file("tokenizers", "punkt")).unwrap();
    // Half a download, which is not even the right half.
    let half = parent.join(format!(".nltk.downloads/punkt-{sum}.zip"));
    fs::write(half, "wrong").unwrap();
    let (address, _asked) = mirror.serve("");
    let wish = Mirror::wish_from(&["punkt"], &address);
    add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert!(
        target
            .path
            .join("tokenizers/punkt/PY3/czech.pickle")
            .is_file()
    );
    assert!(!parent.join(".nltk.new").exists());
    assert!(!parent.join(".nltk.downloads").exists());
}

#[tokio::test]
async fn what_others_have_put_there_is_left_alone() {
    let (mirror, target) = (Mirror::new(), target());
    fs::create_dir_all(&target.path).unwrap();
    fs::write(target.path.join("mine.txt"), "").unwrap();
    let wish = mirror.wish(&[]);
    let error = add_nltk(&target.path, &wish, &Silent).await.unwrap_err();
    assert!(matches!(error, DataError::NotOurs { .. }), "{error}");
    assert!(matches!(
        remove(&target.path),
        Err(DataError::NotOurs { .. })
    ));
    assert!(target.path.join("mine.txt").exists());
}

#[test]
fn no_secret_of_an_address_is_shown() {
    let url = fetch::parse("https://ada:secret@example.org/a.zip?token=secret#secret").unwrap();
    assert_eq!(fetch::shown(&url), "https://example.org/a.zip");
    for bad in [
        "ftp://ada:secret@example.org/x",
        "file:///etc/passwd",
        "https://",
    ] {
        let error = fetch::parse(bad).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn what_was_damaged_is_put_there_again() {
    let (mirror, target) = (Mirror::new(), target());
    let wish = mirror.wish(&["punkt"]);
    let stamp = add_nltk(&target.path, &wish, &Silent).await.unwrap();
    let punkt = target.path.join("tokenizers/punkt/PY3/czech.pickle");
    fs::remove_file(&punkt).unwrap();
    assert_eq!(check(&target.path, &stamp.unwrap()).unwrap().len(), 1);
    add_nltk(&target.path, &wish, &Silent).await.unwrap();
    assert_eq!(fs::read_to_string(&punkt).unwrap(), "czech");
    assert_eq!(add_nltk(&target.path, &wish, &Silent).await.unwrap(), None);
}
