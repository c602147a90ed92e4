//! What is built, shared, switched, listed and removed when all goes well.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use lyceum_envs::Silent;
use lyceum_envs::library::{ChangeKind, Edit, Upgrade, Wish};

use crate::place::{Installer, Place};

#[tokio::test]
async fn an_environment_is_built_changed_switched_and_taken_back_with_uv() {
    life_of_an_environment(Installer::Uv).await;
}

#[tokio::test]
async fn an_environment_is_built_changed_switched_and_taken_back_with_pip() {
    life_of_an_environment(Installer::Pip).await;
}

async fn life_of_an_environment(installer: Installer) {
    let place = Place::new(installer, "alpha<2  # the old one\nlarge\n");
    let library = place.library();

    // A trial changes nothing.
    let trial = Wish {
        dry_run: true,
        ..Wish::default()
    };
    let planned = library.build(&trial, &Silent).await.unwrap();
    assert_eq!(planned.generation, None);
    assert_eq!(planned.changes.len(), 2);
    assert!(!place.path("etc/base.lock").exists());

    let first = place.build().await.unwrap();
    assert_eq!((first.generation, first.fresh), (Some(1), true));
    assert_eq!(
        first.installer,
        if installer == Installer::Uv {
            "uv"
        } else {
            "pip"
        }
    );
    assert_eq!(library.current(), None, "building switches nothing");
    assert!(place.lock().contains("alpha==1.1 \\\n    --hash=sha256:"));
    library.switch(None).unwrap();
    assert_eq!(place.alpha(), "1.1");
    assert!(place.path("envs/python/base/1/lib").is_dir());
    let code = place.python("1", "import alpha; print(alpha.__cached__)");
    assert!(fs::metadata(&code).is_ok(), "it is compiled: {code}");

    // The same again is found, and not built.
    let again = place.build().await.unwrap();
    assert_eq!((again.generation, again.fresh), (Some(1), false));
    assert_eq!(place.entries(), ["1", "1.log", "current"]);

    // A package comes, and the others keep their versions, their comments and their files.
    let add = Edit::Add(vec!["gamma".to_owned()]);
    let second = library.edit(&add, Wish::default(), &Silent).await.unwrap();
    assert_eq!(second.generation, Some(2));
    let changed: Vec<_> = second
        .changes
        .iter()
        .map(|one| (&*one.name, one.kind))
        .collect();
    assert_eq!(changed, [("gamma", ChangeKind::Added)]);
    assert!(
        place
            .requirements()
            .ends_with("alpha<2  # the old one\nlarge\ngamma\n")
    );
    let data = "lib/python3.11/site-packages/large/data.bin";
    let data = data.replace("3.11", &minor(&place));
    let inode = |generation: &str| {
        let path = place.path("envs/python/base").join(generation).join(&data);
        fs::metadata(path).unwrap().ino()
    };
    assert_eq!(inode("1"), inode("2"));
    assert!(second.shared * 3 > second.bytes * 2, "{second:?}");
    let listed = library.list().await.unwrap();
    assert!(
        listed[1].own * 3 < listed[1].own + listed[1].shared,
        "{listed:?}"
    );
    assert_eq!(
        place.python("2", "import alpha, gamma; print(alpha.VERSION)"),
        "1.1"
    );

    // What is shared is compiled, too, and is taken as it is.
    let check = "import sys, alpha.part1 as m; print(m.__cached__, m.__spec__.loader.get_code(m.__name__).co_filename)";
    let told = place.python("2", check);
    assert!(told.contains("base/2/"), "{told}");

    // One may be newer, and goes back.
    place.require("alpha\nlarge\ngamma\n");
    let upgrade = Wish {
        upgrade: Upgrade::Packages(vec!["Alpha".to_owned()]),
        ..Wish::default()
    };
    library.switch(None).unwrap();
    let third = library.build(&upgrade, &Silent).await.unwrap();
    assert_eq!(third.changes.len(), 1);
    assert_eq!(third.changes[0].kind, ChangeKind::Up);
    assert_eq!(third.changes[0].after.as_deref(), Some("2.0"));
    library.switch(Some(3)).unwrap();
    assert_eq!(place.alpha(), "2.0");
    let (from, to, changes) = library.diff(Some(1), Some(3)).unwrap();
    assert_eq!((from, to, changes.len()), (1, 3, 2));
    let back = library.rollback().unwrap();
    assert_eq!((back.from, back.to), (Some(3), 2));
    assert_eq!(place.alpha(), "1.1");

    // One whose Python is gone is passed over, and told.
    library.switch(Some(3)).unwrap();
    let program = place.settings().generations().join("2/bin/python");
    let aside = program.with_file_name("aside");
    fs::rename(&program, &aside).unwrap();
    let back = library.rollback().unwrap();
    assert_eq!((back.from, back.to), (Some(3), 1));
    assert_eq!(back.skipped.len(), 1);
    assert_eq!(back.skipped[0].0, 2);
    fs::rename(&aside, &program).unwrap();
    library.switch(Some(2)).unwrap();

    // A removed package goes, and what does not stand there is told.
    let remove = Edit::Remove(vec!["GAMMA".to_owned()]);
    let fourth = library
        .edit(&remove, Wish::default(), &Silent)
        .await
        .unwrap();
    assert!(!place.requirements().contains("gamma"));
    assert!(
        fourth
            .changes
            .iter()
            .any(|one| one.kind == ChangeKind::Removed)
    );
    let error = library
        .edit(&remove, Wish::default(), &Silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not name it"), "{error}");
}

fn minor(place: &Place) -> String {
    place.python("1", "import sys; print('%d.%d' % sys.version_info[:2])")
}

#[tokio::test]
async fn what_has_to_be_done_is_read_from_the_files() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    let library = place.library();
    let due = || library.due().unwrap().map(|due| (due.why, due.from_lock));
    let told = |why: &str, from_lock| Some((why.to_owned(), from_lock));
    assert_eq!(due(), told("no generation is in use yet", false));
    place.install().await;
    assert_eq!(due(), None);
    place.require("alpha<2\ngamma\n");
    assert_eq!(due(), told("the requirements have changed", false));
    let built = place.build().await.unwrap();
    let why = "the lock file names other packages than are in use";
    assert_eq!(due(), told(why, true));
    // The lock file comes from elsewhere, such as another server: what it says is built, or found.
    let from_lock = Wish {
        from_lock: true,
        ..Wish::default()
    };
    let found = library.build(&from_lock, &Silent).await.unwrap();
    assert_eq!((found.generation, found.fresh), (built.generation, false));
    library.switch(found.generation).unwrap();
    assert_eq!(due(), None);
    let mut settings = place.settings();
    settings.python = "3.2".to_owned();
    let other = lyceum_envs::library::Library::new(settings);
    assert_eq!(
        other.due().unwrap().unwrap().why,
        "another Python is configured"
    );
}
