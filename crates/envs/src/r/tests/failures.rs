//! What goes wrong in a build: the current library stays, and the report says what to do.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::*;
use super::place::{Made, Place, Server, cause, series, snapshot, state};
use crate::progress::{Progress, Report, Silent};

/// Names the folder in which the helper process of [`a_killed_build_leaves_the_current_library_alone`] works.
const CHILD_ROOT: &str = "LYCEUM_R_TEST_ROOT";

#[tokio::test]
async fn one_that_fails_stops_nobody_and_is_explained() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        Made::new("lycbroken", "1.0")
            .with_c("#include <curl/nothing-like-it.h>\n#include <curl/curl.h>\nint x = ;\n"),
        Made::new("lycneeds", "1.0").needs("Imports: lycbroken"),
        Made::new("lycgone", "1.0").needs("Imports: lycnowhere (>= 2.0)"),
        Made::new("lycload", "1.0")
            .code(".onLoad <- function(...) if (nzchar(Sys.getenv('LYC_LOAD'))) stop('no')\n"),
    ]);
    let list = "cran = [\"lyca\", \"lycneeds\", \"lycgone\", \"lycnothere\"]\n\
                [[package]]\nname = \"lycbroken\"\nrequired = false\n\
                [[package]]\nname = \"lyclost\"\nmethod = \"local\"\nlocator = \"/no/such/lyclost\"\nrequired = false\n";
    let report = place.build(list).await;
    assert_eq!(report.generation, Some(1), "{report:#?}");
    assert!(!report.complete);
    assert_eq!(*state(&report, "lyca"), State::Installed);
    let broken = cause(&report, "lycbroken");
    assert!(
        broken.contains("libcurl4-openssl-dev") || broken.contains("do not compile"),
        "{broken}"
    );
    assert!(
        broken.contains("fatal error") || broken.contains("ERROR: compilation failed"),
        "{broken}"
    );
    assert_eq!(
        *state(&report, "lycneeds"),
        State::Skipped {
            because: "it needs lycbroken".to_owned()
        }
    );
    assert_eq!(
        *state(&report, "lycgone"),
        State::Skipped {
            because: "it needs lycnowhere".to_owned()
        }
    );
    assert!(cause(&report, "lycnowhere").contains("no repository has it"));
    assert!(cause(&report, "lycnothere").contains("no repository has it"));
    let lost = cause(&report, "lyclost");
    assert!(
        lost.contains("there is no file and no folder /no/such/lyclost"),
        "{lost}"
    );
    let refused = place
        .library()
        .switch(&series(), Some(1))
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "generation 1 lacks packages that are required: lycneeds, lycgone, lycnothere"
    );
    assert!(place.library().switch(&series(), None).await.is_err());
    assert_eq!(
        place.build(list).await.generation,
        None,
        "the same again is nothing new"
    );

    // What was built is not built again, and a package that nobody requires is in nobody's way.
    let report = place
        .build("cran = [\"lyca\"]\n[[package]]\nname = \"lycbroken\"\nrequired = false\n")
        .await;
    assert_eq!(*state(&report, "lyca"), State::Kept);
    assert!(report.complete, "{report:#?}");
    assert_eq!(
        place.library().switch(&series(), None).await.unwrap().0,
        report.generation.unwrap()
    );
}

