//! Certificates in files of others: new ones are seen, bad ones are left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lyceum_certs::{CertificateConfig, Level, State, TlsConfig, TroubleKind};

use crate::pebble::{ServerCertificate, server_certificate};
use crate::world::{Site, World, logged, never, until};

fn make() -> ServerCertificate {
    server_certificate(|params| {
        params.subject_alt_names =
            vec![rcgen::SanType::DnsName("f.example.org".try_into().unwrap())];
    })
}

struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(folder: &Path, name: &str) -> Self {
        Self {
            chain: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        }
    }

    fn put(&self, made: &ServerCertificate) {
        fs::write(&self.chain, &made.chain).unwrap();
        fs::write(&self.key, &made.key).unwrap();
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            certificates: vec![CertificateConfig {
                certificate_file: Some(self.chain.clone()),
                key_file: Some(self.key.clone()),
                ..CertificateConfig::default()
            }],
            ..TlsConfig::default()
        }
    }
}

async fn good(site: &Site, id: &str, before: &str) -> String {
    let serial = site.other_than(id, before).await;
    until("the trouble is gone", || site.status(id).trouble.is_none()).await;
    serial
}

#[tokio::test]
async fn new_files_are_shown_without_a_restart_and_bad_ones_are_left_and_told() {
    let world = World::new().await;
    let files = Files::new(world.folder.path(), "watched");
    let first = make();
    files.put(&first);
    let site = world.open(files.config());
    let id = "file-watched";
    assert_eq!(site.status(id).state, State::Valid);
    let mut serial = site.status(id).serial;
    assert_eq!(world.shown("f.example.org").await, serial);
    // The moment between the writing of the one file and the other is nothing to tell.
    let next = make();
    fs::write(&files.chain, &next.chain).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    fs::write(&files.key, &next.key).unwrap();
    serial = good(&site, id, &serial).await;
    assert_eq!(world.shown("f.example.org").await, serial);
    assert!(
        !logged()
            .lines()
            .any(|line| { line.contains("WARN") && line.contains("file-watched") })
    );

    let other = make();
    let half = &other.chain[..other.chain.len() / 4];
    let bad = [
        ("garbage", other.key.as_str()),
        ("", other.key.as_str()),
        (half, &other.key),
        (&other.chain, &first.key),
        (&other.chain, ""),
        (&other.key, &other.chain),
    ];
    for (chain, key) in bad {
        fs::write(&files.chain, chain).unwrap();
        fs::write(&files.key, key).unwrap();
        until("the trouble is told", || site.status(id).trouble.is_some()).await;
        assert_eq!(world.shown("f.example.org").await, serial);
        let told = site.manager.warnings();
        assert!(
            told[0].text.contains("the one of before is shown"),
            "{told:?}"
        );
        files.put(&make());
        serial = good(&site, id, &serial).await;
        assert_eq!(world.shown("f.example.org").await, serial);
        assert_eq!(site.manager.warnings(), []);
    }

    // One that browsers may stumble over is shown all the same.
    let alone = make();
    let begin = "-----BEGIN CERTIFICATE-----";
    let own = alone.chain.rsplit_once(begin).unwrap().0;
    fs::write(&files.chain, own).unwrap();
    fs::write(&files.key, &alone.key).unwrap();
    serial = site.other_than(id, &serial).await;
    assert_eq!(world.shown("f.example.org").await, serial);
    let status = site.status(id);
    assert_eq!(status.state, State::Valid);
    let what = status.trouble.unwrap().what;
    assert!(
        what.contains("lacks the certificate of Authority for tests"),
        "{what}"
    );
    assert_eq!(site.manager.warnings()[0].level, Level::Warning);
    files.put(&make());
    good(&site, id, &serial).await;

    // A bad one is told in the log once, not at each look.
    fs::write(&files.chain, "garbage").unwrap();
    let told = || {
        let text = "The files of the certificate for f.example.org cannot be used";
        let log = logged();
        log.lines()
            .filter(|line| line.contains(text) && line.contains("file-watched"))
            .count()
    };
    let before = told();
    until("it is in the log", || told() > before).await;
    never("it is told twice", || told() > before + 1).await;
}

