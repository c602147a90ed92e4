//! The lock file of an environment: exactly which packages, from where, with which hashes, for which Python.
//!
//! It is a requirements file that pip and uv can install, with a head that says what it is for. Which packages are
//! wanted stands in the requirements; here is what was chosen for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::requirements::{Line, address_file, logical_lines, normalized, parse_line};
use crate::digest::sha256;
use crate::error::EnvError;

/// How a key of the head begins.
const KEY: &str = "#: ";

/// A whole lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    /// For which Python, such as `3.11`.
    pub(crate) python: String,
    /// For which platform, such as `linux-x86_64`.
    pub(crate) platform: String,
    /// Stands for the requirements that it was made from.
    pub(crate) requirements: String,
    /// The packages by their normalized names.
    pub(crate) packages: BTreeMap<String, Locked>,
}

/// One package of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locked {
    /// The name with its extras, as the installer wrote it.
    pub(crate) name: String,
    /// Where it is from.
    pub(crate) source: Source,
    /// Of which hashes its file has to have one; empty if it is no file.
    pub(crate) hashes: BTreeSet<String>,
}

/// Where a package is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The index, in this version.
    Version(String),
    /// This address.
    Address(String),
}

impl Locked {
    /// The line for an installer.
    fn line(&self) -> String {
        let mut line = match &self.source {
            Source::Version(version) => format!("{}=={version}", self.name),
            Source::Address(address) => format!("{} @ {address}", self.name),
        };
        for hash in &self.hashes {
            let _ = write!(line, " \\\n    --hash={hash}");
        }
        line
    }

    /// The version, or else the address.
    pub(crate) fn version(&self) -> &str {
        match &self.source {
            Source::Version(text) | Source::Address(text) => text,
        }
    }
}

impl Lock {
    /// The text of the file. `name` is that of the environment.
    pub(crate) fn text(&self, name: &str) -> String {
        let mut text = format!(
            "# The exact packages of the Python environment `{name}`, written by `lyceum env python build`.\n\
             # Change the requirements, and not this file; `lyceum env python upgrade` takes newer ones.\n\
             {KEY}python {}\n{KEY}platform {}\n{KEY}requirements {}\n",
            self.python, self.platform, self.requirements
        );
        for package in self.packages.values() {
            text.push_str(&package.line());
            text.push('\n');
        }
        text
    }

    /// The lines for an installer: of packages that can be compared with a hash, and of all others.
    pub(crate) fn lists(&self) -> (String, String) {
        let mut lists = (String::new(), String::new());
        for package in self.packages.values() {
            let list = if package.hashes.is_empty() {
                &mut lists.1
            } else {
                &mut lists.0
            };
            list.push_str(&package.line());
            list.push('\n');
        }
        lists
    }

    /// The first file of this machine that is no longer the one that was chosen. One that is not there is told when it is
    /// wanted. Blocks.
    pub(crate) fn changed_file(&self) -> Option<PathBuf> {
        self.packages.values().find_map(|package| {
            let Source::Address(address) = &package.source else {
                return None;
            };
            let path = address_file(address)?;
            let known = |hash: &String| hash.starts_with("sha256:");
            if !package.hashes.iter().any(known) {
                return None;
            }
            let found = format!("sha256:{}", sha256(&path).ok()?);
            (!package.hashes.contains(&found)).then_some(path)
        })
    }

    /// The versions of the packages as constraints for another choice, but for the packages of `except`.
    pub(crate) fn constraints(&self, except: &BTreeSet<String>) -> String {
        let mut text = String::new();
        for (name, package) in &self.packages {
            if let Source::Version(version) = &package.source
                && !except.contains(name)
            {
                let _ = writeln!(text, "{name}=={version}");
            }
        }
        text
    }

