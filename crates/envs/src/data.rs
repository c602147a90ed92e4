//! Shared data beside the environments: NLTK's packages, or any folder or archive, put into one place for all users.
//!
//! What is put there is complete or not there: it is gathered beside its place, and the two are exchanged. Knows nothing of
//! the configuration; who may read and write a folder is told by the caller.

mod error;
mod fetch;
mod folder;
mod index;
mod keep;
mod nltk;
mod place;
mod rights;
mod stamp;
mod unpack;

pub use error::DataError;
pub use folder::{FolderWish, add_folder};
pub use nltk::{Address, NltkPlan, NltkSource, NltkWish, Planned, add_nltk, plan_nltk};
pub use place::{is_unfinished, make_folder, remove};
pub(crate) use rights::fixed;
pub use rights::{Audience, Change, Rights, apply, apply_below, create};
pub use stamp::{DataStamp, Found, Package, check, find};

#[cfg(test)]
mod tests;
