//! Gets packages that no repository has: from git, from an address, from this machine.
//!
//! All of it happens as the account that builds; what has been got is looked at with care.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Failure;
use super::choose::plain;
use super::install::explain;
use super::list::{Entry, Method, split_reference};
use super::plan::Description;
use super::room::{Room, read_short};
use crate::command::Step;
use crate::digest::{hex, sha256_of_others};
use crate::error::EnvError;

const GIT_LIMIT: Duration = Duration::from_mins(20);
pub(super) const DOWNLOAD_LIMIT: Duration = Duration::from_hours(1);
const COPY_LIMIT: Duration = Duration::from_mins(20);
const GITHUB: &str = "https://github.com";

/// Sources that are there.
#[derive(Debug)]
pub(super) struct Got {
    /// The folder with the file `DESCRIPTION`.
    pub(super) folder: PathBuf,
    pub(super) description: Description,
    /// The commit, or the SHA-256 of the archive: what makes these sources these.
    pub(super) identity: String,
}

/// Why sources are not there.
#[derive(Debug)]
pub(super) enum NotGot {
    /// A program failed.
    Program(EnvError),
    /// What came is not what shall come: what is wrong, and what to do.
    Wrong { cause: String, advice: String },
}

impl NotGot {
    /// The same for a report.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Program(error) => explain(error),
            Self::Wrong { cause, advice } => plain(cause.clone(), advice),
        }
    }
}

impl From<EnvError> for NotGot {
    fn from(error: EnvError) -> Self {
        Self::Program(error)
    }
}

fn wrong(cause: impl Into<String>, advice: impl Into<String>) -> NotGot {
    NotGot::Wrong {
        cause: cause.into(),
        advice: advice.into(),
    }
}

/// Gets the sources of one entry.
pub(super) async fn get(room: &Room<'_>, entry: &Entry) -> Result<Got, NotGot> {
    let locator = entry.locator.as_deref().unwrap_or_default();
    let folder = room.path("src").join(&entry.name);
    let (root, identity) = match entry.method {
        Method::Github => {
            let (place, reference) = split_reference(locator);
            let mut parts = place.splitn(3, '/');
            let (owner, name) = (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            );
            let address = format!("{GITHUB}/{owner}/{name}.git");
            let commit = git(room, entry, &folder, &address, reference).await?;
            (
                parts
                    .next()
                    .map_or_else(|| folder.clone(), |inner| folder.join(inner)),
                commit,
            )
        }
        Method::Git => {
            let (place, reference) = split_reference(locator);
            let commit = git(room, entry, &folder, place, reference).await?;
            (folder.clone(), commit)
        }
        _ => archive(room, entry, &folder, locator).await?,
    };
    let root = find_root(&root).ok_or_else(|| {
        wrong(
            "there is no file DESCRIPTION in it, so that it is no package of R",
            "check the locator; a package in a folder of a GitHub repository is `owner/repository/folder`",
        )
    })?;
    let text = read_short(&root.join("DESCRIPTION")).map_err(|error| {
        wrong(
            format!("its DESCRIPTION cannot be read: {error}"),
            "take another version of it",
        )
    })?;
    let description = Description::parse(&text);
    if description.name != entry.name {
        return Err(wrong(
            format!("the package there is called `{}`", description.name),
            format!("write this name in the list instead of `{}`", entry.name),
        ));
    }
    if let Some(version) = &entry.version
        && *version != description.version
    {
        return Err(wrong(
            format!(
                "its version is {}, and the list says {version}",
                description.version
            ),
            "correct the one or the other",
        ));
    }
    Ok(Got {
        folder: root,
        description,
        identity,
    })
}

