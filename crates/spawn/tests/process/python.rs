//! Servers that are started from the current generation of a Python environment.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use lyceum_broker::PythonFolders;
use lyceum_core::lifecycle::Cause;
use lyceum_core::seams::{Handle, Spawner as _, StopMode};
use lyceum_spawn::{ProcessSpawner, Profile};
use serde_json::json;

use crate::harness::{Room, pid, request, start, try_start, variables, words};

/// Makes a generation whose server is a script that waits, and switches to it.
fn generation(folders: &PythonFolders, name: &str, number: u32) -> PathBuf {
    let prefix = folders.generations(name).join(number.to_string());
    let bin = prefix.join("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink("/bin/sh", bin.join("python")).unwrap();
    let program = bin.join("jupyterhub-singleuser");
    let text = format!("#!{}/python\nexec sleep 1000\n", bin.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    switch(folders, name, number);
    prefix
}

fn switch(folders: &PythonFolders, name: &str, number: u32) {
    let draft = folders.generations(name).join("current.new");
    symlink(number.to_string(), &draft).unwrap();
    fs::rename(draft, folders.generations(name).join("current")).unwrap();
}

fn room() -> (Room, PythonFolders, ProcessSpawner) {
    let room = Room::new();
    let envs = room.path("envs");
    fs::create_dir_all(&envs).unwrap();
    let folders = PythonFolders {
        folder: envs.canonicalize().unwrap(),
        default: "base".to_owned(),
        names: ["base", "stats"].map(str::to_owned).into(),
    };
    let stats = Profile {
        python: Some("stats".to_owned()),
        ..Profile::default()
    };
    let elsewhere = Profile {
        command: Some(words(&["/bin/sleep", "1000"])),
        ..Profile::default()
    };
    let profiles = [("stats", stats), ("elsewhere", elsewhere)];
    let profiles = BTreeMap::from(profiles.map(|(name, one)| (name.to_owned(), one)));
    let spawner = room.spawner(|config| config.path = words(&["/usr/bin", "/bin"]));
    let spawner = spawner.with_profiles(profiles).unwrap();
    let spawner = spawner.with_python(Some(folders.clone()));
    (room, folders, spawner)
}

async fn end(spawner: &ProcessSpawner, handle: &Handle) {
    spawner.stop(handle, StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn a_server_keeps_its_generation_and_the_next_one_gets_what_is_current_then() {
    let (_room, folders, spawner) = room();
    let first = generation(&folders, "base", 1);
    let before = start(&spawner, "ada").await;
    let second = generation(&folders, "base", 2);
    let after = start(&spawner, "bob").await;
    for (started, number, prefix) in [(&before, 1, &first), (&after, 2, &second)] {
        let python = spawner.python(&started.handle).unwrap();
        assert_eq!((python.name.as_str(), python.generation), ("base", number));
        assert_eq!(python.prefix, *prefix);
        let found = variables(pid(&started.handle));
        let bin = prefix.join("bin");
        assert!(found.contains(&format!("PATH={}:/usr/bin:/bin", bin.display())));
        assert!(found.contains(&format!("LYCEUM_PYTHON={}", prefix.display())));
        // What is stored of it says so, too.
        assert_eq!(started.handle.0["python"]["generation"], number);
    }
    switch(&folders, "base", 1);
    let back = start(&spawner, "eve").await;
    assert_eq!(spawner.python(&back.handle).unwrap().generation, 1);
    for started in [before, after, back] {
        end(&spawner, &started.handle).await;
    }
}

#[tokio::test]
async fn a_profile_names_another_environment_or_a_program_elsewhere() {
    let (_room, folders, spawner) = room();
    generation(&folders, "base", 1);
    let stats = generation(&folders, "stats", 7);
    for (profile, expected) in [("stats", Some(stats)), ("elsewhere", None)] {
        let mut request = request("ada");
        request
            .user_options
            .insert("profile".to_owned(), json!(profile));
        let started = try_start(&spawner, request).await.unwrap();
        let found = spawner.python(&started.handle).map(|python| python.prefix);
        assert_eq!(found, expected, "{profile}");
        end(&spawner, &started.handle).await;
    }
}

#[tokio::test]
async fn without_a_generation_the_start_fails_and_says_how_to_build_one() {
    let (_room, _, spawner) = room();
    let failure = try_start(&spawner, request("ada")).await.unwrap_err();
    assert_eq!(failure.cause, Cause::CommandMissing);
    assert!(
        failure.message.contains("`base` cannot be used yet"),
        "{failure}"
    );
    assert!(
        failure
            .hint
            .contains("`lyceum env python build base --switch`"),
        "{}",
        failure.hint
    );
}
