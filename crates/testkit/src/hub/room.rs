//! The folders of a test's hub, its program for servers, and the processes that carry its mark.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up fails, as do its helpers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lyceum_core::random;
use lyceum_spawn::process::{INSTANCE_VARIABLE, Places, ProcessConfig, SocketKind};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::notebook::{self, Mode};

/// Folders for one hub; neither files nor processes outlive it.
#[derive(Debug)]
pub(super) struct Room {
    dir: TempDir,
    pub(super) instance: String,
}

impl Room {
    /// Makes the folders, below `parent` if there is one. Blocks.
    pub(super) fn new(parent: Option<&Path>) -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("lyceum");
        let room = Self {
            dir: parent
                .map_or_else(|| builder.tempdir(), |parent| builder.tempdir_in(parent))
                .unwrap(),
            instance: random::hex(8),
        };
        room.set_mode(Mode::Normal);
        room.install_program();
        room
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn places(&self) -> Places {
        Places {
            data_dir: self.path("data"),
            runtime_dir: self.path("run"),
            programs: Vec::new(),
            open_files: None,
        }
    }

    /// Servers are the tiny notebook, on Unix sockets.
    pub(super) fn process_config(&self) -> ProcessConfig {
        ProcessConfig {
            command: vec![self.program().display().to_string()],
            socket: SocketKind::Unix,
            ..ProcessConfig::default()
        }
    }

    fn program(&self) -> PathBuf {
        self.path("notebook")
    }

    /// Says how servers that are started from now on behave.
    pub(super) fn set_mode(&self, mode: Mode) {
        fs::write(self.path("mode"), mode.to_string()).unwrap();
    }

    /// Installs a program that becomes the tiny notebook, in the mode of the moment.
    pub(super) fn install_program(&self) {
        let notebook = notebook::program().unwrap();
        let script = format!(
            "#!/bin/sh\nexec '{}' --mode=\"$(cat '{}')\" \"$@\"\n",
            notebook.display(),
            self.path("mode").display()
        );
        // Written beside and moved: a file that is open for writing cannot be run.
        let new = self.path("notebook.new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.program()).unwrap();
    }

    pub(super) fn remove_program(&self) {
        fs::remove_file(self.program()).unwrap();
    }

    /// The living processes of all servers of this hub.
    pub(super) fn processes(&self) -> BTreeSet<i32> {
        carriers(&[format!("{INSTANCE_VARIABLE}={}", self.instance)])
    }

    /// The living processes of a user's servers.
    pub(super) fn processes_of(&self, user: &str) -> BTreeSet<i32> {
        carriers(&[
            format!("{INSTANCE_VARIABLE}={}", self.instance),
            format!("JUPYTERHUB_USER={user}"),
        ])
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for pid in self.processes() {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The processes in whose environment all these variables are. Those that have ended have none any more.
fn carriers(wanted: &[String]) -> BTreeSet<i32> {
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        wanted.iter().all(|wanted| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        })
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(carries)
        .collect()
}
