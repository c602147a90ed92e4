//! The manager of certificates with Pebble, a real authority for tests. Tests no command of the program.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test itself does"
)]

mod clock;
mod commands;
mod damage;
mod files;
mod first;
#[path = "../acme/pebble.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod pebble;
mod renewal;
mod settings;
mod world;
