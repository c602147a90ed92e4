//! What may be remembered of the database: a bounded cache whose entries end with the first write that matters.
//!
//! Nothing is removed from a cache when something is written. Instead each entry says from which moment it is and
//! on what it depends ([`Tag`]), and each commit notes what it changed. An entry that is older than a change of
//! something that it depends on is not given out any more. So a read that began before a write can never stand
//! for what was true after it, however long it took to be remembered.
//!
//! What another process writes to the same database is seen when the entry is too old: see [`Store::remember_for`].

mod changes;
mod effect;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lyceum_core::ids::{ServerId, ServiceId, SessionId, TokenId, UserId};
use lyceum_core::secret::Secret;
use sha2::{Digest as _, Sha256};

pub(crate) use self::changes::{Changes, Recorded, Recorder};
use crate::tx::{Engine, Store};

/// How long something is remembered with SQLite. All writes are this process's own, so that the limit is for those
/// of people who change the file by hand.
const ALONE: Duration = Duration::from_secs(30);
/// How long something is remembered with PostgreSQL, which other hubs may write to.
const SHARED: Duration = Duration::from_secs(1);

/// On what something that is remembered depends.
///
/// Changes of roles, of their holders other than users, of services, shares and names make everything forgotten, so
/// that nothing has to name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag<'a> {
    /// A user's own row, groups and roles, the making of servers, and tokens that are deleted together.
    User(UserId),
    /// A token.
    Token(TokenId),
    /// A browser session.
    Session(SessionId),
    /// A server's row, and the tokens that are its own.
    Server(ServerId),
    /// The tokens of a service.
    Service(ServiceId),
    /// An OAuth client, by the protocol's id.
    Client(&'a str),
}

/// A moment in the life of this process's database; what is read after it was taken is at least as new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// A secret's place in a cache: its SHA-256, so that no cache holds secrets in clear.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Gives the key of a secret; `kind` keeps secrets of different kinds apart.
    pub fn of(kind: &'static str, secret: &Secret<String>) -> Self {
        Self::of_all(kind, &[secret.expose()])
    }

    /// Gives the key of several texts together.
    pub fn of_all(kind: &'static str, texts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for text in std::iter::once(&kind).chain(texts) {
            hasher.update(text.len().to_be_bytes());
            hasher.update(text.as_bytes());
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key of a secret]")
    }
}

impl Store {
    /// The present moment. Take it before the reads whose result is to be remembered.
    pub fn moment(&self) -> Moment {
        Moment(self.changes.now())
    }

    /// How long something may be remembered at most, for the sake of writes that this process knows nothing of.
    pub fn remember_for(&self) -> Duration {
        match self.engine {
            Engine::Sqlite(_) => ALONE,
            Engine::Postgres(_) => SHARED,
        }
    }
}

/// Remembers a limited number of things, the last used ones.
pub struct Cache<K, V> {
    store: Store,
    /// Both together hold no more than the limit.
    half: usize,
    kept: Mutex<Generations<K, V>>,
}

/// When the younger one is full, the older one is given up: whoever was not asked for meanwhile goes with it.
struct Generations<K, V> {
    young: HashMap<K, Entry<V>>,
    old: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    moment: Moment,
    slots: Box<[u16]>,
    until: Instant,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// Makes an empty cache of what is in a store, for `limit` entries at most.
    pub fn new(store: Store, limit: usize) -> Self {
        Self {
            store,
            half: (limit / 2).max(1),
            kept: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
        }
    }

    /// Gives what is remembered, if nothing has changed since.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.young.get(key) {
            return self.is_current(entry).then(|| entry.value.clone());
        }
        let entry = kept
            .old
            .remove(key)
            .filter(|entry| self.is_current(entry))?;
        let value = entry.value.clone();
        self.put(&mut kept, key.clone(), entry);
        Some(value)
    }

    /// Remembers what was read after `moment`, until something changes on which it depends.
    pub fn fill<'a>(
        &self,
        key: K,
        value: V,
        moment: Moment,
        depends_on: impl IntoIterator<Item = Tag<'a>>,
    ) {
        let entry = Entry {
            value,
            moment,
            slots: depends_on.into_iter().map(changes::slot).collect(),
            until: Instant::now() + self.store.remember_for(),
        };
        // What is out of date already would only take a place.
        if self.is_current(&entry) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.old.remove(&key);
            self.put(&mut kept, key, entry);
        }
    }

    fn put(&self, kept: &mut Generations<K, V>, key: K, entry: Entry<V>) {
        if kept.young.len() >= self.half && !kept.young.contains_key(&key) {
            kept.old = std::mem::take(&mut kept.young);
        }
        kept.young.insert(key, entry);
    }

    fn is_current(&self, entry: &Entry<V>) -> bool {
        Instant::now() < entry.until && self.store.changes.none_since(entry.moment.0, &entry.slots)
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        write!(
            f,
            "Cache({} of {})",
            kept.young.len() + kept.old.len(),
            2 * self.half
        )
    }
}
