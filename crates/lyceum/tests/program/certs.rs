//! `lyceum cert`, and certificates across violent ends, with Pebble, a real authority for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::pebble::{Pebble, PebbleOptions};
use crate::support::{LIMIT, Running, Site, free_port, lyceum, mode, output, text};

/// The name that is served.
const NAME: &str = "a.example.org";

/// A hub with HTTPS, and an authority that looks at its ports.
struct World {
    site: Site,
    pebble: Pebble,
    tls_port: u16,
}

impl World {
    async fn new() -> Self {
        let site = Site::new();
        let tls_port = free_port();
        let pebble = Pebble::start(PebbleOptions {
            http_port: site.port,
            tls_port,
            ..PebbleOptions::default()
        })
        .await;
        let config = fs::read_to_string(site.file()).unwrap();
        let listen = format!("listen = [\"127.0.0.1:{}\"]", site.port);
        assert!(config.contains(&listen));
        site.write(&config.replace(
            &listen,
            &format!("{listen}\nlisten_tls = [\"127.0.0.1:{tls_port}\"]"),
        ));
        site.add(&format!(
            "[tls]\ndomains = [\"{NAME}\"]\n[tls.acme]\nagree_to_terms = true\ndirectory = \"{}\"\nca_file = \"{}\"\n",
            pebble.directory(),
            pebble.ca_file().display()
        ));
        Self {
            site,
            pebble,
            tls_port,
        }
    }

    /// `lyceum cert` with arguments.
    fn cert(&self, arguments: &[&str]) -> Output {
        let file = self.site.file_text();
        let mut all = vec!["cert"];
        all.extend(arguments);
        all.extend(["--config", file.as_str()]);
        output(&all)
    }

    fn status(&self) -> Value {
        let answer = self.cert(&["status", "--json"]);
        serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"))
    }

    fn serial(&self) -> String {
        let status = self.status();
        status["certificates"][0]["serial"]
            .as_str()
            .unwrap()
            .to_lowercase()
    }

    /// Waits until the certificate of the authority is there.
    async fn issued(&self) {
        let begin = Instant::now();
        while self.status()["certificates"][0]["state"] != "valid" {
            assert!(begin.elapsed() < LIMIT, "{}", self.status());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn certificates(&self) -> PathBuf {
        self.site.dir.path().join("data/certificates")
    }

    /// The number of the certificate that visitors are shown; the handshake fails if the key is that of another.
    fn shown(&self) -> String {
        let answer = openssl(&[
            "s_client",
            "-connect",
            &format!("127.0.0.1:{}", self.tls_port),
            "-servername",
            NAME,
        ]);
        let dialogue = text(&answer.stdout);
        let begin = dialogue
            .find("-----BEGIN CERTIFICATE-----")
            .unwrap_or_else(|| panic!("no handshake: {answer:?}"));
        let file = self.site.dir.path().join("shown.pem");
        fs::write(&file, &dialogue[begin..]).unwrap();
        serial_of(&file)
    }

    /// Sees that what is kept is whole: a chain, and the key of its first certificate; gives its number.
    fn kept(&self) -> String {
        let file = self.certificates().join(format!("{NAME}.pem"));
        let path = file.display().to_string();
        let of_certificate = openssl(&["x509", "-in", &path, "-noout", "-pubkey"]);
        let of_key = openssl(&["pkey", "-in", &path, "-pubout"]);
        assert!(of_key.status.success(), "{of_key:?}");
        assert_eq!(text(&of_certificate.stdout), text(&of_key.stdout));
        let whole = fs::read_to_string(&file).unwrap();
        assert_eq!(whole.matches("-----END CERTIFICATE-----").count(), 2);
        assert_eq!(mode(&file), 0o600);
        serial_of(&file)
    }

    /// Ends with `kill -9`.
    fn kill(running: &mut Running) {
        running.signal("-KILL");
        running.wait();
    }
}

fn openssl(arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs the program openssl (`apt install openssl`): {error}")
        })
}

fn serial_of(file: &Path) -> String {
    let answer = openssl(&[
        "x509",
        "-in",
        &file.display().to_string(),
        "-noout",
        "-serial",
    ]);
    assert!(answer.status.success(), "{answer:?}");
    let line = text(&answer.stdout).to_lowercase();
    line.trim().trim_start_matches("serial=").to_owned()
}

