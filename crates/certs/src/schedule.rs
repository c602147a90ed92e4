//! When a certificate is renewed, and when what has failed is tried again. Rules only, without a clock.

use std::time::Duration;

use lyceum_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::trouble::{Trouble, TroubleKind};

/// How long a new certificate is left alone, whatever the authority says; of short lives, a twenty-fourth.
const LEFT_ALONE: Duration = Duration::from_hours(12);
/// How long before its end one is renewed at the latest, so that there is time for another try; of short lives, an
/// eighth.
const LEFT_TIME: Duration = Duration::from_hours(24);

/// The time in which the authority wants a certificate to be renewed (ARI, RFC 9773 §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// Its beginning.
    pub(crate) start: Timestamp,
    /// Its end.
    pub(crate) end: Timestamp,
    /// Where the authority says why, if it is not the usual time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) explanation_url: Option<String>,
}

/// When a certificate is renewed: within the window that the authority suggests, else at two thirds of its life.
///
/// `seed` stands for the certificate: many servers do not come at the same moment, and one comes back to the same. An
/// authority that wants each new certificate to be renewed at once does not get one order after the other.
pub(crate) fn renew_at(
    not_before: Timestamp,
    not_after: Timestamp,
    window: Option<&Window>,
    seed: u64,
) -> Timestamp {
    let share = fraction(seed);
    let life = not_before.duration_until(not_after).unsigned_abs();
    if let Some(window) = window
        && window.start < window.end
    {
        let earliest = later(not_before, (life / 24).min(LEFT_ALONE));
        let latest = later(not_before, life.saturating_sub((life / 8).min(LEFT_TIME)));
        let start = window.start.clamp(earliest, latest);
        let end = window.end.clamp(earliest, latest);
        let width = start.duration_until(end).unsigned_abs();
        return later(start, width.mul_f64(share));
    }
    // From 64 to 68 hundredths.
    later(not_before, life.mul_f64(0.64 + 0.04 * share))
}

/// When it is tried again after some failures in a row.
///
/// Let's Encrypt takes five wrong proofs of a name in an hour, and gives an order for the same names five times in a
/// week: whoever stands there without a certificate tries each hour, others at last once a day. `left` is how long the
/// certificate that is shown is valid still; `None` if there is none that anybody vouches for.
pub(crate) fn next_try(
    last: Timestamp,
    failures: u32,
    trouble: &Trouble,
    left: Option<Duration>,
    seed: u64,
) -> Timestamp {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    // The authority or the line to it may be back soon, and it costs nothing to ask.
    let gentle = [
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        20 * MINUTE,
        30 * MINUTE,
    ];
    let careful = [
        5 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
        12 * HOUR,
        24 * HOUR,
    ];
    let steps: &[u64] = match trouble.kind {
        TroubleKind::Unreachable | TroubleKind::Files | TroubleKind::Clock => &gentle,
        _ => &careful,
    };
    let step = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = steps.get(step).or(steps.last()).copied().unwrap_or(HOUR);
    let most = match left {
        None => HOUR,
        Some(left) => (left.as_secs() / 8).clamp(10 * MINUTE, 24 * HOUR),
    };
    let pause = Duration::from_secs(pause.min(most)).mul_f64(0.9 + 0.2 * fraction(seed));
    let asked = Duration::from_secs(trouble.retry_after.unwrap_or(0).min(7 * 24 * HOUR));
    later(last, pause.max(asked))
}

