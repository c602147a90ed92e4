//! A table of counts that never grows beyond its room: what is least useful makes place for what is new.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use lyceum_core::Timestamp;

use super::after;

/// How many entries are compared before one of them is given up.
const COMPARED: usize = 8;
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How far a count goes on beyond the free ones; by then every pause is the longest.
const MOST: f64 = 20.0;

/// From when on there are pauses, and how counts fade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How many are without consequence.
    pub(super) free: u32,
    /// The longest pause.
    pub(super) longest: Duration,
    /// In how much time one is forgotten.
    pub(super) forget: Duration,
}

/// What is counted of one address or account.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// How many were wrong, less what has faded until `seen`.
    count: f64,
    seen: Timestamp,
    /// When the pause ends.
    pub(super) until: Timestamp,
    /// The end of the pause that somebody was told of last.
    pub(super) told: Timestamp,
    /// How many are being looked at just now.
    pub(super) in_flight: u32,
    /// Was here already, and was asked to come again.
    pub(super) invited: bool,
}

impl Entry {
    fn new(now: Timestamp) -> Self {
        Self {
            count: 0.0,
            seen: now,
            until: Timestamp::UNIX_EPOCH,
            told: Timestamp::UNIX_EPOCH,
            in_flight: 0,
            invited: false,
        }
    }

    fn faded(&self, now: Timestamp, rules: Rules) -> f64 {
        // A clock that was put back makes nothing fade, and nothing grow.
        let passed = now.duration_since(self.seen).as_secs_f64().max(0.0);
        let forget = rules.forget.as_secs_f64().max(0.001);
        (self.count - passed / forget).max(0.0)
    }

    /// How many were wrong, as far as they are not forgotten.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is at least zero, and a cast to an integer stays within its bounds"
    )]
    pub(super) fn level(&self, now: Timestamp, rules: Rules) -> u32 {
        self.faded(now, rules) as u32
    }

    /// Whether another wrong one has a pause after it.
    pub(super) fn is_slow(&self, now: Timestamp, rules: Rules) -> bool {
        self.level(now, rules) >= rules.free
    }

    /// The pause that belongs to the count.
    pub(super) fn pause(&self, now: Timestamp, rules: Rules) -> Option<Duration> {
        let beyond = self.level(now, rules).checked_sub(rules.free)?;
        let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
        Some(FIRST_PAUSE.saturating_mul(factor).min(rules.longest))
    }

    /// How long it is until the pause ends. No longer than the longest, even if the clock was put back.
    pub(super) fn wait(&mut self, now: Timestamp, rules: Rules) -> Option<Duration> {
        if self.until <= now {
            return None;
        }
        self.until = self.until.min(after(now, rules.longest));
        Duration::try_from(self.until.duration_since(now)).ok()
    }

    /// Counts a wrong one.
    pub(super) fn fail(&mut self, now: Timestamp, rules: Rules) {
        let most = f64::from(rules.free) + MOST;
        self.count = (self.faded(now, rules) + 1.0).min(most);
        self.seen = self.seen.max(now);
        if let Some(pause) = self.pause(now, rules) {
            self.until = after(now, pause).max(self.until);
        }
    }
}

/// Counts under keys, with room for so many.
#[derive(Debug)]
pub(super) struct Table<K> {
    room: usize,
    places: HashMap<K, usize>,
    entries: Vec<(K, Entry)>,
    /// Where the next look for something to give up begins.
    hand: usize,
}

impl<K: Copy + Eq + Hash> Table<K> {
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            places: HashMap::new(),
            entries: Vec::new(),
            hand: 0,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&Entry> {
        let (_, entry) = self.entries.get(*self.places.get(key)?)?;
        Some(entry)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut Entry> {
        let (_, entry) = self.entries.get_mut(*self.places.get(key)?)?;
        Some(entry)
    }

    /// Gives the entry of a key, a new one if there is none; `None` if there is no room for it.
    pub(super) fn get_or_insert(
        &mut self,
        key: K,
        now: Timestamp,
        rules: impl Fn(&K) -> Rules,
    ) -> Option<&mut Entry> {
        if !self.places.contains_key(&key) {
            if self.entries.len() >= self.room {
                self.give_up_one(now, rules)?;
            }
            self.places.insert(key, self.entries.len());
            self.entries.push((key, Entry::new(now)));
        }
        self.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: &K) {
        let Some(place) = self.places.get(key).copied() else {
            return;
        };
        if self
            .entries
            .get(place)
            .is_none_or(|(_, entry)| entry.in_flight > 0)
        {
            // Others are still being looked at, and have to be counted.
            if let Some((_, entry)) = self.entries.get_mut(place) {
                let in_flight = entry.in_flight;
                *entry = Entry::new(entry.seen);
                entry.in_flight = in_flight;
            }
            return;
        }
        self.places.remove(key);
        self.entries.swap_remove(place);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(*moved, place);
        }
    }

    /// Gives up the least useful of the next few: nothing under way, no pause that goes on, the lowest count.
    fn give_up_one(&mut self, now: Timestamp, rules: impl Fn(&K) -> Rules) -> Option<()> {
        let length = self.entries.len();
        let mut least: Option<(K, (bool, f64, Timestamp))> = None;
        for _ in 0..COMPARED.min(length) {
            self.hand = (self.hand + 1) % length.max(1);
            let Some((key, entry)) = self.entries.get(self.hand) else {
                continue;
            };
            if entry.in_flight > 0 {
                continue;
            }
            let count = entry.faded(now, rules(key));
            let worth = (entry.until > now, count, entry.seen);
            let less = least
                .as_ref()
                .is_none_or(|(_, known)| worth.partial_cmp(known) == Some(Ordering::Less));
            if less {
                least = Some((*key, worth));
            }
        }
        let (key, _) = least?;
        self.remove(&key);
        Some(())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
