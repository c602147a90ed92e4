//! A user's own packages after a new series of R: they are installed again, from where they came, beside the old ones.
//!
//! Runs as the user, and deletes nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::build::Builder;
use super::error::{RError, io};
use super::interpreter::Interpreter;
use super::library::Scratch;
use super::list::{Entry, Method, PackageList};
use super::plan::fields;
use super::room::Room;
use super::{BIOCONDUCTOR, CRAN, PackageReport, RSpec, Upgrade};
use crate::command::{Log, Seen, Step, run};
use crate::progress::Progress;

const LOOK_LIMIT: Duration = Duration::from_mins(2);

/// A package in a user's old library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnPackage {
    /// Its name.
    pub name: String,
    /// Its old version.
    pub version: String,
    /// From where it can be installed again, as `lyceum env r add` takes it; `None` if nobody has written that down.
    pub source: Option<String>,
    #[serde(skip)]
    entry: Option<Entry>,
}

/// A user's libraries.
#[derive(Debug, Clone, Serialize)]
pub struct OwnReport {
    /// The series of R that has packages, if there is one besides the new one.
    pub before: Option<String>,
    /// The series of R that is to have them.
    pub after: String,
    /// The library into which they go.
    pub library: PathBuf,
    /// What is in the old library, and neither in the new one nor in a library of the machine.
    pub packages: Vec<OwnPackage>,
    /// How it went with each, if they were installed.
    pub results: Vec<PackageReport>,
    #[serde(skip)]
    repositories: Vec<String>,
    #[serde(skip)]
    libraries: Vec<PathBuf>,
}

/// Finds what could be installed again.
pub async fn find_own(interpreter: &Interpreter) -> Result<OwnReport, RError> {
    let scratch = Scratch::new(None)?;
    let log = Log::create(scratch.0.join("look.log"), scratch.0.clone())?;
    let program = interpreter.script_program();
    let code = "cat('user:',strsplit(Sys.getenv('R_LIBS_USER'),':')[[1]][1],'\\n',sep='');\
                cat(paste0('library:',.libPaths()),paste0('repository:',getOption('repos')),sep='\\n')";
    let step = Step {
        doing: "ask R where your packages are",
        program: program.as_os_str(),
        arguments: vec![OsStr::new("-e"), OsStr::new(code)],
        environment: Vec::new(),
        limit: LOOK_LIMIT,
    };
    let mut lines = Vec::new();
    run(step, &log, &mut |seen| {
        if let Seen::Line(line) = seen {
            lines.push(line.to_owned());
        }
    })
    .await?;
    let after_word = |word: &str| -> Vec<&str> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(word))
            .collect()
    };
    let series = interpreter.version.series();
    let library = after_word("user:")
        .first()
        .map(|path| PathBuf::from(*path))
        .unwrap_or_default();
    let repositories: Vec<String> = after_word("repository:")
        .into_iter()
        .filter(|address| address.contains("://"))
        .map(str::to_owned)
        .collect();
    let libraries: Vec<PathBuf> = after_word("library:")
        .into_iter()
        .map(PathBuf::from)
        .collect();
    let before = older_library(&library, &series);
    let packages = before
        .as_ref()
        .map(|(_, old)| missing(old, &library, &libraries))
        .unwrap_or_default();
    Ok(OwnReport {
        before: before.map(|(series, _)| series),
        after: series,
        library,
        packages,
        results: Vec::new(),
        repositories: if repositories.is_empty() {
            vec![CRAN.to_owned()]
        } else {
            repositories
        },
        libraries,
    })
}

/// The newest library of another series beside this one that has packages.
fn older_library(library: &Path, series: &str) -> Option<(String, PathBuf)> {
    let numbers = |name: &str| -> Option<(u32, u32)> {
        let (major, minor) = name.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    if library.file_name()?.to_str()? != series {
        return None;
    }
    fs::read_dir(library.parent()?)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let order = numbers(&name).filter(|_| name != series)?;
            let filled = fs::read_dir(entry.path()).ok()?.next().is_some();
            filled.then(|| (order, name, entry.path()))
        })
        .max()
        .map(|(_, name, path)| (name, path))
}

