//! Logins by PAM, and accounts that are found or made.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lyceum_broker::protocol::{Made, RefusalKind};

use super::room::{
    PASSWORD, Room, create, in_room, in_room_with, key, make_account, refusal, run, set_password,
    start, until, user,
};

async fn log_in(room: &Room, name: &str, password: &str) -> Result<u32, RefusalKind> {
    let (name, password) = (user(name), password.into());
    let asked = room
        .broker
        .authenticate(&name, &password, "192.0.2.1")
        .await;
    asked.map(|account| account.uid).map_err(refusal)
}

#[test]
fn pam_tells_right_wrong_expired_closed_and_locked_apart() {
    in_room(async |room| {
        for name in ["ada", "old", "stale", "locked", "nologin", "empty"] {
            make_account(name, &[]);
        }
        run("usermod", &["--expiredate", "2001-01-01", "old"]);
        run("chage", &["--lastday", "0", "stale"]);
        run("usermod", &["--lock", "locked"]);
        run("usermod", &["--shell", "/usr/sbin/nologin", "nologin"]);
        run("passwd", &["--delete", "empty"]);
        assert!(log_in(&room, "ada", PASSWORD).await.unwrap() >= 1000);
        let check = async |name: &str, password: &str, expected: RefusalKind| {
            assert_eq!(log_in(&room, name, password).await, Err(expected), "{name}");
        };
        check("ada", "wrong", RefusalKind::Credentials).await;
        check("ada", "", RefusalKind::Credentials).await;
        check("empty", "", RefusalKind::Credentials).await;
        check("nobody-here", PASSWORD, RefusalKind::Credentials).await;
        check("old", PASSWORD, RefusalKind::AccountClosed).await;
        check("stale", PASSWORD, RefusalKind::PasswordExpired).await;
        check("locked", PASSWORD, RefusalKind::Credentials).await;
        check("nologin", PASSWORD, RefusalKind::Policy).await;
        check("mallory", PASSWORD, RefusalKind::Policy).await;
        fs::write("/etc/nologin", "The machine is being repaired.").unwrap();
        check("ada", PASSWORD, RefusalKind::AccountClosed).await;
        check("ada", "wrong", RefusalKind::Credentials).await;
    });
}

#[test]
fn an_account_that_is_closed_after_the_login_starts_no_server_any_more() {
    in_room(async |room| {
        make_account("ada", &[]);
        log_in(&room, "ada", PASSWORD).await.unwrap();
        let mut number = 1_000_000_000;
        let mut try_start = async || {
            number += 1;
            let marker = number.to_string();
            let started = room.broker.start(start("ada", &marker)).await;
            if started.is_ok() {
                room.broker.stop(&key("ada", &marker), None).await.unwrap();
            }
            started.map(drop).map_err(|error| match error.refusal() {
                Some(refusal) => (refusal.kind, refusal.message.clone()),
                None => panic!("{error}"),
            })
        };
        try_start().await.unwrap();
        run("chage", &["--expiredate", "0", "ada"]);
        let (kind, message) = try_start().await.unwrap_err();
        assert_eq!(kind, RefusalKind::AccountClosed);
        assert!(message.contains("account has expired"), "{message}");
        assert_eq!(room.engine.count(), 0);
        run("chage", &["--expiredate", "-1", "ada"]);
        try_start().await.unwrap();
        run("chage", &["--lastday", "0", "ada"]);
        let (kind, _) = try_start().await.unwrap_err();
        assert_eq!(kind, RefusalKind::PasswordExpired);
        run("chage", &["--lastday", "-1", "ada"]);
        fs::write("/etc/nologin", "The machine is being repaired.\n").unwrap();
        let (kind, message) = try_start().await.unwrap_err();
        assert_eq!(kind, RefusalKind::AccountClosed);
        assert!(message.contains("being repaired"), "{message}");
        fs::remove_file("/etc/nologin").unwrap();
        // A locked password is no closed account, to PAM as to `sshd` with keys: `docs/security.md` says so.
        run("usermod", &["--lock", "ada"]);
        try_start().await.unwrap();
        let missing = "account required pam_no_such_module.so\n";
        fs::write("/etc/pam.d/lyceum", missing).unwrap();
        let (kind, _) = try_start().await.unwrap_err();
        assert_eq!(kind, RefusalKind::System, "no answer is no permission");
    });
}

#[test]
fn accounts_are_not_asked_about_at_starts_where_the_configuration_says_so() {
    let off = |policy: &mut lyceum_broker::Policy| {
        policy.pam.as_mut().unwrap().check_at_start = false;
    };
    in_room_with(off, async |room| {
        make_account("ada", &[]);
        run("chage", &["--expiredate", "0", "ada"]);
        room.broker.start(start("ada", "1111111111")).await.unwrap();
    });
}

