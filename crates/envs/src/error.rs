//! What can go wrong while an environment is prepared, with the likely cause and the next step.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::python::Problem;

mod cause;

pub use cause::Cause;

/// What to do when the disk of a server is full.
const ROOM: &str =
    "make room on the disk and try again: `lyceum env python gc` removes old generations";

/// Why an environment could not be prepared.
///
/// [`EnvError::hint`] says what to do, [`EnvError::details`] shows the last lines of a program's output.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvError {
    /// A file operation failed.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What we were doing, as a verb.
        doing: &'static str,
        /// What we were doing it to.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder's name cannot hold a Python environment.
    #[error("a Python environment cannot live in {}: its path contains a colon", path.display())]
    PathWithColon {
        /// The folder.
        path: PathBuf,
    },
    /// There is not enough room.
    #[error("{} has {free_mib} MiB left, and the environment needs {needed_mib} MiB", path.display())]
    DiskFull {
        /// A folder on the full file system.
        path: PathBuf,
        /// What is free, in MiB.
        free_mib: u64,
        /// What is needed, in MiB.
        needed_mib: u64,
    },
    /// No Python that is new enough was found.
    #[error("found no Python {minimum} or newer{}", Listed(found))]
    NoPython {
        /// The oldest version that will do, such as `3.10`.
        minimum: &'static str,
        /// What was found instead, each with the reason why it will not do.
        found: Vec<String>,
    },
    /// Python is there, but cannot make environments.
    #[error("{} (Python {version}) lacks the modules that make environments", python.display())]
    NoVenv {
        /// The interpreter.
        python: PathBuf,
        /// Its version, such as `3.11.2`.
        version: String,
    },
    /// Somebody else has been preparing this environment for too long.
    #[error("another process{} is still preparing {} after {} minutes", Number(holder.as_deref()), path.display(), waited.as_secs() / 60)]
    Busy {
        /// The environment's folder.
        path: PathBuf,
        /// The process, if known.
        holder: Option<String>,
        /// How long we waited.
        waited: Duration,
    },
    /// Programs of an earlier run cannot be ended, or cannot be looked for.
    #[error("could not end what an earlier run left running for {}", path.display())]
    LeftOver {
        /// The environment's folder.
        path: PathBuf,
        /// Which processes, or why we do not know.
        source: io::Error,
    },
    /// A line of a requirements or lock file cannot be used.
    #[error("could not use {}, line {line}: {what}", path.display())]
    Requirements {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        help: String,
    },
    /// A package of the command line cannot be used.
    #[error("`{package}` cannot be used: {what}")]
    BadPackage {
        /// What was written.
        package: String,
        /// What is wrong with it.
        what: String,
        /// What to write instead.
        help: String,
    },
    /// A lock file is for another Python or another platform.
    #[error("{} is for {locked}, and the environment would have {wanted}", path.display())]
    OtherPython {
        /// The lock file.
        path: PathBuf,
        /// What it is for.
        locked: String,
        /// What we have.
        wanted: String,
    },
    /// A lock file was made from other requirements.
    #[error("{} was made from other requirements than {} has now", path.display(), requirements.display())]
    StaleLock {
        /// The lock file.
        path: PathBuf,
        /// The requirements file.
        requirements: PathBuf,
    },
    /// The Python that was asked for is not there.
    #[error("{}", NoSuch(asked, found))]
    NoSuchPython {
        /// What was asked for.
        asked: String,
        /// What there is instead.
        found: Vec<String>,
    },
    /// The interpreter of the generation before is not there any more.
    #[error("the Python of generation {generation} is not there any more: {}", path.display())]
    PythonGone {
        /// The generation.
        generation: u32,
        /// The interpreter.
        path: PathBuf,
    },
    /// There is no such generation.
    #[error("there is no {} of {}", Generation(*number), folder.display())]
    NoGeneration {
        /// The folder of the environment.
        folder: PathBuf,
        /// The number; `None` if there is none at all.
        number: Option<u32>,
    },
    /// There is no older generation to go back to.
    #[error("there is no complete generation before {number} of {}", folder.display())]
    NothingBefore {
        /// The folder of the environment.
        folder: PathBuf,
        /// The one in use.
        number: u32,
    },
    /// Servers are started from the environment, and what they need would not be there.
    #[error("with {} there would be no jupyterhub, and servers could not start from it", path.display())]
    NoServer {
        /// The requirements file.
        path: PathBuf,
    },
    /// A generation cannot be used.
    #[error("generation {number} of {} cannot be used: {what}", folder.display())]
    Unusable {
        /// The folder of the environment.
        folder: PathBuf,
        /// The generation.
        number: u32,
        /// Why.
        what: String,
    },
    /// The account that shall build is not there.
    #[error("there is no account `{name}`, under which packages are built")]
    NoAccount {
        /// Its name.
        name: String,
    },
    /// The account that shall build is somebody's.
    #[error("packages cannot be built under the account `{name}`: {why}")]
    BadBuilder {
        /// Its name.
        name: String,
        /// What it is else.
        why: String,
    },
    /// Others could change what users will run.
    #[error("{} {what}", path.display())]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A package put something into the environment that cannot be taken over.
    #[error("a package has put {} into the environment, and {what}", path.display())]
    Strange {
        /// The path below the environment.
        path: PathBuf,
        /// Why it cannot stay.
        what: String,
    },
    /// What was installed is not what was chosen.
    #[error("what was installed is not what was chosen: {}", different.join(", "))]
    NotAsLocked {
        /// The packages.
        different: Vec<String>,
    },
    /// The environment was built, and does not work.
    #[error("the environment does not work: {}", Several(problems))]
    Unfit {
        /// What does not work, most basic first; never empty.
        problems: Vec<Problem>,
        /// Where all of the output is.
        log: PathBuf,
    },
    /// A program failed.
    #[error("could not {doing}: {cause}")]
    Step {
        /// What we were doing, as a verb.
        doing: &'static str,
        /// The likely cause.
        cause: Cause,
        /// The last lines that the program printed.
        tail: String,
        /// Where all of its output is.
        log: PathBuf,
    },
}

