//! What homes are shown of shared folders and courses, with real accounts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use lyceum_broker::beside::{CoursePolicy, HomeLink, Readers};

use super::room::{Room, in_room_with, key, make_account, run, start};

const ONE: &str = "1111111111";
const TWO: &str = "2222222222";

fn link(name: &str, target: &str, readers: Readers) -> HomeLink {
    HomeLink {
        name: name.to_owned(),
        target: target.into(),
        readers,
    }
}

#[test]
fn homes_show_what_is_shared_and_what_their_owner_has_stays() {
    let settings = tempfile::tempdir().unwrap();
    fs::create_dir(settings.path().join("jupyter")).unwrap();
    fs::write(
        settings.path().join("stats.json"),
        "{\"root\": \"/srv/courses/stats\"}",
    )
    .unwrap();
    let folder = settings.path().to_owned();
    in_room_with(
        |policy| {
            let class = Readers::Some {
                users: BTreeSet::new(),
                groups: BTreeSet::from(["class".to_owned()]),
            };
            policy.links = vec![
                // Nobody looks at it: it need not even be there.
                link("edu", "/net/down/edu", Readers::Everybody),
                link("mine", "/srv/mine", Readers::Everybody),
                link("old", "/srv/new", Readers::Everybody),
                link("class", "/srv/class", class),
            ];
            policy.courses = CoursePolicy { settings: folder };
        },
        async |room| {
            run("groupadd", &["class"]);
            run("groupadd", &["teach-stats"]);
            make_account("ada", &["--groups", "class,teach-stats"]);
            make_account("bob", &[]);
            fs::write("/home/ada/mine", "of ada").unwrap();
            symlink("/srv/old", "/home/ada/old").unwrap();
            for (marker, name) in [(ONE, "ada"), (TWO, "bob"), (TWO, "ada")] {
                room.broker.start(start(name, marker)).await.unwrap();
                room.broker.stop(&key(name, marker), None).await.unwrap();
            }
            let seen = |path: &str| fs::read_link(Path::new("/home").join(path)).ok();
            assert_eq!(seen("ada/edu"), Some(PathBuf::from("/net/down/edu")));
            assert_eq!(seen("ada/old"), Some(PathBuf::from("/srv/old")));
            assert_eq!(seen("ada/class"), Some(PathBuf::from("/srv/class")));
            let course = Some(PathBuf::from("/srv/courses/stats"));
            assert_eq!(seen("ada/course-stats"), course);
            assert_eq!(fs::read_to_string("/home/ada/mine").unwrap(), "of ada");
            let owner = fs::symlink_metadata("/home/ada/edu").unwrap().uid();
            assert_eq!(owner, fs::metadata("/home/ada").unwrap().uid());
            assert!(seen("bob/edu").is_some());
            assert!(seen("bob/class").is_none() && seen("bob/course-stats").is_none());
        },
    );
    drop(settings);
}

#[test]
fn links_lead_to_the_new_place_of_what_is_shared_unless_their_owner_has_changed_them() {
    in_room_with(
        |policy| {
            policy.links = ["edu", "own", "gone"]
                .map(|name| link(name, "/srv/old", Readers::Everybody))
                .to_vec();
        },
        async |mut room| {
            make_account("ada", &[]);
            let home = |name: &str| Path::new("/home/ada").join(name);
            let visit = async |room: &Room, marker: &str| {
                let started = room.broker.start(start("ada", marker)).await;
                started.unwrap();
                room.broker.stop(&key("ada", marker), None).await.unwrap();
            };
            visit(&room, ONE).await;
            let owner = fs::metadata("/home/ada").unwrap().uid();
            let record = fs::symlink_metadata(home(".lyceum-links.json")).unwrap();
            assert_eq!((record.uid(), record.mode() & 0o777), (owner, 0o600));
            // What is another's now, and what was removed, which comes back as ever.
            fs::remove_file(home("own")).unwrap();
            symlink("/srv/mine", home("own")).unwrap();
            fs::remove_file(home("gone")).unwrap();
            room.end().await;
            for one in &mut room.policy.links {
                one.target = "/net/down/new".into();
            }
            room.run();
            visit(&room, TWO).await;
            let seen = |name: &str| fs::read_link(home(name)).unwrap();
            assert_eq!(seen("edu"), Path::new("/net/down/new"));
            assert_eq!(seen("own"), Path::new("/srv/mine"));
            assert_eq!(seen("gone"), Path::new("/net/down/new"));
            assert_eq!(fs::symlink_metadata(home("edu")).unwrap().uid(), owner);
            assert!(!home(".lyceum-links.new").exists());
        },
    );
}

#[test]
fn a_home_that_takes_no_links_keeps_no_server_from_starting() {
    in_room_with(
        |policy| policy.links = vec![link("edu", "/srv/edu", Readers::Everybody)],
        async |room| {
            make_account("ada", &[]);
            run("chown", &["root:root", "/home/ada"]);
            room.broker.start(start("ada", ONE)).await.unwrap();
            assert!(fs::read_link("/home/ada/edu").is_err());
        },
    );
}
