//! Tests of the two authorities: who can pose as whom, and how one follows another.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustls::RootCertStore;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use rustls::pki_types::pem::PemObject as _;

use super::*;

const DAY: i64 = 24 * 3600;

/// Handshakes look at the clock of the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are checked against the real time in handshakes"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn later(days: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + days * DAY).unwrap()
}

fn open(folder: &TempDir, now: Timestamp) -> InternalAuthority {
    InternalAuthority::open(&folder.path().join("internal-tls"), now).unwrap()
}

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

fn own(credentials: &ServerCredentials) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let made = Issued {
        certificate: credentials.certificate.clone(),
        key: credentials.key.expose().clone(),
    };
    parts(&made).unwrap()
}

/// A user's server, as Jupyter Server sets itself up with what it is given.
fn server(credentials: &ServerCredentials) -> Arc<ServerConfig> {
    let believed = roots(&credentials.client_ca);
    let verifier = WebPkiClientVerifier::builder_with_provider(believed, provider()).build();
    let (chain, key) = own(credentials);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

/// A user's server as a client, towards the API or whoever claims to be it.
fn client_of(credentials: &ServerCredentials) -> Arc<ClientConfig> {
    let (chain, key) = own(credentials);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&credentials.client_ca))
        .with_client_auth_cert(chain, key);
    Arc::new(config.unwrap())
}

/// Somebody who believes the right side and has no certificate.
fn nobody(credentials: &ServerCredentials) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&credentials.client_ca))
        .with_no_client_auth();
    Arc::new(config)
}

/// Whether both sides take each other: a word goes there and back.
async fn agree(
    server: &Arc<ServerConfig>,
    client: impl AsyncFnOnce(u16) -> io::Result<Box<dyn Both>>,
) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let serving = async {
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        stream.shutdown().await
    };
    let asking = async {
        let mut stream = client(port).await?;
        stream.write_all(b"word").await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        io::Result::Ok(word == *b"word")
    };
    let both = async { tokio::join!(serving, asking) };
    let (served, answered) = tokio::time::timeout(Duration::from_secs(10), both)
        .await
        .unwrap();
    // With TLS 1.3, a client learns only with its first read that it was refused.
    served.is_ok() && answered.unwrap_or(false)
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Both for S {}

/// The gateway asks a server.
async fn gateway_reaches(tls: &ClientTls, server: &Arc<ServerConfig>, name: &str) -> bool {
    agree(server, async |port| {
        let stream = tls.connect("127.0.0.1", port, name).await?;
        Ok(Box::new(stream) as Box<dyn Both>)
    })
    .await
}

/// Somebody asks a server or the API under a name.
async fn reaches(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> bool {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    agree(server, async |port| {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let stream = TlsConnector::from(Arc::clone(client)).connect(name, stream);
        Ok(Box::new(stream.await?) as Box<dyn Both>)
    })
    .await
}

#[tokio::test]
async fn the_gateway_reaches_a_server_and_a_server_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(&folder, now());
    let ada = authority.issue("user-ada", now()).unwrap();
    let gateway = authority.client(now()).unwrap();
    // Twice: the second time by what was remembered of the first.
    for _ in 0..2 {
        assert!(gateway_reaches(&gateway, &server(&ada), &ada.server_name).await);
    }
    let names = [
        "127.0.0.1".parse().unwrap(),
        "hub.example.org".parse().unwrap(),
    ];
    let api = authority.listener(&names, now()).unwrap();
    for name in ["127.0.0.1", "hub.example.org"] {
        assert!(reaches(&client_of(&ada), api.config(), name).await);
    }
    assert!(!reaches(&client_of(&ada), api.config(), "other.example.org").await);
    assert!(
        !reaches(&nobody(&ada), api.config(), "127.0.0.1").await,
        "the API wants to see a certificate"
    );
}

#[tokio::test]
async fn a_server_can_pose_neither_as_gateway_nor_as_hub_nor_as_another_server() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(&folder, now());
    let ada = authority.issue("user-ada", now()).unwrap();
    let bob = authority.issue("user-bob", now()).unwrap();
    let gateway = authority.client(now()).unwrap();

    // As the gateway, towards another server: bob knows the name, and trusts himself.
    let mut mallory = ClientConfig::clone(&client_of(&bob));
    mallory
        .dangerous()
        .set_certificate_verifier(Arc::new(crate::client::AnyCertificate(provider())));
    assert!(!reaches(&Arc::new(mallory), &server(&ada), &ada.server_name).await);
    assert!(!reaches(&nobody(&bob), &server(&ada), &ada.server_name).await);

    // As the hub, towards another server; whoever asks it is welcome.
    let (chain, key) = own(&bob);
    let pretender = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let pretender = Arc::new(pretender.unwrap());
    assert!(!reaches(&client_of(&ada), &pretender, &bob.server_name).await);

    // As another server, or as one of another start, towards the gateway.
    assert!(!gateway_reaches(&gateway, &server(&bob), &ada.server_name).await);
    let again = authority.issue("user-ada", now()).unwrap();
    assert!(!gateway_reaches(&gateway, &server(&again), &ada.server_name).await);
}

