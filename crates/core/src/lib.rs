//! The rules of a hub, without any input or output: names, ids, scopes and roles,
//! OAuth rules, the life cycle of a server, and the seams behind which the outside lives.
//!
//! Nothing here reads a file, opens a socket or knows of tokio.

pub mod class_hours;
pub mod clock;
pub mod declared;
pub mod duration;
pub mod escape;
pub mod ids;
pub mod lifecycle;
pub mod limits;
pub mod listener;
pub mod names;
pub mod network;
pub mod next_url;
pub mod oauth;
pub mod pattern;
pub mod random;
pub mod route;
pub mod scope;
pub mod seams;
pub mod secret;
pub mod service;
pub mod size;
pub mod slug;
pub mod token;
pub mod trusted;
pub mod xsrf;

pub use class_hours::{ClassHours, WeeklyHours};
pub use clock::{Clock, SystemClock, Timestamp};
pub use duration::HumanDuration;
pub use names::{GroupName, NameError, ServerName, ServerRef, ServiceName, UserName};
pub use network::{Network, NetworkError};
pub use pattern::{NamePattern, PatternError};
pub use route::{Route, RouteSpec, RouteStatus, Upstream};
pub use secret::Secret;
pub use size::HumanSize;