    /// Reads a lock file.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, EnvError> {
        let mut lock = Self {
            packages: parse_packages(path, text)?,
            ..Self::default()
        };
        for line in text.lines() {
            let Some((key, value)) = line
                .strip_prefix(KEY)
                .and_then(|rest| rest.trim().split_once(' '))
            else {
                continue;
            };
            let value = value.trim().to_owned();
            match key {
                "python" => lock.python = value,
                "platform" => lock.platform = value,
                "requirements" => lock.requirements = value,
                _ => {}
            }
        }
        if lock.python.is_empty() {
            return Err(EnvError::Requirements {
                path: path.to_owned(),
                line: 1,
                what: "it is no lock file of ours: it does not say for which Python it is"
                    .to_owned(),
                help: "`lyceum env python build` writes a new one".to_owned(),
            });
        }
        Ok(lock)
    }

    /// Reads what `uv pip compile` wrote.
    pub(crate) fn parse_compiled(path: &Path, text: &str) -> Result<Self, EnvError> {
        Ok(Self {
            packages: parse_packages(path, text)?,
            ..Self::default()
        })
    }

    /// Reads the report of `pip install --report`.
    pub(crate) fn parse_report(path: &Path, text: &[u8]) -> Result<Self, EnvError> {
        let report: PipReport = serde_json::from_slice(text).map_err(|source| EnvError::Io {
            doing: "understand",
            path: path.to_owned(),
            source: source.into(),
        })?;
        let mut lock = Self::default();
        for item in report.install {
            let name = item.metadata.name;
            let mut hashes = BTreeSet::new();
            let mut source = Source::Version(item.metadata.version);
            let from = item.download_info;
            if let Some(archive) = from.archive_info {
                let sha256 = archive.hashes.get("sha256").cloned();
                let old = archive
                    .hash
                    .as_deref()
                    .and_then(|hash| hash.strip_prefix("sha256="))
                    .map(str::to_owned);
                hashes.extend(sha256.or(old).map(|digest| format!("sha256:{digest}")));
            }
            if item.is_direct {
                let folder = from
                    .subdirectory
                    .map_or(String::new(), |folder| format!("#subdirectory={folder}"));
                // What comes over plain http is nothing without its hash, which pip tells apart from the address.
                let hash = match hashes.first() {
                    Some(hash) if folder.is_empty() && from.url.starts_with("http://") => {
                        format!("#{}", hash.replacen(':', "=", 1))
                    }
                    _ => String::new(),
                };
                source = Source::Address(match from.vcs_info {
                    Some(vcs) => format!("{}+{}@{}{folder}", vcs.vcs, from.url, vcs.commit_id),
                    None => format!("{}{folder}{hash}", from.url),
                });
            }
            let locked = Locked {
                name: normalized(&name),
                source,
                hashes,
            };
            lock.packages.insert(normalized(&name), locked);
        }
        // pip ran beside what it built: what it reports is looked at as what uv writes is, and addresses are written alike.
        lock.packages = parse_packages(path, &lock.text(""))?;
        Ok(lock)
    }

    /// Whether whatever was installed by this one is what the other one means: uv notes the hashes of all files of a
    /// version, and pip that of the one that it takes.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        self.python == other.python
            && self.platform == other.platform
            && self.packages.len() == other.packages.len()
            && self.packages.iter().all(|(name, ours)| {
                other.packages.get(name).is_some_and(|theirs| {
                    ours.source == theirs.source
                        && ours.hashes.is_empty() == theirs.hashes.is_empty()
                        && ours.hashes.is_subset(&theirs.hashes)
                })
            })
    }

    /// Demands for these packages the hashes that their requirements demand.
    pub(crate) fn demand(&mut self, hashes: &BTreeMap<String, BTreeSet<String>>) {
        for (name, hashes) in hashes {
            if let Some(package) = self.packages.get_mut(name) {
                package.hashes.clone_from(hashes);
            }
        }
    }
}

