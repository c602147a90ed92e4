//! Spawners: the ways to start, watch and stop users' servers.
//!
//! Each lives in its own module, behind [`lyceum_core::seams::Spawner`]. None knows the hub or the gateway.

pub mod process;