/// Fetches one commit, and says which.
async fn git(
    room: &Room<'_>,
    entry: &Entry,
    folder: &Path,
    address: &str,
    reference: Option<&str>,
) -> Result<String, NotGot> {
    let name = &entry.name;
    let wanted = reference.unwrap_or("HEAD");
    run_git(room, name, "init", folder, &["init", "--quiet", "."]).await?;
    let shallow = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        address,
        wanted,
    ];
    match run_git(room, name, "fetch", folder, &shallow).await {
        Ok(_) => {
            run_git(
                room,
                name,
                "checkout",
                folder,
                &["checkout", "--quiet", "--detach", "FETCH_HEAD"],
            )
            .await?;
        }
        // A short commit, or a server that gives no single commits: everything is fetched.
        Err(first) if reference.is_some() => {
            let all = [
                "fetch",
                "--quiet",
                address,
                "+refs/heads/*:refs/remotes/o/*",
                "+refs/tags/*:refs/tags/*",
            ];
            if run_git(room, name, "fetch-all", folder, &all)
                .await
                .is_err()
            {
                return Err(first.into());
            }
            let checkout = ["checkout", "--quiet", "--detach", wanted];
            if run_git(room, name, "checkout", folder, &checkout)
                .await
                .is_err()
            {
                return Err(wrong(
                    format!("the repository has no branch, tag or commit `{wanted}`"),
                    "correct what stands behind the @ in its locator",
                ));
            }
        }
        Err(error) => return Err(error.into()),
    }
    let lines = run_git(room, name, "commit", folder, &["rev-parse", "HEAD"]).await?;
    let commit = lines
        .last()
        .map(|line| line.trim().to_owned())
        .unwrap_or_default();
    if commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(commit)
    } else {
        Err(wrong("git did not say which commit it is", "try again"))
    }
}

async fn run_git(
    room: &Room<'_>,
    name: &str,
    part: &str,
    folder: &Path,
    arguments: &[&str],
) -> Result<Vec<String>, EnvError> {
    if part == "init" {
        // A new folder as the account itself: what an earlier try left is in another room.
        let step = Step {
            doing: "make a folder for sources",
            program: OsStr::new("mkdir"),
            arguments: vec!["-p".as_ref(), "--".as_ref(), folder.as_os_str()],
            environment: room.environment(),
            limit: COPY_LIMIT,
        };
        room.run(step, &format!("{name}-source-folder")).await?;
    }
    let mut all: Vec<&OsStr> = vec!["-C".as_ref(), folder.as_os_str()];
    // No program as an address.
    all.extend(["-c", "protocol.ext.allow=never"].map(OsStr::new));
    all.extend(arguments.iter().map(OsStr::new));
    let step = Step {
        doing: "get its sources with git",
        program: OsStr::new("git"),
        arguments: all,
        environment: room.environment(),
        limit: GIT_LIMIT,
    };
    room.run(step, &format!("{name}-source-{part}")).await
}

/// Gets an archive or a folder, compares it, and unpacks it.
async fn archive(
    room: &Room<'_>,
    entry: &Entry,
    folder: &Path,
    locator: &str,
) -> Result<(PathBuf, String), NotGot> {
    let name = &entry.name;
    if entry.method == Method::Local && !Path::new(locator).exists() {
        return Err(wrong(
            format!("there is no file and no folder {locator}"),
            "check the path",
        ));
    }
    if entry.method == Method::Local && Path::new(locator).is_dir() {
        copy(room, name, locator, folder).await?;
        let path = folder.to_owned();
        let sum = tokio::task::spawn_blocking(move || digest(&path))
            .await
            .map_err(std::io::Error::other)
            .and_then(|sum| sum)
            .map_err(|error| {
                wrong(
                    format!("a file in it cannot be read: {error}"),
                    "check what lies in the folder",
                )
            })?;
        return Ok((folder.to_owned(), sum));
    }
    let file = room.path("src").join(format!("{name}.archive"));
    if entry.method == Method::Local {
        copy(room, name, locator, &file).await?;
    } else {
        download(
            room,
            &[(locator.to_owned(), file.clone(), String::new())],
            &format!("{name}-source"),
        )
        .await?;
        if !file.is_file() {
            let log = room.log_path(&format!("{name}-source"));
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last = said
                .lines()
                .rev()
                .find(|line| line.contains("cannot") || line.contains("HTTP"));
            return Err(wrong(
                format!(
                    "{locator} cannot be downloaded{}",
                    last.map(|line| format!(": {}", line.trim()))
                        .unwrap_or_default()
                ),
                "check the address and the network connection, and try again",
            ));
        }
    }
    let path = file.clone();
    let sum = tokio::task::spawn_blocking(move || sha256_of_others(&path))
        .await
        .map_err(std::io::Error::other)
        .and_then(|sum| sum)
        .map_err(|error| {
            wrong(
                format!("its archive cannot be read: {error}"),
                "check the locator",
            )
        })?;
    match &entry.sha256 {
        Some(wanted) if *wanted != sum => {
            return Err(wrong(
                format!("the archive's sha256 is {sum}, and the list says {wanted}"),
                "find out why it was changed; if it is right, write the new sha256 into the list",
            ));
        }
        None if entry.method == Method::Url => {
            return Err(wrong(
                format!("its entry has no sha256, and the archive's is {sum}"),
                format!(
                    "if you trust what lies there now, add this line to its entry: sha256 = \"{sum}\""
                ),
            ));
        }
        _ => {}
    }
    let step = Step {
        doing: "unpack its archive",
        program: OsStr::new("sh"),
        arguments: vec![
            "-c".as_ref(),
            r#"mkdir -p -- "$2" && exec tar -xf "$1" -C "$2" --no-same-owner"#.as_ref(),
            "sh".as_ref(),
            file.as_os_str(),
            folder.as_os_str(),
        ],
        environment: room.environment(),
        limit: COPY_LIMIT,
    };
    room.run(step, &format!("{name}-unpack")).await?;
    Ok((folder.to_owned(), sum))
}