fn parse_packages(path: &Path, text: &str) -> Result<BTreeMap<String, Locked>, EnvError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut packages = BTreeMap::new();
    for (number, line) in logical_lines(text) {
        let refuse = |what: String| EnvError::Requirements {
            path: path.to_owned(),
            line: number,
            what,
            help: "`lyceum env python build` writes a new lock file".to_owned(),
        };
        let found = match parse_line(&line, folder) {
            Ok(Line::Requirement(found)) => found,
            Ok(_) => return Err(refuse("a lock file has packages only".to_owned())),
            Err(fault) => return Err(refuse(fault.what)),
        };
        let body = found.text.split(" --hash=").next().unwrap_or_default();
        let body = body.split(" ;").next().unwrap_or_default().trim();
        let (name, source) = if let Some((name, address)) = body.split_once(" @ ") {
            (name, Source::Address(address.trim().to_owned()))
        } else if let Some((name, version)) = body.split_once("==") {
            (name, Source::Version(version.trim().to_owned()))
        } else {
            return Err(refuse(format!("`{body}` is no exact version")));
        };
        let Some(normalized) = found.name else {
            return Err(refuse(format!("`{body}` has no name")));
        };
        let locked = Locked {
            name: name.trim().to_owned(),
            source,
            hashes: found.hashes.into_iter().collect(),
        };
        packages.insert(normalized, locked);
    }
    Ok(packages)
}

#[derive(Deserialize)]
struct PipReport {
    install: Vec<PipItem>,
}

#[derive(Deserialize)]
struct PipItem {
    metadata: PipMetadata,
    download_info: PipSource,
    is_direct: bool,
}

#[derive(Deserialize)]
struct PipMetadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct PipSource {
    url: String,
    archive_info: Option<PipArchive>,
    vcs_info: Option<PipRepository>,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct PipArchive {
    hash: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PipRepository {
    vcs: String,
    commit_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> &'static Path {
        Path::new("/etc/lyceum/python/base.lock")
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let compiled = "\
requests[socks]==2.34.2 \\
    --hash=sha256:2a \\
    --hash=sha256:1b
six @ https://example.org/six-1.17.0-py2.py3-none-any.whl \\
    --hash=sha256:47
x @ git+https://example.org/x@0123456789abcdef
";
        let mut lock = Lock::parse_compiled(path(), compiled).unwrap();
        lock.python = "3.11".to_owned();
        lock.platform = "linux-x86_64".to_owned();
        lock.requirements = "00ff".to_owned();
        let text = lock.text("base");
        assert_eq!(Lock::parse(path(), &text).unwrap(), lock);
        let (hashed, others) = lock.lists();
        assert!(hashed.contains("requests[socks]==2.34.2 \\\n    --hash=sha256:1b"));
        assert_eq!(others, "x @ git+https://example.org/x@0123456789abcdef\n");
        assert_eq!(lock.constraints(&BTreeSet::new()), "requests==2.34.2\n");
        let except = BTreeSet::from(["requests".to_owned()]);
        assert_eq!(lock.constraints(&except), "");
        assert_eq!(
            lock.packages["six"].version(),
            "https://example.org/six-1.17.0-py2.py3-none-any.whl"
        );
    }

    #[test]
    fn a_file_that_was_replaced_is_found_whatever_its_path_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("my wheels");
        std::fs::create_dir(&folder).unwrap();
        let wheel = folder.join("x-1+y-py3-none-any.whl");
        std::fs::write(&wheel, "new").unwrap();
        // As pip writes it; the hash is another file's.
        let address = format!(
            "file://{}/my%20wheels/x-1%2By-py3-none-any.whl",
            dir.path().display()
        );
        let lock = |digest: &str| {
            let text = format!("x @ {address} --hash=sha256:{digest}\n");
            Lock::parse_compiled(path(), &text).unwrap()
        };
        assert_eq!(lock("00").changed_file(), Some(wheel.clone()));
        assert_eq!(lock(&sha256(&wheel).unwrap()).changed_file(), None);
    }

