//! Certificates: read from files, and what TLS is made of them; which protocols and ciphers are spoken.
//!
//! Nothing here opens a socket: the gateway speaks TLS with what it gets from here.

mod client;
mod files;
mod server;

pub use client::ClientTls;
pub use files::{CertificateError, read_certificates, read_key};
pub use server::{ServerTls, ServerTlsOptions};
