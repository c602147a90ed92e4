//! Root by any road, accounts that are not users', names that are taken for something else, paths and links.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use lyceum_broker::protocol::RefusalKind;
use lyceum_broker::{Policy, Variables};

use super::room::{
    PASSWORD, Room, create, in_room, in_room_with, make_account, refusal, run, set_password, start,
    user,
};

/// Neither a login, nor an account, nor a start, under any of the names.
async fn never(room: &Room, names: &[&str]) {
    for name in names {
        let (typed, password) = (user(name), PASSWORD.into());
        let login = room.broker.authenticate(&typed, &password, "").await;
        let login = refusal(login.unwrap_err());
        assert_eq!(login, RefusalKind::Policy, "login of {name}");
        let ensured = room.broker.ensure_account(&user(name)).await.unwrap_err();
        assert_eq!(refusal(ensured), RefusalKind::Policy, "account of {name}");
        let started = room
            .broker
            .start(start(name, "1111111111"))
            .await
            .unwrap_err();
        let started = refusal(started);
        assert_eq!(started, RefusalKind::Policy, "start of {name}");
    }
    assert_eq!(room.engine.count(), 0);
    assert!(room.engine.plans.lock().unwrap().is_empty());
}

/// Even where the configuration itself is careless.
fn careless(policy: &mut Policy) {
    policy.accounts.uids = 0..=u32::MAX;
    policy.accounts.closed_shells.clear();
    create(policy);
}

#[test]
fn uid_0_by_any_road_is_refused_even_by_a_careless_configuration() {
    in_room_with(careless, async |room| {
        make_account(
            "toor",
            &[
                "--non-unique",
                "--uid",
                "0",
                "--no-user-group",
                "--gid",
                "users",
            ],
        );
        make_account("wheel0", &["--no-user-group", "--gid", "0"]);
        make_account("member", &["--groups", "root"]);
        set_password("root");
        never(&room, &["root", "toor", "wheel0", "member"]).await;
        never(
            &room,
            &["0", "00", "0x0", "+0", "-0", "1000", "root:x", "root,ada"],
        )
        .await;
    });
}

#[test]
fn accounts_of_the_system_and_of_lyceum_are_refused() {
    in_room(async |room| {
        run("groupadd", &["--gid", "990", "lyceum"]);
        run(
            "useradd",
            &["--uid", "990", "--gid", "990", "-s", "/bin/bash", "lyceum"],
        );
        make_account("insider", &["--groups", "lyceum"]);
        run("groupadd", &["--force", "sudo"]);
        make_account("admin", &["--groups", "sudo"]);
        make_account("closed", &[]);
        run("usermod", &["-s", "/bin/false", "closed"]);
        never(
            &room,
            &[
                "daemon", "nobody", "www-data", "lyceum", "insider", "admin", "closed", "mallory",
            ],
        )
        .await;
    });
}

#[test]
fn names_that_look_like_options_paths_or_fields_are_refused() {
    in_room_with(careless, async |room| {
        let before = fs::read_to_string("/etc/passwd").unwrap();
        never(
            &room,
            &[
                "--help",
                "-u0",
                "-o",
                "--root=.",
                "ada:0:0",
                "a b",
                "a,b",
                "~",
                "$HOME",
                "%u",
                "*",
                "ada;id",
                "`id`",
                "a\\nb",
                "é",
                ".hidden",
                "+ada",
                "{username}",
                "abcdefghijklmnopqrstuvwxyz0123456",
            ],
        )
        .await;
        assert_eq!(fs::read_to_string("/etc/passwd").unwrap(), before);
    });
}

#[test]
fn a_name_that_the_machine_spells_otherwise_is_refused() {
    // A directory that does not tell case apart answers `Ada` with `ada`. The name service of the machine's own files
    // does, so a wrong spelling is no account there.
    in_room(async |room| {
        make_account("ada", &[]);
        for name in ["Ada", "ADA"] {
            let error = room
                .broker
                .start(start(name, "1111111111"))
                .await
                .unwrap_err();
            assert_eq!(refusal(error), RefusalKind::NoAccount, "{name}");
        }
        assert_eq!(room.engine.count(), 0);
    });
}

