//! The process that keeps a server: it is its parent, writes its log, takes its exit status, and cleans up after it.
//!
//! A small program of its own (`lyceum broker-child run-server`), so that the broker may be killed at any moment and
//! nothing is lost; without threads, so that it may fork. Until the broker has said that it keeps the server, the end of
//! the broker ends everything.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lyceum_core::seams::Exit;
use nix::unistd::ForkResult;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::family::Family;
use super::groups::Hierarchies;
use super::job::{Job, ProcessKey, Report, Step};
use super::log::Log;
use super::record::{self, Record};
use super::{groups, inside};
use crate::engine::machine;

/// What the broker says when it keeps a server.
pub(super) const KEEP: &[u8] = b"keep\n";
/// How long what a server has left gets between SIGTERM and SIGKILL.
const LEFT_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_mins(1);
/// How long the rest of the output may take, once nobody is left to write.
const REST_LIMIT: Duration = Duration::from_secs(2);
/// How often orphans are taken care of.
const ORPHANS: Duration = Duration::from_secs(5);
/// How long before its end the system may have begun to end a process because of its memory.
const KILL_TAKES: Duration = Duration::from_secs(2);

/// Runs as the keeper: the job comes by standard input, and the report goes there.
pub(super) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = Vec::new();
    BufReader::new(&socket).read_until(b'\n', &mut line)?;
    let mut job: Job = serde_json::from_slice(&line)?;
    // Not a member of the broker's session: what ends that one does not end this.
    let _ = rustix::process::setsid();
    let _ = rustix::process::set_child_subreaper(Pid::from_raw(1));
    let _ = fs::write("/proc/self/oom_score_adj", "-500");
    let lock = lock(&job.record)?;
    if let Err(error) = enter_groups(&mut job) {
        groups::remove_all(&job.groups);
        return say(&socket, &failed(Step::Groups, &error, &job.slice));
    }
    let mut folders = Vec::new();
    match begin(&job, &socket, &mut folders) {
        Ok(mut kept) => {
            kept.supervise(&job)?;
            groups::remove_all(&kept.record.groups);
            // The rest is this server's alone: however much there is in its folders, the next start does not wait.
            drop(lock);
            record::remove_folders(&kept.record.folders);
            Ok(())
        }
        Err(failed) => {
            let own = ProcessKey::of(std::process::id().cast_signed()).ok();
            let family = Family {
                groups: &job.groups,
                keeper: own.as_ref(),
            };
            family.kill(KILL_LIMIT);
            reap_all();
            groups::remove_all(&job.groups);
            let _ = fs::remove_file(&job.record);
            drop(lock);
            record::remove_folders(&folders);
            say(&socket, &failed)
        }
    }
}

/// Makes the server's groups, and goes to the other keepers, which nobody's limits count.
fn enter_groups(job: &mut Job) -> io::Result<()> {
    let all = Hierarchies::find()?;
    for group in all.keepers(&job.slice) {
        let _ = fs::write(group.join("cgroup.procs"), "0");
    }
    let made = all.make(&job.slice, &job.unit, &job.limits)?;
    if !groups::members(&made).is_empty() {
        return Err(nix::errno::Errno::EEXIST.into());
    }
    job.groups = made;
    Ok(())
}

