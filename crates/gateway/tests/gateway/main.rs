//! The gateway between real sockets: clients, upstreams and a hub that do what the tests tell them.

#[cfg(test)]
mod activity;
#[cfg(test)]
mod authority;
#[cfg(test)]
mod challenges;
#[cfg(test)]
mod client_certificates;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod https;
#[cfg(test)]
mod hub;
#[cfg(test)]
mod internal;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod passed;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod streaming;
#[cfg(test)]
mod strictness;
#[cfg(test)]
mod support;
#[cfg(test)]
mod swap;
#[cfg(test)]
mod tls;

#[cfg(test)]
mod upgrades;
