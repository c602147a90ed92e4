//! Loads, merges, validates and explains the configuration; schema and reference page come from it.
//!
//! ```text
//! files, environment, flags ─► tree (each value knows its place) ─► check against the schema
//!                              ─► decode into structs ─► rules across settings ─► Loaded
//! ```
//!
//! Nothing stops at the first error: a value that cannot be used is reported and left out, and the rest is looked at.
//! Nothing here opens a socket or starts anything; of the files that settings name, only those with passwords are read, to see
//! that they can be used; what they contain goes nowhere.

mod catalog;
mod check;
mod decode;
mod explain;
mod file;
mod follow;
mod given;
mod load;
mod mask;
mod problem;
mod reference;
mod schema;
mod semantic;
pub mod settings;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod tree;

pub use explain::{UnknownKey, explain};
pub use given::{ENVIRONMENT_PREFIX, Given, Override};
pub use load::{DEFAULT_FILE, LoadOptions, Loaded, load};
pub use problem::{ConfigErrors, Problem, Severity};
pub use reference::{json_schema, reference_page};
pub use settings::Config;
pub use source::Origin;
