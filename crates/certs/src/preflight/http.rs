//! Asks for an answer to http-01 as an authority does: at every address of a name, with redirects. Believes no
//! certificate on the way, as authorities do not either.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONNECTION, HOST, LOCATION, SERVER, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::addresses::is_private;
use super::reach::Reach;
use super::{Finding, Ports, PreflightOptions, Trial, Verdict};
use crate::challenge::HTTP_CHALLENGE_PATH;
use crate::client::ClientTls;
use crate::dns::Resolver;
use crate::name::CertificateName;

/// How long one address may take, with all redirects.
const LIMIT: Duration = Duration::from_secs(10);
/// So many redirects are followed.
const MAX_REDIRECTS: usize = 3;
/// No answer is longer.
const MAX_BODY: usize = 4096;

/// Puts up an answer and asks for it at each address.
pub(super) async fn probe(
    options: &PreflightOptions<'_>,
    name: &CertificateName,
    addresses: &[IpAddr],
) -> Result<Vec<(IpAddr, Reach)>, Finding> {
    let tls = ClientTls::insecure().map_err(|error| {
        Finding::new(name, Verdict::Warning, error.to_string())
            .hint("please report it, with the log")
    })?;
    let trial = Trial::new();
    let _answering = options
        .challenges
        .answer_http(&trial.token, trial.text.clone());
    let asked = addresses.iter().map(|address| {
        let asker = Asker {
            name,
            address: *address,
            ports: options.ports,
            resolver: options.resolver,
            tls: &tls,
            trial: &trial,
        };
        async move {
            let reach = timeout(LIMIT, asker.ask()).await;
            (*address, reach.unwrap_or(Reach::TimedOut))
        }
    });
    Ok(join_all(asked).await)
}

struct Asker<'a> {
    name: &'a CertificateName,
    address: IpAddr,
    ports: Ports,
    resolver: &'a Resolver,
    tls: &'a ClientTls,
    trial: &'a Trial,
}

/// Where is asked next.
struct Place {
    secure: bool,
    /// As it stands in a URL.
    host: String,
    address: SocketAddr,
    path: String,
}

