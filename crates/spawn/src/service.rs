//! Managed services: programs that Lyceum starts beside users' servers, and that end with it.

mod account;

pub use account::{Account, AccountError};
