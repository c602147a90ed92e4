//! A line of time that nobody can set: how long ago things were, whatever becomes of the machine's clock.
//!
//! Its instants are written as timestamps that agree with the clock at the hub's start and go on evenly from there.
//! What others tell by the clock, such as the gateway and users' servers, is put into its place on the line with what
//! the clock was when they told it. Knows nothing of what the clock did while Lyceum was not running.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use lyceum_core::{Clock, Timestamp};

/// A clock that goes wrong by no more than this between two looks is not set, but drifts, or is being corrected.
const DRIFT: SignedDuration = SignedDuration::from_secs(2);
/// What is told of the near future is of the present: clocks of other programs, and of other machines, differ a bit.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// How many times the clock was set is remembered.
const REMEMBERED: usize = 64;

/// The line.
#[derive(Debug)]
pub(crate) struct Timeline {
    begun: Timestamp,
    /// What the steady clock said then.
    origin: Duration,
    eras: Mutex<Vec<Era>>,
}

/// A time in which nobody has set the clock.
#[derive(Debug, Clone, Copy)]
struct Era {
    /// The last look before it: not earlier it began.
    before: Timestamp,
    /// The first look in it: not later it began.
    first: Timestamp,
    /// The last look in it.
    last: Timestamp,
    /// How far the clock is ahead of the line.
    ahead: SignedDuration,
}

/// The present, on the line and on the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Present {
    /// On the line.
    pub(crate) steady: Timestamp,
    /// On the clock.
    pub(crate) wall: Timestamp,
}

/// Something that others tell the instant of, with its place on the line: found when it is told, and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    told: Timestamp,
    /// When it was, on the line.
    pub(crate) at: Timestamp,
}

