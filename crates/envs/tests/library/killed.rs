//! A build that is killed, at each of its parts, and while others build or use what is there.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lyceum_envs::library::{Library, Wish};
use lyceum_envs::{Phase, Progress, Report};

use crate::place::{Installer, Place, settings_in};

/// Names the folder in which the helper process works, and at which report it ends.
const FOLDER: &str = "LYCEUM_ENVS_TEST_FOLDER";
const AT: &str = "LYCEUM_ENVS_TEST_AT";
const TEST: &str = "killed::a_build_that_is_killed_is_cleaned_up_by_the_next_one";

/// Ends its own process, as `kill -9` does, at the first report of a part.
#[derive(Debug)]
struct KillsAt(String);

impl Progress for KillsAt {
    fn report(&self, report: &Report) {
        if format!("{} {}", report.phase.as_str(), report.text).contains(&self.0) {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        }
    }
}

#[tokio::test]
async fn a_build_that_is_killed_is_cleaned_up_by_the_next_one() {
    if let (Some(folder), Ok(at)) = (std::env::var_os(FOLDER), std::env::var(AT)) {
        let library = Library::new(settings_in(Path::new(&folder), Installer::Uv));
        let built = library.build(&Wish::default(), &KillsAt(at)).await;
        panic!("it was not killed: {built:?}");
    }
    let place = Place::new(Installer::Uv, "alpha<2\n");
    place.install().await;
    place.require("alpha<2\ngamma\n");
    for at in [
        "looking for Python",
        "choosing packages",
        Phase::Creating.as_str(),
        Phase::Downloading.as_str(),
        Phase::Compiling.as_str(),
        "taking it over",
        Phase::Testing.as_str(),
        Phase::Done.as_str(),
    ] {
        let folder = place.path("");
        let status = tokio::task::spawn_blocking(move || killed(&folder, at))
            .await
            .unwrap();
        assert_eq!(status, Some(9), "at {at}");
        assert_eq!(place.library().current(), Some(1), "at {at}");
        assert_eq!(place.alpha(), "1.1", "at {at}");
    }
    // The last one was killed when the generation was complete: it is found, and not built again.
    let built = place.build().await.unwrap();
    assert!(!built.fresh, "{built:?}");
    let number = built.generation.unwrap().to_string();
    let mut entries = place.entries();
    // Each left its log, so that it can be read what went on.
    entries.retain(|entry| !entry.ends_with(".log"));
    assert_eq!(entries, ["1", &*number, "current"]);
    assert!(!place.path("envs/build/python-base").exists());
    place.library().switch(None).unwrap();
    place.python("current", "import alpha, gamma");
}

fn killed(folder: &PathBuf, at: &str) -> Option<i32> {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(FOLDER, folder)
        .env(AT, at)
        .output()
        .unwrap()
        .status
        .signal()
}
