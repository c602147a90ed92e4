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
    assert_eq!(
        usages.last(&next.server, &next.handle, Instant::now()),
        None
    );
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
    let found = running(1, now - Duration::from_hours(1));
    assert_eq!(usages.note(&found, used(4), now), 0);
    assert_eq!(usages.note(&found, used(5), now), 1);
    usages.keep_only(&[]);
    assert_eq!(usages.notices(&found.server, &found.handle), []);
}

#[test]
fn a_server_is_asked_about_once_in_some_seconds() {
    let now = SystemClock.now();
    let usages = Usages::new(now);
    let one = running(1, now);
    let begin = Instant::now();
    let later = |seconds| begin + Duration::from_secs(seconds);
    assert!(usages.ask(&one, begin));
    usages.note(&one, used(0), now);
    assert!(!usages.ask(&one, later(1)));
    let last = |at| usages.last(&one.server, &one.handle, at);
    assert_eq!(last(later(1)), Some(used(0)));
    assert_eq!(last(later(120)), None, "too old to be shown");
    assert!(usages.ask(&one, later(120)));
    let ada = &one.server.user;
    assert_eq!(usages.home(ada, begin), Err(ToAsk));
    assert_eq!(usages.home(ada, begin), Ok(None), "somebody asks already");
    assert_eq!(
        usages.home(ada, later(6)),
        Err(ToAsk),
        "there may be one by now"
    );
    let space = Some(HomeSpace::default());
    usages.note_home(ada, space);
    assert_eq!(usages.home(ada, later(12)), Ok(space));
    assert_eq!(usages.home(ada, later(60)), Err(ToAsk));
}
