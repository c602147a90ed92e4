//! What TLS is spoken and what is not, as openssl sees it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use lyceum_certs::{LiveCertificates, LiveTlsOptions, ServerTls, TlsVersion};

use crate::authority::{Authority, Issued, show};
use crate::support::{Setup, TestGateway, seconds, soon};

/// Ends the connection from the gateway's side, after everything that it has to say.
const GET: &str = "GET /hub/ HTTP/1.1\r\nHost: hub.test\r\nConnection: close\r\n\r\n";

/// A gateway with two certificates, and what openssl says of it.
struct Seen {
    gateway: TestGateway,
    authority: Authority,
    ecdsa: Issued,
    rsa: Issued,
}

/// What openssl says.
#[derive(Debug)]
pub(crate) struct Said {
    success: bool,
    pub(crate) text: String,
}

impl Seen {
    fn new(edit: impl FnOnce(&mut LiveTlsOptions, &Authority)) -> Self {
        let authority = Authority::new();
        let live = LiveCertificates::default();
        let ecdsa = authority.issue(&["ecdsa.test"]);
        let rsa = authority.issue_rsa(&["rsa.test"]);
        show(&live, "ecdsa", &["ecdsa.test"], &ecdsa);
        show(&live, "rsa", &["rsa.test"], &rsa);
        let mut options = LiveTlsOptions::default();
        edit(&mut options, &authority);
        let gateway = Setup::default()
            .tls_listener(ServerTls::live(&live, &options).unwrap())
            .config(|config| config.header_timeout = seconds(5))
            .start();
        Self {
            gateway,
            authority,
            ecdsa,
            rsa,
        }
    }

    fn usual() -> Self {
        Self::new(|_, _| {})
    }

    /// Calls `openssl s_client`, and types something.
    async fn connect(&self, options: &str, input: &str) -> Said {
        let address = format!("127.0.0.1:{}", self.gateway.tls_port());
        let mut arguments = vec!["s_client", "-connect", &address];
        arguments.extend(options.split_whitespace());
        openssl(&arguments, input).await
    }

    /// Connects, and leaves again.
    async fn look(&self, options: &str) -> Said {
        self.connect(options, "").await
    }
}

impl Said {
    pub(crate) fn has(&self, part: &str) -> &Self {
        assert!(self.text.contains(part), "no {part:?} in {}", self.text);
        self
    }

    pub(crate) fn lacks(&self, part: &str) -> &Self {
        assert!(!self.text.contains(part), "{part:?} in {}", self.text);
        self
    }

    fn shows(&self, issued: &Issued) -> &Self {
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        assert!(bare(&self.text).contains(&bare(&issued.chain)), "{self:?}");
        self
    }
}