/// How long before its end people are warned of a certificate: as long as configured, a third of its life at most.
pub(crate) fn warn_before(configured: Duration, lifetime: Duration) -> Duration {
    configured.min(lifetime / 3)
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// From 0 to 1, the same for the same seed.
fn fraction(seed: u64) -> f64 {
    // The upper bits of a product with an odd constant (Fibonacci hashing) are well mixed.
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    f64::from(u32::try_from(mixed).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600;

    fn day(number: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(number * DAY)
    }

    #[test]
    fn without_advice_a_certificate_is_renewed_at_two_thirds() {
        for seed in 0..50 {
            let at = renew_at(day(0), day(90), None, seed);
            assert!(at >= day(57) && at <= day(62), "{at}");
            let short = renew_at(day(0), day(6), None, seed);
            assert!(short > day(3) && short < day(5), "{short}");
        }
        assert_eq!(
            renew_at(day(0), day(90), None, 7),
            renew_at(day(0), day(90), None, 7)
        );
    }

    #[test]
    fn the_authority_has_the_last_word() {
        let window = Window {
            start: day(10),
            end: day(12),
            explanation_url: None,
        };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let at = renew_at(day(0), day(90), Some(&window), seed);
            assert!(at >= day(10) && at <= day(12), "{at}");
            seen.insert(at);
        }
        assert!(seen.len() > 40, "all come at the same time");
        let wrong = Window {
            end: day(9),
            ..window
        };
        assert!(renew_at(day(0), day(90), Some(&wrong), 1) > day(50));
    }

    #[test]
    fn a_new_certificate_is_not_renewed_at_once_whatever_the_authority_says() {
        let past = Window {
            start: day(10),
            end: day(12),
            explanation_url: None,
        };
        let at = renew_at(day(20), day(110), Some(&past), 1);
        assert_eq!(day(20).duration_until(at).as_hours(), 12);
        let short = renew_at(day(20), day(26), Some(&past), 1);
        assert_eq!(day(20).duration_until(short).as_hours(), 6);
    }

    #[test]
    fn a_window_that_reaches_to_the_end_or_beyond_leaves_time_for_another_try() {
        let wide = Window {
            start: day(0),
            end: day(200),
            explanation_url: None,
        };
        for seed in 0..50 {
            let at = renew_at(day(0), day(90), Some(&wide), seed);
            assert!(at > day(0) && at <= day(89), "{at}");
        }
        let late = Window {
            start: day(95),
            ..wide
        };
        assert_eq!(renew_at(day(0), day(90), Some(&late), 1), day(89));
    }

    fn trouble(kind: TroubleKind) -> Trouble {
        Trouble::new(kind, "it failed", "try again")
    }

    #[test]
    fn tries_stay_within_the_limits_of_authorities() {
        let mut at = day(0);
        let mut tries = vec![at];
        for failures in 1..30 {
            at = next_try(at, failures, &trouble(TroubleKind::NotProven), None, 3);
            tries.push(at);
        }
        for window in tries.windows(6) {
            let span = window[0].duration_until(window[5]);
            assert!(span.as_secs() > 3600, "six tries within an hour");
        }
        assert!(
            tries[29] < day(2),
            "somebody without a certificate waits too long"
        );
    }

    #[test]
    fn who_has_a_certificate_tries_once_a_day_at_last_and_oftener_near_its_end() {
        let pause = |left: u64| {
            let left = Some(Duration::from_secs(left * DAY));
            let at = next_try(day(0), 20, &trouble(TroubleKind::NotProven), left, 1);
            day(0).duration_until(at).as_secs() / 3600
        };
        assert!((21..=26).contains(&pause(30)));
        assert!((2..=3).contains(&pause(1)));
    }

    #[test]
    fn the_authoritys_wish_to_be_left_alone_is_followed() {
        let limited =
            trouble(TroubleKind::RateLimited).retry_after(Some(Duration::from_secs(2 * DAY)));
        assert!(next_try(day(0), 1, &limited, None, 1) >= day(2));
        let absurd =
            trouble(TroubleKind::RateLimited).retry_after(Some(Duration::from_secs(900 * DAY)));
        assert!(next_try(day(0), 1, &absurd, None, 1) <= day(8));
    }

    proptest! {
        #[test]
        fn no_time_is_before_the_last_one(
            start in -10_000_000_000_i64..100_000_000_000,
            life in 0_u64..10_000_000_000,
            failures in 0_u32..u32::MAX,
            seed: u64,
        ) {
            let begin = Timestamp::from_second(start).unwrap();
            let end = begin.checked_add(Duration::from_secs(life)).unwrap_or(Timestamp::MAX);
            let at = renew_at(begin, end, None, seed);
            prop_assert!(at >= begin && at <= end);
            for (start, end_of_window) in [
                (Timestamp::MIN, Timestamp::MAX),
                (Timestamp::MIN, begin),
                (end, Timestamp::MAX),
            ] {
                let window = Window { start, end: end_of_window, explanation_url: None };
                let at = renew_at(begin, end, Some(&window), seed);
                prop_assert!(at >= begin && at <= end);
            }
            prop_assert!(next_try(begin, failures, &trouble(TroubleKind::Other), None, seed) > begin);
        }
    }
}
