//! What time it is, and when something is to be done for a certificate. Does none of it.

use std::sync::PoisonError;
use std::time::Duration;

use lyceum_core::Timestamp;
use tokio::time::Instant;

use super::load::key_name;
use super::{Managed, Shared};
use crate::config::Origin;
use crate::inspect::Inspected;
use crate::schedule;
use crate::stored::MadeFor;

/// A difference of the clock that is none: answers are under way for a moment.
const SAME_TIME: Duration = Duration::from_mins(2);
/// How often the authority is asked for the time, if it did not answer.
const ASK_TIME: Duration = Duration::from_mins(10);
/// How long before its end a certificate that is signed by itself is made anew.
pub(super) const RENEW_OWN: Duration = Duration::from_hours(30 * 24);

impl Shared {
    /// The time: that of the authority, if this machine's clock is wrong.
    pub(super) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        match self.clock_difference() {
            Some(difference) => now.checked_add(difference).unwrap_or(now),
            None => now,
        }
    }

    /// By how much this machine's clock is behind that of the authority, if that is more than answers take.
    pub(super) fn clock_difference(&self) -> Option<jiff::SignedDuration> {
        let difference = self.acme.as_ref()?.clock_difference()?;
        (difference.unsigned_abs() > SAME_TIME).then_some(difference)
    }

    /// Asks the authority for the time, unless it is known. The clock may be wrong at the start, and was perhaps set
    /// right, or wrong, since.
    pub(super) async fn ask_time(&self) {
        let Some(client) = &self.acme else { return };
        let asked = |shared: &Self| {
            let asked = shared.asked_time.lock();
            *asked.unwrap_or_else(PoisonError::into_inner)
        };
        if client.clock_difference().is_some()
            || asked(self).is_some_and(|at| at.elapsed() < ASK_TIME)
        {
            return;
        }
        // If it does not answer, whatever is due says so. Some answer without a date.
        let _ = client.directory().await;
        let known = client.clock_difference().is_some();
        let mut asked = self
            .asked_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *asked = (!known).then(Instant::now);
    }

    /// When something is to be done for a certificate; `None` if never by itself.
    pub(super) fn due_at(&self, one: &Managed, now: Timestamp) -> Option<Timestamp> {
        let planned = match one.wanted.origin {
            Origin::Files(..) => return None,
            Origin::Acme if self.never_given(one).is_some() => return None,
            Origin::SelfSigned => one.shown.not_after.checked_sub(RENEW_OWN).ok()?,
            Origin::Acme if !one.in_place || self.is_outdated(one) => now,
            Origin::Acme => schedule::renew_at(
                one.shown.not_before,
                one.shown.not_after,
                one.history.window.as_ref(),
                seed(&one.shown),
            ),
        };
        Some(match next_try(one, now) {
            Some(retry) => planned.max(retry),
            None => planned,
        })
    }

    /// Whether a certificate was made for other settings.
    fn is_outdated(&self, one: &Managed) -> bool {
        if let Some(made) = &one.history.made_for {
            return *made != self.made_for(one, &made.serial);
        }
        // Nobody knows: only what can be seen counts.
        let names = &one.wanted.names;
        one.shown.self_signed
            || names.iter().any(|name| !one.shown.covers(name))
            || one.shown.key != key_name(self.config.key_type)
    }

    /// What a certificate that is got now is made for.
    pub(super) fn made_for(&self, one: &Managed, serial: &str) -> MadeFor {
        MadeFor {
            serial: serial.to_owned(),
            authority: self.config.acme.directory.url().to_owned(),
            profile: self.config.acme.profile.clone(),
            names: one.wanted.names.clone(),
            key_type: self.config.key_type,
        }
    }

    pub(super) fn is_due(&self, one: &Managed, now: Timestamp) -> bool {
        self.due_at(one, now).is_some_and(|at| at <= now)
    }
}

/// When it is tried again, if the last try has failed.
fn next_try(one: &Managed, now: Timestamp) -> Option<Timestamp> {
    let trouble = one.history.trouble.as_ref()?;
    // The clock may have been ahead at that time: what lies in the future was not.
    let last = one.history.last_attempt.filter(|last| *last <= now)?;
    if one.history.failures == 0 {
        return None;
    }
    let left = one
        .in_place
        .then(|| last.duration_until(one.shown.not_after))
        .filter(jiff::SignedDuration::is_positive)
        .map(jiff::SignedDuration::unsigned_abs);
    let seed = seed(&one.shown).wrapping_add(one.history.failures.into());
    Some(schedule::next_try(
        last,
        one.history.failures,
        trouble,
        left,
        seed,
    ))
}

/// A number that stands for a certificate.
fn seed(shown: &Inspected) -> u64 {
    // FNV-1a: stable, and nothing secret depends on it.
    shown
        .serial
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}
