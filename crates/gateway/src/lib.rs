//! Listeners, route table, forwarding, upgrades and error pages; knows hosts, paths and upstreams, never users.
