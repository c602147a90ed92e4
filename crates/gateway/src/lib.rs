//! Listeners, route table, forwarding, upgrades and error pages; knows hosts, paths and upstreams, never users.
//!
//! A request comes in through [`BoundGateway`], passes `front`, and goes either to an upstream of the
//! [`RouteTable`] or to the hub, which is called in process through [`HubService`]. One single-threaded
//! runtime per core carries the traffic; hub code never runs on it, so that nothing the hub does can
//! hold up a WebSocket frame.

mod address;
mod body;
mod compress;
mod config;
mod connection;
mod counts;
mod files;
mod forward;
mod forwarded;
mod framing;
mod front;
mod gate;
mod holder;
mod hub;
mod limit;
mod listen;
mod network;
mod options;
mod pages;
mod path;
mod pool;
mod request_id;
mod serve;
mod served;
mod site;
mod socket;
mod table;
mod tunnel;

pub use address::{AddressError, ListenAddress};
pub use body::{Body, BodyError};
pub use compress::{Accepted, Coding, CompressMode, Compression, Encoder, Plan};
pub use config::GatewayConfig;
pub use counts::Counts;
pub use files::{
    FileFolder, Progress, StaticError, StaticFile, StaticRequest, StaticSet, StaticSets, Summary,
};
pub use gate::{Admission, ClosedGate, Gate, Visit};
pub use hub::{ClientInfo, HubService};
pub use listen::{BoundGateway, Gateway, GatewayError};
pub use network::{Network, NetworkError};
pub use options::ForwardOptions;
pub use pages::{ErrorContext, ErrorPage, ErrorPages, ErrorReason, PlainErrorPages};
pub use request_id::RequestId;
pub use serve::{Parts, UpstreamEvents};
pub use site::{Forwarding, Site, SiteAccess, SiteAction, SiteKind, SiteLimits};
pub use table::RouteTable;