async fn copy(room: &Room<'_>, name: &str, from: &str, to: &Path) -> Result<(), EnvError> {
    let step = Step {
        doing: "copy its sources",
        program: OsStr::new("cp"),
        arguments: vec![
            "--recursive".as_ref(),
            "--preserve=timestamps,mode".as_ref(),
            "--".as_ref(),
            from.as_ref(),
            to.as_os_str(),
        ],
        environment: room.environment(),
        limit: COPY_LIMIT,
    };
    room.run(step, &format!("{name}-source")).await.map(drop)
}

/// Downloads files side by side. What cannot be downloaded is not there afterwards.
pub(super) async fn download(
    room: &Room<'_>,
    files: &[(String, PathBuf, String)],
    log: &str,
) -> Result<(), EnvError> {
    let lines: Vec<String> = files
        .iter()
        .map(|(address, path, md5)| format!("{address}\t{}\t{md5}", path.display()))
        .collect();
    let list = format!("{log}.list");
    let as_env = |error| match error {
        super::error::RError::Env(error) => error,
        other => EnvError::Io {
            doing: "write",
            path: room.path(&list),
            source: std::io::Error::other(other.to_string()),
        },
    };
    room.write(&list, &(lines.join("\n") + "\n"))
        .map_err(as_env)?;
    let script = room
        .script("download.R", include_str!("download.R"))
        .map_err(as_env)?;
    let list = room.path(&list);
    let program = room.interpreter.script_program();
    let step = Step {
        doing: "download sources of packages",
        program: program.as_os_str(),
        arguments: vec!["--vanilla".as_ref(), script.as_os_str(), list.as_os_str()],
        environment: room.environment(),
        limit: DOWNLOAD_LIMIT,
    };
    room.run(step, log).await.map(drop)
}

/// Stands for all files of a folder, but for what git notes about them. Blocks.
fn digest(root: &Path) -> std::io::Result<String> {
    let mut lines = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(inner) = pending.pop() {
        for entry in fs::read_dir(root.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if entry.file_name() != ".git" {
                    pending.push(path);
                }
                continue;
            }
            let what = if kind.is_symlink() {
                fs::read_link(entry.path())?.display().to_string()
            } else {
                sha256_of_others(&entry.path())?
            };
            let mode = entry.metadata()?.permissions().mode() & 0o100;
            let path = path.to_string_lossy();
            lines.push(format!("{}\t{mode}\t{what}", path.escape_debug()));
        }
    }
    lines.sort();
    Ok(hex(&Sha256::digest(lines.join("\n"))))
}

/// The folder with `DESCRIPTION`: this one, or the only one in it.
fn find_root(folder: &Path) -> Option<PathBuf> {
    let has = |folder: &Path| {
        folder
            .join("DESCRIPTION")
            .symlink_metadata()
            .is_ok_and(|data| data.is_file())
    };
    if has(folder) {
        return Some(folder.to_owned());
    }
    let mut inner: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| has(path))
        .collect();
    if inner.len() == 1 { inner.pop() } else { None }
}