#[test]
fn the_hub_chooses_neither_command_nor_search_path_nor_code() {
    in_room(async |room| {
        make_account("ada", &[]);
        for name in [
            "PATH",
            "LD_PRELOAD",
            "PYTHONPATH",
            "BASH_ENV",
            "JUPYTER_PATH",
            "JUPYTERHUB_SINGLEUSER_APP",
        ] {
            let mut wish = start("ada", "1111111111");
            wish.environment = Variables([(name.to_owned(), "/tmp/evil".to_owned())].into());
            let error = room.broker.start(wish).await.unwrap_err();
            assert_eq!(refusal(error), RefusalKind::Policy, "{name}");
        }
        let mut wish = start("ada", "1111111111");
        wish.profile = Some("../../tmp/evil".to_owned());
        let error = room.broker.start(wish).await.unwrap_err();
        assert_eq!(refusal(error), RefusalKind::Policy);
        room.broker.start(start("ada", "2222222222")).await.unwrap();
        let plan = room.engine.plans.lock().unwrap().pop().unwrap();
        assert_eq!(plan.argv, ["/bin/sleep", "600"]);
    });
}

#[test]
fn path_tricks_in_marks_prefixes_and_server_names_reach_no_file() {
    in_room(async |room| {
        make_account("ada", &[]);
        for marker in [
            "../../../etc/passwd",
            "a/b/c/d/e/f",
            "short",
            "0123456789\n",
        ] {
            let error = room.broker.start(start("ada", marker)).await.unwrap_err();
            assert_eq!(refusal(error), RefusalKind::Protocol, "{marker}");
        }
        let mut wish = start("ada", "1111111111");
        wish.service_prefix = "/../user/ada/".to_owned();
        let error = room.broker.start(wish).await.unwrap_err();
        assert_eq!(refusal(error), RefusalKind::Protocol);
        let mut wish = start("ada", "1111111111");
        wish.key.server = lyceum_core::ServerName::parse("~.ssh\\..").unwrap();
        let server = lyceum_core::ServerRef::new(wish.key.user.clone(), wish.key.server.clone());
        wish.service_prefix = server.url_path("/");
        // An odd name, but a server's: it stays within the folders for servers.
        let _ = room.broker.start(wish).await;
        for folder in room.folders() {
            assert!(folder.starts_with("lyceum-"), "{folder}");
        }
    });
}

#[test]
fn symlink_races_in_the_runtime_folder_reach_nothing_outside() {
    in_room(async |room| {
        make_account("ada", &[]);
        let precious = room.dir.join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "kept").unwrap();
        let folder = room.policy.servers_dir.join("lyceum-ada");
        for round in 0..20 {
            let marker = format!("marker{round:04}");
            room.broker.start(start("ada", &marker)).await.unwrap();
            let owner = fs::metadata("/home/ada").unwrap().uid();
            for (name, target) in [
                ("server.sock", precious.join("file")),
                ("x", precious.clone()),
            ] {
                let link = folder.join(name);
                symlink(target, &link).unwrap();
                std::os::unix::fs::lchown(link, Some(owner), None).unwrap();
            }
            let _ = fs::remove_dir(folder.join("jupyter"));
            symlink(&precious, folder.join("jupyter")).unwrap();
            room.broker
                .stop(&super::room::key("ada", &marker), None)
                .await
                .unwrap();
        }
        assert!(room.folders().is_empty());
        assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "kept");
        assert_eq!(fs::metadata(&precious).unwrap().uid(), 0);
    });
}

#[test]
fn a_user_named_broker_does_not_get_the_brokers_own_unit() {
    in_room(async |room| {
        make_account("broker", &[]);
        let (started, _) = room
            .broker
            .start(start("broker", "1111111111"))
            .await
            .unwrap();
        assert_eq!(started.unit, "lyceum-\\x62roker");
    });
}
