//! Which tests failed and why, read from what their runners print, so that a report of thousands of lines ends with it.

use std::fmt;
use std::path::PathBuf;

/// How much of a reason is kept: the beginning tells most.
const LINES: usize = 12;
/// A longer line is cut.
const WIDTH: usize = 400;

/// A test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) name: String,
    /// The file that it stands in, if that was told.
    pub(crate) file: Option<PathBuf>,
    /// The first lines of what was said of it.
    reason: Vec<String>,
}

impl Failure {
    pub(crate) fn named(name: String) -> Self {
        Self {
            name,
            file: None,
            reason: Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for line in &self.reason {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Reads the output of nextest and of libtest, line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    failures: Vec<Failure>,
    /// Whose output follows.
    of: Option<usize>,
    /// Whether a reason is being read.
    telling: bool,
}

impl Reader {
    pub(crate) fn read(&mut self, line: &str) {
        let text = line.trim();
        if let Some(name) = failed_in_nextest(text) {
            self.begin(name);
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.begin(name);
            self.of = None;
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.begin(name);
        } else if let Some(failure) = self.of.and_then(|index| self.failures.get_mut(index)) {
            let begins = failure.reason.is_empty() && text.contains("panicked at");
            self.telling |= begins;
            if self.telling && (text.starts_with("note: ") || text == "stack backtrace:") {
                self.telling = false;
            }
            if self.telling {
                keep(&mut failure.reason, text);
            }
        }
    }

    pub(crate) fn end(self) -> Vec<Failure> {
        self.failures
    }

    /// Each is named more than once: where it fails, and in the summary.
    fn begin(&mut self, name: &str) {
        self.telling = false;
        let known = self.failures.iter().position(|known| known.name == name);
        self.of = Some(known.unwrap_or_else(|| {
            self.failures.push(Failure::named(name.to_owned()));
            self.failures.len() - 1
        }));
    }
}

/// The name in `FAIL [   0.874s] (12/1662) lyceum-store lists::are_short`; also where a signal or a time limit ended it.
fn failed_in_nextest(text: &str) -> Option<&str> {
    let (verdict, rest) = text.split_once(" [")?;
    if !matches!(verdict, "FAIL" | "TIMEOUT" | "ABORT") && !verdict.starts_with("SIG") {
        return None;
    }
    let (time, rest) = rest.split_once(']')?;
    if !time.trim().ends_with('s') {
        return None;
    }
    let rest = rest.trim_start();
    let name = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, name)) => name.trim_start(),
        None => rest,
    };
    Some(name)
}

/// Reads a whole report of Node's runner (TAP 13 with YAML blocks).
pub(crate) fn in_tap(report: &str) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut lines = report.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = line
            .trim_start()
            .strip_prefix("not ok ")
            .and_then(|rest| rest.split_once(" - "))
        else {
            continue;
        };
        let mut failure = Failure::named(name.1.to_owned());
        let mut only_of_its_parts = false;
        // How far the key is indented whose block of text is being read.
        let mut block = None;
        while let Some(line) = lines.next_if(|line| line.trim() != "...") {
            let text = line.trim();
            if failure.file.is_none() {
                failure.file = test_file(text);
            }
            if block.is_some_and(|key| indent(line) > key || text.is_empty()) {
                keep(&mut failure.reason, text);
                continue;
            }
            block = None;
            if text == "failureType: 'subtestsFailed'" {
                only_of_its_parts = true;
            } else if let Some(error) = text.strip_prefix("error: ") {
                if error.starts_with('|') {
                    block = Some(indent(line));
                } else {
                    keep(&mut failure.reason, error.trim_matches('\''));
                }
            }
        }
        if !only_of_its_parts {
            failures.push(failure);
        }
    }
    failures
}

