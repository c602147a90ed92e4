//! The engine `process` with real processes, users' numbers, control groups and mounts. Needs root.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test itself does"
)]

#[path = "../engines/cases.rs"]
mod cases;
mod ends;
mod place;
#[path = "../engines/plans.rs"]
mod plans;
mod running;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lyceum_broker::engine::Engine as _;
use lyceum_broker::protocol::RefusalKind;

use crate::cases::Stage as _;
use crate::place::Place;

#[tokio::test]
async fn a_child_that_uses_up_the_memory_ends_and_the_server_goes_on() {
    cases::a_child_that_uses_up_the_memory_ends_and_the_server_goes_on(&Place::new()).await;
}

#[tokio::test]
async fn a_fork_bomb_stays_with_its_server_and_is_stopped() {
    cases::a_fork_bomb_stays_with_its_server_and_is_stopped(&Place::new()).await;
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    cases::a_start_that_is_given_up_leaves_nothing(&Place::new()).await;
}

#[tokio::test]
async fn ends_are_told_apart_even_by_another_broker() {
    cases::ends_are_told_apart_even_by_another_broker(&Place::new()).await;
}

#[tokio::test]
async fn what_is_for_an_ended_start_never_reaches_the_next_one() {
    cases::what_is_for_an_ended_start_never_reaches_the_next_one(&Place::new()).await;
}

#[tokio::test]
async fn a_stop_asks_the_main_process_first_and_ends_what_ignores_it() {
    cases::a_stop_asks_the_main_process_first_and_ends_what_ignores_it(&Place::new()).await;
}

#[tokio::test]
async fn what_a_server_leaves_at_its_own_end_goes_with_it() {
    cases::what_a_server_leaves_at_its_own_end_goes_with_it(&Place::new()).await;
}

#[tokio::test]
async fn what_cannot_start_is_explained_and_leaves_nothing() {
    let place = Place::new();
    // Machines differ in who may enter it.
    fs::set_permissions("/root", fs::Permissions::from_mode(0o700)).unwrap();
    let fresh = || place.server("unlucky", "exec sleep 600");
    let mut root = fresh();
    root.account.uid = 0;
    let mut group = fresh();
    group.account.gids = vec![0];
    let mut relative = fresh();
    relative.argv = vec!["sh".to_owned()];
    let mut closed = fresh();
    closed.working_dir = "/root/.".into();
    let mut properties = fresh();
    properties.sandbox.properties = [("Nice".to_owned(), "5".to_owned())].into();
    let refused = place.engine.try_sandbox(&properties.sandbox).await;
    refused.unwrap_err();
    let more = vec![
        (relative, RefusalKind::CommandMissing, "sh"),
        (closed, RefusalKind::System, "Permission denied"),
        (root, RefusalKind::System, "become the account"),
        (group, RefusalKind::System, "become the account"),
        (
            properties,
            RefusalKind::Configuration,
            "`sandbox.properties`",
        ),
    ];
    cases::what_cannot_start_is_explained_and_leaves_nothing(&place, more).await;
}
