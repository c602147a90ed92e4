//! Short-lived children for whatever can stall, or runs code of others: PAM and its modules, the name service, homes on
//! a network. Each has a time limit, and is killed when it is over.
//!
//! A child is this program again. It gets its job by a pipe and an empty environment: a password is in no list of
//! processes.

mod copy;
mod creation;
mod home;
mod job;
mod links;
mod names;
#[cfg(feature = "pam")]
mod pam;
mod stage;
mod turns;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::turns::{Turn, Turns};
use crate::protocol::{Refusal, RefusalKind, frame};

pub(crate) use self::job::{Creation, Home, Job, Links, Login, Outcome, Verdict};
pub use self::stage::child_main;

/// How many children there are at most, besides those of logins.
const PLACES: usize = 48;
/// How long a question waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(20);
/// How many children of logins there are at most, in all and for one account: strangers can ask for these.
const LOGIN_PLACES: usize = 16;
const LOGINS_EACH: usize = 2;
/// How long a login waits for its turn.
const LOGIN_TURN_LIMIT: Duration = Duration::from_secs(5);
/// How long the making of an account waits for its turn: a whole class may come at once.
const CREATE_TURN_LIMIT: Duration = Duration::from_mins(1);
/// How long a child that was killed usually takes to end.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How many processes below a child are looked for when it is killed.
const MAX_DESCENDANTS: usize = 64;
/// The longest answer of a child, in bytes.
const MAX_ANSWER: u64 = 64 * 1024;

/// For what a child is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A login, which may be a stranger's: it gets no turn that people's own servers need.
    Login,
    /// Everything else.
    Work,
}

/// Starts children. One user has one at a time: whoever stalls is in nobody else's way.
#[derive(Debug)]
pub struct Children {
    program: PathBuf,
    arguments: Vec<OsString>,
    work: Turns,
    logins: Turns,
    /// One account is made at a time: the system's tool locks its files, and waits badly.
    creating: Arc<Semaphore>,
    /// One task for each child, which lives until the child is gone.
    running: Mutex<JoinSet<()>>,
}

impl Children {
    /// Children that are this program, started with these arguments; they have to lead to [`child_main`].
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
            work: Turns::new(PLACES, 1),
            logins: Turns::new(LOGIN_PLACES, LOGINS_EACH),
            creating: Arc::new(Semaphore::new(1)),
            running: Mutex::default(),
        }
    }

    /// Has a job done. When the time is over, the child is killed; also if this is dropped, but for jobs that must not
    /// end half done.
    pub(crate) async fn run(
        &self,
        purpose: Purpose,
        user: &str,
        job: &Job,
        limit: Duration,
    ) -> Result<Outcome, Refusal> {
        let doing = job.doing();
        let system = |error: io::Error| Refusal::system(doing, &error);
        let turn = self.turn(purpose, user, job).await?;
        let question = frame::encode(job).map_err(|error| system(io::Error::other(error)))?;
        let family = self.spawn().map_err(system)?;
        let (answer, answered) = oneshot::channel();
        let attended = Attended {
            family,
            turn,
            limit,
            finishes: job.must_be_finished(),
            doing,
            user: user.to_owned(),
        };
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            while running.try_join_next().is_some() {}
            running.spawn(attended.attend(question, answer));
        }
        match answered.await {
            Ok(Some(outcome)) => outcome.map_err(system),
            Ok(None) => Err(slow(doing, limit)),
            Err(_) => Err(ending()),
        }
    }

    /// Waits until all children are gone; those that are left when this is dropped are killed.
    pub(crate) async fn finish(&self) {
        let running = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *running)
        };
        running.join_all().await;
    }

    async fn turn(&self, purpose: Purpose, user: &str, job: &Job) -> Result<Turn, Refusal> {
        let (turns, besides, limit) = match (purpose, job) {
            (Purpose::Login, _) => (&self.logins, None, LOGIN_TURN_LIMIT),
            (Purpose::Work, Job::Create(_)) => {
                let creating = Arc::clone(&self.creating);
                (&self.work, Some(creating), CREATE_TURN_LIMIT)
            }
            (Purpose::Work, _) => (&self.work, None, TURN_LIMIT),
        };
        let taken = turns.take(user, besides, limit).await;
        taken.unwrap_or_else(|| {
            Err(match purpose {
                Purpose::Login => busy(),
                Purpose::Work => slow("begin, as what was asked before is still under way", limit),
            })
        })
    }

    fn spawn(&self) -> io::Result<Family> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Family(Some(child)))
    }
}

/// A child that is waited for, with all that it needs.
struct Attended {
    family: Family,
    turn: Turn,
    limit: Duration,
    /// Whether it goes on when nobody waits for its answer any more.
    finishes: bool,
    doing: &'static str,
    user: String,
}

impl Attended {
    /// Gives the child its job, tells what it answers, or nothing if the time is over, and waits until it is gone.
    async fn attend(
        self,
        question: Zeroizing<Vec<u8>>,
        mut answer: oneshot::Sender<Option<io::Result<Outcome>>>,
    ) {
        let mut family = self.family;
        let said = {
            let talking = timeout(self.limit, family.talk(question));
            if self.finishes {
                talking.await.ok()
            } else {
                tokio::select! {
                    said = talking => said.ok(),
                    () = answer.closed() => None,
                }
            }
        };
        family.kill();
        let own = self.turn.into_own();
        let _ = answer.send(said);
        if timeout(KILL_LIMIT, family.wait()).await.is_err() {
            tracing::warn!(
                user.name = self.user,
                "a process that was to {} cannot be ended; the next one for {} waits for it",
                self.doing,
                self.user
            );
            let _ = family.wait().await;
        }
        drop(own);
    }
}

/// A child with whatever it has started: all are killed unless it has ended by itself.
struct Family(Option<Child>);

impl Family {
    /// Asks, and waits for the answer and the end.
    async fn talk(&mut self, question: Zeroizing<Vec<u8>>) -> io::Result<Outcome> {
        let pipes = self
            .0
            .as_mut()
            .and_then(|child| child.stdin.take().zip(child.stdout.take()));
        let Some((mut input, output)) = pipes else {
            return Err(io::Error::other("no pipes"));
        };
        // A child that ends early closes its pipe; what it says, or not, tells more than that.
        let _ = input.write_all(&question).await;
        drop((input, question));
        let mut answer = Vec::new();
        output.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        self.wait().await?;
        frame::decode(&answer).map_err(|_| io::Error::other("its helper process has failed"))
    }

    async fn wait(&mut self) -> io::Result<()> {
        if let Some(child) = &mut self.0 {
            child.wait().await?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Family {
    /// Kills all of them, unless the child has ended.
    fn kill(&mut self) {
        // It has not been waited for, so its number is nobody else's. It leads a group of its own from its first moments
        // on; before that there is nothing but itself.
        let Some(child) = &mut self.0 else { return };
        if let Some(id) = child.id() {
            // Modules put what they start into sessions of its own (`pam_exec`), so that the group is not all.
            let below = descendants(id.cast_signed());
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
            for pid in below {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = child.start_kill();
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
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

/// What a login is told that comes when there are too many.
pub(crate) fn busy() -> Refusal {
    Refusal::new(
        RefusalKind::Slow,
        "The broker is busy with other logins.",
        "Try again in a minute.",
    )
}

fn ending() -> Refusal {
    Refusal::new(RefusalKind::Internal, "The broker is ending.", "")
}
