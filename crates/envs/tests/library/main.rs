//! Generations of named Python environments, built with the real pip and the real uv from small packages.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::assigning_clones,
    reason = "the helpers of a test fail as the test itself does"
)]

mod building;
mod failures;
mod keeping;
mod killed;
mod place;
mod sources;
