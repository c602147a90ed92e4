//! Brakes on guessing passwords: who was wrong too often has to wait, and nobody else does.
//!
//! Wrong passwords are counted in three ways. For one account from one address, pauses grow quickly. For one address
//! with whatever accounts, they begin late, as a whole class may share it. For one account from all addresses
//! together, an address from which the account has never logged in has to come twice, some seconds apart; so that
//! guesses from many places cost more, but never keep the account's owner out. What is right costs nothing. Counts
//! fade with time.
//!
//! A table of its own instead of a library for rates: those know how often something may be done, not that right
//! answers are free, that counts fade, and that what is under way counts, too.

mod place;
mod table;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyceum_core::{Network, Timestamp, UserName};

pub(crate) use self::place::{KNOWN_FOR, Place};
use self::table::{Entry, Rules, Table};

/// What is set about guessing.
#[derive(Debug, Clone)]
pub struct ThrottleSettings {
    /// Whether anybody is slowed.
    pub enabled: bool,
    /// How many wrong passwords for one account from one address are without consequence.
    pub per_account: u32,
    /// How many wrong passwords from one address are without consequence, for whatever accounts.
    pub per_address: u32,
    /// The longest pause after a wrong password.
    pub longest_pause: Duration,
    /// Who is never slowed, and never counted.
    pub exempt: Vec<Network>,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            per_account: 5,
            per_address: 200,
            longest_pause: Duration::from_mins(5),
            exempt: Vec::new(),
        }
    }
}

/// How many addresses and accounts are remembered; each takes some 100 bytes.
const ENTRIES: usize = 100_000;
/// The longest pause for an address as a whole: others who share it wait, too.
const ADDRESS_PAUSE: Duration = Duration::from_mins(1);
/// The longest time that an unknown address has to wait because others guess at the same account.
const ACCOUNT_PAUSE: Duration = Duration::from_secs(10);
/// After how many times the wrong passwords for one address an account counts as being guessed at.
const ACCOUNT_FACTOR: u32 = 4;
/// In how much time one wrong password of an address, or of an account, is forgotten.
const FORGET: Duration = Duration::from_mins(1);
/// How many passwords from one address are looked at in the same moment; a class that logs in together has room.
const AT_ONCE: u32 = 500;
/// How long to wait for others that are being looked at.
const MOMENT: Duration = Duration::from_secs(1);

/// Counts wrong passwords.
#[derive(Debug)]
pub(crate) struct Throttle {
    settings: ThrottleSettings,
    pair: Rules,
    /// For those whose address is not known, so that all of them are one.
    nowhere: Rules,
    address: Rules,
    account: Rules,
    hasher: RandomState,
    table: Mutex<Table<Key>>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// One account from one address.
    Pair(Place, Account),
    /// One address.
    Address(Place),
    /// One account.
    Account(Account),
}

/// An account, by a hash with a key that ends with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Account(u64);

/// Whoever tries has to wait first; the password was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slowed {
    /// How long.
    pub(crate) wait: Duration,
    /// What has been wrong too often.
    pub(crate) reason: &'static str,
    /// Whether it is the first that is told of this pause.
    pub(crate) first: bool,
}

/// A password that is being looked at. Dropping it counts as a wrong one: going away must not be a way to guess.
#[derive(Debug)]
#[must_use]
pub(crate) struct Try<'a> {
    throttle: &'a Throttle,
    pair: Option<Key>,
    account: Option<Key>,
    address: Option<Key>,
    rules: Rules,
    begun: Timestamp,
    told: bool,
}

impl Throttle {
    pub(crate) fn new(settings: &ThrottleSettings) -> Self {
        Self::with_room(settings, ENTRIES)
    }

    fn with_room(settings: &ThrottleSettings, room: usize) -> Self {
        let longest = settings.longest_pause;
        let pair = Rules {
            free: settings.per_account,
            longest,
            forget: longest,
        };
        Self {
            pair,
            nowhere: Rules {
                longest: longest.min(ACCOUNT_PAUSE),
                ..pair
            },
            address: Rules {
                free: settings.per_address,
                longest: longest.min(ADDRESS_PAUSE),
                forget: FORGET,
            },
            account: Rules {
                free: settings.per_account.saturating_mul(ACCOUNT_FACTOR),
                longest: longest.min(ACCOUNT_PAUSE),
                forget: FORGET,
            },
            hasher: RandomState::new(),
            table: Mutex::new(Table::new(room)),
            settings: settings.clone(),
        }
    }

    /// Finds an account.
    pub(crate) fn account(&self, name: &UserName) -> Account {
        Account(self.hasher.hash_one(name.as_str()))
    }

    /// Whether it matters that this account has logged in from this address before.
    pub(crate) fn asks_whether_known(
        &self,
        place: Place,
        account: Account,
        now: Timestamp,
    ) -> bool {
        let table = self.lock();
        let busy = |key, rules: Rules| {
            table
                .get(&key)
                .is_some_and(|entry| entry.is_slow(now, rules) || entry.in_flight >= AT_ONCE)
        };
        busy(Key::Address(place), self.address) || busy(Key::Account(account), self.account)
    }

