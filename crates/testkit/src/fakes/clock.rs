//! A clock that stands still.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use lyceum_core::{Clock, SystemClock, Timestamp};

/// A clock that stands still until it is moved. It begins with the machine's time, which user servers have, too.
#[derive(Debug)]
pub struct FakeClock {
    micros: AtomicI64,
    steady_micros: AtomicU64,
}

impl FakeClock {
    /// Makes a clock that shows the present instant.
    pub fn new() -> Self {
        Self {
            micros: AtomicI64::new(SystemClock.now().as_microsecond()),
            steady_micros: AtomicU64::new(0),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.steady_micros.fetch_add(micros, Ordering::SeqCst);
        self.set_by(i64::try_from(micros).unwrap_or(i64::MAX));
    }

    /// Sets it ahead, without any time passing.
    pub fn set_ahead(&self, by: Duration) {
        self.set_by(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
    }

    /// Sets it back, without any time passing.
    pub fn set_back(&self, by: Duration) {
        self.set_by(-i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
    }

    fn set_by(&self, micros: i64) {
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(self.steady_micros.load(Ordering::SeqCst))
    }
}
