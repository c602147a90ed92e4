//! The preflight, with listeners that answer, with others that do not, and with real zones.

use std::sync::Arc;

use lyceum_certs::ChallengeKind::{Dns01, Http01, TlsAlpn01};
use lyceum_certs::dns::{Resolver, Rfc2136Solver};
use lyceum_certs::preflight::{Finding, Ports, PreflightOptions, Verdict, check};
use lyceum_certs::{
    CertificateName, ChallengeKind, Challenges, LiveCertificates, LiveTlsOptions, ServerTls, Solver,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::bind::{Bind, free_loopback};
use crate::challtestsrv::Challtestsrv;
use crate::{system_clock, update_config};

/// What a test's listeners answer for a path and a `Host` header: the whole response.
type Answer = Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

/// A server at two free ports; its tasks end with it.
struct Server {
    ports: Ports,
    live: LiveCertificates,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers what is in its challenges, as Lyceum's own listeners do.
    async fn start() -> Self {
        let live = LiveCertificates::default();
        let challenges = live.challenges().clone();
        let answer: Answer = Arc::new(move |path: &str, _: &str| match challenges.http(path) {
            Some(text) => response("200 OK", "", &text),
            None => response("404 Not Found", "", "nothing"),
        });
        Self::with(live, &answer).await
    }

    async fn with(live: LiveCertificates, answer: &Answer) -> Self {
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ports = Ports {
            http: plain.local_addr().unwrap().port(),
            https: secure.local_addr().unwrap().port(),
        };
        let tls = ServerTls::live(&live, &LiveTlsOptions::default()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
        let mut tasks = JoinSet::new();
        let answer_plain = Arc::clone(answer);
        tasks.spawn(async move {
            loop {
                let (stream, _) = plain.accept().await.unwrap();
                serve(stream, &answer_plain).await;
            }
        });
        tasks.spawn(async move {
            loop {
                let (stream, _) = secure.accept().await.unwrap();
                // Handshakes for challenges end here.
                let _ = acceptor.accept(stream).await;
            }
        });
        Self {
            ports,
            live,
            _tasks: tasks,
        }
    }

    /// One that answers by a function, and knows no challenges.
    async fn answering(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Self {
        let answer: Answer = Arc::new(answer);
        Self::with(LiveCertificates::default(), &answer).await
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answer) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default();
    let host = text
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("host").then_some(value)
        })
        .unwrap_or_default();
    let _ = stream.write_all(answer(path, host).as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// What is checked, with what is usual.
struct Check<'a> {
    names: Vec<(CertificateName, Vec<ChallengeKind>)>,
    identities: Vec<String>,
    public: bool,
    ports: Ports,
    challenges: Challenges,
    resolver: &'a Resolver,
    dns: Option<Arc<dyn Solver>>,
}

impl<'a> Check<'a> {
    fn new(resolver: &'a Resolver, server: &Server, name: &str, kinds: &[ChallengeKind]) -> Self {
        Self {
            names: vec![(name.parse().unwrap(), kinds.to_vec())],
            identities: vec!["letsencrypt.org".to_owned()],
            public: false,
            ports: server.ports,
            challenges: server.live.challenges().clone(),
            resolver,
            dns: None,
        }
    }

    async fn run(&self) -> Vec<Finding> {
        check(&PreflightOptions {
            names: &self.names,
            caa_identities: &self.identities,
            public_authority: self.public,
            ports: self.ports,
            challenges: &self.challenges,
            resolver: self.resolver,
            dns: self.dns.clone(),
        })
        .await
    }
}

/// Finds what says something, and checks how bad it is said to be.
fn says<'a>(findings: &'a [Finding], verdict: Verdict, part: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.what.contains(part));
    let Some(found) = found else {
        panic!("nothing says `{part}`: {findings:#?}");
    };
    assert_eq!(found.verdict, verdict, "{found:?}");
    assert_eq!(found.hint.is_none(), verdict == Verdict::Fine, "{found:?}");
    found
}

