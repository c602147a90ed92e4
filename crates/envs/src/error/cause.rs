//! The likely cause of a failed program, and what to do about it.
//!
//! It is read from output by `crate::diagnosis`.

use std::fmt;
use std::time::Duration;

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
    /// A file from the index ends too early: the connection broke, or a proxy or mirror cuts it.
    Incomplete,
    /// The index knows no version that fits.
    NoSuchPackage(String),
    /// The disk is full.
    DiskFull,
    /// Writing or running a file is not allowed.
    Permission,
    /// An earlier run of apt was broken off, and apt does nothing until its work is finished.
    AptInterrupted,
    /// Another program has been installing packages of the system for so long that we did not wait for its end.
    AptBusy,
    /// `venv` lacks `ensurepip`, as on Debian without `python3-venv`.
    NoVenv,
    /// A package has no ready-made wheel, and building it failed.
    Build,
    /// This package has no ready-made wheel, and building it failed.
    BuildOf(String),
    /// A package comes from a git repository, and git is not there.
    NoGit,
    /// git cannot get a repository, or has no such branch or tag in it.
    Repository,
    /// The server of a git repository cannot be reached.
    NoWayToRepository,
    /// git refuses a repository of this machine that belongs to another account.
    ForeignRepository,
    /// The requirements contradict each other.
    Conflict,
    /// A file is not the one that the lock file or the requirements mean.
    WrongHash,
    /// A package needs another Python.
    NeedsPython,
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
            Self::Incomplete => f.write_str("a file has come incomplete from the package index"),
            Self::SlowNetwork => f.write_str("the package index answers too slowly"),
            Self::NoSuchPackage(name) => {
                write!(f, "the package index has no version of {name} that fits")
            }
            Self::DiskFull => f.write_str("the disk is full"),
            Self::Permission => f.write_str("permission denied"),
            Self::AptInterrupted => f.write_str("an earlier run of apt was broken off"),
            Self::AptBusy => f.write_str("another program installs packages of the system"),
            Self::NoVenv => f.write_str("the module ensurepip is missing"),
            Self::Build => f.write_str("a package must be compiled here, and that failed"),
            Self::BuildOf(name) => {
                write!(f, "{name} must be compiled here, and that failed")
            }
            Self::NoGit => f.write_str("git is not installed"),
            Self::Repository => f.write_str("git cannot get a repository"),
            Self::NoWayToRepository => {
                f.write_str("the server of a git repository cannot be reached")
            }
            Self::ForeignRepository => {
                f.write_str("git refuses a repository that belongs to another account")
            }
            Self::Conflict => f.write_str("the requirements contradict each other"),
            Self::WrongHash => {
                f.write_str("a file is not the one that was meant: its hash differs")
            }
            Self::NeedsPython => f.write_str("a package needs another version of Python"),
            Self::Killed(signal) => write!(f, "the program was ended by signal {signal}"),
            Self::Timeout(limit) => write!(f, "the program took longer than {} s", limit.as_secs()),
            Self::NotStarted(why) => write!(f, "the program could not be started ({why})"),
            Self::Other(status) => write!(f, "the program failed with {status}"),
        }
    }
}

impl Cause {
    pub(crate) fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Network | Self::SlowNetwork | Self::Incomplete => {
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
                    "check how the name is spelled and which versions are asked for; else use a newer Python, or check \
                     PIP_INDEX_URL if packages come from a mirror"
                }
                Self::DiskFull => "make room on the disk and try again",
                Self::Permission => {
                    "check who owns the folder, and that its file system is not mounted with noexec"
                }
                Self::AptInterrupted => "finish its work with `dpkg --configure -a`, and try again",
                Self::AptBusy => "wait until it is done, and try again; `ps -C apt-get,apt,dpkg,unattended-upgr` may show it",
                Self::NoVenv => "install it, on Debian and Ubuntu: apt install python3-venv",
                Self::NoGit => "install it, on Debian and Ubuntu: apt install git",
                Self::Repository => {
                    "check its address, and the branch or tag after the `@`; a private one needs ssh, or the builder's .netrc"
                }
                Self::NoWayToRepository => {
                    "check the repository's address and the network connection; behind a proxy set https_proxy"
                }
                Self::ForeignRepository => {
                    "run what the lines above say as root, with --system in place of --global"
                }
                Self::Conflict => {
                    "the lines above name the packages that do not go together: loosen one of them in the requirements"
                }
                Self::WrongHash => {
                    "if the file was replaced on purpose, build again without --from-lock; else do not trust its source"
                }
                Self::NeedsPython => {
                    "choose another Python with --python, or an older version of the package; `lyceum env python versions` lists what there is"
                }
                Self::Build | Self::BuildOf(_) => {
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
