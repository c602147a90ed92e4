//! A hub's process: started in a group of its own, ended politely, and by force if that does not help.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::case::pause;

/// How long a hub may take to end itself and its servers.
const END: Duration = Duration::from_secs(20);

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        Ok(Self(child))
    }

    /// Waits for the end of the process, for so long at most.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.has_ended() && Instant::now() < end {
            pause(Duration::from_millis(20));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Ok(id) = i32::try_from(self.0.id()) else {
            return;
        };
        if self.has_ended() {
            return;
        }
        let id = Pid::from_raw(id);
        let _ = kill(id, Signal::SIGTERM);
        self.wait(END);
        if !self.has_ended() {
            let _ = killpg(id, Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}
