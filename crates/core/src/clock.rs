//! Time as a value that is asked for, so that tests can hold it still.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use jiff::Timestamp;

/// Tells the time; every part that needs it is given one.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the current instant, in UTC with at least microsecond precision.
    fn now(&self) -> Timestamp;

    /// Returns how much time has passed since some fixed instant. Whoever sets the machine's clock does not move it, so
    /// it is the one for "how long ago"; while the machine sleeps it may stand still.
    fn steady(&self) -> Duration {
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        ORIGIN.elapsed()
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Formats an instant as JupyterHub's API does: ISO 8601, UTC, microseconds and `Z`.
///
/// Microseconds are left out when they are exactly zero (JupyterHub `utils.isoformat`).
pub fn iso_format(at: Timestamp) -> String {
    let micros = at.as_microsecond();
    let whole = Timestamp::from_microsecond(micros).unwrap_or(at);
    if micros.rem_euclid(1_000_000) == 0 {
        format!("{whole:.0}")
    } else {
        format!("{whole:.6}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(micros: i64, expected: &str) {
        assert_eq!(
            iso_format(Timestamp::from_microsecond(micros).unwrap()),
            expected
        );
    }

    #[test]
    fn times_are_printed_as_jupyterhub_prints_them() {
        check(0, "1970-01-01T00:00:00Z");
        check(1_500_000, "1970-01-01T00:00:01.500000Z");
        check(1_795_446_750_566_246, "2026-11-23T15:12:30.566246Z");
    }
}
