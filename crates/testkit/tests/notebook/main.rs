//! The program `tiny-notebook` against a stub of a hub: real processes, real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test itself does"
)]

mod modes;
mod stub;
mod visits;
