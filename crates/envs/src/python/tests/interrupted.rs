//! Work that is dropped, killed, or ended by a crash.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::*;

#[tokio::test]
async fn dropping_the_work_ends_its_programs() {
    let place = Place::new();
    let (host, root, spec) = (plain(), place.root(), place.spec());
    let begun = tokio::time::timeout(
        Duration::from_millis(400),
        PythonEnvironment::ensure_on(&host, &root, &spec, &Silent),
    );
    assert!(begun.await.is_err(), "an environment within 0.4 s");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_in(&root).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", processes_in(&root));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_killed_build_is_cleaned_up_and_begun_again() {
    let place = Place::new();
    let spec = place.spec();
    for phase in [
        Phase::Creating,
        Phase::Downloading,
        Phase::Compiling,
        Phase::Testing,
    ] {
        kill_in(phase, &place);
        assert!(!place.base().join("current").exists());
    }
    let made = place.ensure(&spec).await.expect(INSTALL_PYTHON);
    assert_eq!((made.generation, made.fresh), (1, true));
    assert_eq!(place.entries(), ["1", "1.log", "current"]);
    assert_eq!(processes_in(&place.root()), Vec::<String>::new());
}

#[tokio::test]
async fn a_crash_between_stamp_and_switch_costs_nothing() {
    let place = Place::new();
    let spec = place.spec();
    let made = place.ensure(&spec).await.expect(INSTALL_PYTHON);
    fs::remove_file(place.base().join("current")).unwrap();
    let found = place.ensure(&spec).await.unwrap();
    assert_eq!(
        found,
        PythonEnvironment {
            fresh: false,
            ..made
        }
    );
    assert!(place.base().join("current").exists());
}

/// Starts a process that prepares the environment, and kills it as soon as it says that it is in `phase`.
fn kill_in(phase: Phase, place: &Place) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "python::tests::interrupted::prepares_for_another_test",
            "--nocapture",
        ])
        .env(CHILD_ROOT, place.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let wanted = format!("phase {}", phase.as_str());
    let reached = lines
        .map_while(Result::ok)
        .any(|line| line.contains(&wanted));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reached, "never came to {wanted}");
}

/// Says each phase on its standard output.
#[derive(Debug)]
struct Aloud;

impl Progress for Aloud {
    fn report(&self, report: &Report) {
        println!("\nphase {}", report.phase.as_str());
    }
}

/// The process that [`kill_in`] kills; when run among the other tests it has nothing to do.
#[tokio::test]
async fn prepares_for_another_test() {
    if let Some(folder) = env::var_os(CHILD_ROOT) {
        let folder = PathBuf::from(folder);
        let root = folder.join("the data of Žofie");
        let made = PythonEnvironment::ensure_on(
            &plain(),
            &root,
            &spec_from(&folder.join("wheels")),
            &Aloud,
        )
        .await;
        made.expect(INSTALL_PYTHON);
    }
}