/// What was answered.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Asker<'_> {
    /// Asks, and follows redirects.
    async fn ask(&self) -> Reach {
        let mut place = Place {
            secure: false,
            host: match self.name.address() {
                Some(IpAddr::V6(address)) => format!("[{address}]"),
                _ => self.name.to_string(),
            },
            address: SocketAddr::new(self.address, self.ports.http),
            path: format!("{HTTP_CHALLENGE_PATH}{}", self.trial.token),
        };
        let mut redirected = false;
        for _ in 0..=MAX_REDIRECTS {
            let port = place.address.port();
            let answer = match self.get(&place).await {
                Ok(answer) => answer,
                Err(reach) if redirected => {
                    return Reach::Other(format!(
                        "it is redirected to {}, where {}",
                        place.url(),
                        reach.words(port)
                    ));
                }
                Err(reach) => return reach,
            };
            if answer.status == StatusCode::OK && self.is_ours(answer.body.as_ref()) {
                return Reach::Ours;
            }
            let location = answer.headers.get(LOCATION).filter(|_| {
                answer.status.is_redirection() && answer.status != StatusCode::NOT_MODIFIED
            });
            let Some(location) = location else {
                return Reach::Other(answer.words(redirected.then(|| place.url()).as_deref()));
            };
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            match self.next(&place, &location).await {
                Ok(next) => place = next,
                Err(words) => return Reach::Other(words),
            }
            redirected = true;
        }
        Reach::Other(format!("there are more than {MAX_REDIRECTS} redirects"))
    }

    fn is_ours(&self, body: Option<&Bytes>) -> bool {
        body.is_some_and(|body| body.trim_ascii_end() == self.trial.text.as_bytes())
    }

    /// Finds where a redirect leads.
    async fn next(&self, from: &Place, location: &str) -> Result<Place, String> {
        let shown = location.escape_debug();
        let bad = || format!("it is redirected to `{shown}`, which is not understood");
        let uri: Uri = absolute(from, location).parse().map_err(|_| bad())?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(bad()),
        };
        let host = uri.host().ok_or_else(bad)?;
        let usual = if secure {
            self.ports.https
        } else {
            self.ports.http
        };
        let port = uri.port_u16().unwrap_or(usual);
        if ![80, 443, self.ports.http, self.ports.https].contains(&port) {
            return Err(format!(
                "it is redirected to {shown}, and authorities follow to the ports 80 and 443 alone"
            ));
        }
        let bare = host.trim_matches(['[', ']']);
        let address = if bare.eq_ignore_ascii_case(from.host.trim_matches(['[', ']'])) {
            from.address.ip()
        } else if let Ok(address) = bare.parse() {
            address
        } else {
            let found = self.resolver.addresses(bare).await;
            let found =
                found.map_err(|error| format!("it is redirected to {shown}, and {error}"))?;
            found.first().copied().ok_or_else(bad)?
        };
        // Whoever answers under the name shall not have us knock at doors inside.
        if is_private(address) && !is_private(from.address.ip()) {
            return Err(format!(
                "it is redirected to {shown}, an address that authorities do not reach"
            ));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Place {
            secure,
            host: host.to_owned(),
            address: SocketAddr::new(address, port),
            path: path.to_owned(),
        })
    }

    /// Asks at one place.
    async fn get(&self, place: &Place) -> Result<Answer, Reach> {
        let stream = TcpStream::connect(place.address)
            .await
            .map_err(|error| Reach::from_error(&error))?;
        if !place.secure {
            return exchange(stream, place).await;
        }
        let bare = place.host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(bare).map_err(|error| Reach::Other(error.to_string()))?;
        let stream = TlsConnector::from(self.tls.config().clone())
            .connect(name, stream)
            .await
            .map_err(|error| Reach::Other(format!("the handshake of TLS fails: {error}")))?;
        exchange(stream, place).await
    }
}

impl Place {
    fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host, self.path)
    }
}

impl Answer {
    /// Says what answers instead of this server.
    fn words(&self, redirected: Option<&str>) -> String {
        let server = self
            .headers
            .get(SERVER)
            .and_then(|value| value.to_str().ok())
            .map(|server| format!(", `Server: {}`", crate::trouble::plain(server)))
            .unwrap_or_default();
        let what = if self.status == StatusCode::OK {
            "something else is answered than this server has put there"
        } else {
            "another server answers, or a proxy in between does not pass the path on"
        };
        let status = self.status;
        match redirected {
            None => format!("{what} ({status}{server})"),
            Some(url) => format!("it is redirected to {url}, where {what} ({status}{server})"),
        }
    }
}

/// Makes a whole URL of where a redirect leads.
fn absolute(from: &Place, location: &str) -> String {
    let scheme = if from.secure { "https" } else { "http" };
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", from.host)
    } else {
        let folder = from.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{}{folder}/{location}", from.host)
    }
}

/// Sends one request over a connection, which it ends with.
async fn exchange<S>(stream: S, place: &Place) -> Result<Answer, Reach>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: &dyn std::error::Error| {
        Reach::Other(format!("what answers does not speak HTTP: {error}"))
    };
    let request = Request::get(&place.path)
        .header(HOST, &place.host)
        .header(USER_AGENT, "Lyceum (preflight)")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let exchange = async move {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?
            .into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.ok().map(http_body_util::Collected::to_bytes),
        })
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_from_where_they_stand() {
        let from = Place {
            secure: true,
            host: "a.org".to_owned(),
            address: ([127, 0, 0, 1], 1).into(),
            path: "/x/y".to_owned(),
        };
        for (location, expected) in [
            ("http://b.org/z", "http://b.org/z"),
            ("//b.org/z", "https://b.org/z"),
            ("/z", "https://a.org/z"),
            ("z", "https://a.org/x/z"),
        ] {
            assert_eq!(absolute(&from, location), expected);
        }
    }
}
