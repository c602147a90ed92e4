//! The pages that people see.

pub(crate) mod accept_share;
pub(crate) mod admin;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod home;
pub(crate) mod keep;
pub(crate) mod language;
pub(crate) mod login;
pub(crate) mod named_servers;
pub(crate) mod next;
pub(crate) mod not_running;
pub(crate) mod pending;
pub(crate) mod root;
pub(crate) mod spawn;
pub(crate) mod stop;
pub(crate) mod token;
