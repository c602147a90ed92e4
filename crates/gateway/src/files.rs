//! Static files, answered without anybody's server: those of prepared environments, and folders of sites.
//!
//! A [`StaticSet`] is the index of one environment: which paths below a server's prefix are which files. It is
//! made off the gateway's threads, and a path that is not in it belongs to the server: nothing here ever answers
//! 404 in a server's name. [`StaticSets`] has them by the key that the hub writes into routes, and finds the
//! [`StaticFile`] for a request; [`FileFolder`] does the same for the folder of a site.
//!
//! Which paths may be answered is in `rules`, for administrators in `docs/static-files.md`.

mod answer;
mod beneath;
mod challenge;
mod conditions;
mod disk;
mod environment;
mod folder;
mod hot;
mod index;
mod media;
mod rules;
mod set;
mod sets;
mod stream;
#[cfg(test)]
mod tests;
mod variants;

pub use answer::StaticRequest;
pub(crate) use challenge::ChallengeFile;
pub use folder::FileFolder;
pub use set::{Progress, StaticError, StaticSet, Summary};
pub use sets::{StaticFile, StaticSets};
