//! What goes wrong: at each point the generation in use works on, and the message says what to do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use lyceum_envs::library::{Edit, Library, Wish};
use lyceum_envs::{EnvError, Silent};

use crate::place::{Installer, Place, packages};

/// Something that goes wrong in a build, and what is said about it.
struct Case {
    name: &'static str,
    requirements: String,
    wish: Wish,
    /// A module that has to be importable.
    smoke: Option<&'static str>,
    /// What is in the message, and what in the advice.
    expected: (&'static str, &'static str),
}

impl Case {
    fn new(name: &'static str, requirements: &str, expected: (&'static str, &'static str)) -> Self {
        let packages = packages().display();
        Self {
            name,
            requirements: format!("--no-index\n--find-links {packages}\n{requirements}"),
            wish: Wish::default(),
            smoke: None,
            expected,
        }
    }

    /// From an index at this address.
    fn at_index(name: &'static str, address: &str, expected: (&'static str, &'static str)) -> Self {
        Self {
            requirements: format!("--index-url {address}\ngamma\n"),
            ..Self::new(name, "", expected)
        }
    }
}

fn cases(closing: &str) -> Vec<Case> {
    let mut faulty = Case::new(
        "a module that cannot be imported",
        "alpha<2\nfaulty\n",
        ("does not work: import faulty", ""),
    );
    faulty.smoke = Some("faulty");
    let mut python = Case::new(
        "a Python that is not there",
        "alpha<2\n",
        ("found no Python 3.99", "lyceum env python versions"),
    );
    python.wish.python = Some("3.99".to_owned());
    vec![
        Case::new(
            "a mistake in the requirements",
            "alpha<2\n\nbeta =>1\n",
            (
                "base.txt, line 5: `=>1` after `beta` says no versions",
                "for example `>=2,<3`",
            ),
        ),
        Case::new(
            "an editable package",
            "-e ./alpha\n",
            ("line 3: an editable", "wheel"),
        ),
        Case::new(
            "requirements that contradict each other",
            "alpha==2.0\nbeta\n",
            ("contradict each other", "loosen one of them"),
        ),
        Case::new(
            "a package that does not exist",
            "alpha<2\nomega\n",
            ("no version of omega", ""),
        ),
        Case::new(
            "a package for another Python",
            "newer\n",
            ("needs another version of Python", "--python"),
        ),
        Case::new(
            "a package that does not build",
            "alpha<2\nfailing\n",
            ("must be compiled here, and that failed", "build-essential"),
        ),
        Case::at_index(
            "an index that nobody answers for",
            "http://ada:hunter2@127.0.0.1:1/simple",
            ("cannot be reached", "check the network connection"),
        ),
        Case::at_index(
            "an index that goes away in the middle of a file",
            closing,
            ("has come incomplete", "what has been downloaded is kept"),
        ),
        faulty,
        python,
    ]
}

#[tokio::test]
async fn a_failed_build_leaves_the_environment_in_use_as_it_is_with_uv() {
    failed_builds(Installer::Uv).await;
}

#[tokio::test]
async fn a_failed_build_leaves_the_environment_in_use_as_it_is_with_pip() {
    failed_builds(Installer::Pip).await;
}

