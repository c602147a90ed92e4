//! When what was changed last: the clock by which everything that is remembered is judged.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Tag;
use super::effect::{Effect, effect};

/// How many tags have a time of their own; those that share one are forgotten together.
const SLOTS: usize = 4096;

/// The times of the last changes, in commits of this process.
///
/// Only after a commit is through, and before anybody is told so, its tags get a time: the next of the clock. What was
/// read from the database while the clock stood before it may be older than the commit, and is judged so. What
/// was read later is newer.
#[derive(Debug)]
pub(crate) struct Changes {
    clock: AtomicU64,
    everything: AtomicU64,
    slots: Box<[AtomicU64]>,
    /// Whether there was a commit of which nobody knows whether, and when, it came through.
    unsure: AtomicBool,
}

impl Changes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: AtomicU64::new(0),
            everything: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            unsure: AtomicBool::new(false),
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub(super) fn none_since(&self, moment: u64, slots: &[u16]) -> bool {
        self.everything.load(Ordering::SeqCst) <= moment
            && slots.iter().all(|slot| {
                self.slots
                    .get(usize::from(*slot))
                    .is_some_and(|changed| changed.load(Ordering::SeqCst) <= moment)
            })
    }

    fn note(&self, recorded: &Recorded) {
        if recorded.is_empty() {
            return;
        }
        let now = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        // The later of two commits at once has to win, whoever comes here first.
        if recorded.everything {
            self.everything.fetch_max(now, Ordering::SeqCst);
        }
        for slot in &recorded.slots {
            if let Some(changed) = self.slots.get(usize::from(*slot)) {
                changed.fetch_max(now, Ordering::SeqCst);
            }
        }
    }

    fn note_everything(&self) {
        self.note(&Recorded {
            everything: true,
            slots: Vec::new(),
        });
    }

    /// A writer has got its turn: with SQLite, all commits before it have come through or will never do so.
    pub(crate) fn writer_begins(&self) {
        if self.unsure.swap(false, Ordering::SeqCst) {
            self.note_everything();
        }
    }

    /// Begins a commit; dropping the answer without [`Committing::done`] says that its outcome is unknown.
    pub(crate) fn commit(self: &Arc<Self>, recorded: Recorded) -> Committing {
        Committing {
            changes: Arc::clone(self),
            recorded,
            known: false,
        }
    }
}

/// A commit under way.
#[derive(Debug)]
pub(crate) struct Committing {
    changes: Arc<Changes>,
    recorded: Recorded,
    known: bool,
}

impl Committing {
    /// The commit is through.
    pub(crate) fn done(mut self) {
        self.known = true;
        self.changes.note(&self.recorded);
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        // Whoever waited was dropped, or the engine told an error: it may still come through, a little later.
        if !self.known && !self.recorded.is_empty() {
            self.changes.unsure.store(true, Ordering::SeqCst);
            self.changes.note_everything();
        }
    }
}

/// What a transaction has changed so far.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    everything: bool,
    slots: Vec<u16>,
}

impl Recorded {
    fn is_empty(&self) -> bool {
        !self.everything && self.slots.is_empty()
    }

    pub(crate) fn tag(&mut self, tag: Tag<'_>) {
        let slot = slot(tag);
        if !self.slots.contains(&slot) {
            self.slots.push(slot);
        }
    }
}

/// Who looks at the statements of a connection.
#[derive(Debug)]
pub(crate) enum Recorder<'a> {
    /// Nobody: it only reads, or its changes are named by whoever makes them.
    Nobody,
    /// A transaction: what is not known to matter to nobody makes everything forgotten.
    Careful(&'a mut Recorded),
}

impl Recorder<'_> {
    pub(crate) fn statement(&mut self, sql: &str) {
        if let Self::Careful(recorded) = self
            && !recorded.everything
            && effect(sql) == Effect::Everything
        {
            recorded.everything = true;
        }
    }
}

/// The slot of a tag.
pub(super) fn slot(tag: Tag<'_>) -> u16 {
    let mut hasher = DefaultHasher::new();
    tag.hash(&mut hasher);
    u16::try_from(hasher.finish() % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lyceum_core::ids::UserId;

    use super::*;

    fn recorded(ids: &[i64]) -> Recorded {
        let mut recorded = Recorded::default();
        for id in ids {
            recorded.tag(Tag::User(UserId(*id)));
        }
        recorded
    }

    fn slots(id: i64) -> Vec<u16> {
        vec![slot(Tag::User(UserId(id)))]
    }

    #[test]
    fn a_commit_ends_what_was_read_before_it_and_depends_on_it() {
        let changes = Changes::new();
        let before = changes.now();
        changes.commit(recorded(&[1])).done();
        assert!(!changes.none_since(before, &slots(1)));
        assert!(changes.none_since(before, &slots(2)));
        assert!(changes.none_since(changes.now(), &slots(1)));
    }

    #[test]
    fn what_is_known_to_matter_to_nobody_moves_no_clock() {
        let changes = Changes::new();
        changes.commit(Recorded::default()).done();
        drop(changes.commit(Recorded::default()));
        assert_eq!(changes.now(), 0);
    }

    #[test]
    fn a_commit_of_unknown_outcome_ends_everything_now_and_when_its_outcome_is_sure() {
        let changes = Changes::new();
        let before = changes.now();
        drop(changes.commit(recorded(&[1])));
        assert!(!changes.none_since(before, &slots(2)));
        let meanwhile = changes.now();
        assert!(changes.none_since(meanwhile, &slots(1)));
        changes.writer_begins();
        assert!(!changes.none_since(meanwhile, &slots(1)));
        let after = changes.now();
        changes.writer_begins();
        assert!(changes.none_since(after, &slots(1)));
    }
}
