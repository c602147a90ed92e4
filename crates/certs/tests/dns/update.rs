//! Proofs by updates (RFC 2136), taken and refused by BIND.

use std::net::UdpSocket;
use std::sync::Arc;

use lyceum_certs::dns::{Resolver, Rfc2136Solver, solver};
use lyceum_certs::{DnsConfig, Rfc2136Config, TroubleKind, TsigAlgorithm};
use tokio::net::TcpListener;

use crate::bind::{Bind, SECRET};
use crate::{WrongClock, refused, shown, system_clock, update_config};

fn solver_of(bind: &Bind, config: &Rfc2136Config) -> Rfc2136Solver {
    Rfc2136Solver::new(config, &bind.resolver(), system_clock()).unwrap()
}

#[tokio::test]
async fn a_record_is_added_and_removed_again() {
    let bind = Bind::start();
    let config = DnsConfig::Rfc2136(update_config(&bind));
    let solver = solver(&config, &bind.resolver(), system_clock())
        .unwrap()
        .unwrap();
    let held = shown(solver.as_ref(), "example.test", "value-one").await;
    assert_eq!(
        bind.texts("_acme-challenge.example.test").await,
        ["value-one"]
    );
    held.clean_up().await.unwrap();
    assert!(bind.texts("_acme-challenge.example.test").await.is_empty());
}

#[tokio::test]
async fn two_values_are_shown_at_once_and_go_one_by_one() {
    let bind = Bind::start();
    let solver = solver_of(&bind, &update_config(&bind));
    let (one, two) = tokio::join!(
        shown(&solver, "example.test", "for the name"),
        shown(&solver, "example.test", "for the wildcard")
    );
    let name = "_acme-challenge.example.test";
    assert_eq!(bind.texts(name).await, ["for the name", "for the wildcard"]);
    one.clean_up().await.unwrap();
    assert_eq!(bind.texts(name).await, ["for the wildcard"]);
    two.clean_up().await.unwrap();
    assert!(bind.texts(name).await.is_empty());
}

#[tokio::test]
async fn the_zone_is_found_above_names_that_do_not_exist() {
    let bind = Bind::start();
    let solver = solver_of(&bind, &update_config(&bind));
    let held = shown(&solver, "deep.hub.example.test", "deep").await;
    let name = "_acme-challenge.deep.hub.example.test";
    assert_eq!(bind.texts(name).await, ["deep"]);
    held.clean_up().await.unwrap();
}

#[tokio::test]
async fn a_zone_may_be_told() {
    let bind = Bind::start();
    let mut config = update_config(&bind);
    config.zone = Some("Example.Test.".to_owned());
    let held = shown(&solver_of(&bind, &config), "example.test", "told").await;
    held.clean_up().await.unwrap();
    config.zone = Some("other.test".to_owned());
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(trouble.what.contains("is not in the zone `other.test`"));
}

#[tokio::test]
async fn an_alias_is_followed_into_another_zone() {
    let bind = Bind::start();
    let solver = solver_of(&bind, &update_config(&bind));
    let held = shown(&solver, "moved.example.test", "delegated").await;
    assert_eq!(bind.texts("moved.validation.test").await, ["delegated"]);
    let seen = bind.texts("_acme-challenge.moved.example.test").await;
    assert_eq!(seen, ["delegated"]);
    held.clean_up().await.unwrap();
    assert!(bind.texts("moved.validation.test").await.is_empty());
}

#[tokio::test]
async fn an_unsigned_update_is_taken_where_addresses_may() {
    let bind = Bind::start_with(&crate::bind::Options {
        address: crate::bind::free_loopback(),
        zones: "zone \"open.test\" { type primary; file \"{folder}/open.test\"; allow-update { 127.0.0.1; }; };",
        files: &[(
            "open.test",
            "$TTL 60\n@ SOA ns. admin. 1 2 2 600 1\n@ NS ns.open.test.\nns A 127.0.0.1\n",
        )],
        more: "",
    });
    let mut config = update_config(&bind);
    (config.tsig_name, config.tsig_secret_file) = (None, None);
    let held = shown(&solver_of(&bind, &config), "open.test", "unsigned").await;
    assert_eq!(bind.texts("_acme-challenge.open.test").await, ["unsigned"]);
    held.clean_up().await.unwrap();
}

