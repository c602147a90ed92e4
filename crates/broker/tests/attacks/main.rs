//! Attacks on the broker: each is refused, and the machine is as it was. The table of `docs/security.md` names them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "the helpers of a test fail as the test itself does; not all of the room is used here"
)]

mod names;
mod peers;
#[path = "../broker/room.rs"]
mod room;
