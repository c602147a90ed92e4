//! Folders against an owner who does what they like in them. Needs root: folders are given to other accounts.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lyceum_core::route::Upstream;
use lyceum_core::seams::Exit;
use lyceum_core::{Secret, ServerName, UserName};

use super::*;
use crate::fuzz_logic::account;
use crate::protocol::ServerKey;

const UNIT: &str = "lyceum-ada";

struct Room {
    dir: tempfile::TempDir,
    folders: Folders,
}

fn room() -> Room {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test has to run as root: it gives folders to other accounts"
    );
    let dir = tempfile::tempdir().unwrap();
    let folders =
        Folders::open(&dir.path().join("state"), &dir.path().join("servers"), 990).unwrap();
    Room { dir, folders }
}

impl Room {
    fn folder(&self) -> PathBuf {
        self.dir.path().join("servers").join(UNIT)
    }

    fn left(&self) -> usize {
        fs::read_dir(self.dir.path().join("servers"))
            .unwrap()
            .count()
    }
}

#[test]
fn a_folder_is_the_accounts_and_lyceums_group_may_pass() {
    let room = room();
    let tls = TlsFiles {
        key: Secret::from("the key"),
        certificate: "the certificate".to_owned(),
        client_ca: "the authorities".to_owned(),
        server_name: "x".to_owned(),
    };
    room.folders
        .make(UNIT, &account("ada"), Some(&tls))
        .unwrap();
    let folder = fs::metadata(room.folder()).unwrap();
    assert_eq!(folder.mode() & 0o7777, 0o2710);
    assert_eq!((folder.uid(), folder.gid()), (1001, 990));
    let key = fs::metadata(room.folder().join("key.pem")).unwrap();
    assert_eq!(
        (key.mode() & 0o7777, key.uid(), key.gid()),
        (0o600, 1001, 1001)
    );
    let runtime = fs::metadata(room.folder().join("jupyter")).unwrap();
    assert_eq!((runtime.mode() & 0o777, runtime.uid()), (0o700, 1001));
    let parent = fs::metadata(room.dir.path().join("servers")).unwrap();
    assert_eq!((parent.mode() & 0o7777, parent.uid()), (0o711, 0));
    for inner in ["servers", "logs"] {
        let inner = fs::metadata(room.dir.path().join("state").join(inner)).unwrap();
        assert_eq!(inner.mode() & 0o7777, 0o700);
    }
}

#[test]
fn a_start_finds_nothing_of_the_one_before() {
    let room = room();
    room.folders.make(UNIT, &account("ada"), None).unwrap();
    fs::write(room.folder().join("server.sock"), "old").unwrap();
    room.folders.make(UNIT, &account("ada"), None).unwrap();
    assert!(!room.folder().join("server.sock").exists());
    room.folders.remove(UNIT).unwrap();
    room.folders.remove(UNIT).unwrap();
    assert_eq!(room.left(), 0);
}

#[test]
fn links_in_a_folder_are_removed_and_what_they_point_at_stays() {
    let room = room();
    let precious = room.dir.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "kept").unwrap();
    room.folders.make(UNIT, &account("ada"), None).unwrap();
    symlink(&precious, room.folder().join("to-folder")).unwrap();
    symlink(precious.join("file"), room.folder().join("to-file")).unwrap();
    symlink("/etc/passwd", room.folder().join("server.sock")).unwrap();
    room.folders.remove(UNIT).unwrap();
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "kept");
    assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
    // A link in the very place of the folder, as if somebody could make one there.
    symlink(&precious, room.folder()).unwrap();
    room.folders.make(UNIT, &account("ada"), None).unwrap();
    assert!(fs::symlink_metadata(room.folder()).unwrap().is_dir());
    assert!(precious.join("file").exists());
    assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
}

#[test]
fn no_depth_is_too_much() {
    let room = room();
    room.folders.make(UNIT, &account("ada"), None).unwrap();
    let mut folder = rustix::fs::open(room.folder(), DIRECTORY, Mode::empty()).unwrap();
    // Deeper than any path can say.
    for _ in 0..3000 {
        rustix::fs::mkdirat(&folder, "deeper", Mode::from_raw_mode(0o700)).unwrap();
        folder = rustix::fs::openat(&folder, "deeper", DIRECTORY, Mode::empty()).unwrap();
    }
    drop(folder);
    for number in 1..5 {
        let name = room.folder().join(format!("moved-{number}"));
        fs::create_dir_all(name.join("full")).unwrap();
    }
    room.folders.remove(UNIT).unwrap();
    assert_eq!(room.left(), 0);
}