/// The file with tests that a line of the report names, such as the location or a line of the stack. The location alone is
/// not enough: it may be in a helper that begins tests.
fn test_file(line: &str) -> Option<PathBuf> {
    const END: &str = ".test.mjs";
    let (before, _) = line.split_once(END)?;
    let begin = before.find('/')?;
    let path = before.get(begin..)?.trim_start_matches("//");
    Some(PathBuf::from(format!("{path}{END}")))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn keep(reason: &mut Vec<String>, text: &str) {
    if reason.len() < LINES && !text.is_empty() {
        reason.push(text.chars().take(WIDTH).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failures: &[Failure], expected: &[(&str, &[&str])]) {
        let seen: Vec<(&str, Vec<&str>)> = failures
            .iter()
            .map(|failure| {
                let reason = failure.reason.iter().map(String::as_str).collect();
                (failure.name.as_str(), reason)
            })
            .collect();
        let expected: Vec<(&str, Vec<&str>)> = expected
            .iter()
            .map(|(name, reason)| (*name, reason.to_vec()))
            .collect();
        assert_eq!(seen, expected);
    }

    fn read(output: &str) -> Vec<Failure> {
        let mut reader = Reader::default();
        for line in output.lines() {
            reader.read(line);
        }
        reader.end()
    }

    #[test]
    fn nextest_names_those_that_failed_and_their_panics() {
        let output = "
        PASS [   0.012s] (1/3) lyceum-core names::are_short
        FAIL [   0.874s] (2/3) lyceum-store lists::are_short
  stdout ───

    running 1 test
    test lists::are_short ... FAILED

  stderr ───

    thread 'lists::are_short' panicked at crates/store/src/lists.rs:3:5:
    assertion `left == right` failed
      left: 1
     right: 2
    note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

     SIGSEGV [   0.100s] (3/3) lyceum-store lists::end
     Summary [   1.0s] 3 tests run: 1 passed, 2 failed, 0 skipped
        FAIL [   0.874s] (2/3) lyceum-store lists::are_short
";
        let panic = [
            "thread 'lists::are_short' panicked at crates/store/src/lists.rs:3:5:",
            "assertion `left == right` failed",
            "left: 1",
            "right: 2",
        ];
        check(
            &read(output),
            &[
                ("lyceum-store lists::are_short", &panic),
                ("lyceum-store lists::end", &[]),
            ],
        );
    }

    #[test]
    fn libtest_names_those_that_failed_and_their_panics() {
        let output = "
test one ... ok
test two ... FAILED
test three ... FAILED

---- two stdout ----

thread 'two' panicked at src/lib.rs:1:1:
it rains
stack backtrace:
   0: main
";
        let panic = ["thread 'two' panicked at src/lib.rs:1:1:", "it rains"];
        check(&read(output), &[("two", &panic), ("three", &[])]);
    }

    #[test]
    fn nodes_report_tells_the_file() {
        let report = "not ok 1 - a story
  ---
  location: '/e2e/a:b.test.mjs:2:38'
  error: 'it rains'
  ...
not ok 2 - another
  ---
  error: 'it rains'
  ...
not ok 3 - by a helper
  ---
  location: '/e2e/lib/helper.mjs:2:38'
  stack: |-
    step (file:///e2e/lib/helper.mjs:7:1)
    async file:///e2e/c.test.mjs:3:1
  ...
";
        let failures = in_tap(report);
        let files = failures.iter().map(|failure| failure.file.clone());
        let file = |path| Some(PathBuf::from(path));
        let expected = [file("/e2e/a:b.test.mjs"), None, file("/e2e/c.test.mjs")];
        assert_eq!(files.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nodes_report_has_the_error_of_the_test_and_not_of_the_file() {
        let report = "TAP version 13
# Subtest: a file
    # Subtest: a story
    not ok 1 - a story
      ---
      duration_ms: 12
      failureType: 'testCodeFailure'
      error: |-
        at the step “go”: it rains
        again
      code: 'ERR_TEST_FAILURE'
      stack: |-
        nowhere
      ...
not ok 1 - a file
  ---
  duration_ms: 13
  failureType: 'subtestsFailed'
  error: '1 subtest failed'
  ...
ok 2 - another
not ok 3 - short
  ---
  error: 'it snows'
  code: 'ERR_TEST_FAILURE'
  ...
";
        check(
            &in_tap(report),
            &[
                ("a story", &["at the step “go”: it rains", "again"]),
                ("short", &["it snows"]),
            ],
        );
    }
}
