//! Certificates: where they come from, when they are renewed, and what TLS is made of them.
//!
//! Opens no listener: the gateway speaks TLS with what it gets from here, and shows authorities the answers that are
//! put into [`Challenges`].

pub mod acme;
mod challenge;
mod client;
mod config;
mod disk;
pub mod dns;
mod files;
mod identity;
mod inspect;
mod internal;
mod keys;
mod live;
mod manage;
mod name;
mod order;
mod pem;
pub mod preflight;
mod schedule;
mod server;
mod stored;
mod trouble;

pub use challenge::{
    ACME_TLS_ALPN, Answering, ChallengeKind, Challenges, HTTP_CHALLENGE_PATH, HttpSolver, Proof,
    Shown, Solver, TlsSolver,
};
pub use client::ClientTls;
pub use config::{
    AcmeConfig, Authority, AuthorityError, CertificateConfig, ChallengeChoice, DnsCommandConfig,
    DnsConfig, DnsServer, DnsServerError, Doubt, Origin, Rfc2136Config, TlsConfig, TlsSource,
    TlsVersion, TsigAlgorithm, Wanted,
};
pub use files::{CertificateError, read_certificates, read_key};
pub use identity::ClientIdentity;
pub use internal::InternalAuthority;
pub use keys::KeyType;
pub use live::LiveCertificates;
pub use manage::{
    CertificateStatus, ClockStatus, Level, Manager, ManagerOptions, Outcome, RevocationReason,
    State, TlsStatus, Warning,
};
pub use name::{CertificateName, CertificateNameError};
pub use pem::PemError;
pub use preflight::{Finding, Ports, Verdict};
pub use server::{LiveTlsOptions, ServerTls, ServerTlsOptions};
pub use trouble::{Trouble, TroubleKind};