#[tokio::test]
async fn kill_9_at_any_moment_of_an_order_leaves_a_whole_certificate() {
    const KILLS: usize = 14;
    let world = World::new().await;
    let mut running = world.site.serve().await;
    world.issued().await;
    let mut known = vec![world.kept()];
    let mut pauses = Vec::new();
    for _ in 0..KILLS {
        let file = world.site.file_text();
        let mut renewal = lyceum(&["cert", "renew", NAME, "--config", &file])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let random = u64::from_str_radix(&lyceum_core::random::hex(4), 16).unwrap();
        let pause = 5 + random % 1495;
        pauses.push(pause);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        World::kill(&mut running);
        renewal.wait().unwrap();
        // What is kept is whole before anybody has tidied up.
        let kept = world.kept();
        running = world.site.serve().await;
        assert_eq!(world.shown(), kept, "after {pauses:?} ms");
        if !known.contains(&kept) {
            known.push(kept);
        }
    }
    let before = world.shown();
    let answer = world.cert(&["renew", NAME]);
    assert_eq!(answer.status.code(), Some(0), "{pauses:?}: {answer:?}");
    let after = world.shown();
    assert_ne!(after, before, "{pauses:?}");
    assert_eq!(after, world.kept());
    let orders = world.pebble.orders();
    assert!(orders <= KILLS + 2, "{orders} orders after {pauses:?} ms");
    assert!(orders >= known.len(), "{orders} orders, {known:?}");
    assert_eq!(world.pebble.accounts(), 1, "{pauses:?}");
    // Nothing half written has stayed.
    let names: Vec<String> = fs::read_dir(world.certificates())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        !names.iter().any(|name| name.starts_with(".new-")),
        "{names:?}"
    );
}

/// All files below a folder, with what would change if they were written.
fn state(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        if data.is_dir() {
            found.extend(state(&entry.path()));
        }
        found.insert(entry.path(), (data.len(), data.modified().unwrap()));
    }
    found
}

#[tokio::test]
async fn cert_tells_and_does_what_it_says() {
    let world = World::new().await;
    // Nothing was ever started: it is told, and nothing is made.
    let answer = world.cert(&["status"]);
    assert!(text(&answer.stdout).contains("missing"), "{answer:?}");
    assert!(!world.certificates().exists());
    let answer = world.cert(&["renew"]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    assert!(text(&answer.stderr).contains("hint:"), "{answer:?}");

    let mut running = world.site.serve().await;
    world.issued().await;
    let answer = world.cert(&["status"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let told = text(&answer.stdout);
    for part in [NAME, "valid", "Pebble Intermediate", "renewal", "worked"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(world.serial(), world.shown());

    let first = world.shown();
    let answer = world.cert(&["renew"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    assert!(text(&answer.stdout).contains("not due"), "{answer:?}");
    let answer = world.cert(&["renew", "b.example.org"]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let errors = text(&answer.stderr);
    assert!(
        errors.contains("there is no certificate `b.example.org`") && errors.contains(NAME),
        "{errors}"
    );
    let answer = world.cert(&["renew", NAME]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let second = world.shown();
    assert_ne!(first, second);

    let answer = world.cert(&["check"]);
    // What is found out depends on the DNS of this machine.
    assert!(answer.status.code().unwrap() <= 1, "{answer:?}");
    assert!(text(&answer.stdout).contains(NAME), "{answer:?}");

    let answer = world.cert(&["revoke", NAME, "--reason", "superseded"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let third = world.shown();
    assert_eq!(world.pebble.status(&second).await, "Revoked");
    assert_eq!(world.pebble.status(&third).await, "Valid");
    let answer = world.cert(&["rotate-account-key"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let answer = world.cert(&["renew", "--all"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");

    let fourth = world.shown();
    running.signal("-TERM");
    assert_eq!(running.wait().code(), Some(0));
    let before = state(&world.site.dir.path().join("data"));
    let answer = world.cert(&["status"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    assert_eq!(world.serial(), fourth);
    assert_eq!(state(&world.site.dir.path().join("data")), before);
    for name in ["revoke", "check"] {
        let answer = world.cert(&[name, NAME]);
        assert_eq!(answer.status.code(), Some(1), "{answer:?}");
        assert!(text(&answer.stderr).contains("hint:"), "{answer:?}");
    }
    assert!(!running.log().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_got_is_told_with_status_1() {
    let mut world = World::new().await;
    world.pebble.stop();
    let _running = world.site.serve().await;
    // Visitors are answered all the same.
    let shown = world.shown();
    assert_eq!(shown, world.serial());
    for _ in 0..2 {
        let answer = world.cert(&["renew"]);
        assert_eq!(answer.status.code(), Some(1), "{answer:?}");
        let told = text(&answer.stdout);
        assert!(told.contains("failed") && told.contains("to do:"), "{told}");
    }
    let answer = world.cert(&["status"]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let told = text(&answer.stdout);
    for part in ["missing", "next try", "trouble", "to do"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
