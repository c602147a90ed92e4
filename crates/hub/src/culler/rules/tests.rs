//! The rules, case by case, and what holds whatever they are.

use jiff::tz::TimeZone;
use lyceum_core::WeeklyHours;
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

fn rules() -> Rules {
    Rules {
        enabled: true,
        idle: Limit::After(2 * HOUR),
        max_age: Limit::Off,
        named: Override::default(),
        groups: BTreeMap::new(),
        profiles: BTreeMap::new(),
        admins: true,
        open_tab: Limit::After(4 * HOUR),
        busy_limit: 48 * HOUR,
    }
}

/// A number of minutes after the start, at noon of a Thursday.
fn at(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    start + jiff::Span::new().minutes(minutes)
}

fn evidence(now: i64) -> Evidence {
    Evidence {
        now: at(now),
        started: at(0),
        action: at(0),
        traffic: None,
        busy: None,
        kernel: None,
        reported: None,
    }
}

fn check_use(seen: &Evidence, expected: i64, by: Use) {
    assert_eq!(
        rules().last_use(seen),
        LastUse {
            at: at(expected),
            by
        },
        "{seen:?}"
    );
}

#[test]
fn what_a_person_does_counts_as_it_is() {
    check_use(&evidence(500), 0, Use::Start);
    let action = Evidence {
        action: at(30),
        traffic: Some(at(20)),
        ..evidence(500)
    };
    check_use(&action, 30, Use::Action);
    let future = Evidence {
        action: at(900),
        ..evidence(500)
    };
    check_use(&future, 500, Use::Action);
}

#[test]
fn an_open_tab_counts_for_a_while_after_the_last_action() {
    let open = |now| Evidence {
        action: at(10),
        traffic: Some(at(now)),
        ..evidence(now)
    };
    check_use(&open(200), 200, Use::OpenTab);
    check_use(&open(250), 250, Use::OpenTab);
    check_use(&open(2000), 250, Use::OpenTab);
    let always = Rules {
        open_tab: Limit::Off,
        ..rules()
    };
    assert_eq!(always.last_use(&open(2000)).at, at(2000));
}

#[test]
fn a_busy_kernel_counts_now_and_is_not_believed_for_ever() {
    let busy = |now| Evidence {
        busy: Some(at(now)),
        ..evidence(now)
    };
    check_use(&busy(600), 600, Use::Busy);
    check_use(&busy(2879), 2879, Use::Busy);
    check_use(&busy(9000), 2880, Use::Busy);
}

