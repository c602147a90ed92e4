//! A clock that stands still.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lyceum_core::{Clock, SystemClock, Timestamp};

/// A clock that stands still until it is moved. It begins with the machine's time, which user servers have, too.
#[derive(Debug)]
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// Makes a clock that shows the present instant.
    pub fn new() -> Self {
        Self(AtomicI64::new(SystemClock.now().as_microsecond()))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}
