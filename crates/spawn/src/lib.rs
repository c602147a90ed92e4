//! Spawners: the ways to start, watch and stop users' servers.
