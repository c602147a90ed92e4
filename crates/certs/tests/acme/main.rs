//! The client of authorities against Pebble, a real one for tests. Tests no schedule of renewals.

mod account;
mod fake;
mod issue;
mod pebble;
mod resume;
mod trouble;
mod world;