    /// Begins to look at a password, unless it has to wait. `known` says that this account has logged in from this
    /// address before; without an account, only the address counts.
    pub(crate) fn begin(
        &self,
        addr: Option<IpAddr>,
        account: Option<Account>,
        known: bool,
        now: Timestamp,
    ) -> Result<Try<'_>, Slowed> {
        let place = Place::of(addr);
        let exempt = || self.settings.exempt.iter().any(|one| one.contains(addr));
        if !self.settings.enabled || exempt() {
            return Ok(self.uncounted(now));
        }
        let rules = if place.is_somewhere() {
            self.pair
        } else {
            self.nowhere
        };
        let mut table = self.lock();
        let pair = account.map(|account| Key::Pair(place, account));
        if let Some(entry) = pair.and_then(|key| table.get_mut(&key)) {
            // What is under way may turn out to be wrong.
            let left = rules.free.saturating_sub(entry.level(now, rules));
            entry.check(now, rules, left.max(1), "account from this address")?;
        }
        let address = (place.is_somewhere() && !known).then_some(Key::Address(place));
        if let Some(entry) = address.and_then(|key| table.get_mut(&key)) {
            let slow = entry.is_slow(now, self.address);
            let at_once = if slow { 1 } else { AT_ONCE };
            entry.check(now, self.address, at_once, "address")?;
        }
        let of_all = account.map(Key::Account);
        if let (Some(pair), Some(of_all), false) = (pair, of_all, known) {
            self.come_twice(&mut table, pair, of_all, now)?;
        }
        for key in [pair, address].into_iter().flatten() {
            if let Some(entry) = table.get_or_insert(key, now, |key| self.rules_of(key)) {
                entry.in_flight = entry.in_flight.saturating_add(1);
            }
        }
        Ok(Try {
            throttle: self,
            pair,
            account: of_all,
            address,
            rules,
            begun: now,
            told: false,
        })
    }

    /// Has an address that the account does not know come a second time, while others guess at the account.
    fn come_twice(
        &self,
        table: &mut Table<Key>,
        pair: Key,
        account: Key,
        now: Timestamp,
    ) -> Result<(), Slowed> {
        let pause = table
            .get(&account)
            .and_then(|entry| entry.pause(now, self.account));
        let Some(pause) = pause else { return Ok(()) };
        // Without room to remember who was here already, nobody is sent away: they could never come back.
        let Some(entry) = table.get_or_insert(pair, now, |key| self.rules_of(key)) else {
            return Ok(());
        };
        if std::mem::take(&mut entry.invited) {
            return Ok(());
        }
        entry.invited = true;
        entry.until = after(now, pause);
        Err(Slowed {
            wait: pause,
            reason: "account",
            first: true,
        })
    }

    fn uncounted(&self, now: Timestamp) -> Try<'_> {
        Try {
            throttle: self,
            pair: None,
            account: None,
            address: None,
            rules: self.pair,
            begun: now,
            told: true,
        }
    }

    fn rules_of(&self, key: &Key) -> Rules {
        match key {
            Key::Pair(..) => self.pair,
            Key::Address(_) => self.address,
            Key::Account(_) => self.account,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table<Key>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try<'_> {
    /// It is right.
    pub(crate) fn right(mut self) {
        self.end();
        if let Some(pair) = &self.pair {
            self.throttle.lock().remove(pair);
        }
    }

    /// It is wrong.
    pub(crate) fn wrong(mut self, now: Timestamp) {
        self.count(now);
    }

    /// Nobody could tell.
    pub(crate) fn untold(mut self) {
        self.end();
    }

    fn count(&mut self, now: Timestamp) {
        if self.told {
            return;
        }
        self.end();
        let throttle = self.throttle;
        let mut table = throttle.lock();
        for (key, rules) in [
            (self.pair, self.rules),
            (self.address, throttle.address),
            (self.account, throttle.account),
        ] {
            let entry =
                key.and_then(|key| table.get_or_insert(key, now, |key| throttle.rules_of(key)));
            if let Some(entry) = entry {
                entry.fail(now, rules);
            }
        }
    }

    /// Nothing is under way any more.
    fn end(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let mut table = self.throttle.lock();
        for key in [self.pair, self.address].into_iter().flatten() {
            if let Some(entry) = table.get_mut(&key) {
                entry.in_flight = entry.in_flight.saturating_sub(1);
            }
        }
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        let begun = self.begun;
        self.count(begun);
    }
}

impl Entry {
    /// Whether another one may be looked at now.
    fn check(
        &mut self,
        now: Timestamp,
        rules: Rules,
        at_once: u32,
        reason: &'static str,
    ) -> Result<(), Slowed> {
        let slowed = |wait, first| Slowed {
            wait,
            reason,
            first,
        };
        if let Some(wait) = self.wait(now, rules) {
            let first = std::mem::replace(&mut self.told, self.until) != self.until;
            return Err(slowed(wait, first));
        }
        if self.in_flight >= at_once {
            return Err(slowed(MOMENT, false));
        }
        Ok(())
    }
}

/// Adds a short time to an instant.
fn after(now: Timestamp, pause: Duration) -> Timestamp {
    crate::sessions::after(now, pause)
}
