//! Hours of the week, as administrators write them: `mon-fri 08:00-16:00`, `sat,sun 10:00-12:00`, `18:00-02:00`.
//!
//! Knows no holidays.

use std::fmt;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use thiserror::Error;

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
const DAY_MINUTES: u16 = 24 * 60;
/// So many hours that follow each other without a gap are the whole week.
const MOST_IN_A_ROW: usize = 64;

/// Some hours on some days of the week. Those that end before they begin end on the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeeklyHours {
    days: [bool; 7],
    /// Minutes since midnight.
    begin: u16,
    /// Minutes since midnight; beyond 24 hours it is the next day.
    end: u16,
}

/// What is wrong with written hours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` are no hours of the week: write days and times, such as `mon-fri 08:00-16:00` or `sat,sun 10:00-12:00`"
)]
pub struct HoursError(String);

/// All hours that count, on the clocks of one place.
#[derive(Debug, Clone)]
pub struct ClassHours {
    hours: Vec<WeeklyHours>,
    zone: TimeZone,
}

impl WeeklyHours {
    /// Reads days, which may be left out for every day, and times.
    pub fn parse(text: &str) -> Result<Self, HoursError> {
        let lower = text.trim().to_ascii_lowercase();
        let wrong = || HoursError(text.to_owned());
        let (days, times) = match lower.rsplit_once(char::is_whitespace) {
            Some((days, times)) => (Some(days.trim()), times),
            None => (None, lower.as_str()),
        };
        let (begin, end) = times.split_once('-').ok_or_else(wrong)?;
        let begin = minutes(begin).filter(|begin| *begin < DAY_MINUTES);
        let (begin, mut end) = begin.zip(minutes(end)).ok_or_else(wrong)?;
        if end <= begin {
            end += DAY_MINUTES;
        }
        let days = match days {
            None => [true; 7],
            Some(days) => read_days(days).ok_or_else(wrong)?,
        };
        Ok(Self { days, begin, end })
    }

    /// The end of these hours, if they begin on this date and contain this instant.
    fn end_if_inside(
        &self,
        date: jiff::civil::Date,
        zone: &TimeZone,
        at: Timestamp,
    ) -> Option<Timestamp> {
        let day = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
        if !*self.days.get(day)? {
            return None;
        }
        let midnight = date.to_datetime(Time::midnight());
        let instant = |minutes: u16| -> Option<Timestamp> {
            let civil: DateTime = midnight
                .checked_add(Span::new().minutes(i64::from(minutes)))
                .ok()?;
            zone.to_timestamp(civil).ok()
        };
        let (begin, end) = (instant(self.begin)?, instant(self.end)?);
        (begin <= at && at < end).then_some(end)
    }
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        (digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours, 1..=2)?, number(minutes, 2..=2)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY_MINUTES).then_some(all)
}

fn read_days(text: &str) -> Option<[bool; 7]> {
    let index = |name: &str| DAYS.iter().position(|(day, _)| *day == name.trim());
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (index(first)?, index(last)?);
        loop {
            *days.get_mut(day)? = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

impl fmt::Display for WeeklyHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let days: Vec<&str> = DAYS
                .iter()
                .zip(self.days)
                .filter(|(_, on)| *on)
                .map(|((name, _), _)| *name)
                .collect();
            write!(f, "{} ", days.join(","))?;
        }
        let (begin, end) = (self.begin, self.end);
        let end = if end > DAY_MINUTES {
            end - DAY_MINUTES
        } else {
            end
        };
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            begin / 60,
            begin % 60,
            end / 60,
            end % 60
        )
    }
}

impl ClassHours {
    /// Takes hours on the clocks of a place.
    pub fn new(hours: Vec<WeeklyHours>, zone: TimeZone) -> Self {
        Self { hours, zone }
    }

    /// No hours at all.
    pub fn none() -> Self {
        Self {
            hours: Vec::new(),
            zone: TimeZone::UTC,
        }
    }