fn all_fine(findings: &[Finding]) {
    let bad = findings
        .iter()
        .find(|finding| finding.verdict != Verdict::Fine);
    assert!(bad.is_none() && !findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn a_server_that_is_reached_is_fine() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let check = Check::new(
        &resolver,
        &server,
        "site.example.test",
        &[Http01, TlsAlpn01],
    );
    let findings = check.run().await;
    all_fine(&findings);
    says(&findings, Verdict::Fine, "leads to this machine: 127.0.0.1");
    says(&findings, Verdict::Fine, "by http-01 at 127.0.0.1");
    says(&findings, Verdict::Fine, "by tls-alpn-01 at 127.0.0.1");
    says(
        &findings,
        Verdict::Fine,
        "let `letsencrypt.org` give certificates",
    );
    assert_eq!(findings.len(), 4);
    let text = serde_json::to_string(&findings[0]).unwrap();
    assert!(
        text.contains(r#""name":"site.example.test","verdict":"fine""#),
        "{text}"
    );
}

#[tokio::test]
async fn addresses_are_checked_without_the_dns() {
    let server = Server::start().await;
    let resolver = Resolver::new(Vec::new());
    let check = Check::new(&resolver, &server, "127.0.0.1", &[Http01, TlsAlpn01]);
    let findings = check.run().await;
    all_fine(&findings);
    assert_eq!(findings.len(), 3);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let mut check = Check::new(
        &resolver,
        &server,
        "site.example.test",
        &[Http01, TlsAlpn01],
    );
    check.ports.http = free_loopback().port();
    let findings = check.run().await;
    // The other way works, so that this one is not needed.
    says(
        &findings,
        Verdict::Warning,
        "by http-01: at 127.0.0.1, nobody listens",
    );
    says(&findings, Verdict::Fine, "by tls-alpn-01");
    check.ports.https = check.ports.http;
    let findings = check.run().await;
    let port = format!("port {}", check.ports.http);
    let refused = says(
        &findings,
        Verdict::Problem,
        "by http-01: at 127.0.0.1, nobody listens",
    );
    assert!(refused.what.contains(&port) && refused.hint.as_ref().unwrap().contains(&port));
    says(
        &findings,
        Verdict::Problem,
        "by tls-alpn-01: at 127.0.0.1, nobody listens",
    );
}

#[tokio::test]
async fn a_port_that_keeps_silent_is_told() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let mut check = Check::new(&resolver, &server, "site.example.test", &[Http01]);
    // It takes connections and says nothing, as little as a firewall.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    check.ports.http = silent.local_addr().unwrap().port();
    let findings = check.run().await;
    let found = says(&findings, Verdict::Problem, "does not answer (time-out)");
    assert!(
        found
            .hint
            .as_ref()
            .unwrap()
            .contains("reach itself by its outer address")
    );
}

#[tokio::test]
async fn another_server_is_told_by_what_it_says() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let other = Server::answering(|_, host| {
        assert_eq!(host, "site.example.test");
        response("404 Not Found", "Server: Apache/2.4\r\n", "no such page")
    })
    .await;
    let resolver = bind.resolver();
    let mut check = Check::new(
        &resolver,
        &server,
        "site.example.test",
        &[Http01, TlsAlpn01],
    );
    check.ports = other.ports;
    let findings = check.run().await;
    says(
        &findings,
        Verdict::Problem,
        "another server answers, or a proxy in between does not pass the path on (404 Not Found, `Server: Apache/2.4`)",
    );
    says(
        &findings,
        Verdict::Problem,
        "by tls-alpn-01: at 127.0.0.1, the handshake of TLS fails",
    );
    let same = Server::answering(|_, _| response("200 OK", "", "welcome")).await;
    check.ports.http = same.ports.http;
    let findings = check.run().await;
    says(
        &findings,
        Verdict::Problem,
        "something else is answered than this server has put there",
    );
    let mute = Server::answering(|_, _| "SSH-2.0-OpenSSH\r\n".to_owned()).await;
    check.ports.http = mute.ports.http;
    let findings = check.run().await;
    says(&findings, Verdict::Problem, "does not speak HTTP");
}

#[tokio::test]
async fn redirects_are_followed_as_authorities_do() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let challenges = server.live.challenges().clone();
    let redirecting = Server::answering(move |path: &str, host: &str| {
        let moved =
            |to: String| response("301 Moved Permanently", &format!("Location: {to}\r\n"), "");
        match host {
            "site.example.test" => moved(format!("http://hub.example.test{path}")),
            "hub.example.test" => match challenges.http(path) {
                Some(text) => response("200 OK", "", &text),
                None => response("404 Not Found", "", ""),
            },
            "www.example.test" => moved(path.to_owned()),
            "example.test" => moved("http://elsewhere.example.test/".to_owned()),
            "stray.example.test" => moved(format!("https://site.example.test:8443{path}")),
            _ => response("400 Bad Request", "", ""),
        }
    })
    .await;
    let resolver = bind.resolver();
    let found = async |name: &str| {
        let mut check = Check::new(&resolver, &server, name, &[Http01]);
        check.ports = redirecting.ports;
        check.run().await
    };
    let findings = found("site.example.test").await;
    all_fine(&findings);
    says(
        &found("example.test").await,
        Verdict::Problem,
        "`elsewhere.example.test` does not exist",
    );
    says(
        &found("stray.example.test").await,
        Verdict::Problem,
        "the ports 80 and 443 alone",
    );
    says(
        &found("www.example.test").await,
        Verdict::Problem,
        "more than 3 redirects",
    );
}

