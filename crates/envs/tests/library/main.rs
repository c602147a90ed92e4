//! Generations of named Python environments, built with the real pip and the real uv from small packages.

mod building;
mod failures;
mod keeping;
mod killed;
mod place;
