//! Sizes as administrators write them: `512 KiB`, `50M`, `2 GB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a written size looks like, as a regular expression for editors.
const PATTERN: &str = r"^\s*\d+\s*(B|[KMGT](iB)?|[kKMGT]B)\s*$";

/// The units for writing, the largest first.
const UNITS: [(&str, u64); 4] = [
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
];

/// A number of bytes that is written with its unit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct HumanSize(u64);

/// What is wrong with a written size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SizeError {
    /// There is nothing, or something other than a number with its unit.
    #[error(
        "`{0}` is not a size: write a whole number with its unit, such as `512K`, `50M` or `2G`"
    )]
    Malformed(String),
    /// The number stands without its unit.
    #[error("the size `{0}` has no unit: write `{0}K`, `{0}M` or `{0}G`, or `{0}B` for bytes")]
    NoUnit(String),
    /// The unit is not one that we know.
    #[error(
        "`{unit}` in the size `{text}` is not a unit: known are B, K, M, G, T (powers of 1024, also KiB and so on), and KB, MB, GB, TB (powers of 1000)"
    )]
    UnknownUnit {
        /// All that was written.
        text: String,
        /// The part that is not a unit.
        unit: String,
    },
    /// It is larger than can be counted.
    #[error("the size `{0}` is too large")]
    TooLarge(String),
}

impl HumanSize {
    /// Makes a size of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Gives the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Reads a whole number with its unit.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let plain = text.trim();
        let (digits, unit) = plain.split_at(
            plain
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(plain.len()),
        );
        if digits.is_empty() {
            return Err(SizeError::Malformed(text.to_owned()));
        }
        let unit = unit.trim_start();
        if unit.is_empty() {
            return Err(SizeError::NoUnit(plain.to_owned()));
        }
        if !unit.chars().all(char::is_alphabetic) {
            return Err(SizeError::Malformed(text.to_owned()));
        }
        let factor = factor(unit).ok_or_else(|| SizeError::UnknownUnit {
            text: text.to_owned(),
            unit: unit.to_owned(),
        })?;
        digits
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| SizeError::TooLarge(text.to_owned()))
    }
}

fn factor(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    })
}

/// Writes a number of bytes for people who want to know about how many: `512 MiB`, `1.5 GiB`.
pub fn about(bytes: u64) -> String {
    let (unit, factor) = UNITS
        .into_iter()
        .find(|(_, factor)| bytes >= *factor)
        .unwrap_or(("", 1));
    let (whole, tenths) = (bytes / factor, bytes % factor * 10 / factor);
    let name = if unit.is_empty() {
        "B".to_owned()
    } else {
        format!("{unit}iB")
    };
    if tenths == 0 || whole >= 100 {
        format!("{whole} {name}")
    } else {
        format!("{whole}.{tenths} {name}")
    }
}

impl fmt::Display for HumanSize {
    /// Writes it in the largest unit that it is a whole number of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS
            .iter()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for HumanSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for HumanSize {
    type Error = SizeError;
    fn try_from(text: String) -> Result<Self, SizeError> {
        Self::parse(&text)
    }
}

impl From<HumanSize> for String {
    fn from(size: HumanSize) -> Self {
        size.to_string()
    }
}

impl JsonSchema for HumanSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "human-size",
            "pattern": PATTERN,
            "examples": ["512K", "50M", "2G"],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, bytes: u64, printed: &str) {
        let size = HumanSize::parse(text).unwrap();
        assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, printed));
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        check("50M", 50 << 20, "50M");
        check(" 50 MiB ", 50 << 20, "50M");
        check("1024K", 1 << 20, "1M");
        check("2G", 2 << 30, "2G");
        check("50 MB", 50_000_000, "50000000B");
        check("512B", 512, "512B");
        check("0B", 0, "0B");
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_the_reason() {
        let check = |text: &str, part: &str| {
            let error = HumanSize::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "not a size");
        check("M", "not a size");
        check("-5M", "not a size");
        check("1.5G", "not a size");
        check("50", "no unit");
        check("50 Mbit", "`Mbit`");
        check("99999999999T", "too large");
        check("99999999999999999999999M", "too large");
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(bytes in any::<u64>()) {
            let size = HumanSize::from_bytes(bytes);
            prop_assert_eq!(HumanSize::parse(&size.to_string()), Ok(size));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = HumanSize::parse(&text);
        }
    }

    #[test]
    fn people_get_about_as_many_bytes() {
        let check = |bytes: u64, expected: &str| assert_eq!(about(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(2 << 30, "2 GiB");
        check((2 << 30) - 1, "1.9 GiB");
        check(150 * (1 << 20) + (1 << 19), "150 MiB");
        check(u64::MAX, "16777215 TiB");
    }
}
