//! Reads a requirements file of an environment, in pip's format, strictly: what we do not know is refused with its line.
//!
//! The files that it names with `-r` and `-c` are read, too, so that what the installer gets is one list that needs
//! none of them. Which versions there are is not asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::digest::hex;
use crate::error::EnvError;

mod line;

pub(crate) use line::{Line, address_file, is_name, normalized, parse_line};

/// How large a requirements file may be.
const MAX_BYTES: u64 = 1024 * 1024;
/// How many files may be read in all.
const MAX_FILES: usize = 100;

/// What an environment shall have, as one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// The requirements and the options, one a line. May hold the password of a package index.
    pub(crate) list: String,
    /// What versions may be, without wanting the packages.
    pub(crate) constraints: String,
    /// The names of the packages that are named themselves, normalized, as far as they are known.
    pub(crate) names: BTreeSet<String>,
    /// The hashes that the files demand, by package.
    pub(crate) hashes: BTreeMap<String, BTreeSet<String>>,
    /// The file and line that demand a hash for every package, also for those that others need.
    pub(crate) require_hashes: Option<(PathBuf, usize)>,
    /// Stands for all of it, without passwords: the same text has the same one.
    pub(crate) fingerprint: String,
}

impl Requirements {
    /// Refuses packages for which no hash is written where one is demanded for each.
    pub(crate) fn check_hashes<'a>(
        &self,
        mut packages: impl Iterator<Item = &'a String>,
    ) -> Result<(), EnvError> {
        let Some((path, line)) = &self.require_hashes else {
            return Ok(());
        };
        match packages.find(|name| !self.hashes.contains_key(*name)) {
            None => Ok(()),
            Some(name) => Err(EnvError::Requirements {
                path: path.clone(),
                line: *line,
                what: format!("`--require-hashes` is demanded, and there is no hash of {name}"),
                help: format!(
                    "write `{name}==VERSION --hash=sha256:…`, or take the option out: the lock file has hashes of all"
                ),
            }),
        }
    }
}

/// Reads the file and those that it names. `instead` is taken for the text of the file itself, if it is given.
pub(crate) fn read(path: &Path, instead: Option<&str>) -> Result<Requirements, EnvError> {
    let mut reader = Reader::default();
    let text = match instead {
        Some(text) => text.to_owned(),
        None => read_text(path)?,
    };
    reader.seen.insert((path.to_owned(), false));
    reader.text(path, &text, false)?;
    let mut found = reader.found;
    found.fingerprint = fingerprint(&reader.public);
    Ok(found)
}

