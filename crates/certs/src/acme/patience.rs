//! Pauses between questions to an authority that is not done yet. Decides nothing about the answers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::trouble::{Trouble, TroubleKind};

/// Pauses grow from the one to the other, if the authority does not say.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Pauses between questions, and how long they are asked at all.
pub(super) struct Patience {
    end: Instant,
    pause: Duration,
}

impl Patience {
    /// Begins now.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            end: Instant::now() + limit,
            pause: SHORTEST_PAUSE,
        }
    }

    /// Waits for as long as the authority has asked for, or a little longer than the last time.
    pub(super) async fn wait(
        &mut self,
        asked: Option<Duration>,
        doing: &str,
    ) -> Result<(), Trouble> {
        let pause = asked.unwrap_or(self.pause).max(SHORTEST_PAUSE);
        if pause > self.end.saturating_duration_since(Instant::now()) {
            return Err(Trouble::new(
                TroubleKind::Unreachable,
                format!("the authority takes longer than usual to {doing}"),
                "nothing needs to be done: it is gone on with where it stands",
            )
            .retry_after(asked));
        }
        sleep(pause).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
