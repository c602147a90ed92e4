//! Waiting with a limit: for something awaited, and for something outside that can only be looked at.

use std::future::Future;
use std::time::{Duration, Instant};

/// The time limit of every wait of a test; generous, as machines that run tests are busy.
pub const LIMIT: Duration = Duration::from_secs(30);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Awaits something that has to come in time.
///
/// # Panics
/// If it does not.
#[expect(clippy::expect_used, reason = "a test fails by a panic")]
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it takes too long")
}

/// Looks until something has become true.
///
/// # Panics
/// If it never does; `what` is in the message.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
