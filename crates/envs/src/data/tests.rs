//! Shared data as it comes and goes, with a mirror made here, and with the rights of real accounts.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

use super::folder::{md5, sha256};
use super::*;
use crate::progress::Silent;

fn zip_of(path: &Path, files: &[(&str, &str)]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, text) in files {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

fn open_rights() -> Rights {
    Rights {
        read: Audience::Everybody,
        write: Audience::Nobody,
    }
}

/// A copy of what NLTK has on the web, of our own making.
struct Mirror {
    dir: TempDir,
}

impl Mirror {
    fn new() -> Self {
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

    fn path(&self) -> &Path {
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

    fn wish(&self, names: &[&str]) -> NltkWish {
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
    fn serve(&self, breaks: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
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

struct Target {
    _dir: TempDir,
    path: PathBuf,
}

fn target() -> Target {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/nltk");
    Target { _dir: dir, path }
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

/// Runs a shell command as an account that every Debian has, in these groups besides.
fn as_account(name: &str, groups: &str, command: &str) -> bool {
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