#[tokio::test]
async fn what_repositories_do_not_say_is_told_in_plain_words() {
    let place = Place::new();
    let spec = RSpec {
        repositories: vec!["http://127.0.0.1:9/cran".to_owned()],
        ..place.spec("cran = [\"lyca\", \"Stats\"]")
    };
    let report = place
        .library()
        .build(&spec, &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(report.generation, None);
    let misspelt = cause(&report, "Stats");
    assert!(misspelt.contains("a package stats, and none"), "{misspelt}");
    assert!(!report.complete);
    assert!(
        cause(&report, "lyca").contains("the repository http://127.0.0.1:9/cran cannot be reached")
    );
    assert_eq!(report.offline.len(), 1);
}

/// Tells the parent how far it is.
#[derive(Debug)]
struct Loud(Mutex<()>);

impl Progress for Loud {
    fn report(&self, report: &Report) {
        let _guard = self.0.lock().unwrap();
        println!("phase {}", report.phase.as_str());
    }
}

#[tokio::test]
async fn helper_that_builds_until_it_is_killed() {
    let Ok(root) = std::env::var(CHILD_ROOT) else {
        return;
    };
    let root = Path::new(&root);
    let list = fs::read_to_string(root.join("list")).unwrap();
    let mut place = Place::new();
    let spec = RSpec {
        repositories: vec![format!("file://{}", root.join("cran").display())],
        ..place.spec(&list)
    };
    place.account = None;
    let library = RLibrary::new(&root.join("envs"), "base").unwrap();
    let _ = library
        .build(&spec, &Upgrade::Nothing, &Loud(Mutex::new(())))
        .await;
}

#[tokio::test]
async fn a_killed_build_leaves_the_current_library_alone() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        // Its installation waits for long, so that there is a middle.
        Made::new("lycslow", "1.0")
            .needs("Imports: lyca")
            .code("if (!file.exists('/nonexistent')) Sys.sleep(300)\n"),
    ]);
    place.build("cran = [\"lyca\"]").await;
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let before = snapshot(&library.folder().join(series()).join("1"));
    fs::write(place.path("list"), "cran = [\"lyca\", \"lycslow\"]").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "r::tests::failures::helper_that_builds_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD_ROOT, place.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = library.folder().join(series()).join("2.logs/lycslow.log");
    let begun = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("** R")) {
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "the installation never began"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.says("cat(lyca::answer())"), "42");
    assert!(
        library.folder().join(series()).join("2/library").exists(),
        "something was left"
    );
    let report = place.build("cran = [\"lyca\"]").await;
    assert_eq!(report.generation, None, "{report:#?}");
    assert!(
        !library.folder().join(series()).join("2").exists(),
        "what was left is removed"
    );
    assert_eq!(snapshot(&library.folder().join(series()).join("1")), before);
    let left = Command::new("pgrep")
        .args(["-f", place.folder.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(left.stdout.is_empty(), "and so is what still ran: {left:?}");
}

/// Names the folder in which the helper process of [`a_full_disk_stops_a_build_and_nothing_else`] works.
const DISK: &str = "LYCEUM_R_TEST_DISK";
const SURVIVED: &str = "the library in use has survived";

#[tokio::test]
async fn a_full_disk_stops_a_build_and_nothing_else() {
    const TEST: &str = "r::tests::failures::a_full_disk_stops_a_build_and_nothing_else";
    if let Some(disk) = std::env::var_os(DISK) {
        return on_the_small_disk(Path::new(&disk)).await;
    }
    let place = Place::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    // A mount that nobody else sees, and that is gone with the process. Without root, a user namespace gives the right
    // to it.
    let mount = "mount -t tmpfs -o size=4m,mode=0755 lyceum-test \"$0\" && exec \"$@\"";
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

async fn on_the_small_disk(disk: &Path) {
    let mut place = Place::new();
    // In a user namespace there is nobody else.
    place.account = None;
    let data = "x".repeat(8 * 1024 * 1024);
    let large = format!("data <- '{data}'\n");
    place.publish(&[
        Made::new("lyca", "1.0"),
        Made::new("lyclarge", "1.0").code(&large),
    ]);
    let library = RLibrary::new(&disk.join("envs"), "base").unwrap();
    let build = async |list: &str| {
        library
            .build(&place.spec(list), &Upgrade::Nothing, &Silent)
            .await
    };
    build("cran = [\"lyca\"]").await.unwrap();
    library.switch(&series(), None).await.unwrap();
    let before = snapshot(&library.folder().join(series()).join("1"));
    let still_there = || {
        assert_eq!(library.find_current(&series()), Some(1));
        assert_eq!(snapshot(&library.folder().join(series()).join("1")), before);
    };

    let report = build("cran = [\"lyca\", \"lyclarge\"]").await.unwrap();
    assert!(!report.complete, "{report:#?}");
    let told = cause(&report, "lyclarge");
    assert!(
        told.contains("the disk is full") && told.contains("make room"),
        "{told}"
    );
    still_there();

    // A disk on which not even a folder can be made any more, and one that can only be read.
    let full = disk.join("full");
    let _ = fs::write(&full, vec![0; 8 * 1024 * 1024]);
    let error = build("cran = [\"lyca@2.0\"]").await.unwrap_err();
    assert!(error.hint().unwrap().contains("make room"), "{error:?}");
    still_there();
    fs::remove_file(&full).unwrap();
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk)
        .status()
        .unwrap();
    assert!(remounted.success());
    let error = build("cran = [\"lyca@2.0\"]").await.unwrap_err();
    assert!(error.hint().unwrap().contains("read-only"), "{error:?}");
    still_there();
    println!("{SURVIVED}");
}

#[tokio::test]
async fn a_repository_that_goes_away_in_the_middle_leaves_the_current_library_alone() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        Made::new("lycb", "1.0").needs("Imports: lyca"),
        Made::new("lycc", "1.0"),
    ]);
    let mut server = Server::start(place.path("cran"));
    let spec = |list: &str, address: &str| RSpec {
        repositories: vec![address.to_owned()],
        ..place.spec(list)
    };
    let library = place.library();
    let first = spec("cran = [\"lyca\"]", &server.address);
    library
        .build(&first, &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    library.switch(&series(), None).await.unwrap();
    let before = snapshot(&library.folder().join(series()).join("1"));

    // It says what it has, and of what it has, one is gone and one comes cut off.
    let contrib = place.path("cran/src/contrib");
    let whole = fs::read(contrib.join("lycc_1.0.tar.gz")).unwrap();
    fs::write(contrib.join("lycc_1.0.tar.gz"), &whole[..whole.len() / 2]).unwrap();
    fs::rename(contrib.join("lycb_1.0.tar.gz"), place.path("hidden")).unwrap();
    let all = "cran = [\"lyca\", \"lycb\", \"lycc\"]";
    let report = library
        .build(&spec(all, &server.address), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert!(!report.complete, "{report:#?}");
    for name in ["lycb", "lycc"] {
        let told = cause(&report, name);
        assert!(
            told.contains("cannot be downloaded")
                && told.contains("check the network connection and try again"),
            "{told}"
        );
    }
    // And nobody answers at all.
    server.stop();
    let report = library
        .build(&spec(all, &server.address), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    let told = cause(&report, "lycb");
    assert!(
        told.contains("cannot be reached") && told.contains("check the network connection"),
        "{told}"
    );
    assert_eq!(library.find_current(&series()), Some(1));
    assert_eq!(snapshot(&library.folder().join(series()).join("1")), before);

    // Once it is back, the build goes on.
    fs::write(contrib.join("lycc_1.0.tar.gz"), whole).unwrap();
    fs::rename(place.path("hidden"), contrib.join("lycb_1.0.tar.gz")).unwrap();
    let server = Server::start(place.path("cran"));
    let report = library
        .build(&spec(all, &server.address), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert!(report.complete, "{report:#?}");
    assert_eq!(*state(&report, "lyca"), State::Kept);
}