    /// Tells whether an instant is within the hours.
    pub fn contain(&self, at: Timestamp) -> bool {
        self.end_of(at).is_some()
    }

    /// The first instant from this one on that is outside of all hours; `None` if there is none in the week.
    pub fn free_from(&self, at: Timestamp) -> Option<Timestamp> {
        let mut at = at;
        for _ in 0..MOST_IN_A_ROW {
            match self.end_of(at) {
                Some(end) => at = end,
                None => return Some(at),
            }
        }
        None
    }

    fn end_of(&self, at: Timestamp) -> Option<Timestamp> {
        if self.hours.is_empty() {
            return None;
        }
        let today = self.zone.to_datetime(at).date();
        // Hours that began yesterday may not have ended.
        let dates = [Some(today), today.yesterday().ok()];
        let ends = dates.into_iter().flatten().flat_map(|date| {
            self.hours
                .iter()
                .filter_map(move |hours| hours.end_if_inside(date, &self.zone, at))
        });
        ends.max()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(texts: &[&str]) -> ClassHours {
        let hours = texts.iter().map(|text| WeeklyHours::parse(text).unwrap());
        ClassHours::new(hours.collect(), TimeZone::get("Europe/Prague").unwrap())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hours_are_read_and_written() {
        let check = |text: &str, expected: &str| {
            assert_eq!(WeeklyHours::parse(text).unwrap().to_string(), expected);
        };
        check("mon-fri 08:00-16:00", "mon,tue,wed,thu,fri 08:00-16:00");
        check(" Sat, Sun  9:30-24:00", "sat,sun 09:30-24:00");
        check("fri-mon 22:00-02:00", "mon,fri,sat,sun 22:00-02:00");
        check("0:00-24:00", "00:00-24:00");
        for wrong in [
            "",
            "mon",
            "mon 8-16",
            "mo 08:00-16:00",
            "mon 25:00-26:00",
            "08:60-09:00",
            "mon- 08:00-09:00",
        ] {
            assert!(WeeklyHours::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instant_is_moved_to_the_end_of_the_hours() {
        let class = hours(&["mon-fri 08:00-12:00", "mon-fri 12:00-16:00"]);
        let check = |text: &str, expected: &str| {
            assert_eq!(class.free_from(at(text)), Some(at(expected)), "{text}");
        };
        // A Thursday, in winter: an hour before UTC.
        check("2026-11-26T06:59:59Z", "2026-11-26T06:59:59Z");
        check("2026-11-26T07:00:00Z", "2026-11-26T15:00:00Z");
        check("2026-11-26T14:59:59Z", "2026-11-26T15:00:00Z");
        check("2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z");
        // In summer it is two.
        check("2026-07-09T06:00:00Z", "2026-07-09T14:00:00Z");
        let night = hours(&["fri 22:00-02:00"]);
        assert!(night.contain(at("2026-11-28T00:30:00Z")));
        assert!(!night.contain(at("2026-11-28T01:30:00Z")));
        assert!(!night.contain(at("2026-11-27T00:30:00Z")));
    }

    #[test]
    fn a_week_without_a_gap_has_no_free_instant() {
        assert_eq!(
            hours(&["00:00-24:00"]).free_from(at("2026-11-26T07:00:00Z")),
            None
        );
        assert_eq!(
            ClassHours::none().free_from(at("2026-11-26T07:00:00Z")),
            Some(at("2026-11-26T07:00:00Z"))
        );
    }

    proptest! {
        #[test]
        fn what_is_free_is_not_inside_and_not_before(second in 1_700_000_000_i64..1_900_000_000, day in 0..7_usize, begin in 0..24_u8, end in 0..24_u8) {
            let class = hours(&[&format!("{} {begin}:00-{end}:00", DAYS[day].0), "wed 12:00-13:30"]);
            let at = Timestamp::from_second(second).unwrap();
            let free = class.free_from(at).unwrap();
            prop_assert!(free >= at);
            prop_assert!(!class.contain(free));
            prop_assert!(free == at || class.contain(at));
        }
    }
}
