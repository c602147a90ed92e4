//! The REST API of configurable-http-proxy, both sides: served over our gateway's table, and spoken to a proxy elsewhere.
//!
//! `lyceum proxy` is made of [`RestApi`], [`Unrouted`] and its kin on gateways of their own; [`ExternalProxy`] is what
//! a hub has in place of our gateway's table. Nothing here opens a listener, reads a command line or knows users.

mod api;
mod book;
mod config;
mod errors;
mod external;
mod json;
mod metrics;
mod redirect;
mod target;
mod time;

pub use api::RestApi;
pub use book::RouteBook;
pub use config::{ExternalConfig, ProxyConfig, ProxyConfigError};
pub use errors::{ErrorPageSource, Failures, Unrouted};
pub use external::ExternalProxy;
pub use metrics::{ApiCounts, Metrics};
pub use redirect::ToHttps;
pub use target::{Target, TargetError};
