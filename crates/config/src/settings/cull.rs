//! `[cull]`: when servers that nobody uses are stopped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::tz::TimeZone;
use lyceum_core::duration::{DurationError, HumanDuration};
use lyceum_core::{ClassHours, WeeklyHours};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Config;
use crate::semantic::is_culler;

/// When servers that nobody uses are stopped. People are warned at their pages, and can have their server kept
/// running; files that were saved stay. See `docs/culling.md`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CullConfig {
    /// Whether such servers are stopped. If it is not set, they are, unless one of the `services` runs
    /// `jupyterhub-idle-culler`, which does the same.
    #[schemars(example = false)]
    pub enabled: Option<bool>,

    /// How long nobody may have used a server, or `"off"` for any time. Use is what people do; a kernel that computes
    /// (`busy_limit`); and an open page for a while (`open_tab`).
    #[schemars(example = "8h")]
    pub idle: OffOrDuration,

    /// How long a server may run in all, used or not, or `"off"` for any time.
    #[schemars(example = "7 days")]
    pub max_age: OffOrDuration,

    /// How long before their server is stopped people are warned, at its pages and on the home page; `"0s"` for no
    /// warning.
    #[schemars(example = "30 min")]
    pub warn: HumanDuration,

    /// How long a server is believed that says that it is computing, since somebody last did something there.
    #[schemars(example = "7 days")]
    pub busy_limit: HumanDuration,

    /// How long an open page counts as use when nobody does anything there, since somebody last did; or `"always"`
    /// for as long as it is open. A page that was forgotten keeps its server for this time and `idle` together.
    #[schemars(example = &"always")]
    pub open_tab: AlwaysOrDuration,

    /// Whether the servers of administrators are stopped, too.
    #[schemars(example = false)]
    pub admins: bool,

    /// Whether a named server is deleted when it was stopped for this. Files of the user stay.
    #[schemars(example = true)]
    pub remove_named: bool,

    /// Hours in which nothing is stopped, such as those of classes: days of the week and times of the day. Without
    /// days, every day is meant.
    #[schemars(example = ["mon-fri 08:00-16:00", "sat 09:00-12:00"])]
    pub class_hours: Vec<String>,

    /// The time zone of `class_hours`, as the IANA calls it. If it is not set, that of this machine.
    #[schemars(example = "Europe/Prague")]
    pub timezone: Option<String>,

    /// What is stopped earlier when the machine is short of memory.
    pub pressure: PressureConfig,

    /// What is other for named servers.
    pub named: CullOverride,

    /// What is other for the servers of a group's members, by the name of the group: one of the hub, or one that the
    /// login method tells of, such as a Unix group. Of several groups that say something the most patient counts; over
    /// what is said for `named`.
    pub groups: BTreeMap<String, CullOverride>,

    /// What is other for servers that were started with a profile, by the name of the profile. Counts over everything
    /// else.
    pub profiles: BTreeMap<String, CullOverride>,
}

impl Default for CullConfig {
    fn default() -> Self {
        let hours = |hours: u64| HumanDuration::from_secs(hours * 3600);
        Self {
            enabled: None,
            idle: OffOrDuration(Some(hours(2))),
            max_age: OffOrDuration(None),
            warn: HumanDuration::from_secs(600),
            busy_limit: hours(48),
            open_tab: AlwaysOrDuration(Some(hours(4))),
            admins: true,
            remove_named: false,
            class_hours: Vec::new(),
            timezone: None,
            pressure: PressureConfig::default(),
            named: CullOverride::default(),
            groups: BTreeMap::new(),
            profiles: BTreeMap::new(),
        }
    }
}

/// What is other for some servers; what is not set is as for all.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CullOverride {
    /// Whether these servers are stopped when nobody uses them.
    #[schemars(example = false)]
    pub enabled: Option<bool>,

    /// How long nobody may have used these servers, or `"off"`.
    #[schemars(example = "12h")]
    pub idle: Option<OffOrDuration>,

    /// How long these servers may run in all, or `"off"`.
    #[schemars(example = "2 days")]
    pub max_age: Option<OffOrDuration>,
}

/// What is stopped earlier when the machine is short of memory: servers that nobody uses, the one that was unused for
/// longest first, one after the other, without a warning.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PressureConfig {
    /// How much of the memory is in use when it is short. If it is not set, nothing is stopped for it.
    #[schemars(example = "90%")]
    pub memory: Option<Percent>,

    /// How long nobody must have used a server for it to be stopped.
    #[schemars(example = "30 min")]
    pub idle: HumanDuration,
}

impl Default for PressureConfig {
    fn default() -> Self {
        Self {
            memory: None,
            idle: HumanDuration::from_secs(900),
        }
    }
}

/// A duration, or a word for none.
macro_rules! word_or_duration {
    ($(#[$doc:meta])* $name:ident, $word:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub Option<HumanDuration>);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    Some(duration) => duration.fmt(f),
                    None => f.write_str($word),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = DurationError;
            fn try_from(text: String) -> Result<Self, DurationError> {
                if text.trim() == $word {
                    return Ok(Self(None));
                }
                HumanDuration::parse(&text).map(|duration| Self(Some(duration)))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "anyOf": [
                        { "const": $word },
                        HumanDuration::json_schema(generator),
                    ],
                })
            }
        }
    };
}

word_or_duration!(
    /// A limit, or `"off"`.
    OffOrDuration,
    "off"
);
word_or_duration!(
    /// A limit, or `"always"`.
    AlwaysOrDuration,
    "always"
);

/// A share, written such as `90%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u8);

/// What is wrong with a written share.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a share: write a whole number from 1 to 100 with `%`, such as `90%`")]
pub struct PercentError(String);

impl Percent {
    /// The share as a number from 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl TryFrom<String> for Percent {
    type Error = PercentError;
    fn try_from(text: String) -> Result<Self, PercentError> {
        let number = text.trim().strip_suffix('%').map(str::trim_end);
        let number = number.and_then(|number| number.parse::<u8>().ok());
        match number.filter(|number| (1..=100).contains(number)) {
            Some(number) => Ok(Self(number)),
            None => Err(PercentError(text)),
        }
    }
}

impl From<Percent> for String {
    fn from(value: Percent) -> Self {
        format!("{}%", value.0)
    }
}

impl JsonSchema for Percent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*([1-9][0-9]?|100)\s*%\s*$",
            "examples": ["90%"],
        })
    }
}

/// Why the hours cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClassHoursError {
    /// Some are malformed.
    #[error("{0}")]
    Hours(String),
    /// The zone does not exist.
    #[error("this machine knows no time zone `{0}`")]
    Zone(String),
}

impl Config {
    /// Whether servers that nobody uses are stopped, where nothing else is said of them: as configured, or else unless
    /// a service does it.
    pub fn effective_cull_enabled(&self) -> bool {
        let by_service = || self.services.iter().any(is_culler);
        self.cull.enabled.unwrap_or_else(|| !by_service())
    }
}

impl CullConfig {
    /// Reads the hours in which nothing is stopped. Looks into the system's time zones.
    pub fn hours(&self) -> Result<ClassHours, ClassHoursError> {
        let hours = self.class_hours.iter().map(|text| WeeklyHours::parse(text));
        let hours: Vec<_> = hours
            .collect::<Result<_, _>>()
            .map_err(|error| ClassHoursError::Hours(error.to_string()))?;
        let zone = match self.timezone.as_deref() {
            Some(name) => {
                TimeZone::get(name).map_err(|_| ClassHoursError::Zone(name.to_owned()))?
            }
            None => TimeZone::system(),
        };
        Ok(ClassHours::new(hours, zone))
    }
}
