//! What tests need and the product does not: a whole hub in process with visitors of it, fakes, a tiny
//! notebook server, and a plain HTTP client.
//!
//! Used by tests only; nothing that is delivered depends on it.

pub mod fakes;
pub mod http;
pub mod hub;
pub mod jupyterhub;
pub mod notebook;
pub mod visitor;
pub mod wait;

pub use hub::{Builder, TestHub};
/// The login without a directory of people, with one password for all.
pub use lyceum_auth::Dummy;
pub use visitor::{Answer, Visitor};
pub use wait::{LIMIT, eventually, within};
