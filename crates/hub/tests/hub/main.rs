//! The hub as a whole: through its public face and through HTTP, with real processes where it matters.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test itself does"
)]

mod activity;
mod admission;
mod audit;
mod auth_state;
mod cull;
mod declared;
mod failures;
mod guessing;
mod import;
mod known;
mod limits;
mod login;
mod names;
mod oauth;
mod outages;
mod races;
mod real_names;
mod restart;
mod servers;
mod services;
mod sharing;
mod starts;
mod troubles;
mod usage;
mod users;
