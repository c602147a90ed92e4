//! Short-lived children for whatever can stall, or runs code of others: PAM and its modules, the name service, homes on
//! a network. Each has a time limit, and is killed when it is over.
//!
//! A child is this program again. It gets its job by a pipe and an empty environment: a password is in no list of
//! processes.

mod copy;
mod creation;
mod home;
mod job;
mod names;
#[cfg(feature = "pam")]
mod pam;
mod stage;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::protocol::{Refusal, RefusalKind, frame};

pub(crate) use self::job::{Creation, Home, Job, Login, Outcome, Verdict};
pub use self::stage::child_main;

/// How many children there are at most.
const PLACES: usize = 48;
/// How long a question waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(20);
/// How many processes below a child are looked for when it is killed.
const MAX_DESCENDANTS: usize = 64;
/// The longest answer of a child, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// Starts children. One user has one at a time: whoever stalls is in nobody else's way.
#[derive(Debug)]
pub struct Children {
    program: PathBuf,
    arguments: Vec<OsString>,
    places: Arc<Semaphore>,
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Children {
    /// Children that are this program, started with these arguments; they have to lead to [`child_main`].
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
            places: Arc::new(Semaphore::new(PLACES)),
            users: Mutex::default(),
        }
    }

    /// Has a job done. If this is dropped, or the time is over, the child is killed.
    pub(crate) async fn run(
        &self,
        user: &str,
        job: &Job,
        limit: Duration,
    ) -> Result<Outcome, Refusal> {
        let _turn = self.turn(user).await?;
        let doing = job.doing();
        match timeout(limit, self.run_child(job)).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(Refusal::system(doing, &error)),
            Err(_) => Err(slow(doing, limit)),
        }
    }

    async fn turn(
        &self,
        user: &str,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Refusal> {
        let own = self.of(user);
        let places = Arc::clone(&self.places);
        // The user's own turn first: whoever waits for it takes no place from others.
        let waited = async {
            let own = own.acquire_owned().await?;
            let place = places.acquire_owned().await?;
            Ok((own, place))
        };
        timeout(TURN_LIMIT, waited)
            .await
            .map_err(|_| {
                slow(
                    "begin, as what was asked before is still under way",
                    TURN_LIMIT,
                )
            })?
            .map_err(|_: tokio::sync::AcquireError| {
                Refusal::new(RefusalKind::Internal, "The broker is ending.", "")
            })
    }

    fn of(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = users.get(user).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(1));
        users.insert(user.to_owned(), Arc::downgrade(&turn));
        turn
    }

    async fn run_child(&self, job: &Job) -> io::Result<Outcome> {
        let question = frame::encode(job).map_err(io::Error::other)?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(mut input), Some(output)) = (input, output) else {
            return Err(io::Error::other("no pipes"));
        };
        let mut family = Family(Some(child));
        // A child that ends early closes its pipe; what it says, or not, tells more than that.
        let _ = input.write_all(&question).await;
        drop(input);
        let mut answer = Vec::new();
        output.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        family.wait().await?;
        frame::decode(&answer).map_err(|_| io::Error::other("its helper process has failed"))
    }
}

/// A child with whatever it has started: all are killed unless it has ended by itself.
struct Family(Option<Child>);

impl Family {
    async fn wait(&mut self) -> io::Result<()> {
        if let Some(child) = &mut self.0 {
            child.wait().await?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // It has not been waited for, so its number is nobody else's. It leads a group of its own from its first moments
        // on; before that there is nothing but itself, which is killed by `kill_on_drop`.
        if let Some(id) = self.0.as_ref().and_then(Child::id) {
            // Modules put what they start into sessions of its own (`pam_exec`), so that the group is not all.
            let below = descendants(id.cast_signed());
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
            for pid in below {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// The processes below one, as far as they can be seen now; some small files of the kernel's are read.
fn descendants(pid: i32) -> Vec<i32> {
    let mut all = Vec::new();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let children = children
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok());
        for child in children.take(MAX_DESCENDANTS.saturating_sub(all.len())) {
            all.push(child);
            next.push(child);
        }
    }
    all
}

fn slow(doing: &str, limit: Duration) -> Refusal {
    Refusal::new(
        RefusalKind::Slow,
        format!(
            "The broker could not {doing} within {} s.",
            limit.as_secs_f32().ceil()
        ),
        "See that the directory server and the disks of the homes answer.",
    )
}