/// Reads one file.
pub(crate) fn read_text(path: &Path) -> Result<String, EnvError> {
    let fail = |source| EnvError::Io {
        doing: "read the requirements file",
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(fail)?;
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(fail)?;
    let refuse = |what: &str| EnvError::Requirements {
        path: path.to_owned(),
        line: 1,
        what: what.to_owned(),
        help: "name a requirements file in pip's format".to_owned(),
    };
    if text.len() as u64 > MAX_BYTES {
        return Err(refuse("the file is larger than 1 MiB"));
    }
    let text = String::from_utf8(text).map_err(|_| refuse("the file is not text in UTF-8"))?;
    // Editors of Windows put a byte order mark before the first line.
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

#[derive(Debug, Default)]
struct Reader {
    found: Requirements,
    /// All lines, without passwords.
    public: String,
    seen: BTreeSet<(PathBuf, bool)>,
}

impl Reader {
    fn text(&mut self, path: &Path, text: &str, constraints: bool) -> Result<(), EnvError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        for (number, text) in logical_lines(text) {
            let refuse = |fault: line::Fault| EnvError::Requirements {
                path: path.to_owned(),
                line: number,
                what: fault.what,
                help: fault.help,
            };
            let line = parse_line(&text, folder).map_err(refuse)?;
            self.line(line, path, number, constraints)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: Line,
        path: &Path,
        number: usize,
        constraints: bool,
    ) -> Result<(), EnvError> {
        let refuse = |what: String, help: &str| EnvError::Requirements {
            path: path.to_owned(),
            line: number,
            what,
            help: help.to_owned(),
        };
        match line {
            Line::Include {
                path: file,
                constraints: only,
            } => {
                let constraints = constraints || only;
                if !self.seen.insert((file.clone(), constraints)) {
                    return Ok(());
                }
                if self.seen.len() > MAX_FILES {
                    let what = format!("more than {MAX_FILES} files are named");
                    return Err(refuse(what, "take some together"));
                }
                let text = read_text(&file).map_err(|error| match error {
                    EnvError::Io { source, .. } => {
                        let what = format!("cannot read {}: {source}", file.display());
                        refuse(what, "check the name: it counts from this file's folder")
                    }
                    other => other,
                })?;
                self.text(&file, &text, constraints)
            }
            Line::Option(option) => {
                let public = line::without_password(&option);
                let expanded = line::expand(&option, |name| env::var(name).ok())
                    .map_err(|fault| refuse(fault.what, &fault.help))?;
                self.add(&expanded, &public, false);
                Ok(())
            }
            Line::RequireHashes => {
                let place = (path.to_owned(), number);
                self.found.require_hashes.get_or_insert(place);
                self.public.push_str("--require-hashes\n");
                Ok(())
            }
            Line::Requirement(requirement) => {
                if let Some(file) = &requirement.file
                    && !file.is_file()
                {
                    let what = format!("there is no file {}", file.display());
                    let help = "check the name: it counts from this file's folder";
                    return Err(refuse(what, help));
                }
                if let Some(name) = &requirement.name {
                    if !constraints {
                        self.found.names.insert(name.clone());
                    }
                    if !requirement.hashes.is_empty() {
                        let hashes = self.found.hashes.entry(name.clone()).or_default();
                        hashes.extend(requirement.hashes.iter().cloned());
                    }
                }
                self.add(&requirement.text, &requirement.text, constraints);
                Ok(())
            }
        }
    }

    fn add(&mut self, text: &str, public: &str, constraints: bool) {
        let (to, mark) = if constraints {
            (&mut self.found.constraints, "-c ")
        } else {
            (&mut self.found.list, "")
        };
        to.push_str(text);
        to.push('\n');
        self.public.push_str(mark);
        self.public.push_str(public);
        self.public.push('\n');
    }
}

fn fingerprint(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Takes lines together that end in a backslash, and leaves comments and empty lines out; each with the number of its
/// first line.
///
/// As pip does (`pip/_internal/req/req_file.py`, `join_lines`): a line that is a comment is never continued, and ends what
/// was.
pub(crate) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (number, mut whole) = open.take().unwrap_or((index + 1, String::new()));
        if is_comment(line) {
            lines.push((number, whole));
        } else if let Some(begun) = line.strip_suffix('\\') {
            whole.push_str(begun);
            whole.push(' ');
            open = Some((number, whole));
        } else {
            whole.push_str(line);
            lines.push((number, whole));
        }
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// Whether a line holds nothing but a comment.
pub(crate) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Cuts a comment off: `#` at the beginning or after a blank. That of a URL, as in `#sha256=`, is none.
pub(crate) fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return line.get(..at).unwrap_or(line);
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn files_that_are_named_become_one_list() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        fs::create_dir(folder.join("parts")).unwrap();
        file(
            folder,
            "parts/more.txt",
            "-r ../base.txt\nscipy\n-c pins.txt\n",
        );
        file(folder, "parts/pins.txt", "numpy<3 # for scipy\n");
        file(folder, "x-1.0-py3-none-any.whl", "");
        let base = file(
            folder,
            "base.txt",
            "# What the course needs\n\nPandas[excel] >= 2, <3 ; python_version > '3.8'  # tables\n\
             numpy==2.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11 \\\n    # that is all\n\
             --extra-index-url https://ada:secret@example.org/simple\n\
             ./x-1.0-py3-none-any.whl\n-r parts/more.txt\n",
        );
        let found = read(&base, None).unwrap();
        assert_eq!(
            found.list,
            format!(
                "Pandas[excel] >= 2, <3 ; python_version > '3.8'\n\
                 numpy==2.0 --hash=sha256:00 --hash=sha256:11\n\
                 --extra-index-url https://ada:secret@example.org/simple\n\
                 file://{}\nscipy\n",
                folder.join("x-1.0-py3-none-any.whl").display()
            )
        );
        assert_eq!(found.constraints, "numpy<3\n");
        let names: Vec<_> = found.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["numpy", "pandas", "scipy", "x"]);
        assert_eq!(found.hashes["numpy"].len(), 2);
        // A password may change without the environment being another one; a comment as well.
        let text = fs::read_to_string(&base).unwrap();
        let same = text.replace("secret", "other").replace("# tables", "");
        assert_eq!(
            read(&base, Some(&same)).unwrap().fingerprint,
            found.fingerprint
        );
        let other = text
            .replace("scipy", "")
            .replace("numpy==2.0", "numpy==2.1");
        assert_ne!(
            read(&base, Some(&other)).unwrap().fingerprint,
            found.fingerprint
        );
    }

    #[test]
    fn a_file_from_windows_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let text = "six>=1.0  # old\r\nnumpy\r\n";
        let path = file(dir.path(), "base.txt", &format!("\u{feff}{text}"));
        assert_eq!(read_text(&path).unwrap(), text);
        assert_eq!(read(&path, None).unwrap().list, "six>=1.0\nnumpy\n");
    }

    #[test]
    fn a_demand_for_hashes_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let hashed = "numpy==2.0 --hash=sha256:00\n";
        let path = file(
            dir.path(),
            "base.txt",
            &format!("--require-hashes\n{hashed}"),
        );
        let found = read(&path, None).unwrap();
        let [numpy, needed] = ["numpy", "needed"].map(str::to_owned);
        found.check_hashes([&numpy].into_iter()).unwrap();
        let error = found
            .check_hashes([&numpy, &needed].into_iter())
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("line 1: ") && text.contains("no hash of needed"),
            "{text}"
        );
        let without = read(&path, Some(hashed)).unwrap();
        without.check_hashes([&needed].into_iter()).unwrap();
        assert_ne!(without.fingerprint, found.fingerprint);
    }

    #[test]
    fn a_comment_swallows_no_line_after_it() {
        let lines = |text: &str| -> Vec<String> {
            logical_lines(text)
                .into_iter()
                .map(|(_, line)| line)
                .collect()
        };
        assert_eq!(lines("# see C:\\\nnumpy\n"), ["numpy"]);
        assert_eq!(lines("  # see C:\\\n\\\nnumpy"), ["numpy"]);
        assert_eq!(lines("six \\\n# why \\\nnumpy"), ["six", "numpy"]);
        // As in pip, what is continued goes on behind its comment.
        assert_eq!(lines("six  # why \\\nnumpy\nscipy"), ["six", "scipy"]);
        assert_eq!(lines("six \\\n>=1\nnumpy \\"), ["six  >=1", "numpy"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "bad.txt", "six\n\nnumpy >=> 2\n");
        let all = file(dir.path(), "all.txt", "-r bad.txt\n");
        let message = |path: &Path| read(path, None).unwrap_err().to_string();
        let text = message(&all);
        assert!(text.contains("bad.txt, line 3: "), "{text}");
        let lost = file(dir.path(), "lost.txt", "six\n-r none.txt\n");
        let text = message(&lost);
        assert!(text.contains("lost.txt, line 2: cannot read "), "{text}");
        let wheel = file(dir.path(), "wheel.txt", "./none-1-py3-none-any.whl\n");
        assert!(message(&wheel).contains("there is no file"));
        let binary = dir.path().join("binary.txt");
        fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(message(&binary).contains("UTF-8"));
        let missing = read(&dir.path().join("no.txt"), None).unwrap_err();
        assert!(matches!(missing, EnvError::Io { .. }), "{missing}");
    }
}
