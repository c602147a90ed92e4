//! The engine `systemd` with a real systemd: to be run as root inside a host that systemd has booted.
//!
//! It is no test of this machine, which may have no systemd: `cargo test -p lyceum-broker --test systemd_engine --no-run`
//! builds a program that needs nothing else, and that is copied into a test host and run there.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test itself does"
)]

#[path = "../engines/cases.rs"]
mod cases;
mod ends;
mod host;
#[path = "../engines/plans.rs"]
mod plans;
mod running;
mod units;

use std::fs;

use lyceum_broker::protocol::RefusalKind;

use crate::cases::Stage as _;
use crate::host::Host;
use crate::plans::variables;

#[tokio::test]
async fn a_child_that_uses_up_the_memory_ends_and_the_server_goes_on() {
    cases::a_child_that_uses_up_the_memory_ends_and_the_server_goes_on(&Host::new().await).await;
}

#[tokio::test]
async fn a_fork_bomb_stays_with_its_server_and_is_stopped() {
    cases::a_fork_bomb_stays_with_its_server_and_is_stopped(&Host::new().await).await;
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    cases::a_start_that_is_given_up_leaves_nothing(&Host::new().await).await;
}

#[tokio::test]
async fn ends_are_told_apart_even_by_another_broker() {
    cases::ends_are_told_apart_even_by_another_broker(&Host::new().await).await;
}

#[tokio::test]
async fn what_is_for_an_ended_start_never_reaches_the_next_one() {
    cases::what_is_for_an_ended_start_never_reaches_the_next_one(&Host::new().await).await;
}

#[tokio::test]
async fn a_stop_asks_the_main_process_first_and_ends_what_ignores_it() {
    cases::a_stop_asks_the_main_process_first_and_ends_what_ignores_it(&Host::new().await).await;
}

#[tokio::test]
async fn what_a_server_leaves_at_its_own_end_goes_with_it() {
    cases::what_a_server_leaves_at_its_own_end_goes_with_it(&Host::new().await).await;
}

#[tokio::test]
async fn what_cannot_start_is_explained_and_leaves_nothing() {
    let host = Host::new().await;
    let fresh = || host.server("unlucky", "exec sleep 600");
    let mut no_session = fresh();
    fs::write(
        "/etc/pam.d/lyceum-refuses",
        "session required pam_deny.so\naccount required pam_permit.so\n",
    )
    .unwrap();
    no_session.session = Some("lyceum-refuses".to_owned());
    let mut bad_value = fresh();
    bad_value.sandbox.properties = [("ProtectHome".to_owned(), "perhaps".to_owned())].into();
    // What only systemd itself knows.
    let mut unknown = fresh();
    let family = (
        "RestrictAddressFamilies".to_owned(),
        "AF_NONE_SUCH".to_owned(),
    );
    unknown.sandbox.properties = [family].into();
    let mut control = fresh();
    control.environment = variables(&[("A", "\x1b")]);
    for plan in [&bad_value, &unknown] {
        let refused = host.engine().try_sandbox(&plan.sandbox).await;
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Configuration, "{refusal:?}");
        assert!(
            refusal.message.contains("sandbox.properties"),
            "{refusal:?}"
        );
    }
    let more = vec![
        (no_session, RefusalKind::AccountClosed, "unlucky"),
        (bad_value, RefusalKind::Configuration, "ProtectHome"),
        (unknown, RefusalKind::System, "refused"),
        (control, RefusalKind::Configuration, "\"A\""),
    ];
    cases::what_cannot_start_is_explained_and_leaves_nothing(&host, more).await;
}
