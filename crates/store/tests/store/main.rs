//! The store on both engines: SQLite in a temporary directory, and a real PostgreSQL that the tests start.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "these are tests, and their helpers are not recognized as such"
)]

mod activity;
mod adopt;
mod audit;
mod cache;
mod details;
mod groups_and_roles;
mod opening;
mod opening_postgres;
mod outages;
mod servers;
mod sessions;
mod shares;
mod support;
mod tokens;
mod transactions;
mod upgrades;
mod users;
