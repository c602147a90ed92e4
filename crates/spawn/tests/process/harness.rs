//! What the tests share: a place of their own, requests, a listener for progress, and waiting with a limit.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lyceum_core::lifecycle::Failure;
use lyceum_core::names::{ServerName, ServerRef, UserName};
use lyceum_core::random;
use lyceum_core::seams::{Handle, Spawner as _, StartProgress, StartRequest, Started};
use lyceum_spawn::process::{
    INSTANCE_VARIABLE, Places, ProcessConfig, ProcessSpawner, SERVER_VARIABLE,
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// The time limit of every wait.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The folders of one hub, which leave neither files nor processes behind.
pub(crate) struct Room {
    dir: TempDir,
    pub(crate) instance: String,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            instance: random::hex(8),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn home(&self, user: &str) -> PathBuf {
        self.path("data/homes").join(user)
    }

    pub(crate) fn places(&self) -> Places {
        Places {
            data_dir: self.path("data"),
            runtime_dir: self.path("run"),
            programs: Vec::new(),
            open_files: None,
        }
    }

    /// A spawner that runs a shell script.
    pub(crate) fn shell(&self, script: &str) -> ProcessSpawner {
        self.spawner(|config| config.command = words(&["/bin/sh", "-c", script]))
    }

    /// A spawner whose configuration is the default one but for what `edit` changes.
    pub(crate) fn spawner(&self, edit: impl FnOnce(&mut ProcessConfig)) -> ProcessSpawner {
        let mut config = ProcessConfig::default();
        edit(&mut config);
        ProcessSpawner::new(config, self.places(), &self.instance).unwrap()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for pid in carriers(INSTANCE_VARIABLE, &self.instance) {
            let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn server(user: &str) -> ServerRef {
    ServerRef::new(UserName::parse(user).unwrap(), ServerName::default_server())
}

pub(crate) fn request(user: &str) -> StartRequest {
    let server = server(user);
    StartRequest {
        service_prefix: server.url_path("/"),
        server,
        marker: random::hex(16),
        environment: BTreeMap::from([("JUPYTERHUB_USER".to_owned(), user.to_owned())]),
        user_options: serde_json::Map::new(),
        groups: Vec::new(),
        tls: None,
    }
}

/// Starts a server and checks that the handle was told.
pub(crate) async fn start(spawner: &ProcessSpawner, user: &str) -> Started {
    try_start(spawner, request(user)).await.unwrap()
}

pub(crate) async fn try_start(
    spawner: &ProcessSpawner,
    request: StartRequest,
) -> Result<Started, Failure> {
    let told = Told::default();
    let started = within(spawner.start(request, &told)).await?;
    assert_eq!(
        told.0.lock().unwrap().as_slice(),
        std::slice::from_ref(&started.handle)
    );
    Ok(started)
}

/// Writes down the handles that a start tells.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<Handle>>);

impl StartProgress for Told {
    fn handle(&self, handle: &Handle) {
        self.0.lock().unwrap().push(handle.clone());
    }

    fn say(&self, percent: u8, message: &str) {
        assert!((1..=99).contains(&percent), "{percent}: {message}");
    }
}

/// Awaits something that has to come in time.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it takes too long")
}

/// Waits until something outside has become true.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn pid(handle: &Handle) -> i32 {
    i32::try_from(handle.0["pid"].as_i64().unwrap()).unwrap()
}

pub(crate) fn marker(handle: &Handle) -> String {
    handle.0["marker"].as_str().unwrap().to_owned()
}

pub(crate) fn kill(pid: i32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether there is a process of this number, be it a zombie.
pub(crate) fn exists(pid: i32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// The living processes of a server that carry its mark.
pub(crate) fn family(handle: &Handle) -> HashSet<i32> {
    carriers(SERVER_VARIABLE, &marker(handle))
}

pub(crate) fn carriers(variable: &str, value: &str) -> HashSet<i32> {
    let wanted = format!("{variable}={value}");
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| variables(*pid).contains(&wanted))
        .collect()
}

/// The environment of a living process. One that is just becoming another program, as a shell does by `exec`, shows
/// none for a moment.
pub(crate) async fn environment(pid: i32) -> Vec<String> {
    eventually("the process shows its environment", || {
        !variables(pid).is_empty()
    })
    .await;
    variables(pid)
}

/// What a process shows of its environment at this moment; nothing if it is gone.
pub(crate) fn variables(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|variable| !variable.is_empty())
        .map(|variable| String::from_utf8_lossy(variable).into_owned())
        .collect()
}

/// Reads a number that a script writes into a file of a home folder.
pub(crate) async fn number_in(path: PathBuf) -> i32 {
    let read = || -> Option<i32> {
        let text = fs::read_to_string(&path).ok()?;
        text.strip_suffix('\n')?.trim().parse().ok()
    };
    eventually(&format!("a number in {}", path.display()), || {
        read().is_some()
    })
    .await;
    read().unwrap()
}