fn missing(old: &Path, new: &Path, libraries: &[PathBuf]) -> Vec<OwnPackage> {
    let is_there = |name: &str| {
        libraries
            .iter()
            .map(PathBuf::as_path)
            .chain([new])
            .any(|library| library.join(name).join("DESCRIPTION").is_file())
    };
    let mut packages: Vec<OwnPackage> = fs::read_dir(old)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path().join("DESCRIPTION")).ok()?;
            let fields = fields(&text);
            let name = fields.get("Package")?.clone();
            let found = entry_of(&name, &fields);
            (!is_there(&name)).then(|| OwnPackage {
                version: fields.get("Version").cloned().unwrap_or_default(),
                source: found.as_ref().map(source_text),
                entry: found,
                name,
            })
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// From where a package came, as R and `remotes` write it into its description.
fn entry_of(name: &str, fields: &BTreeMap<String, String>) -> Option<Entry> {
    let field = |key: &str| {
        fields
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty() && *value != "NA")
    };
    let reference = field("RemoteRef")
        .filter(|one| *one != "HEAD")
        .map(|one| format!("@{one}"))
        .unwrap_or_default();
    let is_bioconductors = field("Repository").is_some_and(|one| one.starts_with("Bioc"))
        || field("git_url").is_some_and(|one| one.contains("bioconductor.org"));
    let text = match field("RemoteType") {
        Some("github") => {
            let inner = field("RemoteSubdir")
                .map(|one| format!("/{one}"))
                .unwrap_or_default();
            format!(
                "github:{}/{}{inner}{reference}",
                field("RemoteUsername")?,
                field("RemoteRepo")?
            )
        }
        Some("git" | "xgit" | "git2r") => format!("git:{}{reference}", field("RemoteUrl")?),
        Some("bioc" | "bioconductor") => format!("bioc:{name}"),
        Some("standard" | "cran") => name.to_owned(),
        None if is_bioconductors => format!("bioc:{name}"),
        None if field("Repository").is_some() => name.to_owned(),
        _ => return None,
    };
    Entry::parse(&text, Some(name)).ok()
}

fn source_text(entry: &Entry) -> String {
    match (&entry.locator, entry.method) {
        (Some(locator), method) => format!("{method}:{locator}"),
        (None, Method::Cran) => entry.name.clone(),
        (None, method) => format!("{method}:{}", entry.name),
    }
}

/// Installs them again. Packages that fail stop nobody else.
pub async fn reinstall_own(
    interpreter: &Interpreter,
    mut report: OwnReport,
    repositories: Option<Vec<String>>,
    progress: &dyn Progress,
) -> Result<OwnReport, RError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&report.library)
        .map_err(io("create the folder", &report.library))?;
    let spec = RSpec {
        interpreter: interpreter.clone(),
        list: PackageList {
            entries: report
                .packages
                .iter()
                .filter_map(|one| one.entry.clone())
                .collect(),
        },
        repositories: repositories.unwrap_or_else(|| report.repositories.clone()),
        bioconductor: BIOCONDUCTOR.to_owned(),
        prefer_apt: false,
        lock: None,
        account: None,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let scratch = Scratch::new(None)?;
    let cache = scratch.0.join("cache");
    fs::create_dir(&cache).map_err(io("create the folder", &cache))?;
    let mut libraries = vec![report.library.clone()];
    libraries.extend(
        report
            .libraries
            .iter()
            .filter(|one| **one != report.library)
            .cloned(),
    );
    let room = Room {
        folder: scratch.0.join("build"),
        library: report.library.clone(),
        // Kept, for whoever wants to know why something failed.
        logs: report
            .library
            .with_file_name(format!(".{}-logs", report.after)),
        mark: scratch.0.clone(),
        interpreter,
        account: None,
        libraries,
    };
    let builder = Builder {
        spec: &spec,
        upgrade: &Upgrade::Nothing,
        progress,
        previous: None,
        cache,
        ours: scratch.0.clone(),
        dry_run: false,
        begun: Instant::now(),
    };
    report.results = builder.fill_in_place(&room).await?.packages;
    if report.results.iter().all(|one| one.state.is_good()) {
        let _ = fs::remove_dir_all(&room.logs);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(description: &str, expected: Option<&str>) {
        let found = entry_of("tool", &fields(description)).map(|entry| source_text(&entry));
        assert_eq!(found.as_deref(), expected, "{description}");
    }

    #[test]
    fn where_a_package_came_from_is_read_from_its_description() {
        check("Package: tool\nRepository: CRAN", Some("tool"));
        check(
            "Package: tool\nRepository: Bioconductor 3.16",
            Some("bioc:tool"),
        );
        check(
            "RemoteType: github\nRemoteUsername: a\nRemoteRepo: tool\nRemoteRef: HEAD",
            Some("github:a/tool"),
        );
        check(
            "RemoteType: github\nRemoteUsername: a\nRemoteRepo: b\nRemoteSubdir: tool\nRemoteRef: v1",
            Some("github:a/b/tool@v1"),
        );
        check(
            "RemoteType: xgit\nRemoteUrl: https://x/tool.git\nRemoteRef: main",
            Some("git:https://x/tool.git@main"),
        );
        check("RemoteType: local\nRemoteUrl: /home/ada/tool", None);
        check("Package: tool", None);
    }
}