/// Waits until no other keeper has this server: one whose broker was killed may still be cleaning up.
fn lock(record: &Path) -> io::Result<File> {
    if let Some(dir) = record.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(record.with_extension("lock"))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// A server that runs.
struct Kept {
    child: OwnedFd,
    /// What the server writes; nothing once all have closed it.
    output: Option<File>,
    log: Log,
    record: Record,
}

fn begin(job: &Job, socket: &UnixStream, folders: &mut Vec<PathBuf>) -> Result<Kept, Report> {
    let keeper = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| failed(Step::Keeper, &error, &what)
    };
    let log = Log::open(&job.log, job.log_limit).map_err(keeper("open the log"))?;
    for root in ["/tmp", "/var/tmp"] {
        folders.push(make_folder(root).map_err(keeper("make a folder for temporary files"))?);
    }
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
    let (output, output_end) = pipe().map_err(keeper("make a pipe"))?;
    let (errors, errors_end) = pipe().map_err(keeper("make a pipe"))?;
    let pid = fork(job, folders, &output_end, errors_end).map_err(keeper("make a process"))?;
    // Only the child writes.
    drop(output_end);
    // Nobody waits for it before this process does, so the number is its own.
    let child = machine::open_process(pid)
        .and_then(|child| child.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(keeper("open the new process"))?;
    let own = ProcessKey::of(std::process::id().cast_signed()).map_err(keeper("read /proc"))?;
    let record = Record {
        main: ProcessKey::of(pid).map_err(keeper("read /proc"))?,
        keeper: own,
        groups: job.groups.clone(),
        folders: folders.clone(),
        log: job.log.clone(),
        exit: None,
        out_of_memory: 0,
    };
    record
        .write(&job.record)
        .map_err(keeper("write the record"))?;
    until_program(socket, errors)?;
    let started = Report::Started(record.main.clone());
    say(socket, &started).map_err(keeper("tell the broker"))?;
    let mut answer = Vec::new();
    BufReader::new(socket)
        .read_until(b'\n', &mut answer)
        .map_err(keeper("hear the broker"))?;
    if answer != KEEP {
        return Err(failed(
            Step::Keeper,
            &io::ErrorKind::UnexpectedEof.into(),
            "hear the broker",
        ));
    }
    Ok(Kept {
        child,
        output: Some(File::from(output)),
        log,
        record,
    })
}

/// Waits until the program runs, or the child has said why not, or the broker is gone.
fn until_program(socket: &UnixStream, errors: OwnedFd) -> Result<(), Report> {
    let broken = |error: io::Error| failed(Step::Keeper, &error, "wait for the program");
    let mut fds = [
        PollFd::new(&errors, PollFlags::IN),
        PollFd::new(socket, PollFlags::IN),
    ];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))
        .map_err(|error| broken(error.into()))?;
    let [errors_ready, _] = fds.map(|fd| !fd.revents().is_empty());
    if !errors_ready {
        // The broker says nothing before the report: it is gone.
        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
    }
    let mut text = Vec::new();
    File::from(errors).read_to_end(&mut text).map_err(broken)?;
    if text.is_empty() {
        // Closed by exec.
        return Ok(());
    }
    Err(serde_json::from_slice(&text).map_err(|error| broken(error.into()))?)
}

#[expect(unsafe_code, reason = "the standard library has no fork")]
fn fork(job: &Job, folders: &[PathBuf], output: &OwnedFd, errors: OwnedFd) -> io::Result<i32> {
    // SAFETY: this process has no threads, so that the child may do whatever this one may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            let report = inside::run(job, folders, output);
            let _ = serde_json::to_vec(&report).map(|text| File::from(errors).write_all(&text));
            // SAFETY: ends this process at once; nothing of the parent's is to be dropped or flushed here.
            unsafe { nix::libc::_exit(127) }
        }
    }
}

impl Kept {
    /// Writes the log until the main process ends; then ends the rest, and tells how it was.
    fn supervise(&mut self, job: &Job) -> io::Result<()> {
        // Nothing more is heard from the broker.
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        let mut kills = Kills::new(groups::kills(&self.record.groups), Instant::now());
        loop {
            if kills.is_old(Instant::now()) {
                kills.note(groups::kills(&self.record.groups), Instant::now());
            }
            let (ended, readable) = self.wait(ORPHANS, true)?;
            if readable {
                self.take_output();
            }
            if ended {
                break;
            }
            self.reap_orphans();
        }
        let exit = exit_of(&self.child);
        let all_kills = groups::kills(&self.record.groups);
        self.record.out_of_memory = all_kills;
        self.record.exit = Some(match exit {
            Exit::Signal(9) if kills.are_fewer_than(all_kills) => Exit::OutOfMemory,
            other => other,
        });
        let _ = self.record.write(&job.record);
        // As systemd does it: what the server has left is asked, and then killed.
        let family = self.record.family();
        family.signal(Signal::TERM);
        if !family.wait_end(LEFT_LIMIT) {
            family.kill(KILL_LIMIT);
        }
        let until = Instant::now() + REST_LIMIT;
        while self.output.is_some()
            && Instant::now() < until
            && matches!(self.wait(REST_LIMIT, false), Ok((_, true)))
        {
            self.take_output();
        }
        reap_all();
        Ok(())
    }

