//! Reading the environment with which a process was started, also of one that is just becoming another program.
//!
//! In the middle of `execve`, the kernel shows an empty environment for some microseconds, or for as long as the new
//! program takes to come from the disk. Taken at its word, it would hide a server's process from whoever ends it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::thread;
use std::time::{Duration, Instant};

/// How long one walk through the processes waits for such ones, in all: a program can make itself look like one.
const LIMIT: Duration = Duration::from_millis(250);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_micros(500);
/// Room for the environment of most processes, in bytes.
const ROOM: usize = 16 * 1024;

// Where fields of `/proc/PID/stat` are behind the name (proc_pid_stat(5), whose numbers are greater by 3).
const STATE: usize = 0;
const VIRTUAL_SIZE: usize = 20;
const CODE_START: usize = 23;
const ENVIRONMENT_START: usize = 47;
const ENVIRONMENT_END: usize = 48;

/// Reads environments; made anew for each walk through the processes.
#[derive(Debug)]
pub(super) struct Reader {
    deadline: Instant,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            deadline: Instant::now() + LIMIT,
        }
    }

    /// Reads the environment of a process, entries ending in zero bytes; `None` if it is gone, or not ours to read.
    ///
    /// Blocks for moments.
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever walks through the processes is on a thread that may block"
    )]
    pub(super) fn read(&self, pid: i32) -> Option<Vec<u8>> {
        loop {
            let text = read_once(pid).ok()?;
            if !text.is_empty() || is_empty(pid) || Instant::now() >= self.deadline {
                return Some(text);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Reads in one go, which shows one program's environment, the old one's or the new one's; or nothing in between.
fn read_once(pid: i32) -> io::Result<Vec<u8>> {
    let mut text = vec![0; ROOM];
    loop {
        let length = File::open(format!("/proc/{pid}/environ"))?.read(&mut text)?;
        if length < text.len() {
            text.truncate(length);
            return Ok(text);
        }
        text.resize(text.len() * 4, 0);
    }
}

/// Tells whether a process has no environment indeed, by what the kernel says of the place where it would be.
fn is_empty(pid: i32) -> bool {
    let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let name_end = stat.iter().rposition(|byte| *byte == b')');
    let text = name_end.and_then(|end| stat.get(end + 1..));
    let text = String::from_utf8_lossy(text.unwrap_or_default());
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |index: usize| -> u64 {
        let field = fields.get(index).and_then(|field| field.parse().ok());
        field.unwrap_or(0)
    };
    // Neither one that has ended nor a thread of the kernel's has memory.
    let has_ended = fields
        .get(STATE)
        .is_none_or(|state| ["Z", "X"].contains(state));
    if has_ended || number(VIRTUAL_SIZE) == 0 {
        return true;
    }
    // The place of the code is noted last; until then the new program is not complete.
    number(CODE_START) != 0 && number(ENVIRONMENT_START) == number(ENVIRONMENT_END)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Child, Command};

    use super::*;

    /// Ends with the test.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn run(command: &mut Command) -> (Running, i32) {
        let child = command.spawn().unwrap();
        let pid = child.id().cast_signed();
        (Running(child), pid)
    }

    #[test]
    fn a_process_that_becomes_another_program_is_never_without_its_environment() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("again");
        fs::write(&script, "#!/bin/sh\nexec \"$0\"\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let (_running, pid) = run(Command::new("/bin/sh")
            .args(["-c", "exec \"$0\""])
            .arg(&script)
            .env("MARK", "here"));
        for _ in 0..3000 {
            let environment = Reader::new().read(pid).unwrap();
            let mut entries = environment.split(|byte| *byte == 0);
            assert!(entries.any(|entry| entry == b"MARK=here"));
        }
    }

    #[test]
    fn an_empty_environment_is_not_waited_for() {
        let (_running, pid) = run(Command::new("/bin/sleep").arg("600").env_clear());
        let deadline = Instant::now() + Duration::from_mins(1);
        let reader = Reader { deadline };
        assert_eq!(reader.read(pid), Some(Vec::new()));
        assert!(Instant::now() < deadline);
    }

    #[test]
    fn one_that_has_ended_has_none() {
        let (mut running, pid) = run(Command::new("/bin/sleep").arg("600").env("A", "b"));
        running.0.kill().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        let reader = Reader { deadline };
        while reader.read(pid).is_some_and(|text| !text.is_empty()) {
            thread::yield_now();
        }
        assert!(Instant::now() < deadline);
        running.0.wait().unwrap();
        assert_eq!(reader.read(pid), None);
    }
}
