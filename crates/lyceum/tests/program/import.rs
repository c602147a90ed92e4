//! `lyceum import jupyterhub`: a report until `--apply`, then everything or nothing; never beside a running Lyceum.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use lyceum_testkit::http::send;
use lyceum_testkit::jupyterhub::{CRYPT_KEY, Made, Version, python};
use serde_json::Value;

use crate::support::{Site, lyceum, mode, text};

impl Site {
    /// A file of JupyterHub's, in a folder of its own.
    async fn source(&self, version: Version) -> PathBuf {
        let folder = self.dir.path().join("jupyterhub");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("jupyterhub.sqlite");
        Made::by(version).await.write(&file);
        file
    }

    fn import(&self, file: &Path, flags: &[&str]) -> Output {
        let (file, config) = (file.display().to_string(), self.file_text());
        let mut args = vec!["import", "jupyterhub", &file, "--config", &config];
        args.extend(flags);
        lyceum(&args)
            .env("JUPYTERHUB_CRYPT_KEY", CRYPT_KEY)
            .output()
            .unwrap()
    }

    /// Begins an import that changes the database, and waits until that is there.
    async fn begin_import(&self, file: &Path) -> Child {
        let (path, config) = (file.display().to_string(), self.file_text());
        let import = ["import", "jupyterhub", &path, "--config", &config];
        let child = lyceum(&[&import[..], &["--apply"]].concat())
            // With it as everywhere: without it, what login methods keep is left for another time.
            .env("JUPYTERHUB_CRYPT_KEY", CRYPT_KEY)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let database = self.data().join("lyceum.sqlite");
        lyceum_testkit::eventually("the database is there", async || database.exists()).await;
        child
    }

