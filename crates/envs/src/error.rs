//! What can go wrong while an environment is prepared, with the likely cause and the next step.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::python::Problem;

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

/// The likely cause of a failed program, read from its output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The package index cannot be reached.
    Network,
    /// A proxy stands between us and the package index, and does not let us through.
    Proxy,
    /// The package index's certificate is not trusted.
    Certificate,
    /// The index answers slower than the installer is ready to wait.
    SlowNetwork,
    /// The index knows no version that fits.
    NoSuchPackage(String),
    /// The disk is full.
    DiskFull,
    /// Writing or running a file is not allowed.
    Permission,
    /// `venv` lacks `ensurepip`, as on Debian without `python3-venv`.
    NoVenv,
    /// A package has no ready-made wheel, and building it failed.
    Build,
    /// The program was ended from outside.
    Killed(i32),
    /// The program took longer than this.
    Timeout(Duration),
    /// The program could not be started.
    NotStarted(String),
    /// Nothing that we know; the exit status.
    Other(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("the package index cannot be reached"),
            Self::Proxy => f.write_str("the proxy does not let us through to the package index"),
            Self::Certificate => f.write_str("the package index's certificate is not trusted"),
            Self::SlowNetwork => f.write_str("the package index answers too slowly"),
            Self::NoSuchPackage(name) => {
                write!(f, "the package index has no version of {name} that fits")
            }
            Self::DiskFull => f.write_str("the disk is full"),
            Self::Permission => f.write_str("permission denied"),
            Self::NoVenv => f.write_str("the module ensurepip is missing"),
            Self::Build => f.write_str("a package must be compiled here, and that failed"),
            Self::Killed(signal) => write!(f, "the program was ended by signal {signal}"),
            Self::Timeout(limit) => write!(f, "the program took longer than {} s", limit.as_secs()),
            Self::NotStarted(why) => write!(f, "the program could not be started ({why})"),
            Self::Other(status) => write!(f, "the program failed with {status}"),
        }
    }
}

impl Cause {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Network | Self::SlowNetwork => {
                    "check the network connection and try again: what has been downloaded is kept. \
                     Behind a proxy set https_proxy, for a mirror of PyPI set PIP_INDEX_URL"
                }
                Self::Proxy => {
                    "check the variables https_proxy and no_proxy, or set PIP_INDEX_URL to a mirror that needs no proxy"
                }
                Self::Certificate => {
                    "if a proxy opens TLS connections, set PIP_CERT to the file with its certificate; else check the clock"
                }
                Self::NoSuchPackage(_) => {
                    "use a newer Python, or check PIP_INDEX_URL if packages come from a mirror"
                }
                Self::DiskFull => "make room on the disk and try again",
                Self::Permission => {
                    "check who owns the folder, and that its file system is not mounted with noexec"
                }
                Self::NoVenv => "install it, on Debian and Ubuntu: apt install python3-venv",
                Self::Build => {
                    "use a Python version for which PyPI has wheels, or install a compiler: apt install build-essential python3-dev"
                }
                Self::Killed(9) => "perhaps the machine ran out of memory: check with dmesg, and try again",
                Self::Killed(_) | Self::Timeout(_) => "try again: what has been downloaded is kept",
                Self::NotStarted(_) | Self::Other(_) => return None,
            }
            .to_owned(),
        )
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

struct Number<'a>(Option<&'a str>);

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, " ({number})"))
    }
}