/// Puts a module before all others that never answers.
fn stall_logins(room: &Room) {
    let stalling = room.dir.join("stall");
    fs::write(&stalling, "#!/bin/sh\nexec sleep 100\n").unwrap();
    run("chmod", &["755", stalling.to_str().unwrap()]);
    let service = fs::read_to_string("/etc/pam.d/lyceum").unwrap();
    let rule = format!("auth required pam_exec.so {}\n", stalling.display());
    fs::write("/etc/pam.d/lyceum", rule + &service).unwrap();
}

#[test]
fn logins_of_strangers_take_no_turn_that_the_accounts_owner_needs() {
    in_room(async |room| {
        make_account("ada", &[]);
        stall_logins(&room);
        let logins: FuturesUnordered<_> = (0..3).map(|_| log_in(&room, "ada", PASSWORD)).collect();
        let mut logins = std::pin::pin!(logins);
        let begun = Instant::now();
        let work = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            room.broker.ensure_account(&user("ada")).await.unwrap();
            begun.elapsed()
        };
        let (first, worked) = tokio::join!(logins.next(), work);
        assert_eq!(first, Some(Err(RefusalKind::Slow)));
        assert!(worked < Duration::from_secs(4), "{worked:?}");
        assert!(begun.elapsed() < Duration::from_secs(12));
    });
}

