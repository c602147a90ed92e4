//! Time limits of connections: a list for each thread, looked through by one task.
//!
//! The runtime's timers wake the thread by a system call when one is set that is shorter than those before, which a
//! limit for each connect to an upstream would be. Here setting a limit costs a comparison or two; what looks through
//! the list sleeps until the next limit, and for a second at most.

use std::cell::RefCell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The list is looked through at least that often while there is something in it, so that longer limits need not
/// wake who does it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

thread_local! {
    static LIST: RefCell<List> = const { RefCell::new(List::new()) };
}

struct List {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// When it is looked through the next time; `None` if nobody has set a limit.
    next: Option<Instant>,
    keeper: Option<Waker>,
}

struct Entry {
    waker: Waker,
    /// `None` when it has passed, and the task has been woken.
    deadline: Option<Instant>,
}

impl List {
    const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            next: None,
            keeper: None,
        }
    }

    fn add(&mut self, entry: Entry) -> usize {
        if let Some(at) = self.free.pop()
            && let Some(place) = self.entries.get_mut(at)
        {
            *place = Some(entry);
            return at;
        }
        self.entries.push(Some(entry));
        self.entries.len() - 1
    }

    fn remove(&mut self, at: usize) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = None;
            self.free.push(at);
        }
    }

    /// Sees to it that somebody looks in time.
    fn expect(&mut self, deadline: Instant) {
        if self.next.is_none_or(|next| deadline < next) {
            self.next = Some(deadline);
            if let Some(keeper) = &self.keeper {
                keeper.wake_by_ref();
            }
        }
    }

    /// Wakes whose limit has passed, and finds out when to look again.
    fn look(&mut self, now: Instant) {
        let mut next: Option<Instant> = None;
        for entry in self.entries.iter_mut().flatten() {
            match entry.deadline {
                Some(deadline) if deadline <= now => {
                    entry.deadline = None;
                    entry.waker.wake_by_ref();
                }
                Some(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                None => {}
            }
        }
        self.next = next.map(|next| next.min(now + LONGEST_SLEEP));
    }
}

/// Looks through the list of the calling thread, for ever.
pub(crate) async fn keep() {
    loop {
        let next = LIST.with_borrow_mut(|list| {
            list.look(Instant::now());
            list.next
        });
        let mut sleep = next.map(|next| Box::pin(sleep_until(next)));
        poll_fn(|cx| {
            let earlier = LIST.with_borrow_mut(|list| {
                list.keeper = Some(cx.waker().clone());
                list.next != next
            });
            if earlier {
                return Poll::Ready(());
            }
            sleep
                .as_mut()
                .map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
        })
        .await;
    }
}

/// The limit of one connection, for whatever it waits for. Stays on its thread.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    at: Option<usize>,
    _on_its_thread: PhantomData<*const ()>,
}

impl Patience {
    /// Ready when the deadline has passed; wakes the task then. Of several deadlines in one poll, the first wakes.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        LIST.with_borrow_mut(|list| {
            let entry = self
                .at
                .and_then(|at| list.entries.get_mut(at))
                .and_then(Option::as_mut);
            let Some(entry) = entry else {
                self.at = Some(list.add(Entry {
                    waker: cx.waker().clone(),
                    deadline: Some(deadline),
                }));
                list.expect(deadline);
                return Poll::Pending;
            };
            if !entry.waker.will_wake(cx.waker()) {
                entry.waker.clone_from(cx.waker());
            }
            match entry.deadline {
                Some(before) if before <= deadline => return Poll::Pending,
                None if Instant::now() >= deadline => return Poll::Ready(()),
                Some(_) | None => {}
            }
            entry.deadline = Some(deadline);
            list.expect(deadline);
            Poll::Pending
        })
    }

    /// Waits for something, until a limit has passed; `None` if it has.
    pub(crate) async fn within<T>(limit: Duration, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        let mut patience = Self::default();
        let deadline = Instant::now() + limit;
        poll_fn(|cx| match waiting.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => patience.poll(cx, deadline).map(|()| None),
        })
        .await
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            // At the very end of its thread there is no list any more.
            let _ = LIST.try_with(|list| {
                if let Ok(mut list) = list.try_borrow_mut() {
                    list.remove(at);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn limits_pass_in_their_order_and_long_ones_wake_nobody_early() {
        let begun = Instant::now();
        let waits = async {
            let never = std::future::pending::<()>;
            let (long, short) = tokio::join!(
                Patience::within(Duration::from_millis(700), never()),
                Patience::within(Duration::from_millis(100), never()),
            );
            assert_eq!((long, short), (None, None));
            assert!(begun.elapsed() >= Duration::from_millis(700));
            let answer = Patience::within(Duration::from_secs(5), async { 7 }).await;
            assert_eq!(answer, Some(7));
        };
        tokio::select! {
            () = keep() => {}
            () = waits => {}
        }
        LIST.with_borrow(|list| assert!(list.entries.iter().all(Option::is_none)));
    }

    #[tokio::test]
    async fn the_first_of_several_deadlines_of_one_poll_counts() {
        let begun = Instant::now();
        let waits = async {
            let mut patience = Patience::default();
            poll_fn(|cx| {
                let early = patience.poll(cx, begun + Duration::from_millis(300));
                let late = patience.poll(cx, begun + Duration::from_secs(9));
                assert!(late.is_pending());
                early
            })
            .await;
            assert!(begun.elapsed() < Duration::from_secs(8));
        };
        tokio::select! {
            () = keep() => {}
            () = waits => {}
        }
    }
}
