//! The client of authorities against Pebble, a real one for tests. Tests no schedule of renewals.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test itself does"
)]

mod account;
mod fake;
mod issue;
mod pebble;
mod resume;
mod trouble;
mod world;
