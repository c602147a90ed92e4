//! Throwing away what has ended.

use jiff::Timestamp;

use crate::engine::values;
use crate::error::StoreError;
use crate::tx::Tx;

/// How many rows were thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// API tokens.
    pub tokens: u64,
    /// Authorization codes.
    pub codes: u64,
    /// Browser sessions.
    pub sessions: u64,
    /// Shares.
    pub shares: u64,
    /// Share codes.
    pub share_codes: u64,
}

impl Tx {
    /// Deletes tokens, codes, sessions and shares that have ended. They did not work any more; this frees their space.
    pub async fn purge_expired(&mut self, now: Timestamp) -> Result<Purged, StoreError> {
        let doing = "purge what has expired";
        // What has ended is not given out any more, remembered or not.
        let mut db = self.touching([]);
        let tokens = "DELETE FROM api_tokens WHERE expires_at <= $1";
        let codes = "DELETE FROM oauth_codes WHERE expires_at <= $1";
        let sessions = "DELETE FROM sessions WHERE expires_at <= $1";
        let shares = "DELETE FROM shares WHERE expires_at <= $1";
        let share_codes = "DELETE FROM share_codes WHERE expires_at <= $1";
        Ok(Purged {
            tokens: db.run(doing, tokens, values![now]).await?,
            codes: db.run(doing, codes, values![now]).await?,
            sessions: db.run(doing, sessions, values![now]).await?,
            shares: db.run(doing, shares, values![now]).await?,
            share_codes: db.run(doing, share_codes, values![now]).await?,
        })
    }
}