/// Calls openssl, and gives it something to read.
pub(crate) async fn openssl(arguments: &[&str], input: &str) -> Said {
    let input = input.to_owned();
    let mut command = Command::new("openssl");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || {
        let mut child = command
            .spawn()
            .expect("openssl is needed: install it, as with `apt install openssl`");
        let mut stdin = child.stdin.take().unwrap();
        // It may have ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    let output = soon(run).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        success: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_refused() {
    let seen = Seen::usual();
    for version in ["-tls1", "-tls1_1"] {
        let options = format!("{version} -cipher ALL:@SECLEVEL=0");
        let said = seen.look(&options).await;
        assert!(!said.success);
        // The gateway has refused, not openssl itself.
        said.has("SSL alert number");
    }
    seen.look("-tls1_2").await.has("New, TLSv1.2");
    seen.look("-tls1_3").await.has("New, TLSv1.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_version_can_be_chosen() {
    let seen = Seen::new(|options, _| options.min_version = TlsVersion::Tls13);
    seen.look("-tls1_2").await.has("alert protocol version");
    seen.look("-tls1_3").await.has("New, TLSv1.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_modern_suites_are_spoken() {
    let seen = Seen::usual();
    let listed = openssl(
        &[
            "ciphers",
            "-s",
            "-tls1_2",
            "ALL:COMPLEMENTOFALL:@SECLEVEL=0",
        ],
        "",
    )
    .await;
    let names: Vec<&str> = listed.text.trim().split(':').collect();
    for weak in ["NULL-SHA256", "AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"] {
        assert!(names.contains(&weak), "openssl cannot offer {weak}");
    }
    for (server, expected) in [
        (
            "ecdsa.test",
            [
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ],
        ),
        (
            "rsa.test",
            [
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-RSA-CHACHA20-POLY1305",
            ],
        ),
    ] {
        let mut spoken = BTreeSet::new();
        for name in &names {
            let options = format!("-tls1_2 -servername {server} -cipher {name}:@SECLEVEL=0");
            let said = seen.look(&options).await;
            if said.success {
                said.has(&format!("Cipher is {name}"));
                spoken.insert(*name);
            }
        }
        assert_eq!(spoken, BTreeSet::from(expected));
    }
    let mut spoken = Vec::new();
    for name in [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_CCM_SHA256",
        "TLS_AES_128_CCM_8_SHA256",
    ] {
        let said = seen.look(&format!("-tls1_3 -ciphersuites {name}")).await;
        if said.success {
            spoken.push(name);
        }
    }
    assert_eq!(
        spoken,
        [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_strong_groups_are_spoken() {
    let seen = Seen::usual();
    for group in ["X25519", "P-256", "P-384"] {
        assert!(
            seen.look(&format!("-groups {group}")).await.success,
            "{group}"
        );
    }
    for group in ["ffdhe2048", "P-224", "secp192k1"] {
        let options = format!("-groups {group} -cipher ALL:@SECLEVEL=0");
        assert!(!seen.look(&options).await.success, "{group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_in_both_versions() {
    let seen = Seen::usual();
    let said = seen.look("-tls1_2 -reconnect").await;
    assert_eq!(said.text.matches("Reused, TLSv1.2").count(), 5, "{said:?}");
    let file = seen.authority.folder.path().join("session.pem");
    let (saving, using) = (
        format!("-tls1_3 -ign_eof -sess_out {}", file.display()),
        format!("-tls1_3 -ign_eof -sess_in {}", file.display()),
    );
    seen.connect(&saving, GET).await.has("New, TLSv1.3");
    seen.connect(&using, GET)
        .await
        .has("Reused, TLSv1.3")
        .has("HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_chosen_where_it_is_offered() {
    let seen = Seen::usual();
    for (offered, chosen) in [
        ("-alpn h2,http/1.1", "ALPN protocol: h2"),
        ("-alpn http/1.1,h2", "ALPN protocol: h2"),
        ("-alpn http/1.1", "ALPN protocol: http/1.1"),
        ("", "No ALPN negotiated"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            seen.look(&format!("{version} {offered}")).await.has(chosen);
        }
    }
    let said = seen.look("-alpn spdy/1").await;
    assert!(!said.success);
    said.has("no application protocol");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_chooses_the_certificate() {
    let seen = Seen::usual();
    for (options, issued) in [
        ("-servername ecdsa.test", &seen.ecdsa),
        ("-servername rsa.test", &seen.rsa),
        ("-servername RSA.test", &seen.rsa),
        ("-servername other.test", &seen.ecdsa),
        ("-noservername", &seen.ecdsa),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            seen.look(&format!("{version} {options}"))
                .await
                .shows(issued);
        }
    }
    let file = seen.authority.file.display();
    let options = format!("-servername rsa.test -verify_return_error -CAfile {file}");
    let said = seen.look(&options).await;
    assert!(said.success);
    said.has("Verify return code: 0 (ok)");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_compressed_and_nothing_negotiated_again() {
    let seen = Seen::usual();
    let said = seen.look("-tls1_2 -comp").await;
    said.has("Secure Renegotiation IS supported");
    said.has("Compression: NONE");
    let said = seen.connect("-tls1_2", "R\n").await;
    // Refused, or left without an answer until it is closed; in any case not done.
    said.has("RENEGOTIATING");
    assert!(!said.success, "{said:?}");
    let said = seen.connect("-tls1_2 -ign_eof", GET).await;
    said.has("HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_asked_for_only_where_somebody_can_check_them() {
    let seen = Seen::usual();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = seen.look(version).await;
        said.has("No client certificate CA names sent");
        said.lacks("Requested Signature Algorithms");
    }
    let asking = Seen::new(|options, authority| {
        options.client_ca_file = Some(authority.file.clone());
    });
    for version in ["-tls1_2", "-tls1_3"] {
        let said = asking.look(version).await;
        assert!(said.success, "nobody has to have one");
        said.has("Acceptable client certificate CA names")
            .has("Authority of the tests");
    }
}