    #[test]
    fn what_is_no_lock_is_refused_with_its_line() {
        for (text, what) in [
            ("six==1.17\n", "for which Python"),
            (
                "#: python 3.11\nsix>=1\n",
                "line 2: `six>=1` is no exact version",
            ),
            ("#: python 3.11\n-r x.txt\n", "packages only"),
            (
                "#: python 3.11\ngit+https://example.org/x\n",
                "no exact version",
            ),
        ] {
            let error = Lock::parse(path(), text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn the_report_of_pip_becomes_a_lock() {
        let report = br#"{"install": [
            {"metadata": {"name": "PySocks", "version": "1.7.1"}, "is_direct": false, "download_info":
             {"url": "https://example.org/p.whl", "archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}}},
            {"metadata": {"name": "six", "version": "1.17.0"}, "is_direct": true, "download_info":
             {"url": "file:///srv/six.whl", "archive_info": {"hash": "sha256=cd"}}},
            {"metadata": {"name": "x", "version": "1"}, "is_direct": true, "download_info":
             {"url": "https://example.org/x", "subdirectory": "py", "vcs_info": {"vcs": "git", "commit_id": "012"}}},
            {"metadata": {"name": "y", "version": "1"}, "is_direct": true, "download_info":
             {"url": "http://example.org/y.whl", "archive_info": {"hashes": {"sha256": "ef"}}}}
        ]}"#;
        let lock = Lock::parse_report(path(), report).unwrap();
        let lines: Vec<_> = lock.packages.values().map(Locked::line).collect();
        assert_eq!(
            lines,
            [
                "pysocks==1.7.1 \\\n    --hash=sha256:ab",
                "six @ file:///srv/six.whl \\\n    --hash=sha256:cd",
                "x @ git+https://example.org/x@012#subdirectory=py",
                "y @ http://example.org/y.whl#sha256=ef \\\n    --hash=sha256:ef",
            ]
        );
    }

    #[test]
    fn a_report_that_names_what_a_list_may_not_is_refused() {
        let report = |name: &str, url: &str| {
            let report = serde_json::json!({"install": [{"metadata": {"name": name, "version": "1"},
                "is_direct": true, "download_info": {"url": url, "archive_info": {"hashes": {"sha256": "ab"}}}}]});
            Lock::parse_report(path(), report.to_string().as_bytes())
        };
        report("six", "https://example.org/six.whl").unwrap();
        for (name, url) in [
            ("six", "ftp://example.org/six.whl"),
            (
                "six",
                "https://example.org/six.whl\n--index-url https://example.net",
            ),
            ("six", "https://ada:secret@example.org/six.whl"),
            ("six\n/etc/x", "https://example.org/six.whl"),
        ] {
            let error = report(name, url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_same_packages_are_known_again_whichever_installer_noted_their_hashes() {
        let lock = |text: &str| Lock::parse_compiled(path(), text).unwrap();
        let (pip, uv) = (
            lock("six==1 --hash=sha256:aa\n"),
            lock("six==1 --hash=sha256:aa --hash=sha256:bb\n"),
        );
        assert!(pip.is_in(&pip) && pip.is_in(&uv));
        // The other file may be the one that is there.
        assert!(!uv.is_in(&pip));
        for other in [
            "six==2 --hash=sha256:aa\n",
            "six==1\n",
            "six==1 --hash=sha256:cc\n",
            "six==1 --hash=sha256:aa\nx==1 --hash=sha256:aa\n",
            "x==1 --hash=sha256:aa\n",
        ] {
            assert!(!pip.is_in(&lock(other)), "{other}");
        }
    }

    #[test]
    fn hashes_of_the_requirements_are_demanded() {
        let mut lock =
            Lock::parse_compiled(path(), "six==1 --hash=sha256:aa --hash=sha256:bb\n").unwrap();
        let demanded =
            BTreeMap::from([("six".to_owned(), BTreeSet::from(["sha256:bb".to_owned()]))]);
        lock.demand(&demanded);
        assert_eq!(lock.packages["six"].hashes.len(), 1);
    }
}
