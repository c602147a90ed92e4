//! What broker and keeper say to each other: a job, then a report, as one line of JSON each.

use std::path::PathBuf;

use lyceum_core::limits::Limits;
use serde::{Deserialize, Serialize};

use super::groups::Group;
use crate::plan::Plan;
use crate::policy::Sandbox;
use crate::variables::Variables;

/// What a keeper is to start and to keep.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) unit: String,
    pub(super) argv: Vec<String>,
    pub(super) environment: Variables,
    pub(super) working_dir: PathBuf,
    pub(super) home: PathBuf,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) gids: Vec<u32>,
    pub(super) open_files: Option<u64>,
    pub(super) private_tmp: bool,
    pub(super) protect_system: bool,
    pub(super) no_new_privileges: bool,
    /// The devices in a `/dev` of its own; `None` leaves it the machine's.
    pub(super) devices: Option<Vec<PathBuf>>,
    pub(super) read_only: Vec<PathBuf>,
    pub(super) hidden: Vec<PathBuf>,
    pub(super) log: PathBuf,
    pub(super) log_limit: u64,
    pub(super) slice: String,
    pub(super) limits: Limits,
    /// The server's groups, once the keeper has made them.
    #[serde(skip)]
    pub(super) groups: Vec<Group>,
    pub(super) record: PathBuf,
}

impl Job {
    pub(super) fn of(plan: &Plan, record: PathBuf) -> Self {
        let Sandbox {
            private_tmp,
            protect_system,
            no_new_privileges,
            private_devices,
            devices,
            read_only,
            hidden,
            properties: _,
        } = plan.sandbox.clone();
        Self {
            unit: plan.unit.clone(),
            argv: plan.argv.clone(),
            environment: plan.environment.clone(),
            working_dir: plan.working_dir.clone(),
            home: plan.account.home.clone(),
            uid: plan.account.uid,
            gid: plan.account.gid,
            gids: plan.account.gids.clone(),
            open_files: plan.open_files,
            private_tmp,
            protect_system,
            no_new_privileges,
            devices: private_devices.then(|| crate::engine::devices::find(&devices)),
            read_only,
            hidden,
            log: plan.log.clone(),
            log_limit: plan.log_limit,
            slice: plan.slice.clone(),
            limits: plan.limits.clone(),
            groups: Vec::new(),
            record,
        }
    }
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// The program runs, or has ended already; it is not waited for until the broker has said that it keeps it.
    Started(ProcessKey),
    /// It does not, and nothing is left.
    Failed {
        step: Step,
        /// The system's number for what was wrong.
        errno: i32,
        /// What it was about, such as a path.
        what: String,
    },
}

/// A process, told apart from all others that have or had its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessKey {
    pub(super) pid: i32,
    /// Ticks from boot to its start (field 22 of `/proc/PID/stat`).
    pub(super) start_time: u64,
    pub(super) boot: String,
}

/// The steps of a start that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    /// Making what the keeper needs: log, record, folders.
    Keeper,
    /// Entering the control groups.
    Groups,
    /// A view of the file system of its own.
    Namespace,
    /// Closing folders.
    Folders,
    /// Limits of resources.
    Limits,
    /// Becoming the user.
    Account,
    /// Entering the working folder.
    WorkingDir,
    /// Running the program.
    Program,
}
