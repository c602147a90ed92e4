//! Ends of servers, of their keepers, of the broker in the middle of a start; and starts that hang.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_broker::engine::Engine as _;
use lyceum_core::seams::Exit;
use rustix::process::Resource;

use crate::place::{Place, keeper};
use crate::plans::{self, exit, has_ended, is_running, python, text_of, usage, wait_for};

/// A folder in which every look-up waits for ever, as on a network home that does not answer: a file system in user
/// space that nobody serves. It ends when it is dropped.
struct Stalled {
    device: Option<fs::File>,
    path: PathBuf,
}

impl Stalled {
    fn mount(path: &Path) -> Self {
        use std::os::fd::AsRawFd as _;
        let device = fs::File::options().read(true).write(true).open("/dev/fuse");
        let device = device.expect("this test needs /dev/fuse: load the kernel's module fuse");
        fs::create_dir_all(path).unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("stalled", path, "fuse", flags, Some(options.as_c_str())).unwrap();
        Self {
            device: Some(device),
            path: path.to_owned(),
        }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.device = None;
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_home_that_does_not_answer_delays_its_own_user_only() {
    let place = Place::new();
    let plan = place.shell("exec sleep 600");
    let stalled = Stalled::mount(&place.home());
    let mut start = Box::pin(place.engine.start(&plan));
    tokio::time::timeout(Duration::from_millis(500), &mut start)
        .await
        .unwrap_err();
    // Another one's server starts and ends meanwhile.
    let other = place.account("other");
    let unit = format!("lyceum-{}-other", place.slice);
    let others = plans::shell(
        &other,
        &unit,
        &place.slice,
        place.dir.path(),
        "exec sleep 600",
    );
    let running = place.engine.start(&others).await.unwrap();
    place
        .engine
        .stop(&others.unit, Some(&running.identity), None)
        .await
        .unwrap();
    // Given up, the one that hangs is gone, too.
    drop(start);
    place.engine.stop(&plan.unit, None, None).await.unwrap();
    place.assert_nothing_left(&plan);
    drop(stalled);
}

#[tokio::test]
async fn a_broker_that_is_killed_leaves_servers_that_run_and_none_that_half_run() {
    const LONGEST: u64 = 400;
    let place = Place::new();
    let mut kept = 0;
    for millis in [0, 5, 10, 15, 20, 30, 40, 60, 80, 120, 200, LONGEST] {
        let plan = place.shell("exec sleep 600");
        let mut broker = std::process::Command::new(keeper())
            .args([
                "broker",
                place.dir.path().to_str().unwrap(),
                &plan.unit,
                &place.slice,
            ])
            .args([place.uid.to_string()])
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if millis == LONGEST {
            wait_for("a server", async || {
                is_running(place.uid, "sleep").then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        broker.kill().unwrap();
        broker.wait().unwrap();
        // A keeper that has lost its broker ends; one that was told to go on goes on.
        let record = place
            .dir
            .path()
            .join(format!("processes/{}.json", plan.unit));
        let lists = async || {
            place
                .engine
                .list()
                .await
                .unwrap()
                .iter()
                .any(|(name, _)| *name == plan.unit)
        };
        wait_for("an end of all or nothing", async || {
            let keepers = is_running(0, &format!("{} keep", keeper().display()));
            (lists().await && record.exists() || !keepers && !is_running(place.uid, "sleep"))
                .then_some(())
        })
        .await;
        kept += u32::from(lists().await);
        place.engine.stop(&plan.unit, None, None).await.unwrap();
        wait_for("nothing left", async || {
            (!is_running(place.uid, "sleep")).then_some(())
        })
        .await;
    }
    assert!(kept > 0, "no start was quick enough to be kept");
}

#[tokio::test]
async fn a_killed_keeper_costs_the_exit_status_and_nothing_else() {
    let place = Place::new();
    let plan = place.shell("trap '' PIPE; sleep 601 & exec sleep 600");
    let running = place.engine.start(&plan).await.unwrap();
    let record = place.record(&plan);
    let keeper = i32::try_from(record["keeper"]["pid"].as_i64().unwrap()).unwrap();
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    usage(&place.engine, &plan, &running.identity).await;
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    assert!(has_ended(&running.pidfd));
    place.assert_nothing_left(&plan);
    for folder in record["folders"].as_array().unwrap() {
        assert!(
            !Path::new(folder.as_str().unwrap()).exists(),
            "{folder} is left"
        );
    }
    assert_eq!(exit(&place.engine, &plan, &running).await, Exit::Unknown);
}

#[tokio::test]
async fn a_damaged_record_makes_no_server_an_ended_one() {
    let place = Place::new();
    let plan = place.shell("exec sleep 600");
    let running = place.engine.start(&plan).await.unwrap();
    let path = place
        .dir
        .path()
        .join(format!("processes/{}.json", plan.unit));
    let record = fs::read(&path).unwrap();
    fs::write(&path, "{").unwrap();
    usage(&place.engine, &plan, &running.identity).await;
    for identity in [Some(&running.identity), None] {
        let stopped = place.engine.stop(&plan.unit, identity, None).await;
        let refusal = stopped.unwrap_err();
        let named = refusal.message.contains(path.to_str().unwrap());
        assert!(named, "{refusal:?}");
    }
    place.engine.start(&plan).await.unwrap_err();
    assert!(!has_ended(&running.pidfd));
    fs::write(&path, record).unwrap();
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    place.assert_nothing_left(&plan);
}

#[tokio::test]
async fn no_depth_of_temporary_folders_is_too_much_for_keeper_or_broker() {
    // As many open files as most machines allow, here and in the keeper.
    let mut files = rustix::process::getrlimit(Resource::Nofile);
    files.current = files.current.map(|most| most.min(1024));
    rustix::process::setrlimit(Resource::Nofile, files).unwrap();
    for keeper_is_killed in [false, true] {
        let place = Place::new();
        let plan = place.shell(&format!(
            "{} -c \"import os; os.chdir('/tmp'); [(os.mkdir('d'), os.chdir('d')) for _ in range(3_000)]\"; \
             echo done > ready; exec sleep 600",
            python().display()
        ));
        let running = place.engine.start(&plan).await.unwrap();
        text_of(&place.home().join("ready")).await;
        let record = place.record(&plan);
        if keeper_is_killed {
            let keeper = i32::try_from(record["keeper"]["pid"].as_i64().unwrap()).unwrap();
            let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
            rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
        }
        place
            .engine
            .stop(&plan.unit, Some(&running.identity), None)
            .await
            .unwrap();
        place.assert_nothing_left(&plan);
        for folder in record["folders"].as_array().unwrap() {
            let folder = Path::new(folder.as_str().unwrap());
            wait_for("the end of the folders", async || {
                (!folder.exists()).then_some(())
            })
            .await;
        }
    }
}