#[tokio::test]
async fn running_servers_take_the_gateway_of_the_next_lyceum_but_not_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let ada = open(&folder, now()).issue("user-ada", now()).unwrap();
    let next = open(&folder, now()).client(now()).unwrap();
    assert!(gateway_reaches(&next, &server(&ada), &ada.server_name).await);
    let elsewhere = tempfile::tempdir().unwrap();
    let other = open(&elsewhere, now()).client(now()).unwrap();
    assert!(!gateway_reaches(&other, &server(&ada), &ada.server_name).await);
}

#[tokio::test]
async fn an_authority_that_ends_is_followed_by_another_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    // As if Lyceum had first been started six years ago.
    let first = open(&folder, later(-6 * 365));
    // A server that has run for three years, and knows the first authority alone.
    let old = first.issue("user-ada", later(-3 * 365)).unwrap();
    let renewed = open(&folder, now());
    let new = renewed.issue("user-bob", now()).unwrap();
    assert_ne!(old.client_ca, new.client_ca);
    assert!(new.client_ca.ends_with(&old.client_ca), "both are believed");
    for authority in [renewed, open(&folder, now())] {
        let gateway = authority.client(now()).unwrap();
        let api = authority
            .listener(&["127.0.0.1".parse().unwrap()], now())
            .unwrap();
        for one in [&old, &new] {
            assert!(gateway_reaches(&gateway, &server(one), &one.server_name).await);
            assert!(reaches(&client_of(one), api.config(), "127.0.0.1").await);
        }
    }
    // Once nobody can know the first alone, the second signs, and in the end the first is forgotten.
    let last_year = open(&folder, later(3 * 365 + 10));
    assert!(std::ptr::eq(
        last_year.hub.steadiest(later(3 * 365 + 10)),
        last_year.hub.newest()
    ));
    let much_later = open(&folder, later(4 * 365 + 200));
    assert!(much_later.hub.trusted_pem(later(4 * 365 + 200)).len() < new.client_ca.len());
}

#[test]
fn certificates_end_no_later_than_their_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(&folder, now());
    for days in [0, 5 * 365, 9 * 365] {
        let made = authority.issue("user-ada", later(days)).unwrap();
        let inspected =
            crate::inspect::Inspected::of_pem(made.certificate.as_bytes(), "it").unwrap();
        assert!(inspected.not_after <= later(3650), "{days}");
        assert_eq!(inspected.names, [made.server_name.parse().unwrap()]);
    }
    let long = "ä".repeat(300);
    authority.issue(&long, now()).unwrap();
}

#[test]
fn what_is_kept_is_for_the_owner_alone_and_never_replaced_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(&folder, now());
    let ada = authority.issue("user-ada", now()).unwrap();
    let dir = folder.path().join("internal-tls");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("hub.pem")), 0o600);
    assert_eq!(mode(&dir.join("servers.pem")), 0o600);
    let shown = format!("{authority:?}{ada:?}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
    assert!(!ada.client_ca.contains("PRIVATE") && !ada.certificate.contains("PRIVATE"));

    let kept = std::fs::read_to_string(dir.join("hub.pem")).unwrap();
    let foreign = std::fs::read_to_string(dir.join("servers.pem")).unwrap();
    let (key, certificate) = foreign.split_at(foreign.find("-----BEGIN CERT").unwrap());
    let mixed = format!("{key}{}", &kept[kept.find("-----BEGIN CERT").unwrap()..]);
    for text in ["", "nonsense", key, certificate, &mixed] {
        std::fs::write(dir.join("hub.pem"), text).unwrap();
        let trouble = InternalAuthority::open(&dir, now()).unwrap_err();
        assert!(trouble.what.contains("hub.pem"), "{trouble}");
        assert!(trouble.hint.contains("backup"), "{}", trouble.hint);
        assert!(!trouble.to_string().contains("PRIVATE"), "{trouble}");
        assert_eq!(std::fs::read_to_string(dir.join("hub.pem")).unwrap(), text);
    }
}

#[test]
fn an_authority_of_the_future_is_told_as_a_wrong_clock() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder, later(365)));
    let path = folder.path().join("internal-tls");
    let trouble = InternalAuthority::open(&path, now()).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Clock, "{trouble}");
    assert!(trouble.hint.contains("timedatectl"), "{}", trouble.hint);
}

#[test]
fn certificates_of_the_hub_are_good_before_and_after_the_clock_is_set() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder, now()));
    // The clock is four days ahead at this start, which is more than is allowed for at the beginning of a life.
    let authority = open(&folder, later(4));
    let made = authority.issue("ada", later(4)).unwrap();
    let inspected = crate::inspect::Inspected::of_pem(made.certificate.as_bytes(), "it").unwrap();
    assert!(inspected.not_before < now(), "{}", inspected.not_before);
    assert!(inspected.not_after > later(365), "{}", inspected.not_after);
}