#[tokio::test]
async fn keys_of_tsig_keygen_are_taken_as_they_are() {
    let keygen = crate::bind::program("tsig-keygen", "bind9");
    let algorithms = [
        ("hmac-sha256", TsigAlgorithm::HmacSha256),
        ("hmac-sha384", TsigAlgorithm::HmacSha384),
        ("hmac-sha512", TsigAlgorithm::HmacSha512),
    ];
    let keys = algorithms.map(|(name, _)| {
        let made = std::process::Command::new(&keygen)
            .args(["-a", name, &format!("key-{name}")])
            .output()
            .unwrap();
        String::from_utf8(made.stdout).unwrap()
    });
    let zones = format!(
        "{}\nzone \"open.test\" {{ type primary; file \"{{folder}}/open.test\";
         allow-update {{ key key-hmac-sha256; key key-hmac-sha384; key key-hmac-sha512; }}; }};",
        keys.concat()
    );
    let bind = Bind::start_with(&crate::bind::Options {
        address: crate::bind::free_loopback(),
        zones: &zones,
        files: &[(
            "open.test",
            "$TTL 60\n@ SOA ns. admin. 1 2 2 600 1\n@ NS ns.open.test.\nns A 127.0.0.1\n",
        )],
        more: "",
    });
    for ((name, algorithm), key) in algorithms.iter().zip(&keys) {
        let config = Rfc2136Config {
            // By name: the port is open at one of its addresses alone.
            server: format!("localhost:{}", bind.address.port())
                .parse()
                .unwrap(),
            tsig_name: Some(format!("key-{name}")),
            tsig_algorithm: *algorithm,
            tsig_secret_file: Some(bind.file(name, key)),
            ..Rfc2136Config::default()
        };
        let held = shown(&solver_of(&bind, &config), "open.test", name).await;
        assert_eq!(bind.texts("_acme-challenge.open.test").await, [*name]);
        held.clean_up().await.unwrap();
    }
}

#[tokio::test]
async fn a_name_server_that_does_not_know_the_key_is_told() {
    let bind = Bind::start();
    let mut config = update_config(&bind);
    config.tsig_name = Some("stranger".to_owned());
    config.tsig_secret_file = Some(bind.file("bare", SECRET));
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert!(
        trouble
            .what
            .contains("does not know the key `stranger` (BADKEY)"),
        "{trouble}"
    );
    config.tsig_name = Some("lyceum".to_owned());
    config.tsig_algorithm = TsigAlgorithm::HmacSha512;
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert!(trouble.what.contains("BADKEY"), "{trouble}");
}

