//! The wait until every name server of a zone shows a record, with a secondary that fetches it late.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use lyceum_certs::dns::Rfc2136Solver;

use crate::bind::{Bind, Options, free_address};
use crate::{proof, shown, system_clock, update_config};

/// One for each server: both listen at the same port.
const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

const ZONE: &str = "$TTL 60
@ SOA ns1.late.test. admin.late.test. 1 3 3 600 1
@ NS ns1.late.test.
@ NS ns2.late.test.
ns1 A 127.0.0.1
ns2 AAAA ::1
";

/// A primary, and a secondary of the same port that is not told of changes and looks after so many seconds.
fn pair(refresh: u32) -> (Bind, Bind) {
    let address = free_address(&LOOPBACKS);
    let port = address.port();
    let primary = Bind::start_with(&Options {
        address,
        zones: "zone \"late.test\" { type primary; file \"{folder}/late.test\"; notify no; allow-update { key lyceum; }; };",
        files: &[("late.test", ZONE)],
        more: "",
    });
    let zones = format!(
        "zone \"late.test\" {{ type secondary; primaries port {port} {{ 127.0.0.1; }}; file \"{{folder}}/late.test\"; \
         min-refresh-time {refresh}; max-refresh-time {refresh}; }};"
    );
    let secondary = Bind::start_with(&Options {
        address: (LOOPBACKS[1], port).into(),
        zones: &zones,
        files: &[],
        more: "",
    });
    (primary, secondary)
}

async fn wait_for_zone(secondary: &Bind) {
    let until = Instant::now() + Duration::from_secs(15);
    while secondary
        .resolver()
        .addresses("ns1.late.test")
        .await
        .is_err()
    {
        assert!(
            Instant::now() < until,
            "the secondary does not fetch the zone:\n{}",
            secondary.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_proof_is_shown_when_the_last_server_shows_it() {
    let (primary, secondary) = pair(3);
    wait_for_zone(&secondary).await;
    let config = update_config(&primary);
    let solver = Rfc2136Solver::new(&config, &primary.resolver(), system_clock()).unwrap();
    let held = shown(&solver, "late.test", "late").await;
    assert_eq!(secondary.texts("_acme-challenge.late.test").await, ["late"]);
    held.clean_up().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stays_behind_is_named_and_nothing_stays() {
    let (primary, secondary) = pair(600);
    wait_for_zone(&secondary).await;
    let mut config = update_config(&primary);
    config.propagation_timeout = "3s".parse().unwrap();
    let solver = Rfc2136Solver::new(&config, &primary.resolver(), system_clock()).unwrap();
    let Err(trouble) = lyceum_certs::Solver::show(&solver, proof("late.test", "late")).await else {
        panic!("the secondary cannot show it");
    };
    assert!(
        trouble.causes[0].contains("ns2.late.test ([::1]"),
        "{trouble}"
    );
    assert!(!trouble.causes[0].contains("ns1"), "{trouble}");
    assert!(trouble.hint.contains("propagation_timeout"));
    assert!(primary.texts("_acme-challenge.late.test").await.is_empty());
}

#[tokio::test]
async fn a_server_that_is_down_is_not_waited_for() {
    let (primary, secondary) = pair(600);
    drop(secondary);
    let solver = Rfc2136Solver::new(
        &update_config(&primary),
        &primary.resolver(),
        system_clock(),
    )
    .unwrap();
    let held = shown(&solver, "late.test", "alone").await;
    held.clean_up().await.unwrap();
}
