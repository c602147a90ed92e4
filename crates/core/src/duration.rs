//! Durations as administrators write them: `30s`, `5 min`, `1h 30min`, `14 days`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// What a written duration looks like, as a regular expression for editors.
const PATTERN: &str = r"^\s*(\d+\s*(ms|milliseconds?|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?|d|days?|w|weeks?)\s*)+$";

/// A span of time that is written with its unit; precise to the millisecond.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(Duration);

/// What is wrong with a written duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is nothing, or something other than numbers with units.
    #[error(
        "`{0}` is not a duration: write whole numbers with units, such as `30s`, `5 min`, `2h` or `14 days`"
    )]
    Malformed(String),
    /// A number stands without its unit.
    #[error(
        "the duration `{0}` has a number without a unit: write `{1}s`, `{1} min`, `{1}h` or `{1} days`"
    )]
    NoUnit(String, u64),
    /// The unit is not one that we know.
    #[error(
        "`{unit}` in the duration `{text}` is not a unit: known are ms, s, min, h, days and weeks"
    )]
    UnknownUnit {
        /// All that was written.
        text: String,
        /// The part that is not a unit.
        unit: String,
    },
    /// It is longer than can be counted.
    #[error("the duration `{0}` is too long")]
    TooLong(String),
}

impl HumanDuration {
    /// Makes a duration of milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// Makes a duration of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Gives the duration for use with the standard library.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Tells whether it is zero, which many settings take for "never" or "off".
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Reads numbers with units, separated by spaces or not; what is repeated is added up.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let malformed = || DurationError::Malformed(text.to_owned());
        let too_long = || DurationError::TooLong(text.to_owned());
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(malformed());
        }
        let mut millis = 0_u64;
        while !rest.is_empty() {
            let (digits, tail) = split_where(rest, |c| !c.is_ascii_digit());
            if digits.is_empty() {
                return Err(malformed());
            }
            let count: u64 = digits.parse().map_err(|_| too_long())?;
            let (unit, tail) = split_where(tail.trim_start(), |c| !c.is_alphabetic());
            if unit.is_empty() {
                return Err(
                    if tail.is_empty() || tail.starts_with(|c: char| c.is_ascii_digit()) {
                        DurationError::NoUnit(text.to_owned(), count)
                    } else {
                        malformed()
                    },
                );
            }
            let factor = unit_millis(unit).ok_or_else(|| DurationError::UnknownUnit {
                text: text.to_owned(),
                unit: unit.to_owned(),
            })?;
            millis = count
                .checked_mul(factor)
                .and_then(|part| millis.checked_add(part))
                .ok_or_else(too_long)?;
            rest = tail.trim_start();
        }
        Ok(Self::from_millis(millis))
    }
}

/// Splits before the first character that is not wanted any more.
fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => WEEK,
        _ => return None,
    })
}

impl fmt::Display for HumanDuration {
    /// Writes it in the largest unit that it is a whole number of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = |unit: u64| {
            let unit = u128::from(unit);
            (millis > 0 && millis.is_multiple_of(unit)).then(|| millis / unit)
        };
        if let Some(days) = whole(DAY) {
            write!(f, "{days} {}", if days == 1 { "day" } else { "days" })
        } else if let Some(hours) = whole(HOUR) {
            write!(f, "{hours}h")
        } else if let Some(minutes) = whole(MINUTE) {
            write!(f, "{minutes} min")
        } else if millis.is_multiple_of(u128::from(SECOND)) {
            write!(f, "{}s", self.0.as_secs())
        } else {
            write!(f, "{millis}ms")
        }
    }
}

impl FromStr for HumanDuration {
    type Err = DurationError;
    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = DurationError;
    fn try_from(text: String) -> Result<Self, DurationError> {
        Self::parse(&text)
    }
}

impl From<HumanDuration> for String {
    fn from(duration: HumanDuration) -> Self {
        duration.to_string()
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl JsonSchema for HumanDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "human-duration",
            "pattern": PATTERN,
            "examples": ["500ms", "30s", "5 min", "2h", "14 days"],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, millis: u64, printed: &str) {
        let duration = HumanDuration::parse(text).unwrap();
        assert_eq!(duration, HumanDuration::from_millis(millis), "{text}");
        assert_eq!(duration.to_string(), printed, "{text}");
    }

    #[test]
    fn durations_are_read_with_their_units() {
        check("500ms", 500, "500ms");
        check("30s", 30_000, "30s");
        check(" 75 s ", 75_000, "75s");
        check("5 min", 300_000, "5 min");
        check("5m", 300_000, "5 min");
        check("2h", 7_200_000, "2h");
        check("1h 30min", 5_400_000, "90 min");
        check("1h30min", 5_400_000, "90 min");
        check("14 days", 14 * 86_400_000, "14 days");
        check("24 hours", 86_400_000, "1 day");
        check("2 weeks", 14 * 86_400_000, "14 days");
        check("0s", 0, "0s");
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_the_reason() {
        let check = |text: &str, part: &str| {
            let error = HumanDuration::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "not a duration");
        check("-5s", "not a duration");
        check("1.5h", "not a duration");
        check("s", "not a duration");
        check("30", "without a unit");
        check("1h 30", "without a unit");
        check("3 fortnights", "`fortnights`");
        check("5 Min", "`Min`");
        check("99999999999999999999s", "too long");
        check("9999999999999999 weeks", "too long");
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(millis in 0..u64::MAX) {
            let duration = HumanDuration::from_millis(millis);
            prop_assert_eq!(HumanDuration::parse(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = HumanDuration::parse(&text);
        }
    }
}
