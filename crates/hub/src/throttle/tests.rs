//! What brakes must do and must never do, over hours that pass in no time.

use std::time::Duration;

use lyceum_core::{Timestamp, UserName};
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);
/// What `docs/security-logins.md` says of one account from one address, and of one address, in an hour.
const GUESSES_FROM_ONE_ADDRESS: usize = 35;
const GUESSES_OF_ONE_ADDRESS: usize = 300;

fn start() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn later(seconds: f64) -> Timestamp {
    start() + Duration::from_secs_f64(seconds)
}

fn throttle() -> Throttle {
    Throttle::new(&ThrottleSettings::default())
}

#[expect(clippy::unnecessary_wraps, reason = "that is how it is asked for")]
fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "that is how it is asked for")]
fn number(number: u32) -> Option<IpAddr> {
    Some(IpAddr::V4((0x0a00_0000 + number).into()))
}

#[expect(clippy::unnecessary_wraps, reason = "that is how it is asked for")]
fn account(throttle: &Throttle, name: &str) -> Option<Account> {
    Some(throttle.account(&UserName::parse(name).unwrap()))
}

/// Tries a wrong password; says whether it was looked at.
fn guess(throttle: &Throttle, addr: Option<IpAddr>, name: &str, now: Timestamp) -> bool {
    match throttle.begin(addr, account(throttle, name), false, now) {
        Ok(attempt) => {
            attempt.wrong(now);
            true
        }
        Err(_) => false,
    }
}

