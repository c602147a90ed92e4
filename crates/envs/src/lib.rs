//! Python and R environments, and shared data, each as generations: built beside the old one,
//! tried out, and switched to by one atomic rename.
//!
//! Nothing here starts a user's server; the crate hands out folders that servers run from.

mod command;
pub mod data;
mod diagnosis;
mod error;
mod generations;
pub mod kernels;
mod progress;
pub mod python;
pub mod r;

pub use error::{Cause, EnvError};
pub use progress::{Phase, Progress, Report, Silent};
pub use python::{Host, PackageSource, PythonEnvironment, PythonSpec};