#[tokio::test]
async fn redirects_to_https_are_followed_without_a_look_at_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["other.example".to_owned()]).unwrap();
    let (chain, key) = (folder.path().join("chain"), folder.path().join("key"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = ServerTls::from_files(&lyceum_certs::ServerTlsOptions {
        certificate_file: chain,
        key_file: key,
        ..lyceum_certs::ServerTlsOptions::default()
    })
    .unwrap();
    let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (bind, server) = (Bind::start(), Server::start().await);
    let challenges = server.live.challenges().clone();
    let answer: Answer = Arc::new(move |path: &str, _: &str| match challenges.http(path) {
        Some(text) => response("200 OK", "", &text),
        None => response("404 Not Found", "", ""),
    });
    let plain = Server::answering(|path: &str, host: &str| {
        let to = format!("Location: https://{host}{path}\r\n");
        response("308 Permanent Redirect", &to, "")
    })
    .await;
    let resolver = bind.resolver();
    let mut check = Check::new(&resolver, &server, "site.example.test", &[Http01]);
    check.ports = Ports {
        http: plain.ports.http,
        https: secure.local_addr().unwrap().port(),
    };
    let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
    let serving = async {
        loop {
            let (stream, _) = secure.accept().await.unwrap();
            serve(acceptor.accept(stream).await.unwrap(), &answer).await;
        }
    };
    tokio::select! {
        findings = check.run() => all_fine(&findings),
        () = serving => {}
    }
}

#[tokio::test]
async fn names_that_lead_nowhere_or_inside_are_told() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let findings = Check::new(&resolver, &server, "missing.example.test", &[Http01])
        .run()
        .await;
    let found = says(
        &findings,
        Verdict::Problem,
        "`missing.example.test` does not exist",
    );
    assert!(found.hint.as_ref().unwrap().contains("add an A record"));
    let mut check = Check::new(&resolver, &server, "site.example.test", &[Http01]);
    check.public = true;
    says(
        &check.run().await,
        Verdict::Problem,
        "leads every machine to itself",
    );
}

#[tokio::test]
async fn an_aaaa_record_that_leads_elsewhere_is_told() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let findings = Check::new(&resolver, &server, "stray.example.test", &[Http01])
        .run()
        .await;
    says(&findings, Verdict::Fine, "by http-01 at 127.0.0.1");
    let found = says(
        &findings,
        Verdict::Problem,
        "the AAAA record of `stray.example.test` does not lead here",
    );
    assert!(found.what.contains("2001:db8::9"), "{found:?}");
}

#[tokio::test]
async fn records_are_tried_once_for_a_name_and_its_wildcard() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let solver = Rfc2136Solver::new(&update_config(&bind), &resolver, system_clock()).unwrap();
    let mut check = Check::new(&resolver, &server, "*.example.test", &[Dns01]);
    check
        .names
        .push(("example.test".parse().unwrap(), vec![Dns01]));
    let told = "nothing puts it there";
    says(&check.run().await, Verdict::Problem, told);
    check.dns = Some(Arc::new(solver));
    let findings = check.run().await;
    all_fine(&findings);
    let tried = findings
        .iter()
        .filter(|finding| finding.what.contains("can be put into the DNS"));
    assert_eq!(tried.count(), 1, "{findings:#?}");
    assert!(bind.texts("_acme-challenge.example.test").await.is_empty());
    check.names = vec![("site.example.test".parse().unwrap(), vec![Dns01])];
    let findings = check.run().await;
    let found = says(&findings, Verdict::Problem, "(REFUSED)");
    assert!(found.hint.as_ref().unwrap().contains("update-policy"));
}

#[tokio::test]
async fn caa_records_that_forbid_it_are_told_with_the_one_to_add() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let mut check = Check::new(&resolver, &server, "site.example.test", &[Http01]);
    check.identities = vec!["ca.example.net".to_owned()];
    let findings = check.run().await;
    let found = says(&findings, Verdict::Problem, "let only `letsencrypt.org`");
    assert!(
        found
            .hint
            .as_ref()
            .unwrap()
            .contains("CAA 0 issue \"ca.example.net\"")
    );
    check.names[0].0 = "closed.example.test".parse().unwrap();
    says(
        &check.run().await,
        Verdict::Problem,
        "let no authority give certificates",
    );
}

#[tokio::test]
async fn caa_records_that_cannot_be_found_out_are_told() {
    let (odd, server) = (Challtestsrv::start().await, Server::start().await);
    let body = r#"{"host":"broken.example.org"}"#;
    odd.post("set-servfail", body).await;
    let resolver = odd.resolver();
    let findings = Check::new(&resolver, &server, "broken.example.org", &[Http01])
        .run()
        .await;
    says(
        &findings,
        Verdict::Problem,
        "whether CAA records of `broken.example.org` forbid",
    );
    assert_eq!(findings.len(), 2, "{findings:#?}");
}

#[tokio::test]
async fn many_names_are_checked_in_their_order() {
    let (bind, server) = (Bind::start(), Server::start().await);
    let resolver = bind.resolver();
    let mut check = Check::new(&resolver, &server, "site.example.test", &[Http01]);
    let names: Vec<CertificateName> = ["site", "missing", "hub", "site", "missing", "site", "www"]
        .iter()
        .map(|name| format!("{name}.example.test").parse().unwrap())
        .collect();
    check.names = names
        .iter()
        .map(|name| (name.clone(), vec![Http01]))
        .collect();
    let findings = check.run().await;
    let mut order: Vec<CertificateName> = findings
        .into_iter()
        .filter_map(|finding| finding.name)
        .collect();
    order.dedup();
    assert_eq!(order, names);
}