async fn failed_builds(installer: Installer) {
    let place = Place::new(installer, "alpha<2\n");
    place.install().await;
    let lock = place.lock();
    let library = place.library();
    let closing = closing_index();
    for case in cases(&closing) {
        fs::write(place.path("etc/base.txt"), &case.requirements).unwrap();
        let mut settings = place.settings();
        settings.smoke = case.smoke.iter().map(ToString::to_string).collect();
        let error = Library::new(settings)
            .build(&case.wish, &Silent)
            .await
            .expect_err(case.name);
        let (message, hint) = (error.to_string(), error.server_hint().unwrap_or_default());
        let (in_message, in_hint) = case.expected;
        assert!(message.contains(in_message), "{}: {error:#?}", case.name);
        assert!(hint.contains(in_hint), "{}: {hint}", case.name);
        assert!(
            !format!("{error:?}").contains("hunter2"),
            "{}: {error:?}",
            case.name
        );
        untouched(&place, &lock, case.name);
    }
    let mut logs = 0;
    for entry in place
        .entries()
        .iter()
        .filter(|entry| entry.ends_with(".log"))
    {
        let log = fs::read_to_string(place.path("envs/python/base").join(entry)).unwrap();
        assert!(!log.contains("hunter2"), "{log}");
        logs += 1;
    }
    assert!(
        logs > 2,
        "each failure can still be read about: {:?}",
        place.entries()
    );

    // The file is changed only when all is well.
    place.require("alpha<2\n");
    let before = place.requirements();
    for edit in [
        Edit::Add(vec!["omega".to_owned()]),
        Edit::Add(vec!["alpha==2.0".to_owned(), "beta".to_owned()]),
        Edit::Add(vec!["-e .".to_owned()]),
    ] {
        library
            .edit(&edit, Wish::default(), &Silent)
            .await
            .unwrap_err();
        assert_eq!(place.requirements(), before, "{edit:?}");
        untouched(&place, &lock, "an edit");
    }
    // And what went wrong before does not stand in the way.
    place.require("alpha<2\ngamma\n");
    let built = place.build().await.unwrap();
    assert!(built.fresh && built.generation > Some(2), "{built:?}");
}

/// The current generation works, nothing half-built is left, and the lock file is as it was.
fn untouched(place: &Place, lock: &str, name: &str) {
    assert_eq!(place.alpha(), "1.1", "{name}");
    assert_eq!(place.lock(), lock, "{name}");
    let left: Vec<_> = place
        .entries()
        .into_iter()
        .filter(|entry| !["1", "current"].contains(&entry.as_str()) && !entry.ends_with(".log"))
        .collect();
    assert!(left.is_empty(), "{name}: {left:?}");
}

#[tokio::test]
async fn a_lock_file_that_is_not_for_this_is_refused() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    place.install().await;
    let good = place.lock();
    let from_lock = Wish {
        from_lock: true,
        force: true,
        ..Wish::default()
    };
    let build = async || place.library().build(&from_lock, &Silent).await;
    let built = build().await.unwrap();
    assert_eq!(built.generation, Some(2));
    let line = good
        .lines()
        .find(|line| line.starts_with("#: python"))
        .unwrap();
    let digest = good.split("sha256:").nth(1).unwrap().get(..64).unwrap();
    let cases = [
        (
            good.replace(line, "#: python 3.2"),
            "is for Python 3.2 on",
            "writes a new lock file",
        ),
        (
            good.replace(digest, &"0".repeat(64)),
            "its hash differs",
            "do not trust its source",
        ),
        (
            good.replace("#: python", "# python"),
            "no lock file of ours",
            "writes a new one",
        ),
        (
            good.replace("alpha==", "alpha>="),
            "is no exact version",
            "writes a new lock file",
        ),
    ];
    for (text, message, hint) in cases {
        fs::write(place.path("etc/base.lock"), &text).unwrap();
        let error = build().await.unwrap_err();
        assert!(error.to_string().contains(message), "{message}: {error:#?}");
        assert!(error.server_hint().unwrap().contains(hint), "{error:?}");
        assert_eq!(place.alpha(), "1.1");
    }
    fs::write(place.path("etc/base.lock"), &good).unwrap();
    place.require("alpha<3\n");
    let error = build().await.unwrap_err();
    assert!(matches!(error, EnvError::StaleLock { .. }), "{error}");
    fs::remove_file(place.path("etc/base.txt")).unwrap();
    let error = place.build().await.unwrap_err();
    let hint = error.server_hint().unwrap();
    assert!(
        hint.starts_with("write it, with a package on each line"),
        "{hint}"
    );
    let mut entries = place.entries();
    entries.retain(|entry| !entry.ends_with(".log"));
    assert_eq!(entries, ["1", "2", "current"]);
}

