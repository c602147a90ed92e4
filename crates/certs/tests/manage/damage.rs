//! Damaged files, a full disk, and folders that cannot be written to.

use std::fs;
use std::time::Duration;

use lyceum_certs::{Manager, State, TlsSource, TroubleKind};

use crate::world::{World, files, never, until};

#[tokio::test]
async fn a_damaged_certificate_stops_no_start_and_is_replaced() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    let mut serial = site.issued("a.example.org").await;
    site.end().await;
    let path = world.certificates().join("a.example.org.pem");
    let whole = fs::read(&path).unwrap();
    let other = fs::read(world.certificates().join("a.example.org.self-signed.pem")).unwrap();
    // The key of one and the certificate of the other.
    let mixed = [&other[..300], &whole[300..]].concat();
    for damaged in [
        &whole[..whole.len() / 3],
        b"garbage",
        b"",
        &[0xff; 100],
        &mixed,
    ] {
        fs::write(&path, damaged).unwrap();
        let site = world.open(config.clone());
        assert_eq!(site.status("a.example.org").state, State::StandIn);
        world.shown("a.example.org").await;
        let new = site.issued("a.example.org").await;
        assert_ne!(new, serial);
        serial = new;
        assert_eq!(site.status("a.example.org").trouble, None);
        site.end().await;
    }
    assert_eq!(world.pebble.orders(), 6);
}

#[tokio::test]
async fn a_damaged_history_costs_no_order() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    let serial = site.issued("a.example.org").await;
    site.end().await;
    let path = world.certificates().join("a.example.org.json");
    for damaged in ["{\"failures\": ", "", "[]", "\0\0\0\0"] {
        fs::write(&path, damaged).unwrap();
        let site = world.open(config.clone());
        assert_eq!(site.status("a.example.org").serial, serial);
        until("the advice is there again", || {
            site.status("a.example.org").renewal_by_authority
        })
        .await;
        site.end().await;
    }
    fs::remove_file(&path).unwrap();
    let site = world.open(config);
    never("a new one was ordered", || world.pebble.orders() > 1).await;
    site.end().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_told_and_visitors_are_answered() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    // A file where a folder should be stops the start: nothing could ever be kept.
    fs::write(world.certificates(), "x").unwrap();
    let trouble = Manager::open(world.options(config.clone())).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Files, "{trouble:?}");
    assert!(trouble.to_string().contains("certificates"), "{trouble}");
    fs::remove_file(world.certificates()).unwrap();
    // A folder where a file should be.
    for file in ["a.example.org.pem", "a.example.org.self-signed.pem"] {
        fs::create_dir_all(world.certificates().join(file).join("x")).unwrap();
    }
    let site = world.open(config);
    let shown = site.status("a.example.org");
    assert_eq!(world.shown("a.example.org").await, shown.serial);
    until("the attempt has failed", || {
        site.status("a.example.org").failures == 1
    })
    .await;
    let status = site.status("a.example.org");
    let trouble = status.trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::Files, "{trouble:?}");
    assert!(trouble.what.contains("a.example.org.pem"), "{trouble:?}");
    assert_eq!(world.shown("a.example.org").await, shown.serial);
    // What was ordered is not lost: it is taken up when there is room again.
    for file in ["a.example.org.pem", "a.example.org.self-signed.pem"] {
        fs::remove_dir_all(world.certificates().join(file)).unwrap();
    }
    let outcomes = site.manager.renew(&[], false).await.unwrap();
    assert_eq!(outcomes[0].trouble, None, "{outcomes:?}");
    assert_eq!(world.pebble.orders(), 1);
    let serial = site.issued("a.example.org").await;
    assert_eq!(world.shown("a.example.org").await, serial);
}

#[tokio::test]
async fn one_signed_by_itself_that_cannot_be_kept_is_shown_all_the_same() {
    let world = World::new().await;
    let mut config = world.config(&["a.example.org"]);
    config.source = TlsSource::SelfSigned;
    fs::create_dir_all(
        world
            .certificates()
            .join("a.example.org.self-signed.pem/in-the-way"),
    )
    .unwrap();
    let site = world.open(config);
    let status = site.status("a.example.org");
    assert_eq!(world.shown("a.example.org").await, status.serial);
    assert_eq!(status.state, State::SelfSigned);
    assert_eq!(status.trouble.unwrap().kind, TroubleKind::Files);
    assert!(
        site.manager.warnings()[0]
            .text
            .contains("could not be kept")
    );
}

#[tokio::test]
async fn an_end_between_any_two_steps_of_keeping_costs_no_order() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let folder = world.certificates();
    let site = world.open(config.clone());
    let first = site.issued("a.example.org").await;
    let account = files(&folder.join("acme"))
        .into_iter()
        .find(|path| path.ends_with("account.json"))
        .unwrap();
    let order = account.with_file_name("orders").join("a.example.org.json");
    let paths = ["a.example.org.pem", "a.example.org.json"].map(|name| folder.join(name));
    let old = paths.clone().map(|path| fs::read(path).unwrap());
    // The order as it is on the disk before it is done.
    let names = ["a.example.org".to_owned()];
    let manager = site.manager.clone();
    let renewal = manager.renew(&names, false);
    tokio::pin!(renewal);
    let mut pending = None;
    loop {
        tokio::select! {
            outcomes = &mut renewal => {
                assert_eq!(outcomes.unwrap()[0].trouble, None);
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                pending = fs::read(&order).ok().or(pending);
            }
        }
    }
    let pending = pending.unwrap();
    let second = site.other_than("a.example.org", &first).await;
    site.end().await;
    let new = paths.clone().map(|path| fs::read(path).unwrap());
    assert_eq!(world.pebble.orders(), 2);
    // Certificate, history, and the order that is there still.
    for (certificate, history, shown) in [
        (&new[0], Some(&old[1]), &second),
        (&new[0], None, &second),
        (&new[0], Some(&new[1]), &second),
        (&old[0], Some(&old[1]), &first),
    ] {
        fs::write(&paths[0], certificate).unwrap();
        match history {
            Some(history) => fs::write(&paths[1], history).unwrap(),
            None => fs::remove_file(&paths[1]).unwrap(),
        }
        fs::write(&order, &pending).unwrap();
        let site = world.open(config.clone());
        assert_eq!(&world.shown("a.example.org").await, shown);
        never("one was ordered", || world.pebble.orders() > 2).await;
        site.end().await;
    }
    // The order is done still: whoever asks for a renewal after the last of these gets what was ordered.
    let site = world.open(config.clone());
    site.manager.renew(&names, false).await.unwrap();
    assert_eq!(world.shown("a.example.org").await, second);
    assert_eq!(world.pebble.orders(), 2);
    // And with that, the next one is a new one.
    fs::write(&order, &pending).unwrap();
    site.manager.renew(&names, false).await.unwrap();
    assert_eq!(world.pebble.orders(), 3);
    assert_ne!(world.shown("a.example.org").await, second);
}