#[test]
fn what_a_server_says_is_never_later_than_now_nor_believed_for_ever() {
    let says = |now, time| Evidence {
        kernel: Some(at(time)),
        reported: Some(at(time - 1)),
        ..evidence(now)
    };
    check_use(&says(300, 200), 200, Use::Kernel);
    check_use(&says(300, 999_999), 300, Use::Kernel);
    check_use(&says(9000, 8999), 2880, Use::Kernel);
    let reported = Evidence {
        reported: Some(at(8999)),
        ..evidence(9000)
    };
    check_use(&reported, 2880, Use::Reported);
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn idle(hours: u32) -> Override {
    Override {
        idle: Some(Limit::After(HOUR * hours)),
        ..Override::default()
    }
}

#[test]
fn a_profile_wins_over_a_group_over_a_name_over_the_rest() {
    let off = Override {
        enabled: Some(false),
        ..Override::default()
    };
    let rules = Rules {
        named: idle(1),
        groups: [
            (group("a"), idle(5)),
            (group("b"), idle(8)),
            (group("c"), off),
            (
                group("d"),
                Override {
                    max_age: Some(Limit::After(24 * HOUR)),
                    ..Override::default()
                },
            ),
        ]
        .into(),
        profiles: [("gpu".to_owned(), idle(3))].into(),
        ..rules()
    };
    let check = |named: bool, groups: &[&str], profile: Option<&str>, hours: u32, by: Source| {
        let groups: Vec<_> = groups.iter().map(|name| group(name)).collect();
        let rule = rules.of(Subject {
            named,
            groups: &groups,
            profile,
            admin: false,
        });
        let value = Limit::After(HOUR * hours);
        assert_eq!(rule.idle, Said { value, by });
        rule
    };
    check(false, &[], None, 2, Source::General);
    check(true, &[], None, 1, Source::Named);
    check(true, &["a"], None, 5, Source::Group(group("a")));
    check(false, &["b", "a"], Some("x"), 8, Source::Group(group("b")));
    let by = Source::Profile("gpu".to_owned());
    let rule = check(true, &["a", "b", "c"], Some("gpu"), 3, by);
    assert!(!rule.enabled.value, "each value is found for itself");
    let rule = check(false, &["d"], None, 2, Source::General);
    assert_eq!(rule.max_age.value, Limit::After(24 * HOUR));
}

#[test]
fn of_several_groups_the_most_patient_counts() {
    let never = Override {
        idle: Some(Limit::Off),
        enabled: Some(true),
        ..Override::default()
    };
    let off = Override {
        enabled: Some(false),
        ..idle(9)
    };
    let rules = Rules {
        groups: [(group("a"), never), (group("b"), off)].into(),
        ..rules()
    };
    let rule = rules.of(Subject {
        named: false,
        groups: &[group("a"), group("b")],
        profile: None,
        admin: false,
    });
    assert_eq!(rule.idle.value, Limit::Off);
    assert!(!rule.enabled.value);
}

#[test]
fn administrators_are_left_alone_if_the_rules_say_so() {
    let subject = Subject {
        named: false,
        groups: &[],
        profile: None,
        admin: true,
    };
    assert!(rules().of(subject).enabled.value);
    let spared = Rules {
        admins: false,
        ..rules()
    };
    assert_eq!(spared.of(subject).enabled.by, Source::Admins);
    assert!(!spared.of(subject).enabled.value);
}

fn rule(idle: Limit, max_age: Limit) -> Rule {
    let general = |value| Said {
        value,
        by: Source::General,
    };
    Rule {
        enabled: Said {
            value: true,
            by: Source::General,
        },
        idle: general(idle),
        max_age: general(max_age),
    }
}

fn used(minutes: i64) -> LastUse {
    LastUse {
        at: at(minutes),
        by: Use::Action,
    }
}

#[test]
fn a_server_is_due_when_it_was_idle_or_ran_for_too_long() {
    let none = ClassHours::none();
    let two = Limit::After(2 * HOUR);
    let check = |rule: &Rule, last: i64, expected: Option<(i64, Reason)>| {
        let expected = expected.map(|(minutes, reason)| Due {
            at: at(minutes),
            reason,
        });
        assert_eq!(due(rule, at(0), used(last), &none), expected);
    };
    check(&rule(two, Limit::Off), 30, Some((150, Reason::Idle)));
    check(&rule(Limit::Off, two), 30, Some((120, Reason::MaxAge)));
    check(&rule(two, two), 30, Some((120, Reason::MaxAge)));
    check(&rule(two, two), 0, Some((120, Reason::Idle)));
    check(&rule(Limit::Off, Limit::Off), 30, None);
    let mut never = rule(two, two);
    never.enabled.value = false;
    check(&never, 30, None);
}

fn class() -> ClassHours {
    let hours = vec![WeeklyHours::parse("thu 13:00-15:00").unwrap()];
    ClassHours::new(hours, TimeZone::UTC)
}

#[test]
fn nothing_is_culled_in_class_hours() {
    let class = class();
    let two = rule(Limit::After(HOUR), Limit::Off);
    let due = due(&two, at(0), used(30), &class);
    let end = Due {
        at: at(180),
        reason: Reason::Idle,
    };
    assert_eq!(due, Some(end));
    let step = |now: i64, warned: Option<i64>| {
        decide(due, at(now), 10 * MINUTE, warned.map(at), at(0), &class)
    };
    assert_eq!(step(169, None), Step::Keep);
    assert_eq!(step(170, None), Step::Warn(end));
    assert_eq!(step(179, Some(170)), Step::Warn(end));
    assert_eq!(step(180, Some(170)), Step::Cull(end));
}

#[test]
fn nobody_goes_who_was_not_warned_for_long_enough() {
    let none = ClassHours::none();
    let due = Some(Due {
        at: at(100),
        reason: Reason::Idle,
    });
    let later = |minutes| Due {
        at: at(minutes),
        reason: Reason::Idle,
    };
    let step = |now: i64, warned: Option<i64>, earliest: i64| {
        let warned = warned.map(at);
        decide(due, at(now), 10 * MINUTE, warned, at(earliest), &none)
    };
    assert_eq!(step(89, None, 0), Step::Keep);
    assert_eq!(step(90, None, 0), Step::Warn(later(100)));
    assert_eq!(step(100, Some(90), 0), Step::Cull(later(100)));
    // Known only now, as after a restart, or when a busy kernel turns out to be none.
    assert_eq!(step(500, None, 0), Step::Warn(later(510)));
    assert_eq!(step(510, Some(500), 0), Step::Cull(later(510)));
    assert_eq!(step(510, Some(500), 512), Step::Warn(later(512)));
    let at_once = |now| decide(due, at(now), Duration::ZERO, None, at(0), &none);
    assert_eq!(at_once(99), Step::Keep);
    assert_eq!(at_once(100), Step::Cull(later(100)));
}

proptest! {
    #[test]
    fn no_use_is_in_the_future_nor_before_the_start(
        now in 0..10_000_i64,
        times in proptest::collection::vec(proptest::option::of(-500..20_000_i64), 5),
    ) {
        let seen = Evidence {
            action: at(times[0].unwrap_or(0)),
            traffic: times[1].map(at),
            busy: times[2].map(at),
            kernel: times[3].map(at),
            reported: times[4].map(at),
            ..evidence(now)
        };
        let last = rules().last_use(&seen);
        prop_assert!(last.at <= at(now) && last.at >= at(0));
        // Without an action it is bounded, whatever a server or a page claims.
        let bound = after(seen.action.max(at(0)).min(at(now)), 48 * HOUR);
        prop_assert!(last.at <= bound);
        // More of anything never makes it earlier.
        let more = Evidence { action: at(now), ..seen };
        prop_assert!(rules().last_use(&more).at >= last.at);
    }

    #[test]
    fn a_cull_is_late_enough_warned_and_outside_of_class(
        last in 0..300_i64, now in 0..2_000_i64, warned in proptest::option::of(0..2_000_i64), earliest in 0..2_000_i64, warn in 0..30_u32,
    ) {
        let warn = MINUTE * warn;
        let class = class();
        let warned = warned.filter(|warned| *warned <= now).map(at);
        let rule = rule(Limit::After(2 * HOUR), Limit::Off);
        let due = due(&rule, at(0), used(last), &class);
        match decide(due, at(now), warn, warned, at(earliest), &class) {
            Step::Cull(cull) => {
                prop_assert!(cull.at <= at(now));
                prop_assert!(after(at(last), 2 * HOUR) <= at(now) && at(earliest) <= at(now));
                prop_assert!(warn.is_zero() || after(warned.unwrap(), warn) <= at(now));
                prop_assert!(!class.contain(at(now)));
            }
            Step::Warn(cull) => prop_assert!(cull.at > at(now)),
            Step::Keep => prop_assert!(due.unwrap().at > at(now)),
        }
    }
}
