//! Python and R environments as generations: built beside the old one, tried out, and switched to by one atomic rename;
//! and what is beside them: shared data, and courses.
//!
//! Nothing here starts a user's server; the crate hands out folders that servers run from.

mod command;
pub mod course;
pub mod data;
mod diagnosis;
mod digest;
mod error;
mod generations;
pub mod kernels;
pub mod library;
mod progress;
pub mod python;
pub mod r;
pub mod shell;
mod whole_file;

pub use error::{Cause, EnvError};
pub use progress::{Phase, Progress, Report, Silent};
pub use python::{Host, PackageSource, PythonEnvironment, PythonSpec};
