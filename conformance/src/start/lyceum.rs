//! Starts Lyceum.

use std::path::PathBuf;
use std::process::Command;

use super::{Process, Room, Running, Start, StartError};
use crate::list::Profile;

/// Lyceum's program.
#[derive(Debug)]
pub(crate) struct Lyceum {
    pub(crate) program: PathBuf,
    /// This program, which is the single-user server too.
    pub(crate) single: PathBuf,
    pub(crate) logs: Option<PathBuf>,
}

impl Start for Lyceum {
    fn name(&self) -> &'static str {
        "lyceum"
    }

    fn has(&self, _: Profile) -> bool {
        true
    }

    fn start(&self, profile: Profile) -> Result<Running, StartError> {
        let room = Room::new("lyceum", self.logs.as_deref(), profile)?;
        let failed = |error| StartError::Program("lyceum".to_owned(), error);
        let config = room.write("lyceum.toml", &self.config(&room, profile))?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(config).current_dir(room.folder.path());
        let process = Process::start(&mut command, &room.log).map_err(failed)?;
        room.running(process)
    }
}

impl Lyceum {
    fn config(&self, room: &Room, profile: Profile) -> String {
        let _ = (&self.single, room, profile);
        String::new()
    }
}