/// The most that lie within an hour.
fn most_in_an_hour(times: &[Timestamp]) -> usize {
    let within = |from: &Timestamp| {
        let end = *from + HOUR;
        times.iter().filter(|at| *at >= from && **at < end).count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[test]
fn whoever_guesses_as_fast_as_possible_gets_few_guesses_in_an_hour() {
    let throttle = throttle();
    let mut looked_at = Vec::new();
    for tenth in 0..(4 * 36_000) {
        let now = later(f64::from(tenth) / 10.0);
        if guess(&throttle, ip("192.0.2.7"), "ada", now) {
            looked_at.push(now);
        }
    }
    let most = most_in_an_hour(&looked_at);
    assert!(most <= GUESSES_FROM_ONE_ADDRESS, "{most}");
    assert!(most >= 10, "there are some: {most}");
}

#[test]
fn whoever_goes_through_accounts_gets_few_guesses_in_an_hour() {
    let throttle = throttle();
    let mut looked_at = Vec::new();
    for tenth in 0..(3 * 36_000) {
        let now = later(f64::from(tenth) / 10.0);
        let name = format!("user{}", tenth % 5_000);
        if guess(&throttle, ip("192.0.2.7"), &name, now) {
            looked_at.push(now);
        }
    }
    let most = most_in_an_hour(&looked_at);
    assert!(most <= GUESSES_OF_ONE_ADDRESS, "{most}");
}

#[test]
fn guesses_at_the_same_moment_count_before_they_are_answered() {
    let throttle = throttle();
    let now = start();
    let begin = || throttle.begin(ip("192.0.2.7"), account(&throttle, "ada"), false, now);
    let tries: Vec<_> = (0..100).filter_map(|_| begin().ok()).collect();
    assert_eq!(tries.len(), 5);
    // Going away without waiting for the answer is a guess, too.
    drop(tries);
    let slowed = begin().unwrap_err();
    assert_eq!((slowed.wait, slowed.first), (Duration::from_secs(1), true));
    assert!(!begin().unwrap_err().first);
}

#[test]
fn right_passwords_and_answers_of_nobody_cost_nothing() {
    let throttle = throttle();
    for _ in 0..1000 {
        let begin = || throttle.begin(ip("192.0.2.7"), account(&throttle, "ada"), false, start());
        begin().unwrap().right();
        begin().unwrap().untold();
    }
    // A right one makes wrong ones of before forgotten.
    for _ in 0..4 {
        for _ in 0..4 {
            assert!(guess(&throttle, ip("192.0.2.7"), "ada", start()));
        }
        throttle
            .begin(ip("192.0.2.7"), account(&throttle, "ada"), true, start())
            .unwrap()
            .right();
    }
}

#[test]
fn a_class_behind_one_address_logs_in_at_once() {
    let throttle = throttle();
    let school = ip("198.51.100.1");
    let names: Vec<String> = (0..300).map(|n| format!("student{n}")).collect();
    // All of them at the same moment.
    let begin = |name: &String| throttle.begin(school, account(&throttle, name), false, start());
    let tries: Vec<_> = names.iter().map(|name| begin(name).unwrap()).collect();
    for attempt in tries {
        attempt.right();
    }
    // Every other one mistypes once, and is not even asked to wait.
    for (index, name) in names.iter().enumerate() {
        if index % 2 == 0 {
            begin(name).unwrap().wrong(start());
        }
        begin(name).unwrap().right();
    }
}

#[test]
fn who_has_logged_in_from_an_address_before_does_not_wait_for_others_who_share_it() {
    let throttle = throttle();
    let school = ip("198.51.100.1");
    for n in 0..500 {
        guess(&throttle, school, &format!("user{n}"), start());
    }
    assert!(
        !guess(&throttle, school, "another", start()),
        "newcomers wait"
    );
    let place = Place::of(school);
    let ada = account(&throttle, "ada");
    assert!(throttle.asks_whether_known(place, ada.unwrap(), start()));
    throttle.begin(school, ada, true, start()).unwrap().right();
}

#[test]
fn an_unknown_address_waits_seconds_while_others_guess_and_then_gets_in() {
    let throttle = throttle();
    let mut refused = 0;
    for second in 0..3600 {
        for n in 0..20 {
            let addr = number(second * 20 + n);
            refused += u32::from(!guess(&throttle, addr, "ada", later(second.into())));
        }
    }
    assert!(
        refused > 70_000,
        "who comes but once does not get to guess: {refused}"
    );
    let now = later(3600.0);
    let home = ip("203.0.113.9");
    let slowed = throttle
        .begin(home, account(&throttle, "ada"), false, now)
        .unwrap_err();
    assert!(slowed.wait <= ACCOUNT_PAUSE, "{slowed:?}");
    // Others go on meanwhile.
    for n in 0..1000 {
        guess(&throttle, number(900_000 + n), "ada", now);
    }
    let now = now + slowed.wait;
    throttle
        .begin(home, account(&throttle, "ada"), false, now)
        .unwrap()
        .right();
}

#[test]
fn who_cannot_be_told_apart_by_address_waits_seconds_at_most() {
    let throttle = throttle();
    let mut longest = Duration::ZERO;
    for second in 0..3600 {
        let now = later(second.into());
        match throttle.begin(None, account(&throttle, "ada"), false, now) {
            Ok(attempt) => attempt.wrong(now),
            Err(slowed) => longest = longest.max(slowed.wait),
        }
    }
    assert!(longest <= ACCOUNT_PAUSE, "{longest:?}");
}

#[test]
fn a_clock_that_is_put_back_locks_nobody_out() {
    let throttle = throttle();
    for _ in 0..50 {
        guess(&throttle, ip("192.0.2.7"), "ada", later(1e7));
    }
    let begin = |at| throttle.begin(ip("192.0.2.7"), account(&throttle, "ada"), false, at);
    let slowed = begin(start()).unwrap_err();
    assert!(slowed.wait <= Duration::from_mins(5), "{slowed:?}");
    begin(start() + slowed.wait).unwrap().right();
}

#[test]
fn a_flood_of_addresses_takes_no_more_room_and_frees_nobody_who_has_to_wait() {
    let throttle = Throttle::with_room(&ThrottleSettings::default(), 1000);
    let mut wait = Duration::ZERO;
    let mut now = start();
    for _ in 0..12 {
        now += wait;
        assert!(guess(&throttle, ip("192.0.2.7"), "ada", now));
        let ada = account(&throttle, "ada");
        wait = throttle
            .begin(ip("192.0.2.7"), ada, false, now)
            .err()
            .map_or(Duration::ZERO, |slowed| slowed.wait);
    }
    assert!(wait > Duration::from_mins(1), "{wait:?}");
    for n in 0..20_000 {
        guess(&throttle, number(n), &format!("user{n}"), now);
    }
    assert!(throttle.lock().len() <= 1000);
    assert!(!guess(&throttle, ip("192.0.2.7"), "ada", now));
}

#[test]
fn who_is_exempt_and_everybody_when_it_is_off_is_never_slowed() {
    let off = Throttle::new(&ThrottleSettings {
        enabled: false,
        ..ThrottleSettings::default()
    });
    let exempt = Throttle::new(&ThrottleSettings {
        exempt: vec!["192.0.2.0/24".parse().unwrap()],
        ..ThrottleSettings::default()
    });
    for _ in 0..1000 {
        assert!(guess(&off, ip("192.0.2.7"), "ada", start()));
        assert!(guess(&exempt, ip("192.0.2.7"), "ada", start()));
        guess(&exempt, ip("198.51.100.7"), "ada", start());
    }
    assert!(!guess(&exempt, ip("198.51.100.7"), "ada", start()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However an attacker spaces them out.
    #[test]
    fn guesses_are_bounded_in_every_hour(gaps in prop::collection::vec(0.0_f64..400.0, 1..400)) {
        let throttle = throttle();
        let mut looked_at = Vec::new();
        let mut second = 0.0;
        for gap in gaps {
            second += gap;
            if guess(&throttle, ip("2001:db8::1"), "ada", later(second)) {
                looked_at.push(later(second));
            }
        }
        prop_assert!(most_in_an_hour(&looked_at) <= GUESSES_FROM_ONE_ADDRESS);
    }

    /// Whatever others do from elsewhere: ada gets in at once from an address that knows her, and after seconds from
    /// any other.
    #[test]
    fn nobody_is_locked_out_by_others(
        guesses in prop::collection::vec((0.0_f64..30.0, 0_u32..50, any::<bool>()), 1..500),
    ) {
        let throttle = throttle();
        let ada = account(&throttle, "ada");
        let mut second = 0.0;
        for (gap, from, at_ada) in guesses {
            second += gap;
            let now = later(second);
            guess(&throttle, number(from), if at_ada { "ada" } else { "bob" }, now);
            let known = throttle.begin(ip("203.0.113.1"), ada, true, now);
            prop_assert!(known.is_ok());
            known.unwrap().right();
        }
        let now = later(second);
        let first = throttle.begin(ip("203.0.113.2"), ada, false, now).map(Try::right);
        if let Err(slowed) = first {
            prop_assert!(slowed.wait <= ACCOUNT_PAUSE);
            let again = throttle.begin(ip("203.0.113.2"), ada, false, now + slowed.wait);
            prop_assert!(again.map(Try::right).is_ok());
        }
    }
}
