//! The broker with its client, real PAM and real accounts, on a machine of each test's own (see `room.rs`).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test itself does"
)]

mod accounts;
mod beside;
mod life;
mod room;
