//! The gateway between real sockets: clients, upstreams and a hub that do what the tests tell them.

mod activity;
mod drain;
mod forwarding;
mod hub;
mod listening;
mod streaming;
mod strictness;
mod support;
mod upgrades;
