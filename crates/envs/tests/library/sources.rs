//! Packages from elsewhere than an index: git, an address with a hash, a file; and what requirements say beside names.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use lyceum_envs::Silent;
use lyceum_envs::library::{Edit, Library, Upgrade, Wish};

use crate::place::{Installer, Place, packages};

#[tokio::test]
async fn packages_come_from_git_addresses_and_files_with_uv() {
    from_everywhere(Installer::Uv).await;
}

#[tokio::test]
async fn packages_come_from_git_addresses_and_files_with_pip() {
    from_everywhere(Installer::Pip).await;
}

async fn from_everywhere(installer: Installer) {
    let place = Place::new(installer, "");
    let repository = repository(&place);
    let gamma = packages().join("gamma-1.0-py3-none-any.whl");
    let output = Command::new("sha256sum").arg(&gamma).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap();
    let digest = digest.get(..64).unwrap();
    let address = served(&gamma);
    let wheel = "large-1.0-py3-none-any.whl";
    fs::copy(packages().join(wheel), place.path("etc").join(wheel)).unwrap();
    fs::write(place.path("etc/more.txt"), "-c limits.txt\nbeta\n").unwrap();
    fs::write(place.path("etc/limits.txt"), "alpha!=1.1\n").unwrap();
    place.require(&format!(
        "alpha ; python_version > '3'  # a comment\n\
         omega ; sys_platform == 'win32'\n\
         -r more.txt\n\
         ./{wheel}\n\
         {address}/gamma-1.0-py3-none-any.whl#sha256={digest}\n\
         hostile @ git+file://{}@v1\n",
        repository.display()
    ));
    if rustix::process::geteuid().is_root() {
        // git lets nobody read what belongs to somebody else, and the builder owns nothing.
        let error = place.build().await.unwrap_err();
        let hint = error.server_hint().unwrap();
        assert!(error.to_string().contains("another account"), "{error:?}");
        assert!(hint.contains("--system"), "{hint}");
        run("chown", &["-R", "nobody", repository.to_str().unwrap()]);
    }
    let built = place.install().await;
    let lock = place.lock();
    for line in [
        "alpha==1.0 \\\n    --hash=sha256:",
        "beta==1.0 \\\n    --hash=sha256:",
        &format!(
            "large @ file://{} \\\n    --hash=sha256:",
            place.path("etc").join(wheel).display()
        ),
        &format!("gamma @ {address}/gamma-1.0-py3-none-any.whl#sha256={digest} \\\n"),
        &format!("hostile @ git+file://{}@", repository.display()),
    ] {
        assert!(lock.contains(line), "{line}: {lock}");
    }
    assert!(!lock.contains("omega"), "{lock}");
    place.python("current", "import alpha, beta, large, gamma, hostile");

    // The lock file says all of it again, and the requirements know the files by their names.
    let trial = Wish {
        dry_run: true,
        ..Wish::default()
    };
    let wish = Wish {
        from_lock: true,
        ..trial.clone()
    };
    let again = place.library().build(&wish, &Silent).await.unwrap();
    assert!(again.changes.is_empty(), "{again:?}");
    assert_eq!(built.packages, again.packages);
    let remove = Edit::Remove(["large", "gamma"].map(str::to_owned).into());
    let without = place.library().edit(&remove, trial, &Silent).await.unwrap();
    assert_eq!(without.changes.len(), 2, "{without:?}");

    // A file that is another one now, under the same name.
    let due = || place.library().due().unwrap().map(|due| due.why);
    assert_eq!(due(), None);
    let changed = place.path("etc").join(wheel);
    let mut bytes = fs::read(&changed).unwrap();
    bytes.push(0);
    fs::write(&changed, bytes).unwrap();
    let told = due().unwrap();
    assert!(told.contains(wheel), "{told}");

    // A tag that is not there.
    place.require(&format!(
        "hostile @ git+file://{}@v2\n",
        repository.display()
    ));
    let error = place.build().await.unwrap_err();
    let hint = error.server_hint().unwrap();
    assert!(hint.contains("the branch or tag"), "{error:?}: {hint}");
}

/// A git repository with a package that can be built without a network.
fn repository(place: &Place) -> PathBuf {
    let folder = place.path("hostile-1.0");
    let archive = packages().join("hostile-1.0.tar.gz");
    let place = place.path("");
    run(
        "tar",
        &[
            "-xzf",
            archive.to_str().unwrap(),
            "-C",
            place.to_str().unwrap(),
        ],
    );
    let git = |words: &[&str]| {
        let start = ["-C", folder.to_str().unwrap()];
        let who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
        run("git", &[&start[..], &who, words].concat());
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=The first"]);
    git(&["tag", "v1"]);
    folder
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("this test needs git, tar and chown: apt install git");
    assert!(output.status.success(), "{output:?}");
}

/// The address of a server that has this file, over plain http.
fn served(file: &Path) -> String {
    let data = fs::read(file).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                data.len()
            );
            let _ = stream.write_all(head.as_bytes());
            if request
                .get(..read)
                .is_some_and(|text| text.starts_with(b"GET "))
            {
                let _ = stream.write_all(&data);
            }
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_built() {
    let place = Place::new(Installer::Uv, "alpha<2\n");
    place.install().await;
    let library = place.library();
    for name in ["alhpa", "alpha<2"] {
        let wish = Wish {
            upgrade: Upgrade::Packages(vec![name.to_owned()]),
            ..Wish::default()
        };
        let error = library.build(&wish, &Silent).await.unwrap_err();
        assert!(error.to_string().contains("no such package"), "{error}");
    }
    let remove = Edit::Remove(vec!["alpha<2".to_owned()]);
    let error = library
        .edit(&remove, Wish::default(), &Silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than a name"), "{error}");

    // Nobody could start a server any more.
    let mut settings = place.settings();
    settings.serves = true;
    let error = Library::new(settings)
        .build(&Wish::default(), &Silent)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no jupyterhub"), "{error}");
    assert!(error.server_hint().unwrap().contains("`jupyterhub`"));
    let mut entries = place.entries();
    entries.retain(|entry| !entry.ends_with(".log"));
    assert_eq!(entries, ["1", "current"]);

    let closed = place.path("closed/python3");
    let wish = Wish {
        python: Some(closed.display().to_string()),
        ..Wish::default()
    };
    let error = library.build(&wish, &Silent).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is no Python that can be used: it "),
        "{error}"
    );
    assert!(error.server_hint().unwrap().contains("below /opt"));
}

#[tokio::test]
async fn another_installer_finds_what_the_first_has_built() {
    let mut place = Place::new(Installer::Pip, "alpha<2\n");
    place.install().await;
    place.installer = Installer::Uv;
    let built = place.build().await.unwrap();
    assert_eq!((built.installer, built.fresh), ("uv", false), "{built:?}");
    assert_eq!(place.library().due().unwrap(), None);
}
