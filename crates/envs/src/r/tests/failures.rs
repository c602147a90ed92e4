//! What goes wrong in a build: the current library stays, and the report says what to do.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::*;
use super::place::{Made, Place, cause, series, snapshot, state};
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
                [[package]]\nname = \"lycbroken\"\nrequired = false\n";
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
        ..place.spec("cran = [\"lyca\"]")
    };
    let report = place
        .library()
        .build(&spec, &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(report.generation, None);
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
