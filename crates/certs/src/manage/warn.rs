//! What people should know of certificates before their visitors do.

use std::sync::PoisonError;
use std::time::Duration;

use lyceum_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Managed, Manager, Shared};
use crate::config::Origin;
use crate::schedule::warn_before;

/// How often the log repeats a warning.
const REPEAT: Duration = Duration::from_hours(24);
/// How long a first certificate may take before it is a matter for warnings.
const PATIENCE: u32 = 2;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Notice,
    /// Somebody should look at it within days.
    Warning,
    /// Visitors see it now.
    Error,
}

/// Something that people should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Which certificate; none if it concerns all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How bad it is.
    pub level: Level,
    /// What it is; a whole sentence.
    pub text: String,
    /// What to do.
    pub hint: String,
}

impl Manager {
    /// Lists what people should know of, the worst first.
    pub fn warnings(&self) -> Vec<Warning> {
        let now = self.0.now();
        let managed = self.0.managed().clone();
        let mut warnings: Vec<Warning> = managed
            .iter()
            .filter_map(|one| self.0.warning(one, now))
            .collect();
        warnings.extend(self.0.clock_warning());
        warnings.sort_by_key(|warning| std::cmp::Reverse(warning.level));
        warnings
    }

    /// Writes warnings to the log: at once when they become worse, else once a day.
    pub(super) fn tell_warnings(&self) {
        let now = self.0.now();
        self.tell_clock_warning(now);
        for one in self.0.managed().iter_mut() {
            let begins =
                one.wanted.origin == Origin::Acme && !one.in_place && self.0.trouble(one).is_none();
            let Some(warning) = self.0.warning(one, now).filter(|_| !begins) else {
                one.told = None;
                continue;
            };
            let told = one.told.is_some_and(|(level, at)| {
                level >= warning.level && at.duration_until(now).unsigned_abs() < REPEAT
            });
            if told {
                continue;
            }
            one.told = Some((warning.level, now));
            let (id, text, hint) = (&one.wanted.id, &warning.text, &warning.hint);
            match warning.level {
                Level::Error => tracing::error!(certificate = id, "{text} {hint}"),
                Level::Warning => tracing::warn!(certificate = id, "{text} {hint}"),
                Level::Notice => tracing::info!(certificate = id, "{text} {hint}"),
            }
        }
    }

    fn tell_clock_warning(&self, now: Timestamp) {
        let warning = self.0.clock_warning();
        let mut told = self
            .0
            .told_clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let recently = told.is_some_and(|at| at.duration_until(now).unsigned_abs() < REPEAT);
        if let Some(Warning { text, hint, .. }) = warning
            && !recently
        {
            tracing::warn!("{text} {hint}");
            *told = Some(now);
        }
    }
}

impl Shared {
    fn clock_warning(&self) -> Option<Warning> {
        let difference = self.clock_difference()?;
        let way = if difference.is_negative() {
            "ahead of"
        } else {
            "behind"
        };
        Some(Warning {
            certificate: None,
            level: Level::Warning,
            text: format!(
                "This machine's clock is {} {way} that of the authority for certificates.",
                lyceum_core::HumanDuration::from_secs(difference.as_secs().unsigned_abs())
            ),
            hint: "set it right: `timedatectl set-ntp true`, then `timedatectl`".to_owned(),
        })
    }

    /// How bad the time of a certificate's end is; `None` if it is far.
    pub(super) fn warn_of(&self, one: &Managed, now: Timestamp) -> Option<Level> {
        if !one.shown.is_valid_at(now) {
            return Some(Level::Error);
        }
        let left = now.duration_until(one.shown.not_after).unsigned_abs();
        let before = warn_before(self.config.warn_before.get(), one.shown.lifetime());
        // What will be renewed in its usual time needs no word: the authority may want it late.
        let planned = one.history.failures == 0
            && self
                .due_at(one, now)
                .is_some_and(|at| now < at && at < one.shown.not_after);
        (left < before && !planned).then_some(if left < before / 4 {
            Level::Error
        } else {
            Level::Warning
        })
    }

    fn warning(&self, one: &Managed, now: Timestamp) -> Option<Warning> {
        let names = super::status::listed(if one.wanted.names.is_empty() {
            &one.shown.names
        } else {
            &one.wanted.names
        });
        let trouble = self.trouble(one);
        let make = |level, text: String, hint: &str| {
            let hint = trouble
                .as_ref()
                .map_or_else(|| hint.to_owned(), |trouble| trouble.hint.clone());
            Some(Warning {
                certificate: Some(one.wanted.id.clone()),
                level,
                text,
                hint,
            })
        };
        let why = trouble
            .as_ref()
            .map_or_else(String::new, |trouble| format!(" Why: {trouble}."));
        let look = "`lyceum cert status` tells more";
        if !one.in_place {
            let waits = one.wanted.origin == Origin::Acme
                && one.history.failures < PATIENCE
                && self.never_given(one).is_none();
            let level = if waits { Level::Notice } else { Level::Error };
            return make(
                level,
                format!(
                    "There is no certificate for {names} yet, and browsers warn of the one that stands in for it.{why}"
                ),
                look,
            );
        }
        let until = one.shown.not_after;
        if let Some(level) = self.warn_of(one, now) {
            let text = if one.shown.is_valid_at(now) {
                format!("The certificate for {names} ends on {until} and was not renewed.{why}")
            } else if now < one.shown.not_before {
                let from = one.shown.not_before;
                format!("The certificate for {names} is not valid yet: it begins on {from}.{why}")
            } else {
                format!("The certificate for {names} is not valid: it ended on {until}.{why}")
            };
            let hint = match one.wanted.origin {
                Origin::Files(..) if now < one.shown.not_before => {
                    "check this machine's clock, `timedatectl`; if it is right, put the one of before into its files"
                }
                Origin::Files(..) => {
                    "put a new one into its files, or see why whoever does that has not"
                }
                Origin::Acme | Origin::SelfSigned => {
                    "it is renewed while Lyceum runs; `lyceum cert renew` does it now, or says why it cannot"
                }
            };
            return make(level, text, hint);
        }
        match (&one.history.trouble, &one.wanted.origin) {
            (Some(_), Origin::Files(..)) => make(
                Level::Warning,
                format!(
                    "The files of the certificate for {names} cannot be used, so the one of before is shown.{why}"
                ),
                look,
            ),
            (Some(_), Origin::SelfSigned) => make(
                Level::Warning,
                format!("The certificate for {names} could not be kept.{why}"),
                look,
            ),
            _ if one.shown.doubt.is_some() => make(
                Level::Warning,
                format!("Some browsers may not believe the certificate for {names}.{why}"),
                look,
            ),
            _ => None,
        }
    }
}
