//! Browser sessions: an opaque secret in a cookie, looked up in the store by its hash.

use std::time::Duration;

use lyceum_core::ids::SessionId;
use lyceum_core::{Secret, Timestamp};
use lyceum_store::{StoreError, User};

use crate::Hub;

/// A login in a browser.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its row.
    pub id: SessionId,
    /// Who is logged in.
    pub user: User,
    /// The public id, the value of `jupyterhub-session-id`.
    pub public_id: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether they may open the pages for administrators; those of the hub lead there then.
    pub opens_admin_pages: bool,
}

impl Hub {
    /// Finds the session of a login cookie; `None` if there is none, it has ended, or its user is blocked.
    pub async fn session(&self, secret: &Secret<String>) -> Result<Option<Session>, StoreError> {
        let found = self.store().find_session(secret, self.now()).await?;
        let found = found.filter(|(_, user)| !self.settings().access.is_blocked(&user.name));
        Ok(found.map(|(session, user)| Session {
            id: session.id,
            user,
            public_id: session.public_id,
            expires_at: session.expires_at,
            opens_admin_pages: false,
        }))
    }
}

/// The last instant that is kept, at the end of the year 9999: what comes later in the last second that jiff knows
/// cannot be read again as microseconds.
const END_OF_TIME: Timestamp = Timestamp::constant(253_402_207_199, 0);

/// Adds a duration to an instant; stays at the end of time if it is too long.
pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration)
        .unwrap_or(END_OF_TIME)
        .min(END_OF_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_is_too_long() {
        let now = Timestamp::from_second(1_795_478_187).unwrap();
        assert_eq!(after(now, Duration::ZERO), now);
        for long in [Duration::MAX, Duration::from_secs(1 << 62)] {
            for at in [now, Timestamp::MAX] {
                assert_eq!(after(at, long), END_OF_TIME);
            }
        }
        let stored = Timestamp::from_microsecond(END_OF_TIME.as_microsecond());
        assert_eq!(stored.unwrap(), END_OF_TIME, "it can be read again");
    }
}