impl EnvError {
    /// What a person can do about it, as one sentence; `None` if nothing better than the message comes to mind.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a folder that you may write to, with --data-dir".to_owned()
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("make room on the file system of {}", path.display())
                }
                _ => return None,
            },
            Self::PathWithColon { .. } => {
                "choose another folder with --data-dir; a colon separates the entries of PATH"
                    .to_owned()
            }
            Self::DiskFull { path, .. } => format!(
                "make room on the file system of {}, or choose another folder with --data-dir",
                path.display()
            ),
            Self::NoPython { .. } => {
                "install one, on Debian and Ubuntu: apt install python3 python3-venv".to_owned()
            }
            Self::NoVenv { .. } => {
                "install them, on Debian and Ubuntu: apt install python3-venv".to_owned()
            }
            Self::Busy { .. } => "wait for that process, or end it, and try again".to_owned(),
            Self::LeftOver { .. } => {
                "end these processes, or restart the machine, and try again".to_owned()
            }
            Self::Requirements { help, .. } | Self::BadPackage { help, .. } => help.clone(),
            Self::OtherPython { .. } => {
                "`lyceum env python build` chooses for this Python and writes a new lock file; or ask for that Python \
                 with --python"
                    .to_owned()
            }
            Self::StaleLock { .. } => {
                "build without --from-lock, which chooses what is new and keeps the rest".to_owned()
            }
            Self::NoSuchPython { asked, .. } if asked.starts_with('/') => {
                "`lyceum env python versions` lists what can be used; what is in a home is closed to others: install it \
                 below /opt"
                    .to_owned()
            }
            Self::NoSuchPython { .. } => {
                "`lyceum env python versions` lists what there is; on Debian and Ubuntu: apt install python3 python3-venv"
                    .to_owned()
            }
            Self::PythonGone { .. } => {
                "choose another: `lyceum env python build NAME --python VERSION`; `lyceum env python versions` lists what there is"
                    .to_owned()
            }
            Self::NoGeneration {
                number: None,
                folder,
            } => format!("build one: `lyceum env python build {}`", name_of(folder)),
            Self::NoGeneration { .. } | Self::NothingBefore { .. } => {
                "`lyceum env python list` lists what there is".to_owned()
            }
            Self::Unusable { folder, .. } => format!(
                "build a new one: `lyceum env python build {} --python VERSION`; `lyceum env python versions` lists what there is",
                name_of(folder)
            ),
            Self::NoServer { .. } => {
                "add `jupyterhub` and `jupyterlab` to the requirements; an environment for kernels only is not `env.default`, \
                 and no profile names it"
                    .to_owned()
            }
            Self::NoAccount { name } => format!(
                "make it: useradd --system --no-create-home --shell /usr/sbin/nologin {name}; or name another in `build_as`"
            ),
            Self::BadBuilder { .. } => {
                "name one in `build_as` that does nothing else: useradd --system --no-create-home --shell /usr/sbin/nologin lyceum-build"
                    .to_owned()
            }
            Self::Unsafe { path, .. } => format!(
                "after a look at what is there: chown root:root {0}; chmod go-w {0}",
                path.display()
            ),
            Self::Strange { .. } => {
                "leave that package out, or ask its authors for a wheel".to_owned()
            }
            Self::NotAsLocked { .. } => "try again with --force".to_owned(),
            Self::Unfit { problems, log } => problems
                .iter()
                .find_map(|problem| problem.advice.clone())
                .unwrap_or_else(|| format!("read {}", log.display())),
            Self::Step { cause, log, .. } => match cause.hint() {
                Some(hint) => hint,
                None => format!("read {}", log.display()),
            },
        })
    }

    /// The same for whoever looks after the environments of a server, by [`crate::library`].
    pub fn server_hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run the command as root, or choose a folder that you may write to: `env.folder`"
                        .to_owned()
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    format!("the file system of {} is mounted read-only", path.display())
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ROOM.to_owned(),
                io::ErrorKind::NotFound if self.is_requirements_file() => format!(
                    "write it, with a package on each line, such as `jupyterlab`: {}",
                    path.display()
                ),
                _ => return self.hint(),
            },
            Self::PathWithColon { .. } => "choose another folder with `env.folder`".to_owned(),
            Self::DiskFull { path, .. } => format!(
                "make room on the file system of {}: `lyceum env python gc` removes old generations",
                path.display()
            ),
            Self::Step {
                cause: Cause::DiskFull,
                ..
            } => ROOM.to_owned(),
            _ => return self.hint(),
        })
    }

    fn is_requirements_file(&self) -> bool {
        matches!(self, Self::Io { doing, .. } if *doing == "read the requirements file")
    }

    /// The last lines of the failed program's output, if there was one.
    pub fn details(&self) -> Option<&str> {
        match self {
            Self::Step { tail, .. } if !tail.is_empty() => Some(tail),
            Self::Unfit { problems, .. } => problems
                .iter()
                .map(|problem| problem.tail.as_str())
                .find(|tail| !tail.is_empty()),
            _ => None,
        }
    }

    /// The likely cause, where a program failed.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Step { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// The name of the environment whose generations are in this folder.
fn name_of(folder: &Path) -> Cow<'_, str> {
    folder.file_name().unwrap_or_default().to_string_lossy()
}

/// A version that nobody has, or a path at which no Python is that can be used.
struct NoSuch<'a>(&'a str, &'a [String]);

impl fmt::Display for NoSuch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(asked, found) = self;
        match found {
            [why] if asked.starts_with('/') => {
                write!(f, "{asked} is no Python that can be used: {why}")
            }
            found => write!(f, "found no Python {asked}{}", Listed(found)),
        }
    }
}

struct Several<'a>(&'a [Problem]);

impl fmt::Display for Several<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " (found: {})", self.0.join("; "))
        }
    }
}

struct Generation(Option<u32>);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "complete generation {number}"),
            None => f.write_str("complete generation"),
        }
    }
}

struct Number<'a>(Option<&'a str>);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, " ({number})"))
    }
}