    fn import_json(&self, file: &Path, flags: &[&str]) -> Value {
        let output = self.import(file, &[flags, &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Asks the running hub who the owner of a token is.
    async fn whoami(&self, token: &str) -> (u16, Value) {
        let request = Request::get(format!("http://127.0.0.1:{}/hub/api/user", self.port))
            .header("authorization", format!("token {token}"))
            .body(Bytes::new())
            .unwrap();
        let answer = send(request).await.unwrap();
        let json = serde_json::from_slice(answer.body()).unwrap();
        (answer.status().as_u16(), json)
    }
}

fn outcomes(report: &Value, outcome: &str) -> usize {
    let items = report["items"].as_array().unwrap();
    items
        .iter()
        .filter(|item| item["outcome"] == outcome)
        .count()
}

/// The first of the items that an import adds or changes.
fn changes(report: &Value) -> Vec<&Value> {
    let items = report["items"].as_array().unwrap();
    items
        .iter()
        .filter(|item| item["outcome"] == "added" || item["outcome"] == "changed")
        .take(10)
        .collect()
}

#[tokio::test]
async fn a_report_first_then_everything_then_nothing_more() {
    for version in Version::ALL {
        let site = Site::new();
        let file = site.source(version).await;
        let before = fs::read(&file).unwrap();

        let planned = site.import_json(&file, &[]);
        assert_eq!(planned["applied"], false);
        assert!(!site.data().exists(), "a report leaves nothing behind");

        let done = site.import_json(&file, &["--apply"]);
        assert_eq!(done["applied"], true);
        assert_eq!(done["items"], planned["items"]);
        assert_eq!(done["changes"], planned["changes"]);
        assert!(outcomes(&done, "added") > 20, "{done:#}");

        for flags in [&[][..], &["--apply"]] {
            let again = site.import_json(&file, flags);
            assert_eq!(again["changes"], 0, "{again:#}");
            assert_eq!(outcomes(&again, "added") + outcomes(&again, "changed"), 0);
        }
        let output = site.import(&file, &["--apply"]);
        assert!(text(&output.stdout).contains("Nothing is changed."));
        assert_eq!(fs::read(&file).unwrap(), before);
        let folder = fs::read_dir(file.parent().unwrap()).unwrap();
        assert_eq!(folder.count(), 1, "nothing is left beside the source");
    }
}

#[tokio::test]
async fn a_report_of_what_is_there_already_changes_nothing_either() {
    let site = Site::new();
    let file = site.source(Version::V6).await;
    site.import_json(&file, &["--apply"]);
    let add = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
               db.execute(\"INSERT INTO users (name, admin, cookie_id) VALUES ('new', 0, 'x')\"); db.commit()";
    python(add, &[file.to_str().unwrap()]).await;
    for _ in 0..2 {
        let planned = site.import_json(&file, &[]);
        assert_eq!(planned["changes"], 1);
    }
    assert_eq!(site.import_json(&file, &["--apply"])["changes"], 1);
    assert_eq!(site.import_json(&file, &["--apply"])["changes"], 0);
}

#[tokio::test]
async fn a_running_lyceum_is_not_changed_behind_its_back() {
    let site = Site::new();
    let file = site.source(Version::V6).await;
    let mut running = site.serve().await;
    for flags in [&[][..], &["--apply"]] {
        let output = site.import(&file, flags);
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        let pid = running.child.id().to_string();
        assert!(errors.contains(&pid), "{errors}");
        assert!(
            errors.contains("hint: ") && errors.contains("start it again"),
            "{errors}"
        );
    }
    let (status, _) = site.whoami(Made::by(Version::V6).await.secret("all")).await;
    assert_eq!(status, 403);
    running.signal("-TERM");
    running.wait();
    site.import_json(&file, &["--apply"]);
}

#[tokio::test]
async fn tokens_work_and_roles_stay_with_the_entries_for_the_configuration() {
    let made = Made::by(Version::V6).await;
    let site = Site::new();
    let file = site.source(Version::V6).await;
    let entries = site.dir.path().join("from-jupyterhub.toml");
    let flag = entries.display().to_string();
    site.import_json(&file, &["--apply", "--write-config", &flag]);
    assert_eq!(mode(&entries), 0o600);
    let toml = fs::read_to_string(&entries).unwrap();

    // A second time, nothing that is there is overwritten.
    let output = site.import(&file, &["--write-config", &flag]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nothing that is there is overwritten"));
    assert_eq!(fs::read_to_string(&entries).unwrap(), toml);

    site.add(&toml);
    let check = lyceum(&["config", "check", "--config", &site.file_text()])
        .output()
        .unwrap();
    assert!(check.status.success(), "{toml}\n{}", text(&check.stderr));
    // Twice: what a start does to roles is seen by the next one.
    for _ in 0..2 {
        let mut running = site.serve().await;
        for (secret, name) in [("all", "ada"), ("service", "pages"), ("ümläut", "ümläut")] {
            let (status, model) = site.whoami(made.secret(secret)).await;
            assert_eq!((status, &model["name"]), (200, &name.into()));
        }
        let (_, ada) = site.whoami(made.secret("all")).await;
        let scopes = ada["scopes"].as_array().unwrap();
        // By the group `class`, which holds the role `graders`; and by the changed role `user`.
        for scope in [
            "custom:grades:read",
            "read:users!group=class",
            "shares!user=ada",
        ] {
            assert!(scopes.contains(&scope.into()), "{scope}: {scopes:?}");
        }
        running.signal("-TERM");
        running.wait();
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_plainly_and_nothing_is_made() {
    let site = Site::new();
    let file = site.source(Version::V6).await;
    let whole = fs::read(&file).unwrap();
    for (bytes, expected) in [
        (&b"ada, bob"[..], "is not an SQLite database"),
        (&whole[..whole.len() / 2], "is damaged"),
    ] {
        fs::write(&file, bytes).unwrap();
        let output = site.import(&file, &["--apply"]);
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        assert!(errors.starts_with("error: "), "{errors}");
        assert!(
            errors.contains(expected) && errors.contains("hint: "),
            "{errors}"
        );
        assert!(!site.data().join("lyceum.sqlite").exists());
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let site = Site::new();
    let file = site.source(Version::V6).await;
    let output = lyceum(&[
        "import",
        "jupyterhub",
        file.to_str().unwrap(),
        "--config",
        &site.file_text(),
    ])
    .env("JUPYTERHUB_CRYPT_KEY", "too short to be a key")
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("JUPYTERHUB_CRYPT_KEY"), "{errors}");
    assert!(!errors.contains("too short to be a key"), "{errors}");
}

#[tokio::test]
async fn the_report_for_people_shows_no_secret_and_no_control_character() {
    let made = Made::by(Version::V6).await;
    let site = Site::new();
    let file = site.source(Version::V6).await;
    let output = site.import(&file, &["--apply"]);
    let shown = text(&output.stdout);
    for expected in [
        "users: 6 added, 3 skipped",
        "skipped line\\nbreak",
        "[[roles]]",
        "To be known:",
        "things are added or changed.",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    for secret in [
        made.secret("all"),
        made.secret("service"),
        CRYPT_KEY,
        "sha512",
        "gAAAA",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(
        shown.chars().all(|c| c == '\n' || !c.is_control()),
        "{shown}"
    );
}

/// Adds so many users with tokens that an import takes a while.
const MANY: &str = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
row = db.execute(\"SELECT hashed, prefix FROM api_tokens WHERE note = 'everything'\").fetchone()
for n in range(1500):
    user = db.execute('INSERT INTO users (name, admin, cookie_id) VALUES (?, 0, ?)', (f'user{n}', f'cookie{n}')).lastrowid
    db.execute('INSERT INTO api_tokens (user_id, hashed, prefix, client_id, scopes) VALUES (?, ?, ?, ?, ?)',
               (user, row[0][:-6] + f'{n:06x}', row[1], 'jupyterhub', '[]'))
db.commit()";

#[tokio::test]
async fn an_import_that_is_killed_has_done_all_or_nothing() {
    const ROUNDS: u32 = 8;
    let site = Site::new();
    let file = site.source(Version::V6).await;
    python(MANY, &[file.to_str().unwrap()]).await;
    let all = site.import_json(&file, &[])["changes"].as_u64().unwrap();
    assert!(all > 3000, "{all}");
    // One that nobody kills shows how long it takes, and that it leaves nothing.
    let mut whole = site.begin_import(&file).await;
    let begun = Instant::now();
    assert!(whole.wait().unwrap().success());
    let takes = begun.elapsed();
    assert_eq!(site.import_json(&file, &[])["changes"], 0);
    let (mut broken_off, mut done) = (0, 0);
    // Each goes on for longer than the one before, the last almost to its end or past it.
    for round in 0..ROUNDS {
        fs::remove_dir_all(site.data()).unwrap();
        let mut child = site.begin_import(&file).await;
        tokio::time::sleep(takes * round / (ROUNDS - 1)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let report = site.import_json(&file, &[]);
        match report["changes"].as_u64().unwrap() {
            0 => done += 1,
            left if left == all => broken_off += 1,
            left => panic!("{left} of {all} are left: {:#?}", changes(&report)),
        }
    }
    assert!(
        broken_off > 0,
        "no import was killed on its way, {done} after it"
    );
}
