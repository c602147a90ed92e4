//! What is kept, who may write where, and what users see.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lyceum_envs::Silent;
use lyceum_envs::library::{Library, Wish};

use crate::place::{Installer, Place};

#[tokio::test]
async fn old_generations_go_but_for_those_in_use() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    place.install().await;
    let force = Wish {
        force: true,
        ..Wish::default()
    };
    for _ in 0..3 {
        place.library().build(&force, &Silent).await.unwrap();
    }
    let mut settings = place.settings();
    settings.keep = 1;
    let library = Library::new(settings);
    library.switch(Some(4)).unwrap();
    // Somebody computes in the first.
    let mut user = Command::new(place.path("envs/python/base/1/bin/python"))
        .args([
            "-I",
            "-c",
            "import sys; print('ready', flush=True); sys.stdin.read()",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(user.stdout.as_mut().unwrap(), &mut line).unwrap();
    let listed = library.list().await.unwrap();
    assert_eq!(listed[0].used_by.len(), 1, "{listed:?}");
    assert!(listed[3].current && listed.iter().all(|one| one.complete));

    // What an interrupted run has left goes, too.
    fs::create_dir(place.path("envs/python/base/9")).unwrap();
    let trial = library.gc(true, &Silent).await.unwrap();
    let numbers = |removal: &lyceum_envs::library::Removal| -> Vec<u32> {
        removal.removed.iter().map(|one| one.number).collect()
    };
    assert_eq!(numbers(&trial), [2]);
    assert!(place.path("envs/python/base/2").is_dir());
    let removal = library.gc(false, &Silent).await.unwrap();
    assert_eq!(numbers(&removal), [2]);
    let why: Vec<_> = removal
        .kept
        .iter()
        .map(|one| (one.number, &*one.why))
        .collect();
    assert_eq!(
        why,
        [
            (4, "current"),
            (3, "one of the last 1 before"),
            (1, "in use by a process")
        ]
    );
    assert_eq!(
        place.entries(),
        ["1", "1.log", "3", "3.log", "4", "4.log", "current"]
    );
    drop(user.stdin.take());
    assert!(user.wait().unwrap().success());
    assert_eq!(numbers(&library.gc(false, &Silent).await.unwrap()), [1]);
    assert_eq!(place.alpha(), "1.1", "what was shared is still there");
}

#[tokio::test]
async fn what_builds_can_change_nothing_that_is_finished() {
    let place = Place::new(Installer::Uv, "alpha<2\nhostile\n");
    place.install().await;
    let told = place.python(
        "current",
        "import hostile; print(hostile.UID, hostile.SECRET)",
    );
    let root = rustix::process::geteuid().as_raw();
    if root == 0 {
        // Needs a variable of ours that nobody handed on; that of the shell is one.
        let nobody = fs::metadata(place.path("envs/cache/uv")).unwrap().uid();
        assert_ne!(nobody, 0);
        assert_eq!(told, format!("{nobody} None"));
    }
    let mut folders = vec![place.path("envs/python")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let data = fs::symlink_metadata(entry.path()).unwrap();
            assert_eq!(data.uid(), root, "{}", entry.path().display());
            if !data.is_symlink() {
                assert_eq!(data.mode() & 0o7022, 0, "{}", entry.path().display());
            }
            if data.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    // Nothing in it is one file with the installer's cache.
    let cached = files_below(&place.path("envs/cache"));
    let ours = files_below(&place.path("envs/python"));
    assert!(cached.iter().all(|file| !ours.contains(file)));
    assert!(!cached.is_empty());
}

fn files_below(folder: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let data = entry.metadata().unwrap();
        if data.is_dir() {
            found.extend(files_below(&entry.path()));
        } else if data.is_file() {
            found.push(data.ino());
        }
    }
    found
}

#[tokio::test]
async fn users_see_their_own_packages_unless_that_is_turned_off() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    place.install().await;
    let mut settings = place.settings();
    settings.user_packages = false;
    let without = Library::new(settings)
        .build(&Wish::default(), &Silent)
        .await
        .unwrap();
    assert_eq!((without.generation, without.fresh), (Some(2), true));
    let home = place.path("home");
    let minor = place.python("1", "import sys; print('%d.%d' % sys.version_info[:2])");
    let own = home.join(format!(".local/lib/python{minor}/site-packages"));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("mine.py"), "").unwrap();
    // It can add, but not replace what the environment has.
    fs::write(own.join("alpha.py"), "VERSION = 'of the user'\n").unwrap();
    let run = |generation: &str, options: &[&str]| {
        let code = "import alpha, importlib.util, site; \
                    print(alpha.VERSION, bool(importlib.util.find_spec('mine')), bool(site.ENABLE_USER_SITE))";
        let output = Command::new(
            place
                .path("envs/python/base")
                .join(generation)
                .join("bin/python"),
        )
        .args(options)
        .args(["-c", code])
        .env("HOME", &home)
        .env_remove("PYTHONNOUSERSITE")
        .env_remove("PYTHONUSERBASE")
        .current_dir("/")
        .output()
        .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(run("1", &[]), "1.1 True True");
    assert_eq!(run("1", &["-s"]), "1.1 False False");
    assert_eq!(run("1", &["-I"]), "1.1 False False");
    assert_eq!(run("2", &[]), "1.1 False False");
}
