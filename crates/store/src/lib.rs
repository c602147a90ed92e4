//! All SQL and migrations: one [`Store`], with SQLite or PostgreSQL under it.
//!
//! Reads are methods of [`Store`] and of [`Tx`], writes are methods of [`Tx`] alone. One SQL text serves both
//! engines; only migrations exist twice. What may be done, and by whom, is not decided here.

mod activity;
mod adopt;
mod audit;
mod cache;
mod clients;
mod codes;
mod config;
mod details;
mod engine;
mod error;
mod fingerprint;
mod groups;
pub mod jupyterhub;
pub mod migrations;
mod open;
mod page;
mod places;
mod postgres;
mod purge;
mod reading;
mod rehearsal;
mod roles;
mod servers;
mod services;
mod sessions;
mod settings;
mod share_codes;
mod shares;
mod sqlite;
mod tokens;
mod tx;
mod user_list;
mod users;

pub use activity::ActivityBatch;
pub use adopt::{AdoptedClient, AdoptedShare, AdoptedShareCode, AdoptedToken};
pub use audit::{AuditQuery, AuditRow, NewAuditRow};
pub use cache::{Cache, Moment, SecretKey, Tag};
pub use clients::{NewOAuthClient, OAuthClient};
pub use codes::OAuthCode;
pub use config::{DatabaseUrl, StoreConfig, StoreConfigError, StoreSettings};
pub use details::{GroupDetails, UserDetails};
pub use error::{EngineError, Kind, StoreError};
pub use groups::{Group, GroupQuery};
pub use open::OpenError;
pub use page::{Page, Paged};
pub use purge::Purged;
pub use rehearsal::Rehearsal;
pub use roles::{NewRole, Role, RoleHolder};
pub use servers::{Phase, Server, ServerCounts};
pub use services::{Service, ServiceData};
pub use sessions::{NewSession, Session};
pub use share_codes::{NewShareCode, ShareCode, ShareCodesOf};
pub use shares::{ReceivedShare, Receiver, ReceiverId, Share, SharesOf};
pub use tokens::{ApiToken, NewToken, Owner, TokenOwner};
pub use tx::{Store, Tx};
pub use user_list::{HavingServers, OnlyUsers, UserQuery, UserSort};
pub use users::{NewUser, User};
