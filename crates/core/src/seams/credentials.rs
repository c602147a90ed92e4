//! What a user's server needs to speak TLS with the hub and the gateway, and with nobody else.

use crate::secret::Secret;

/// A server's own key and certificate, made for one start, and whom it may believe.
#[derive(Debug, Clone)]
pub struct ServerCredentials {
    /// The private key, PEM.
    pub key: Secret<String>,
    /// Its certificate with those above it, PEM: shown to the gateway, and to the hub's API.
    pub certificate: String,
    /// The authorities of the hub's side, PEM: what the gateway and the hub's API show is of one of them.
    pub client_ca: String,
    /// The name in the certificate, which no other start has; no name in the DNS. The gateway wants to see it.
    pub server_name: String,
}
