//! The environment of a server, as a file that systemd reads: what is a property of a unit, everybody can see.
//!
//! The file is root's alone, and is there only while the server starts.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_core::random;
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

use crate::protocol::{Refusal, RefusalKind};
use crate::variables::Variables;

/// What a start that was broken off has left is removed when it is older than this.
const LEFT_OVER: Duration = Duration::from_mins(10);

/// A file with the environment of a server that starts. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct EnvironmentFile {
    path: PathBuf,
}

impl EnvironmentFile {
    /// Writes the file. Blocks as long as writing to the broker's own folder does.
    pub(super) fn write(dir: &Path, unit: &str, text: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // systemd takes the path for a pattern, and the backslashes in a unit's name would be none of the file's name.
        let name = random::to_hex(&Sha256::digest(unit.as_bytes()));
        let path = dir.join(format!("{name}.env"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = Self { path };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.path)?
            .write_all(text.as_bytes())?;
        Ok(file)
    }

    /// Where it is, as a pattern that fits nothing else: systemd expands the path as a shell would (glob(7)).
    pub(super) fn pattern(&self) -> String {
        literal(&self.path.to_string_lossy())
    }
}

impl Drop for EnvironmentFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %error, "could not remove the environment of a server that has started");
        }
    }
}

/// Takes the meaning from what has one in a pattern, so that it fits itself alone.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '\\' | '*' | '?' | '[' | ']' | '{' | '}') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Removes what starts have left whose broker was killed.
pub(super) fn remove_left_over(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    // The age of a file is told by the clock that the file system used for it.
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    for entry in entries.flatten() {
        let age = entry
            .metadata()
            .map(|data| now - std::os::unix::fs::MetadataExt::mtime(&data));
        if age.is_ok_and(|age| age > LEFT_OVER.as_secs().cast_signed()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes the variables as systemd reads them (systemd.exec(5), `EnvironmentFile=`): every value in double quotes, in
/// which backslashes, quotes, dollars and backticks need a backslash, and lines may break.
///
/// What systemd would leave out without a word is refused: names that no shell could use, and control characters other
/// than tab and newline.
pub(super) fn format(variables: &Variables) -> Result<String, Refusal> {
    let mut text = String::new();
    for (name, value) in &variables.0 {
        if !is_name(name) {
            return Err(refused(
                name,
                "its name has other characters than A-Z, a-z, 0-9 and _",
            ));
        }
        if value
            .chars()
            .any(|c| c.is_ascii_control() && c != '\t' && c != '\n')
        {
            return Err(refused(name, "its value has control characters"));
        }
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            if matches!(c, '\\' | '"' | '$' | '`') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push_str("\"\n");
    }
    Ok(text)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn refused(name: &str, why: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Configuration,
        format!("The variable {name:?} cannot be given to a unit of systemd: {why}."),
        "Change it in the configuration (`spawner.environment`, or that of a profile).",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Variables(pairs.iter().map(pair).collect())
    }

    #[test]
    fn special_characters_are_quoted_and_what_systemd_would_drop_is_refused() {
        let text = format(&variables(&[("A", "1"), ("B", "a \"b\" $c `d` \\e\nf")])).unwrap();
        assert_eq!(text, "A=\"1\"\nB=\"a \\\"b\\\" \\$c \\`d\\` \\\\e\nf\"\n");
        for (name, value) in [
            ("", "x"),
            ("1A", "x"),
            ("A B", "x"),
            ("A=B", "x"),
            ("A\nB", "x"),
            ("A", "\0"),
            ("A", "\x1b[m"),
            ("A", "x\r"),
        ] {
            let refusal = format(&variables(&[(name, value)])).unwrap_err();
            assert!(!refusal.message.contains('\x1b'), "{refusal}");
        }
    }

    #[test]
    fn the_file_is_the_owners_alone_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("environment");
        let file = EnvironmentFile::write(&below, "lyceum-ada", "A=1").unwrap();
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(file);
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
    }

    #[test]
    fn the_path_is_a_pattern_that_fits_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let one = EnvironmentFile::write(dir.path(), r"lyceum-ada\x2dlab", "A=1").unwrap();
        let two = EnvironmentFile::write(dir.path(), "lyceum-adax2dlab", "A=2").unwrap();
        assert_ne!(one.path, two.path);
        for file in [&one, &two] {
            let stem = file.path.file_stem().unwrap().to_str().unwrap();
            assert!(stem.bytes().all(|byte| byte.is_ascii_hexdigit()), "{stem}");
            assert_eq!(file.pattern(), file.path.to_str().unwrap());
        }
        assert_eq!(literal(r"/a\b[c]*?{d,e}%$"), r"/a\\b\[c\]\*\?\{d,e\}%$");
    }
}