#[tokio::test]
async fn another_secret_is_told_and_not_shown() {
    let bind = Bind::start();
    let mut config = update_config(&bind);
    config.tsig_secret_file = Some(bind.file("wrong", "b3RoZXI="));
    let solver = solver_of(&bind, &config);
    let trouble = refused(&solver, "example.test").await;
    assert!(trouble.what.contains("BADSIG"), "{trouble}");
    assert!(trouble.hint.contains("tsig_secret_file"));
    let everything = format!("{trouble:?} {solver:?}");
    assert!(
        !everything.contains("b3RoZXI") && !everything.contains("111, 116"),
        "{everything}"
    );
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_the_difference() {
    let bind = Bind::start();
    for seconds in [-4000, 4000] {
        let clock = Arc::new(WrongClock(seconds));
        let solver = Rfc2136Solver::new(&update_config(&bind), &bind.resolver(), clock).unwrap();
        let trouble = refused(&solver, "example.test").await;
        assert_eq!(trouble.kind, TroubleKind::Clock, "{trouble}");
        let told: Vec<u64> = trouble
            .what
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(
            told.len() == 1 && (3990..4010).contains(&told[0]),
            "{trouble}"
        );
    }
}

#[tokio::test]
async fn a_name_that_the_key_may_not_change_is_told() {
    let bind = Bind::start();
    let solver = solver_of(&bind, &update_config(&bind));
    for name in ["hub.example.test", "closed.test"] {
        let trouble = refused(&solver, name).await;
        assert!(trouble.what.contains("(REFUSED)"), "{trouble}");
        assert!(
            trouble.hint.contains("update-policy { grant lyceum name"),
            "{}",
            trouble.hint
        );
    }
    let mut config = update_config(&bind);
    (config.tsig_name, config.tsig_secret_file) = (None, None);
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert!(trouble.what.contains("(REFUSED)"), "{trouble}");
}

#[tokio::test]
async fn a_zone_that_the_server_does_not_have_is_told() {
    let bind = Bind::start();
    let trouble = refused(&solver_of(&bind, &update_config(&bind)), "elsewhere.org").await;
    assert!(
        trouble.what.contains("does not tell in which zone"),
        "{trouble}"
    );
    assert!(trouble.causes[0].contains("REFUSED"), "{trouble}");
    let mut config = update_config(&bind);
    config.zone = Some("elsewhere.org".to_owned());
    let trouble = refused(&solver_of(&bind, &config), "elsewhere.org").await;
    assert!(trouble.what.contains("(NOTAUTH)"), "{trouble}");
    let trouble = refused(&solver_of(&bind, &update_config(&bind)), "sub.example.test").await;
    assert!(
        trouble.causes[0].contains("`sub.example.test` is delegated"),
        "{trouble}"
    );
}

#[tokio::test]
async fn a_silent_server_is_told() {
    let bind = Bind::start();
    let (udp, address) = silent();
    let mut config = update_config(&bind);
    config.server = address.parse().unwrap();
    // It is not asked for the zone, and so gets the update.
    config.zone = Some("example.test".to_owned());
    let tcp = TcpListener::bind(&address).await.unwrap();
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert!(
        trouble.what.contains("cannot be reached over TCP"),
        "{trouble}"
    );
    assert!(trouble.causes[0].contains("no answer within"), "{trouble}");
    drop((udp, tcp));
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert!(trouble.causes[0].contains("refused"), "{trouble}");
    config.zone = None;
    let trouble = refused(&solver_of(&bind, &config), "example.test").await;
    assert!(
        trouble.causes[0].contains("does not answer by UDP"),
        "{trouble}"
    );
}

#[tokio::test]
async fn an_answer_signed_by_nobody_is_not_believed() {
    let bind = Bind::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = update_config(&bind);
    config.server = listener.local_addr().unwrap().to_string().parse().unwrap();
    config.zone = Some("example.test".to_owned());
    let liar = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await.unwrap();
        // The same header as an answer without an error, and nothing behind it.
        message[2] |= 0x80;
        message.truncate(12);
        message[4..12].fill(0);
        stream.write_u16(12).await.unwrap();
        stream.write_all(&message).await.unwrap();
    };
    let solver = solver_of(&bind, &config);
    let ((), trouble) = tokio::join!(liar, refused(&solver, "example.test"));
    assert!(
        trouble.what.contains("is not signed with our key"),
        "{trouble}"
    );
}

/// A port where nothing is answered.
fn silent() -> (UdpSocket, String) {
    let address = crate::bind::free_loopback();
    (UdpSocket::bind(address).unwrap(), address.to_string())
}

#[tokio::test]
async fn without_a_resolver_that_answers_the_configured_server_is_believed() {
    let bind = Bind::start();
    let (_udp, address) = silent();
    let resolver = Resolver::new(vec![address.parse().unwrap()]);
    let mut config = update_config(&bind);
    config.propagation_timeout = "60s".parse().unwrap();
    let solver = Rfc2136Solver::new(&config, &resolver, system_clock()).unwrap();
    let held = shown(&solver, "example.test", "believed").await;
    assert_eq!(
        bind.texts("_acme-challenge.example.test").await,
        ["believed"]
    );
    held.clean_up().await.unwrap();
}