    /// Waits for the end of the main process, or for output. Tells which came.
    fn wait(&self, limit: Duration, with_child: bool) -> io::Result<(bool, bool)> {
        let limit = Timespec::try_from(limit).unwrap_or_default();
        let flags = if with_child {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![PollFd::new(&self.child, flags)];
        fds.extend(
            self.output
                .iter()
                .map(|output| PollFd::new(output, PollFlags::IN)),
        );
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&limit)))?;
        let has = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        Ok((with_child && has(fds.first()), has(fds.get(1))))
    }

    /// Writes what there is to the log.
    fn take_output(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let Some(output) = &mut self.output else {
            return;
        };
        match output.read(&mut buffer) {
            Ok(0) => self.output = None,
            // A disk that is full costs lines, and not the server.
            Ok(length) => drop(self.log.write(buffer.get(..length).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.output = None,
        }
    }

    /// Takes the exit statuses of processes that have lost their parents, but not that of the server.
    fn reap_orphans(&self) {
        let main = self.record.main.pid;
        for pid in children() {
            if pid != main
                && let Some(pid) = Pid::from_raw(pid)
            {
                let _ = rustix::process::waitid(
                    WaitId::Pid(pid),
                    WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
                );
            }
        }
    }
}

/// How many processes the system had ended because of their memory a moment before now.
///
/// Kernels that were ended earlier say nothing about the end of the server itself. The count of just now may already have
/// its end in it, before the process is gone: so the one before that is kept.
#[derive(Debug)]
struct Kills {
    before: u64,
    last: u64,
    looked: Instant,
}

impl Kills {
    fn new(count: u64, now: Instant) -> Self {
        Self {
            before: count,
            last: count,
            looked: now,
        }
    }

    /// Whether it is time to count again.
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked) >= KILL_TAKES
    }

    fn note(&mut self, count: u64, now: Instant) {
        self.before = std::mem::replace(&mut self.last, count);
        self.looked = now;
    }

    /// Whether there was another one just now.
    fn are_fewer_than(&self, count: u64) -> bool {
        count > self.before
    }
}

/// The children of this process.
fn children() -> Vec<i32> {
    let pid = std::process::id();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Takes the exit status of the server.
fn exit_of(child: &OwnedFd) -> Exit {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::PidFd(child.as_fd()), options) {
        Ok(Some(status)) => status
            .exit_status()
            .map(Exit::Code)
            .or_else(|| status.terminating_signal().map(Exit::Signal))
            .unwrap_or(Exit::Unknown),
        Ok(None) | Err(_) => Exit::Unknown,
    }
}

fn reap_all() {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while matches!(rustix::process::waitid(WaitId::All, options), Ok(Some(_))) {}
}

/// Makes a folder that root alone can enter, and in it one for everybody, which becomes a server's `/tmp`.
fn make_folder(root: &str) -> io::Result<PathBuf> {
    let folder = nix::unistd::mkdtemp(&Path::new(root).join("lyceum-private-XXXXXX"))?;
    let inner = folder.join("tmp");
    fs::create_dir(&inner)?;
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777))?;
    Ok(folder)
}

fn say(mut socket: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    socket.write_all(&line)
}

fn failed(step: Step, error: &io::Error, what: &str) -> Report {
    Report::Failed {
        step,
        errno: error.raw_os_error().unwrap_or(0),
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_kill_is_not_the_servers_own_end() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut kills = Kills::new(0, begin);
        assert!(!kills.are_fewer_than(0) && kills.are_fewer_than(1));
        assert!(!kills.is_old(at(1)) && kills.is_old(at(5)));
        // A kernel is ended; a moment later it may still be the server's own end that one sees.
        kills.note(1, at(5));
        assert!(kills.are_fewer_than(1));
        kills.note(1, at(10));
        assert!(!kills.are_fewer_than(1));
        assert!(kills.are_fewer_than(2));
    }
}
