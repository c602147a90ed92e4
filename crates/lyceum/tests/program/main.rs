//! The built program, as a person at a terminal meets it: its answers, its errors, its life cycle.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod certs;
#[cfg(test)]
mod config;
#[cfg(test)]
mod environments;
#[cfg(test)]
mod import;
#[cfg(test)]
mod internal_tls;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod passed;
#[cfg(test)]
#[path = "../../../certs/tests/acme/pebble.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod pebble;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod r;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod services;
#[cfg(test)]
mod sites;
#[cfg(test)]
mod support;