#[test]
fn an_owner_who_swaps_folders_for_links_meanwhile_harms_nothing() {
    let room = room();
    let precious = room.dir.path().join("precious");
    fs::create_dir(&precious).unwrap();
    for number in 0..50 {
        fs::write(precious.join(number.to_string()), "kept").unwrap();
    }
    let ending = Arc::new(AtomicBool::new(false));
    let attacker = std::thread::spawn({
        let (folder, precious, ending) = (room.folder(), precious.clone(), Arc::clone(&ending));
        move || {
            while !ending.load(Ordering::Relaxed) {
                let target = folder.join("jupyter/x");
                let _ = fs::create_dir_all(target.join("y"));
                let _ = fs::remove_dir_all(&target);
                let _ = symlink(&precious, &target);
                let _ = fs::remove_file(&target);
            }
        }
    });
    let mut failures = 0;
    for _ in 0..300 {
        failures += u32::from(room.folders.make(UNIT, &account("ada"), None).is_err());
    }
    ending.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    assert_eq!(fs::read_dir(&precious).unwrap().count(), 50);
    assert_eq!(
        fs::metadata(&precious).unwrap().uid(),
        0,
        "given away by a race"
    );
    assert!(failures < 300, "not one start in all this time");
    room.folders.remove(UNIT).unwrap();
    room.folders.tidy().unwrap();
    assert_eq!(room.left(), 0);
}

#[test]
fn tidying_removes_unknown_servers_folders_and_nothing_else() {
    let room = room();
    let servers = room.dir.path().join("servers");
    for unit in [UNIT, r"lyceum-ada\x2dlab", "lyceum-bob"] {
        room.folders.make(unit, &account("ada"), None).unwrap();
    }
    for hidden in [".jupyter", ".gone-abc"] {
        fs::create_dir_all(servers.join(hidden).join("x")).unwrap();
    }
    // Such as the disk has made of it, or a version of Lyceum that writes other ones.
    let records = room.dir.path().join("state/servers");
    fs::write(records.join("lyceum-ada.json"), "{").unwrap();
    fs::write(records.join(r"lyceum-ada\x2dlab.json"), "x".repeat(100_000)).unwrap();
    room.folders.tidy().unwrap();
    let left = |name: &str| servers.join(name).exists();
    assert!(left(UNIT) && left(&folder_name(r"lyceum-ada\x2dlab")) && left(".jupyter/x"));
    assert!(!left("lyceum-bob") && !left(".gone-abc"));
}

#[test]
fn places_that_others_can_change_are_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let room = room();
    let servers = room.dir.path().join("servers");
    fs::set_permissions(&servers, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(room.folders.make(UNIT, &account("ada"), None).is_err());
    fs::set_permissions(&servers, fs::Permissions::from_mode(0o711)).unwrap();
    std::os::unix::fs::chown(&servers, Some(1001), None).unwrap();
    assert!(room.folders.make(UNIT, &account("ada"), None).is_err());
    let link = room.dir.path().join("link");
    symlink("/etc", &link).unwrap();
    assert!(Folders::open(&room.dir.path().join("state"), &link, 990).is_err());
}

#[test]
fn records_come_back_whole_and_damaged_ones_are_told_from_none() {
    let room = room();
    let record = Record {
        key: ServerKey {
            user: UserName::parse("ada").unwrap(),
            server: ServerName::default(),
            marker: "0123456789".to_owned(),
        },
        unit: UNIT.to_owned(),
        uid: 1001,
        upstream: Upstream::Unix("/run/x".into()),
        environment: None,
        python: None,
        engine: Some("process".to_owned()),
        identity: None,
        exit: Some(Exit::OutOfMemory),
    };
    room.folders.write_record(&record).unwrap();
    assert_eq!(
        room.folders.find_record(UNIT).unwrap(),
        Found::Record(Box::new(record.clone()))
    );
    assert_eq!(room.folders.list_records().unwrap(), [record]);
    let path = room.dir.path().join("state/servers/lyceum-ada.json");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    fs::write(&path, "{").unwrap();
    let damaged = room.folders.find_record(UNIT).unwrap();
    assert!(matches!(damaged, Found::Damaged(_)), "{damaged:?}");
    assert_eq!(room.folders.list_records().unwrap(), []);
    room.folders.remove_record(UNIT).unwrap();
    room.folders.remove_record(UNIT).unwrap();
    assert_eq!(room.folders.find_record(UNIT).unwrap(), Found::Nothing);
    assert_eq!(room.folders.list_records().unwrap(), []);
}