#[tokio::test]
async fn one_that_is_not_valid_today_does_not_take_the_place_of_one_that_is() {
    let world = World::new().await;
    let files = Files::new(world.folder.path(), "dated");
    files.put(&make());
    let site = world.open(files.config());
    let serial = site.status("file-dated").serial;
    for (from, to) in [(2020, 2021), (2090, 2091)] {
        files.put(&server_certificate(|params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        }));
        until("it is told", || site.status("file-dated").trouble.is_some()).await;
        assert_eq!(world.shown("f.example.org").await, serial);
        assert_eq!(site.status("file-dated").state, State::Valid);
        let trouble = site.status("file-dated").trouble.unwrap();
        assert_eq!(trouble.kind, TroubleKind::BadCertificate, "{trouble:?}");
    }
}

#[tokio::test]
async fn one_that_becomes_valid_is_shown_then() {
    let world = World::new().await;
    let files = Files::new(world.folder.path(), "early");
    files.put(&server_certificate(|params| {
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    }));
    let site = world.open(files.config());
    let serial = site.status("file-early").serial;
    files.put(&server_certificate(|params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    }));
    until("it is told", || site.status("file-early").trouble.is_some()).await;
    world.clock.set(70 * 365 * 24 * 3600);
    let next = good(&site, "file-early", &serial).await;
    assert_eq!(world.shown("f.example.org").await, next);
}

#[tokio::test]
async fn files_are_watched_while_an_authority_does_not_answer() {
    let world = World::new().await;
    let files = Files::new(world.folder.path(), "beside");
    files.put(&make());
    // Connections are taken by the kernel, and by nobody else.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = world.config(&["a.example.org"]);
    let url = format!("https://{}/dir", silent.local_addr().unwrap());
    config.acme.directory = url.parse().unwrap();
    config.certificates = files.config().certificates;
    let site = world.open(config);
    let serial = site.status("file-beside").serial;
    files.put(&make());
    let begin = std::time::Instant::now();
    let next = good(&site, "file-beside", &serial).await;
    assert!(begin.elapsed().as_secs() < 15, "{:?}", begin.elapsed());
    assert_eq!(world.shown("f.example.org").await, next);
    assert_eq!(site.status("a.example.org").failures, 0);
}

#[tokio::test]
async fn links_that_lead_to_the_next_one_are_followed() {
    let world = World::new().await;
    let root = world.folder.path();
    let archive = root.join("archive/f.example.org");
    let live = root.join("live/f.example.org");
    fs::create_dir_all(&archive).unwrap();
    fs::create_dir_all(&live).unwrap();
    let files = Files {
        chain: live.join("fullchain.pem"),
        key: live.join("privkey.pem"),
    };
    let number = |number: u8| {
        let made = make();
        let chain = format!("fullchain{number}.pem");
        let key = format!("privkey{number}.pem");
        fs::write(archive.join(&chain), &made.chain).unwrap();
        fs::write(archive.join(&key), &made.key).unwrap();
        for (link, to) in [(&files.chain, chain), (&files.key, key)] {
            let _ = fs::remove_file(link);
            symlink(format!("../../archive/f.example.org/{to}"), link).unwrap();
        }
    };
    number(1);
    let site = world.open(files.config());
    let first = site.status("file-fullchain").serial;
    assert_eq!(world.shown("f.example.org").await, first);
    number(2);
    let second = good(&site, "file-fullchain", &first).await;
    assert_eq!(world.shown("f.example.org").await, second);
}

#[tokio::test]
async fn files_that_come_later_are_shown_when_they_come() {
    let world = World::new().await;
    let files = Files::new(&world.folder.path().join("later"), "later");
    let site = world.open(files.config());
    let status = site.status("file-later");
    assert_eq!(status.state, State::StandIn);
    assert_eq!(status.trouble.unwrap().kind, TroubleKind::Files);
    assert_eq!(world.shown("f.example.org").await, status.serial);
    fs::create_dir(world.folder.path().join("later")).unwrap();
    let made = make();
    fs::write(&files.chain, &made.chain).unwrap();
    never("half of it is shown", || {
        site.status("file-later").state != State::StandIn
    })
    .await;
    fs::write(&files.key, &made.key).unwrap();
    let serial = good(&site, "file-later", &status.serial).await;
    assert_eq!(world.shown("f.example.org").await, serial);
    assert_eq!(site.status("file-later").state, State::Valid);
}