#[tokio::test]
async fn an_interpreter_that_has_vanished_is_named_and_not_replaced_unasked() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    let own = place.path("own/bin/python3");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::copy(fs::canonicalize("/usr/bin/python3").unwrap(), &own).unwrap();
    let mut settings = place.settings();
    settings.python = own.display().to_string();
    Library::new(settings)
        .build(&Wish::default(), &Silent)
        .await
        .unwrap();
    let library = place.library();
    library.switch(None).unwrap();
    fs::remove_file(&own).unwrap();
    place.require("alpha<2\ngamma\n");
    let error = library.build(&Wish::default(), &Silent).await.unwrap_err();
    assert!(
        matches!(error, EnvError::PythonGone { generation: 1, .. }),
        "{error}"
    );
    let error = library.switch(Some(1)).unwrap_err();
    assert!(
        error.to_string().contains("is not there any more"),
        "{error}"
    );
    let wish = Wish {
        python: Some("/usr/bin/python3".to_owned()),
        ..Wish::default()
    };
    let built = library.build(&wish, &Silent).await.unwrap();
    library.switch(built.generation).unwrap();
    assert_eq!(place.alpha(), "1.1");
}

#[tokio::test]
async fn too_little_room_is_told_before_anything_is_downloaded() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    let mut settings = place.settings();
    settings.needed_mib = 1 << 40;
    let error = Library::new(settings)
        .build(&Wish::default(), &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, EnvError::DiskFull { .. }), "{error}");
    assert!(
        error
            .server_hint()
            .unwrap()
            .contains("lyceum env python gc")
    );
    assert!(place.entries().is_empty());
}

/// An index that has `gamma`, but whose connection ends in the middle of its file.
fn closing_index() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = if path.ends_with("/gamma/") {
                let page =
                    "<a href=\"/files/gamma-1.0-py3-none-any.whl\">gamma-1.0-py3-none-any.whl</a>";
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
                    page.len()
                )
            } else {
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\nPK"
                    .to_owned()
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/simple")
}

/// Names the folder in which the helper process of [`a_full_disk_stops_a_build_and_nothing_else`] works.
const DISK: &str = "LYCEUM_ENVS_TEST_DISK";
const SURVIVED: &str = "the environment in use has survived";

#[tokio::test]
async fn a_full_disk_stops_a_build_and_nothing_else() {
    const TEST: &str = "failures::a_full_disk_stops_a_build_and_nothing_else";
    if let Some(disk) = std::env::var_os(DISK) {
        return on_the_small_disk(disk.into()).await;
    }
    let place = Place::new(Installer::Uv, "alpha<2\n");
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    // A mount that nobody else sees, and that is gone with the process. Without root, a user namespace gives the right
    // to it.
    let mount = "mount -t tmpfs -o size=90m,mode=0755 lyceum-test \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", mount])
        .arg(&disk)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(DISK, &disk);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(SURVIVED),
        "this test mounts a small file system, as root or in a user namespace (sysctl \
         kernel.unprivileged_userns_clone=1):\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[expect(
    clippy::print_stdout,
    reason = "it tells the process that waits for this one that it came to its end"
)]
async fn on_the_small_disk(disk: PathBuf) {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    let library = || {
        let mut settings = place.settings();
        settings.folder = disk.join("envs");
        settings.needed_mib = 0;
        // In a user namespace there is nobody else.
        settings.build_as = "root".to_owned();
        Library::new(settings)
    };
    let wish = Wish::default();
    library().build(&wish, &Silent).await.unwrap();
    library().switch(None).unwrap();
    let alpha = || {
        let python = disk.join("envs/python/base/current/bin/python");
        let output = Command::new(python)
            .args(["-I", "-B", "-c", "import alpha; print(alpha.VERSION)"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    place.require("alpha<2\nlarge\n");
    let error = library().build(&wish, &Silent).await.unwrap_err();
    let told = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(
        told.contains("disk is full") || told.contains("StorageFull"),
        "{error:#?}"
    );
    assert!(
        error.server_hint().unwrap().contains("make room"),
        "{error:?}"
    );
    assert_eq!(alpha(), "1.1\n");
    let left = crate::place::entries(&disk.join("envs/python/base"));
    assert!(!left.contains(&"2".to_owned()), "{left:?}");

    // A disk that nothing can be written to any more.
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&disk)
        .status()
        .unwrap();
    assert!(remounted.success());
    place.require("alpha<2\ngamma\n");
    let error = library().build(&wish, &Silent).await.unwrap_err();
    assert!(
        error.server_hint().unwrap().contains("read-only"),
        "{error:?}"
    );
    assert_eq!(alpha(), "1.1\n");
    println!("{SURVIVED}");
}
