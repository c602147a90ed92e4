//! Contents that were asked for lately, in memory, for all threads of the gateway; never more than a limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::beneath::FileId;
use super::index::ContentHash;
use crate::compress::Coding;

/// How much is kept. JupyterLab and its extensions take some 5 MiB in each of the codings that are asked for.
const CAPACITY: usize = 64 * 1024 * 1024;
/// What is larger is not kept, so that one file cannot drive out all others.
pub(super) const LARGEST: usize = 4 * 1024 * 1024;

/// What is kept: a content as it is, or in a coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum HotKey {
    Content(ContentHash, Option<Coding>),
    File(FileId, Option<Coding>),
}

/// The contents. The lock is held for moments only: nothing is read or copied under it.
#[derive(Debug)]
pub(super) struct HotFiles {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    contents: HashMap<HotKey, (Bytes, u64)>,
    /// The same by when they were asked for last.
    by_age: BTreeMap<u64, HotKey>,
    bytes: usize,
    turn: u64,
}

impl Default for HotFiles {
    fn default() -> Self {
        Self {
            capacity: CAPACITY,
            kept: Mutex::default(),
        }
    }
}

impl HotFiles {
    pub(super) fn find(&self, key: HotKey) -> Option<Bytes> {
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        let (bytes, last) = kept.contents.get_mut(&key)?;
        kept.turn += 1;
        kept.by_age.remove(last);
        kept.by_age.insert(kept.turn, key);
        *last = kept.turn;
        Some(bytes.clone())
    }

    pub(super) fn keep(&self, key: HotKey, bytes: Bytes) {
        if bytes.len() > LARGEST.min(self.capacity) {
            return;
        }
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.forget(key);
        while kept.bytes + bytes.len() > self.capacity {
            let Some((_, oldest)) = kept.by_age.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            kept.forget(oldest);
        }
        kept.turn += 1;
        kept.bytes += bytes.len();
        kept.by_age.insert(kept.turn, key);
        kept.contents.insert(key, (bytes, kept.turn));
    }
}

impl Kept {
    fn forget(&mut self, key: HotKey) {
        if let Some((bytes, last)) = self.contents.remove(&key) {
            self.by_age.remove(&last);
            self.bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> HotKey {
        HotKey::Content(ContentHash::of(&[number]), None)
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let hot = HotFiles {
            capacity: 100,
            ..HotFiles::default()
        };
        for number in 0..4 {
            hot.keep(key(number), Bytes::from(vec![number; 25]));
        }
        assert!(hot.find(key(0)).is_some());
        hot.keep(key(9), Bytes::from(vec![9; 30]));
        assert_eq!(hot.find(key(1)), None);
        assert_eq!(hot.find(key(2)), None);
        assert!(hot.find(key(0)).is_some() && hot.find(key(3)).is_some());
        assert_eq!(hot.kept.lock().unwrap().bytes, 80);
    }

    #[test]
    fn the_same_key_is_replaced_and_too_much_is_not_kept() {
        let hot = HotFiles {
            capacity: 10,
            ..HotFiles::default()
        };
        hot.keep(key(1), Bytes::from_static(b"one"));
        hot.keep(key(1), Bytes::from_static(b"again"));
        assert_eq!(hot.find(key(1)).unwrap(), "again");
        hot.keep(key(2), Bytes::from(vec![0; 11]));
        assert_eq!(hot.find(key(2)), None);
        let kept = hot.kept.lock().unwrap();
        assert_eq!((kept.bytes, kept.by_age.len()), (5, 1));
    }
}
