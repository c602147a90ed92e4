//! The process spawner with real processes: shell scripts, Python, and the real `jupyterhub-singleuser`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail as the test itself does"
)]

mod adopt;
mod credentials;
mod disk;
mod harness;
mod jupyter;
mod profiles;
mod python;
mod start;
mod stop;
mod usage;
