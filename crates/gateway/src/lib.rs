//! Listeners, route table, forwarding, upgrades and error pages; knows hosts, paths and upstreams, never users.
//!
//! A request comes in through [`BoundGateway`], passes `front`, and goes either to an upstream of the
//! [`RouteTable`] or to the hub, which is called in process through [`HubService`]. One single-threaded
//! runtime per core carries the traffic; hub code never runs on it, so that nothing the hub does can
//! hold up a WebSocket frame.

mod accept;
mod action;
mod address;
mod answer;
mod body;
mod buffer;
mod call;
mod chunks;
mod client;
mod compress;
mod config;
mod counts;
mod deliver;
mod exchange;
mod failure;
mod feed;
mod files;
mod forwarded;
mod front;
#[doc(hidden)]
pub mod fuzz_logic;
mod gate;
mod h1;
mod h2;
mod head;
mod holder;
mod hub;
mod limit;
mod listen;
mod listener;
mod maintenance;
mod options;
mod origin;
mod pages;
mod passed;
mod path;
mod patience;
mod plan;
mod pool;
mod proxy_protocol;
mod pulse;
mod refused;
mod relay;
mod request_id;
pub mod rewrite;
mod secure;
mod serve;
mod site;
mod socket;
mod splice;
mod squeeze;
mod table;
mod tunnel;
mod upload;

pub use address::{AddressError, ListenAddress};
pub use body::{Body, BodyError};
pub use call::{CallError, HttpClient};
/// Names and values of headers, as the settings of a [`Site`] have them.
pub use http::header::{HeaderName, HeaderValue};
/// What authorities are answered, as [`Parts`] have it.
pub use lyceum_certs::Challenges;

pub use compress::{Accepted, Coding, CompressMode, Compression, Encoder, Plan};
pub use config::GatewayConfig;
pub use counts::Counts;
pub use files::{
    FileFolder, Progress, StaticError, StaticFile, StaticRequest, StaticSet, StaticSets, Summary,
};
pub use gate::{Admission, ClosedGate, Gate, Visit};
pub use hub::{ClientInfo, HubService};
pub use listen::{BoundGateway, Gateway, GatewayError};
pub use lyceum_core::{Network, NetworkError};
pub use maintenance::{Maintenance, MaintenanceSwitch, Passage};
pub use options::ForwardOptions;
pub use origin::{Arrival, proper_origin};
pub use pages::{ErrorContext, ErrorPage, ErrorPages, ErrorReason, PlainErrorPages};
pub use passed::Unfit;
pub use pulse::Pulse;
pub use request_id::RequestId;
pub use serve::{Parts, UpstreamEvents};
pub use site::{
    Forwarding, HeaderFault, Site, SiteAccess, SiteAction, SiteKind, SiteLimits, site_header,
};
pub use table::RouteTable;
