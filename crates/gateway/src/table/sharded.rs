//! A map that is cheap to copy with one change: that of a table of thousands of routes, at each start of a server.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Entries of one shard before there are more shards.
const FULL: usize = 48;

/// A map in shards. A copy shares them all; a change copies one.
#[derive(Clone)]
pub(super) struct Sharded<V> {
    /// Their number is a power of two, or zero.
    shards: Vec<Arc<HashMap<Arc<str>, V>>>,
    hasher: RandomState,
    len: usize,
}

impl<V> Default for Sharded<V> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<V> Sharded<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.shards
            .get(self.shard_of(key))
            .and_then(|shard| shard.get(key))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    fn shard_of(&self, key: &str) -> usize {
        match self.shards.len() {
            0 | 1 => 0,
            // The low bits are as good as any.
            shards => usize::try_from(self.hasher.hash_one(key) & (shards as u64 - 1)).unwrap_or(0),
        }
    }
}

impl<V: Clone> Sharded<V> {
    /// Adds or replaces; gives what was there before.
    pub(super) fn put(&mut self, key: Arc<str>, value: V) -> Option<V> {
        if self.len >= FULL * self.shards.len() {
            self.grow();
        }
        let shard = self.shard_of(&key);
        let old = Arc::make_mut(self.shards.get_mut(shard)?).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        let shard = self.shard_of(key);
        let old = Arc::make_mut(self.shards.get_mut(shard)?).remove(key);
        self.len -= usize::from(old.is_some());
        old
    }

    fn grow(&mut self) {
        let count = (2 * self.shards.len()).max(1);
        let old = std::mem::replace(&mut self.shards, vec![Arc::default(); count]);
        for (key, value) in old.iter().flat_map(|shard| shard.iter()) {
            let shard = self.shard_of(key);
            if let Some(shard) = self.shards.get_mut(shard) {
                Arc::make_mut(shard).insert(Arc::clone(key), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_do_not_see_later_changes() {
        let mut map = Sharded::default();
        for number in 0..1000 {
            assert_eq!(map.put(number.to_string().into(), number), None);
        }
        let copy = map.clone();
        assert_eq!(map.put("7".into(), 70), Some(7));
        assert_eq!(map.remove("8"), Some(8));
        assert_eq!(map.remove("8"), None);
        assert_eq!((copy.get("7"), copy.get("8")), (Some(&7), Some(&8)));
        assert_eq!((map.get("7"), map.get("8")), (Some(&70), None));
        assert_eq!((map.values().count(), copy.values().count()), (999, 1000));
    }
}