#[test]
fn logins_never_take_all_questions() {
    in_room(async |room| {
        stall_logins(&room);
        let names: Vec<String> = (0..100).map(|number| format!("stranger{number}")).collect();
        let mut logins: FuturesUnordered<_> = names
            .iter()
            .map(|name| log_in(&room, name, PASSWORD))
            .collect();
        let begun = Instant::now();
        for _ in 0..30 {
            assert_eq!(logins.next().await, Some(Err(RefusalKind::Slow)));
        }
        room.broker.list().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn a_module_that_stalls_delays_its_user_alone_and_is_killed() {
    let slow = |policy: &mut lyceum_broker::Policy| {
        policy.pam.as_mut().unwrap().limit = Duration::from_secs(2);
    };
    in_room_with(slow, async |room| {
        make_account("ada", &[]);
        make_account("bob", &[]);
        let stalling = room.dir.join("stall");
        let mark = room.dir.join("stalled");
        fs::write(
            &stalling,
            format!(
                "#!/bin/sh\n[ \"$PAM_USER\" = bob ] || exit 0\necho $$ > {}\nexec sleep 100\n",
                mark.display()
            ),
        )
        .unwrap();
        run("chmod", &["755", stalling.to_str().unwrap()]);
        let service = fs::read_to_string("/etc/pam.d/lyceum").unwrap();
        let rule = format!("account required pam_exec.so {}\n", stalling.display());
        fs::write("/etc/pam.d/lyceum", service + &rule).unwrap();
        let begun = Instant::now();
        let (bob, ada) = tokio::join!(
            log_in(&room, "bob", PASSWORD),
            log_in(&room, "ada", PASSWORD)
        );
        assert_eq!(bob, Err(RefusalKind::Slow));
        assert!(ada.is_ok(), "{ada:?}");
        assert!(begun.elapsed().as_secs() < 10);
        let pid = fs::read_to_string(mark).unwrap();
        let process = PathBuf::from(format!("/proc/{}", pid.trim()));
        until(|| {
            fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
        })
        .await;
    });
}

#[test]
fn a_module_that_asks_for_more_than_a_password_gets_nothing() {
    in_room(async |room| {
        make_account("ada", &[]);
        fs::write("/etc/pam.d/lyceum", "auth required pam_no_such_module.so\n").unwrap();
        assert_eq!(
            log_in(&room, "ada", PASSWORD).await,
            Err(RefusalKind::System)
        );
    });
}

#[test]
fn a_missing_account_is_made_once_with_home_shell_and_groups() {
    let made = |policy: &mut lyceum_broker::Policy| create(policy);
    in_room_with(made, async |room| {
        fs::write("/etc/skel/hello.txt", "hello").unwrap();
        let name = user("ada");
        let (one, other, bob_name) = (&room.broker, &room.broker, user("bob"));
        let (one, other, bob) = tokio::join!(
            one.ensure_account(&name),
            other.ensure_account(&name),
            room.broker.ensure_account(&bob_name)
        );
        let (one, other, bob) = (one.unwrap(), other.unwrap(), bob.unwrap());
        assert!(one.1 != other.1 && bob.1, "one of both has made it");
        assert_eq!(one.0, other.0);
        let account = one.0;
        assert!((1000..60_000).contains(&account.uid) && account.uid != bob.0.uid);
        assert_eq!(account.shell, Path::new("/bin/bash"));
        assert!(account.groups.contains(&"users".to_owned()), "{account:?}");
        let home = fs::metadata("/home/ada").unwrap();
        assert_eq!((home.uid(), home.mode() & 0o7777), (account.uid, 0o750));
        let hello = fs::metadata("/home/ada/hello.txt").unwrap();
        assert_eq!(hello.uid(), account.uid);
        // What was made is told once, by the next start.
        let starting = room.broker.start(start("bob", "1111111111"));
        let made = starting.await.unwrap().0.made;
        assert_eq!(made.account.as_deref(), Some("bob"));
        assert_eq!(made.home.as_deref(), Some(Path::new("/home/bob")));
        let first = key("bob", "1111111111");
        room.broker.stop(&first, None).await.unwrap();
        let starting = room.broker.start(start("bob", "2222222222"));
        assert_eq!(starting.await.unwrap().0.made, Made::default());
        // Without a password nobody logs in; with one, they do.
        assert!(log_in(&room, "ada", PASSWORD).await.is_err());
        set_password("ada");
        assert_eq!(log_in(&room, "ada", PASSWORD).await, Ok(account.uid));
        for odd in [
            "Eve", "e.ve", "root", "daemon", "--help", "-u0", "0", "eve:x",
        ] {
            let refused = room.broker.ensure_account(&user(odd)).await.unwrap_err();
            assert_eq!(refusal(refused), RefusalKind::Policy, "{odd}");
        }
        assert!(
            !fs::read_to_string("/etc/passwd")
                .unwrap()
                .to_lowercase()
                .contains("eve")
        );
    });
}

#[test]
fn a_start_that_is_called_off_leaves_a_whole_account_and_the_next_one_makes_its_home() {
    let made = |policy: &mut lyceum_broker::Policy| create(policy);
    in_room_with(made, async |room| {
        // The system's tool, but slower.
        let (real, slow) = (room.dir.join("useradd"), room.dir.join("slow-useradd"));
        let (begun, done) = (room.dir.join("begun"), room.dir.join("done"));
        fs::copy("/usr/sbin/useradd", &real).unwrap();
        let script = format!(
            "#!/bin/sh\ntouch {}\nsleep 1\n{} \"$@\"\nstatus=$?\ntouch {}\nexit $status\n",
            begun.display(),
            real.display(),
            done.display()
        );
        fs::write(&slow, script).unwrap();
        run("chmod", &["755", slow.to_str().unwrap()]);
        let none: Option<&str> = None;
        let bind = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&slow), "/usr/sbin/useradd", none, bind, none).unwrap();
        tokio::select! {
            started = room.broker.start(start("ada", "1111111111")) => panic!("{started:?}"),
            () = until(|| begun.exists()) => {}
        }
        until(|| done.exists()).await;
        assert!(!Path::new("/home/ada").exists());
        // What is left of a home whose making was killed.
        fs::create_dir_all("/home/.lyceum-home-ada/home/half").unwrap();
        room.broker.start(start("ada", "2222222222")).await.unwrap();
        let home = fs::metadata("/home/ada").unwrap();
        assert_eq!(home.mode() & 0o7777, 0o750);
        assert!(home.uid() >= 1000 && Path::new("/home/ada/.profile").exists());
        assert!(!Path::new("/home/ada/half").exists());
        assert!(!Path::new("/home/.lyceum-home-ada").exists());
    });
}

#[test]
fn no_account_is_made_unless_the_configuration_says_so() {
    in_room(async |room| {
        let refused = room.broker.ensure_account(&user("ada")).await.unwrap_err();
        assert_eq!(refusal(refused), RefusalKind::NoAccount);
    });
}

#[test]
fn a_missing_home_is_made_but_only_where_root_alone_can_change_things() {
    let homes = |policy: &mut lyceum_broker::Policy| policy.accounts.create_home = true;
    in_room_with(homes, async |room| {
        run(
            "useradd",
            &["--no-create-home", "--shell", "/bin/bash", "ada"],
        );
        let (account, created) = room.broker.ensure_account(&user("ada")).await.unwrap();
        assert!(!created);
        assert_eq!(fs::metadata("/home/ada").unwrap().uid(), account.uid);
        run("chmod", &["777", "/home"]);
        run(
            "useradd",
            &["--no-create-home", "--shell", "/bin/bash", "bob"],
        );
        let refused = room.broker.ensure_account(&user("bob")).await.unwrap_err();
        assert_eq!(refusal(refused), RefusalKind::System);
        assert!(!Path::new("/home/bob").exists());
        run("chmod", &["755", "/home"]);
        std::os::unix::fs::symlink("/etc", "/home/bob").unwrap();
        room.broker.ensure_account(&user("bob")).await.unwrap();
        assert_eq!(
            fs::metadata("/etc").unwrap().uid(),
            0,
            "the link was not followed"
        );
    });
}

#[test]
fn space_of_a_home_is_told() {
    in_room(async |room| {
        make_account("ada", &[]);
        let space = room.broker.home(&user("ada")).await.unwrap();
        assert!(space.free.is_some_and(|free| free > 0), "{space:?}");
        fs::remove_dir_all("/home/ada").unwrap();
        assert_eq!(
            refusal(room.broker.home(&user("ada")).await.unwrap_err()),
            RefusalKind::System
        );
    });
}