impl Timeline {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let begun = clock.now();
        let first = Era {
            before: Timestamp::MIN,
            first: begun,
            last: begun,
            ahead: SignedDuration::ZERO,
        };
        Self {
            begun,
            origin: clock.steady(),
            eras: Mutex::new(vec![first]),
        }
    }

    /// When the hub began: the same on the line and, then, on the clock.
    pub(crate) fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Looks at both clocks, and notices whether one was set.
    pub(crate) fn look(&self, clock: &dyn Clock) -> Present {
        let mut eras = self.lock();
        let passed = clock.steady().saturating_sub(self.origin);
        let wall = clock.now();
        let steady = crate::sessions::after(self.begun, passed);
        let ahead = wall.duration_since(steady);
        if let Some(last) = eras.last_mut() {
            let moved = ahead.saturating_sub(last.ahead);
            if moved.abs() <= DRIFT {
                last.ahead = ahead;
                last.last = last.last.max(steady);
            } else {
                let before = last.last;
                eras.push(Era {
                    before,
                    first: steady,
                    last: steady,
                    ahead,
                });
                tracing::warn!(
                    seconds = moved.as_secs(),
                    "the machine's clock was set by {} seconds; how long servers were unused is counted without it",
                    moved.as_secs()
                );
            }
        }
        if eras.len() > REMEMBERED {
            eras.remove(0);
            if let Some(first) = eras.first_mut() {
                first.before = Timestamp::MIN;
            }
        }
        Present { steady, wall }
    }

    /// Notes an instant that is told by the clock; what was told before keeps its place, and nothing goes back.
    pub(crate) fn see(&self, seen: &mut Option<Seen>, told: Timestamp, present: Present) {
        if seen.is_some_and(|seen| seen.told == told) {
            return;
        }
        let at = self.place(told, present);
        let at = seen.map_or(at, |seen| seen.at.max(at));
        *seen = Some(Seen { told, at });
    }

    /// Finds the place of an instant that is told by the clock, never in the future. What could be of several places,
    /// as after the clock was set back, is of the latest.
    pub(crate) fn place(&self, told: Timestamp, present: Present) -> Timestamp {
        let eras = self.lock();
        let mut end = present.steady;
        let mut slack = AHEAD;
        for era in eras.iter().rev() {
            let place = moved(told, -era.ahead);
            if place >= era.before && place <= moved(end, slack) {
                return place.min(end);
            }
            // What was told in the time before is not later than that.
            (end, slack) = (era.first, DRIFT);
        }
        // Of no time at all: between two, or of the future.
        let first = eras.first().map_or(SignedDuration::ZERO, |era| era.ahead);
        moved(told, -first).min(present.steady)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Era>> {
        self.eras.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    /// What the clock would have shown at an instant of the line, had it been as it is now.
    pub(crate) fn on_clock(self, steady: Timestamp) -> Timestamp {
        moved(steady, self.wall.duration_since(self.steady))
    }

    /// The instant on the line at which the clock will show this, if nobody sets it.
    pub(crate) fn on_line(self, wall: Timestamp) -> Timestamp {
        moved(wall, self.steady.duration_since(self.wall))
    }
}

fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    at.checked_add(by).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const DAY: i64 = 24 * 3600;

    /// A clock whose two parts are moved each for itself, in seconds.
    #[derive(Debug, Default)]
    struct TwoClocks {
        wall: AtomicI64,
        steady: AtomicI64,
    }

    impl TwoClocks {
        fn pass(&self, seconds: i64) {
            self.steady.fetch_add(seconds, Ordering::SeqCst);
            self.set(seconds);
        }

        fn set(&self, seconds: i64) {
            self.wall.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    impl Clock for TwoClocks {
        fn now(&self) -> Timestamp {
            at(self.wall.load(Ordering::SeqCst))
        }

        fn steady(&self) -> Duration {
            Duration::from_secs(self.steady.load(Ordering::SeqCst).unsigned_abs())
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A line that was looked at for an hour, each minute.
    fn hour() -> (Timeline, TwoClocks) {
        let clock = TwoClocks::default();
        let line = Timeline::new(&clock);
        for _ in 0..60 {
            clock.pass(60);
            line.look(&clock);
        }
        (line, clock)
    }

    #[test]
    fn whatever_the_clock_says_an_hour_is_an_hour() {
        for set in [0, DAY, -DAY, 365 * DAY, -365 * DAY, 30, -30] {
            let (line, clock) = hour();
            clock.set(set);
            clock.pass(600);
            let present = line.look(&clock);
            assert_eq!(present.steady, at(4200), "{set}");
            assert_eq!(present.wall, at(4200 + set), "{set}");
            assert_eq!(present.on_clock(at(600)), at(600 + set), "{set}");
            assert_eq!(present.on_line(present.on_clock(at(7))), at(7), "{set}");
        }
    }

    #[test]
    fn what_was_told_before_and_after_the_clock_was_set_has_its_place() {
        for set in [DAY, -DAY, 365 * DAY] {
            let (line, clock) = hour();
            clock.set(set);
            clock.pass(600);
            let present = line.look(&clock);
            let check = |told, expected| assert_eq!(line.place(at(told), present), at(expected));
            for before in [-5 * DAY, 10, 3000, 3600] {
                check(before, before);
            }
            for after in [3700, 4200] {
                check(set + after, after);
            }
            // What has not been yet is now.
            check(set + 4230, 4200);
            check(set + 400 * DAY, 4200);
        }
    }

    #[test]
    fn what_was_seen_keeps_its_place_and_moves_only_forward() {
        let (line, clock) = hour();
        let mut seen = None;
        line.see(&mut seen, at(3000), line.look(&clock));
        assert_eq!(seen.unwrap().at, at(3000));
        clock.set(-DAY);
        clock.pass(60);
        line.look(&clock);
        // The same time of day again, a day later.
        clock.pass(DAY - 660);
        line.see(&mut seen, at(3000), line.look(&clock));
        assert_eq!(seen.unwrap().at, at(3000));
        line.see(&mut seen, at(2000 - DAY), line.look(&clock));
        assert_eq!(seen.unwrap().at, at(3000), "that was before");
        line.see(&mut seen, at(3700 - DAY), line.look(&clock));
        assert_eq!(seen.unwrap().at, at(3700));
    }

    #[test]
    fn small_corrections_are_no_eras_and_of_many_eras_the_last_are_kept() {
        let (line, clock) = hour();
        for _ in 0..100 {
            clock.pass(60);
            clock.set(1);
            line.look(&clock);
        }
        assert_eq!(line.lock().len(), 1);
        for _ in 0..2 * REMEMBERED {
            clock.pass(60);
            clock.set(-3600);
            line.look(&clock);
        }
        assert_eq!(line.lock().len(), REMEMBERED);
        let present = line.look(&clock);
        assert_eq!(line.place(present.wall, present), present.steady);
        assert!(line.place(at(-400 * DAY), present) <= present.steady);
    }
}
