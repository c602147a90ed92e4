//! What a profile changes of a server's start.

use std::collections::BTreeMap;

use lyceum_core::lifecycle::Cause;
use lyceum_core::seams::{Spawner as _, StopMode};
use lyceum_spawn::Profile;
use lyceum_spawn::process::SetupError;
use serde_json::json;

use crate::harness::{Room, eventually, pid, request, try_start, variables, words};

fn profiles() -> BTreeMap<String, Profile> {
    let large = Profile {
        command: Some(words(&["/bin/sh", "-c", "exec sleep 1000"])),
        environment: BTreeMap::from([
            ("COLOUR".to_owned(), "red".to_owned()),
            ("LYCEUM_SERVER".to_owned(), "forged".to_owned()),
        ]),
        path: words(&["/opt/first"]),
        python: None,
        default_url: Some("/tree/{username}".to_owned()),
    };
    BTreeMap::from([
        ("large".to_owned(), large),
        ("usual".to_owned(), Profile::default()),
    ])
}

#[tokio::test]
async fn the_chosen_profile_changes_program_variables_folders_and_page() {
    let room = Room::new();
    let spawner = room
        .spawner(|config| {
            config.command = words(&["sleep", "2000"]);
            config.path = words(&["/usr/bin", "/bin"]);
            config.environment =
                BTreeMap::from(["COLOUR", "SHAPE"].map(|name| (name.to_owned(), "x".to_owned())));
            config.default_url = "/lab".to_owned();
        })
        .with_profiles(profiles())
        .unwrap();
    for (chosen, colour, path, url, seconds) in [
        (
            json!("large"),
            "red",
            "/opt/first:/usr/bin:/bin",
            "/tree/ada",
            "1000",
        ),
        (json!("usual"), "x", "/usr/bin:/bin", "/lab", "2000"),
        (json!(null), "x", "/usr/bin:/bin", "/lab", "2000"),
    ] {
        let mut request = request("ada");
        request
            .user_options
            .insert("profile".to_owned(), chosen.clone());
        let marker = request.marker.clone();
        let started = try_start(&spawner, request).await.unwrap();
        let pid = pid(&started.handle);
        let found = variables(pid);
        for expected in [
            format!("COLOUR={colour}"),
            "SHAPE=x".to_owned(),
            format!("PATH={path}"),
            format!("JUPYTERHUB_DEFAULT_URL={url}"),
            format!("LYCEUM_SERVER={marker}"),
        ] {
            assert!(
                found.contains(&expected),
                "{chosen}: no {expected} in {found:?}"
            );
        }
        eventually("the profile's program runs", || {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line)
                .replace('\0', " ")
                .trim()
                .ends_with(&format!("sleep {seconds}"))
        })
        .await;
        spawner.stop(&started.handle, StopMode::Now).await.unwrap();
    }
}

#[tokio::test]
async fn a_profile_that_is_not_there_starts_nothing() {
    let room = Room::new();
    let spawner = room.shell("exec sleep 1000");
    let mut other = request("ada");
    other
        .user_options
        .insert("profile".to_owned(), json!("anything"));
    let started = try_start(&spawner, other.clone()).await;
    let started = started.expect("without profiles the option means nothing here");
    spawner.stop(&started.handle, StopMode::Now).await.unwrap();

    let spawner = room
        .shell("exec sleep 1000")
        .with_profiles(profiles())
        .unwrap();
    for unknown in [json!("anything"), json!(["large"]), json!(1), json!({})] {
        other
            .user_options
            .insert("profile".to_owned(), unknown.clone());
        let failure = try_start(&spawner, other.clone()).await.unwrap_err();
        assert_eq!(failure.cause, Cause::NotAllowed, "{unknown}");
        assert!(failure.message.contains("no profile"), "{failure:?}");
    }
}

#[test]
fn a_profile_that_cannot_work_is_refused() {
    let room = Room::new();
    let refused = |profile| {
        let profiles = BTreeMap::from([("x".to_owned(), profile)]);
        room.spawner(|_| {}).with_profiles(profiles).unwrap_err()
    };
    let path = words(&["bin"]);
    let error = refused(Profile {
        path,
        ..Profile::default()
    });
    assert!(matches!(error, SetupError::BadSearchPath(_)), "{error}");
    let command = Some(Vec::new());
    let error = refused(Profile {
        command,
        ..Profile::default()
    });
    assert!(matches!(error, SetupError::NoCommand), "{error}");
}
