//! What a caller is told while an environment is being prepared.
//!
//! Nothing is printed here: a command line draws a bar, a page sends events.

use std::fmt;
use std::time::Duration;

/// Hears how the work goes.
///
/// Called from the middle of the work, so an implementation returns at once.
pub trait Progress: fmt::Debug + Send + Sync {
    /// Takes one report; the next one replaces it.
    fn report(&self, report: &Report);
}

/// How far the work is, as one sentence and as a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The part of the work that goes on.
    pub phase: Phase,
    /// The same in plain words, lower case and without a full stop.
    pub text: String,
    /// How much of the *whole* work is done, from 0 to 1; `None` while that is not known.
    /// It never decreases.
    pub fraction: Option<f32>,
    /// How long the whole work may take on a usual connection, or took the last time.
    pub estimate: Duration,
}

/// The parts of the work, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Somebody else prepares the same environment.
    Waiting,
    /// What an interrupted run left is removed.
    Cleaning,
    /// A Python that can make environments is looked for.
    Searching,
    /// The empty environment is created.
    Creating,
    /// Packages are chosen and downloaded.
    Downloading,
    /// Packages are unpacked into the environment.
    Installing,
    /// Modules are compiled, so that servers start faster.
    Compiling,
    /// The environment is tried out.
    Testing,
    /// The environment is the current one.
    Done,
}

impl Phase {
    /// The name in log lines and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Cleaning => "cleaning",
            Self::Searching => "searching",
            Self::Creating => "creating",
            Self::Downloading => "downloading",
            Self::Installing => "installing",
            Self::Compiling => "compiling",
            Self::Testing => "testing",
            Self::Done => "done",
        }
    }
}

/// A listener that does not listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _report: &Report) {}
}
