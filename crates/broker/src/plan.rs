//! A start that has been decided: nothing of it is a client's wish any more.

use std::path::PathBuf;

use lyceum_core::limits::Limits;

use crate::account::Account;
use crate::policy::Sandbox;
use crate::protocol::ServerKey;
use crate::variables::Variables;

/// What an engine starts.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which start of which server.
    pub key: ServerKey,
    /// The name of its unit without an ending, such as `lyceum-ada` or `lyceum-ada-lab`; escaped, and the server's alone.
    pub unit: String,
    /// Under whose account.
    pub account: Account,
    /// The program, by its absolute path, and its arguments. Everybody may read them.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub environment: Variables,
    /// Where it starts. May be on a file system that does not answer.
    pub working_dir: PathBuf,
    /// The folder with its socket, which is there already: the account's, and the client's group may enter.
    pub folder: PathBuf,
    /// What it may use.
    pub limits: Limits,
    /// What is closed to it.
    pub sandbox: Sandbox,
    /// The PAM service with which a session is opened, if one is.
    pub session: Option<String>,
    /// The slice or parent control group.
    pub slice: String,
    /// The soft limit of open files.
    pub open_files: Option<u64>,
    /// Where its output goes, if the engine writes it to a file; in a folder of root's.
    pub log: PathBuf,
    /// How large that file may grow.
    pub log_limit: u64,
}
