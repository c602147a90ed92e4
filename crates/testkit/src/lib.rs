//! What tests need and the product does not: a tiny notebook server, and a plain HTTP client.
//!
//! Used by tests only; nothing that is delivered depends on it.

pub mod http;
pub mod notebook;
