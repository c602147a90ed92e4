//! TLS between Lyceum and users' servers: two authorities of our own, which nobody else has to believe.
//!
//! The one of the hub's side vouches for the gateway and for the API's listener, and is what servers believe. The one of
//! the servers vouches for servers, and is what gateway and API believe. So no server can pose as the hub or the
//! gateway, not even with its own key. Nor as another server: each start has a name of its own in its certificate, and
//! the gateway wants to see that name.

mod line;

use std::io;
use std::path::Path;
use std::sync::Arc;

use lyceum_core::random;
use lyceum_core::seams::ServerCredentials;
use lyceum_core::{Secret, Timestamp};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::line::{Issued, Line};
use crate::client::ClientTls;
use crate::name::CertificateName;
use crate::pem;
use crate::server::ServerTls;
use crate::trouble::{Trouble, TroubleKind};

/// The end of every server's name; `.internal` is nobody's in the DNS.
const SERVER_SUFFIX: &str = "server.lyceum.internal";
/// How many bytes of chance are in a server's name.
const NAME_BYTES: usize = 16;

/// The authorities of one Lyceum for its own traffic with users' servers. Kept in a folder: servers that run go on
/// believing the next Lyceum.
#[derive(Debug)]
pub struct InternalAuthority {
    /// Vouches for the gateway and the API's listener.
    hub: Line,
    /// Vouches for users' servers.
    servers: Line,
}

impl InternalAuthority {
    /// Reads the authorities in a folder, makes them if there are none, and gives those that end in some years their
    /// successors. Reads and writes files: not for the runtime's threads.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, Trouble> {
        Ok(Self {
            hub: Line::open(folder, "hub", now)?,
            servers: Line::open(folder, "servers", now)?,
        })
    }

    /// Makes key and certificate for one start of a server. `who` is in the certificate for people to read.
    pub fn issue(&self, who: &str, now: Timestamp) -> Result<ServerCredentials, Trouble> {
        let server_name = format!("{}.{SERVER_SUFFIX}", random::hex(NAME_BYTES));
        let made = self.servers.newest().issue(
            who,
            &[dns_name(&server_name)?],
            // The server shows it to the gateway as a server, and to the API as a client.
            &[
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            now,
        )?;
        Ok(ServerCredentials {
            key: Secret::new(made.key),
            certificate: made.certificate,
            client_ca: self.hub.trusted_pem(now),
            server_name,
        })
    }

    /// Makes what the gateway speaks TLS to users' servers with: its own certificate, and whom it believes. Good for
    /// four years, or as long as its authority; made anew at each start of Lyceum.
    pub fn client(&self, now: Timestamp) -> Result<ClientTls, Trouble> {
        let made = self.hub.steadiest(now).issue(
            "Lyceum, gateway",
            &[],
            &[ExtendedKeyUsagePurpose::ClientAuth],
            now,
        )?;
        let (chain, key) = parts(&made)?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(self.servers.roots(now)?)
            .with_client_auth_cert(chain, key)
            .map_err(|error| failed(&error))?;
        Ok(ClientTls::of_config(config))
    }

    /// Makes what the API's listener speaks TLS with, under the names by which servers reach it. Clients have to show
    /// a certificate of a server, as JupyterHub wants it. Good for as long as [`InternalAuthority::client`].
    pub fn listener(
        &self,
        names: &[CertificateName],
        now: Timestamp,
    ) -> Result<ServerTls, Trouble> {
        let names = names
            .iter()
            .map(|name| match name.address() {
                Some(address) => Ok(SanType::IpAddress(address)),
                None => dns_name(name.as_str()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let made = self.hub.steadiest(now).issue(
            "Lyceum, hub",
            &names,
            &[ExtendedKeyUsagePurpose::ServerAuth],
            now,
        )?;
        let (chain, key) = parts(&made)?;
        let believed = Arc::new(self.servers.roots(now)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(believed, provider())
            .build()
            .map_err(|error| failed(&error))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| failed(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        ServerTls::of_config(config).map_err(|error| failed(&error))
    }
}

impl ClientTls {
    /// Connects to a host and begins TLS; the certificate has to be for the name `certified`. Sets no time limit.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        certified: &str,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let name = ServerName::try_from(certified.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        tokio_rustls::TlsConnector::from(Arc::clone(self.config()))
            .connect(name, stream)
            .await
    }
}

fn dns_name(name: &str) -> Result<SanType, Trouble> {
    name.try_into()
        .map(SanType::DnsName)
        .map_err(|error: rcgen::Error| failed(&error))
}

fn parts(made: &Issued) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Trouble> {
    let chain = pem::certificates(made.certificate.as_bytes()).map_err(|error| failed(&error))?;
    let key = pem::key(made.key.as_bytes()).map_err(|error| failed(&error))?;
    Ok((chain, key))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Trouble {
    Trouble::new(
        TroubleKind::Other,
        "could not prepare TLS with users' servers",
        "this should not happen: please report it, with the log",
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests;
