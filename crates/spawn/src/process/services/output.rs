//! What a service writes, as lines for the log: bounded in length and number, and without control characters.

use std::io;
use std::time::Duration;

use lyceum_core::seams::ServiceLog;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::Instant;

/// The longest line, in bytes; a longer one is continued in the next.
const LINE_BYTES: usize = 4096;
/// How many lines are handed on in a second; a program gone wild must not fill the disk.
const LINES_PER_SECOND: u32 = 200;
const SECOND: Duration = Duration::from_secs(1);

/// How long a word may be and still not be cut in two: longer than any token, which is known again, and taken
/// out of the log, only if it stands in one line.
const WORD_BYTES: usize = 256;

/// How many bytes at the end of a line belong to a word that may go on; 0 if it is too long for one.
fn unfinished_word(line: &[u8]) -> usize {
    let is_break = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control();
    let length = line.iter().rev().take_while(|byte| !is_break(byte)).count();
    if length <= WORD_BYTES { length } else { 0 }
}

/// The reading end of a service's output.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` when everything was read.
    pipe: Option<pipe::Receiver>,
    line: Vec<u8>,
    gate: Gate,
}

impl Output {
    pub(super) fn new(pipe: pipe::Receiver) -> Self {
        Self {
            pipe: Some(pipe),
            line: Vec::new(),
            gate: Gate::new(),
        }
    }

    /// Reads once and hands on the lines that are whole. Never ends when there is nothing more to come. May be dropped.
    pub(super) async fn read(&mut self, log: ServiceLog<'_>) {
        let Some(pipe) = &mut self.pipe else {
            return std::future::pending().await;
        };
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer).await {
            Ok(0) => self.pipe = None,
            Ok(count) => self.take(buffer.get(..count).unwrap_or_default(), log),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(error = %error, "could not read what a service writes");
                self.pipe = None;
            }
        }
    }

    /// Reads to the end, which is when nobody has the other end any more.
    pub(super) async fn rest(&mut self, log: ServiceLog<'_>) {
        while self.pipe.is_some() {
            self.read(log).await;
        }
    }

    /// Hands on a last line without an end.
    pub(super) fn finish(&mut self, log: ServiceLog<'_>) {
        if !self.line.is_empty() {
            self.end_line(log);
        }
        self.gate.tell(log);
    }

    fn take(&mut self, bytes: &[u8], log: ServiceLog<'_>) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(log),
                byte => {
                    self.line.push(*byte);
                    if self.line.len() >= LINE_BYTES {
                        let rest = unfinished_word(&self.line);
                        let rest = self.line.split_off(self.line.len() - rest);
                        self.end_line(log);
                        self.line = rest;
                    }
                }
            }
        }
    }

    fn end_line(&mut self, log: ServiceLog<'_>) {
        let line = std::mem::take(&mut self.line);
        let text: String = String::from_utf8_lossy(&line)
            .trim_end()
            .chars()
            // Colours, and what would look like lines of others.
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{b7}'
                } else {
                    c
                }
            })
            .collect();
        if !text.is_empty() {
            self.gate.pass(&text, log);
        }
    }
}

/// Lets so many lines through in each second, and counts the others.
#[derive(Debug)]
struct Gate {
    since: Instant,
    passed: u32,
    left_out: u64,
}

impl Gate {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            passed: 0,
            left_out: 0,
        }
    }

    fn pass(&mut self, line: &str, log: ServiceLog<'_>) {
        let now = Instant::now();
        if now.duration_since(self.since) >= SECOND {
            self.tell(log);
            self.since = now;
            self.passed = 0;
        }
        if self.passed < LINES_PER_SECOND {
            self.passed += 1;
            log(line);
        } else {
            self.left_out += 1;
        }
    }

    fn tell(&mut self, log: ServiceLog<'_>) {
        if self.left_out > 0 {
            log(&format!("({} more lines were left out)", self.left_out));
            self.left_out = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::OwnedFd;
    use std::sync::Mutex;

    use super::*;

    async fn lines_of(text: &[u8]) -> Vec<String> {
        let (reader, mut writer) = io::pipe().unwrap();
        let text = text.to_owned();
        let writing = tokio::task::spawn_blocking(move || writer.write_all(&text).unwrap());
        let mut output = Output::new(pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap());
        let lines = Mutex::new(Vec::new());
        let log = |line: &str| lines.lock().unwrap().push(line.to_owned());
        tokio::time::timeout(Duration::from_secs(10), output.rest(&log))
            .await
            .unwrap();
        output.finish(&log);
        writing.await.unwrap();
        lines.into_inner().unwrap()
    }

    #[tokio::test]
    async fn lines_come_whole_and_without_control_characters() {
        let found = lines_of(b"one\ntwo\r\n\n\x1b[31mred\x1b[0m\xff\nlast").await;
        assert_eq!(
            found,
            ["one", "two", "\u{b7}[31mred\u{b7}[0m\u{fffd}", "last"]
        );
    }

    #[tokio::test]
    async fn a_word_at_the_end_of_a_long_line_is_not_cut() {
        let token = "0123456789abcdef".repeat(4);
        let text = format!("{} {token} end\n", "x".repeat(LINE_BYTES - 20));
        let found = lines_of(text.as_bytes()).await;
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], format!("{token} end"));
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_and_a_flood_is_counted() {
        let found = lines_of(&[b'x'; 10_000]).await;
        assert_eq!(
            found.iter().map(String::len).collect::<Vec<_>>(),
            [4096, 4096, 1808]
        );
        let found = lines_of("line\n".repeat(100_000).as_bytes()).await;
        assert!(found.len() < 10_000, "{} lines", found.len());
        assert!(found.last().unwrap().contains("were left out"));
    }
}
