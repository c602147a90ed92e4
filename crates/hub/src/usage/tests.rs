//! What is remembered of the use of servers, and when there is news in it.

use lyceum_core::{Clock as _, ServerName, SystemClock};
use serde_json::json;

use super::*;

fn running(handle: u64, started: Timestamp) -> RunningServer {
    let user = UserName::parse("ada").unwrap();
    RunningServer {
        server: ServerRef::new(user, ServerName::default_server()),
        handle: Handle(json!(handle)),
        started: Some(started),
    }
}

fn used(out_of_memory: u64) -> Usage {
    Usage {
        memory: Some(1 << 30),
        memory_limit: Some(2 << 30),
        out_of_memory,
        ..Usage::default()
    }
}

#[test]
fn programs_that_were_ended_are_told_once() {
    let now = SystemClock.now();
    let usages = Usages::new(now);
    let one = running(1, now);
    assert_eq!(usages.note(&one, used(0), now), 0);
    assert_eq!(usages.note(&one, used(1), now), 1);
    assert_eq!(usages.note(&one, used(1), now), 0);
    assert_eq!(usages.note(&one, used(3), now), 2);
    let texts: Vec<String> = usages
        .notices(&one.server, &one.handle)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        texts,
        [
            "A program of your server was ended because the server's memory limit of 2 GiB was reached.",
            "2 programs of your server were ended because the server's memory limit of 2 GiB was reached.",
        ]
    );
    // Another run of the server begins anew.
    let next = running(2, now);
    assert_eq!(usages.notices(&next.server, &next.handle), []);
    assert_eq!(usages.last(&next.server, &next.handle), None);
    assert_eq!(usages.note(&next, used(1), now), 1, "it is of this run");
    for count in 2..20 {
        usages.note(&next, used(count), now);
    }
    assert_eq!(usages.notices(&next.server, &next.handle).len(), NOTICES);
}

#[test]
fn what_happened_before_a_restart_is_not_news() {
    let now = SystemClock.now();
    let usages = Usages::new(now);
    let found = running(1, now - Duration::from_secs(3600));
    assert_eq!(usages.note(&found, used(4), now), 0);
    assert_eq!(usages.note(&found, used(5), now), 1);
    usages.keep_only(&[]);
    assert_eq!(usages.notices(&found.server, &found.handle), []);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_asked_about_once_in_some_seconds() {
    let now = SystemClock.now();
    let usages = Usages::new(now);
    let one = running(1, now);
    assert!(usages.ask(&one));
    usages.note(&one, used(0), now);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!usages.ask(&one));
    assert_eq!(usages.last(&one.server, &one.handle), Some(used(0)));
    tokio::time::advance(OLDEST).await;
    assert_eq!(
        usages.last(&one.server, &one.handle),
        None,
        "too old to be shown"
    );
    assert!(usages.ask(&one));
    let ada = &one.server.user;
    assert_eq!(usages.home(ada), None);
    assert_eq!(usages.home(ada), Some(None), "somebody asks already");
    let space = Some(HomeSpace::default());
    usages.note_home(ada, space);
    assert_eq!(usages.home(ada), Some(space));
    tokio::time::advance(HOME_FRESH).await;
    assert_eq!(usages.home(ada), None);
}
