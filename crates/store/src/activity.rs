//! Activity: many small updates, written together.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lyceum_core::ids::{ServerId, SessionId, TokenId, UserId};
use sqlx::AssertSqlSafe;

use crate::engine::{CHUNK, Value, rounded};
use crate::error::StoreError;
use crate::tx::Tx;

/// Who and what was active, and when; kept in memory until it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityBatch {
    users: BTreeMap<UserId, Timestamp>,
    servers: BTreeMap<ServerId, Timestamp>,
    tokens: BTreeMap<TokenId, Timestamp>,
    sessions: BTreeMap<SessionId, Timestamp>,
}

impl ActivityBatch {
    /// Notes that a user was active.
    pub fn user(&mut self, id: UserId, at: Timestamp) {
        latest(&mut self.users, id, at);
    }

    /// Notes that a server was used.
    pub fn server(&mut self, id: ServerId, at: Timestamp) {
        latest(&mut self.servers, id, at);
    }

    /// Notes that a token was used.
    pub fn token(&mut self, id: TokenId, at: Timestamp) {
        latest(&mut self.tokens, id, at);
    }

    /// Notes that a browser session was used.
    pub fn session(&mut self, id: SessionId, at: Timestamp) {
        latest(&mut self.sessions, id, at);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn latest<K: Ord>(map: &mut BTreeMap<K, Timestamp>, key: K, at: Timestamp) {
    map.entry(key)
        .and_modify(|known| *known = at.max(*known))
        .or_insert(at);
}

impl Tx {
    /// Moves the last activity of users, servers, tokens and sessions forward, never back. Those that do not exist
    /// any more are passed over.
    ///
    /// Two hubs on one PostgreSQL that do this at once may get in each other's way; the one that gets
    /// [`StoreError::Busy`] does it again.
    pub async fn record_activity(&mut self, batch: &ActivityBatch) -> Result<(), StoreError> {
        self.move_forward("users", "last_activity", &batch.users)
            .await?;
        self.move_forward("servers", "last_activity", &batch.servers)
            .await?;
        self.move_forward("api_tokens", "last_activity", &batch.tokens)
            .await?;
        self.move_forward("sessions", "last_seen", &batch.sessions)
            .await
    }

    async fn move_forward<K: Copy>(
        &mut self,
        table: &'static str,
        column: &'static str,
        times: &BTreeMap<K, Timestamp>,
    ) -> Result<(), StoreError>
    where
        Value: From<K>,
    {
        let times: Vec<(K, Timestamp)> = times.iter().map(|(id, at)| (*id, *at)).collect();
        for chunk in times.chunks(CHUNK) {
            let Some(last) = chunk.last() else { continue };
            let count = rounded(chunk.len());
            let rows: Vec<String> = (0..count)
                .map(|n| {
                    let (id, at) = (2 * n + 1, 2 * n + 2);
                    format!("(CAST(${id} AS BIGINT), CAST(${at} AS BIGINT))")
                })
                .collect();
            // Both engines call the columns of VALUES so. Only the numbers of placeholders and our own
            // tables' names are put together here.
            let sql = format!(
                "UPDATE {table} SET {column} = times.column2 \
                 FROM (VALUES {}) AS times \
                 WHERE {table}.id = times.column1 \
                 AND ({table}.{column} IS NULL OR {table}.{column} < times.column2)",
                rows.join(", ")
            );
            let values = chunk
                .iter()
                .chain(std::iter::repeat_n(last, count - chunk.len()))
                .flat_map(|(id, at)| [Value::from(*id), Value::Int(Some(at.as_microsecond()))])
                .collect();
            // Who remembers rows knows better when they were used: this is written by way of `hub`'s own notes.
            self.touching([])
                .run("record activity", AssertSqlSafe(sql), values)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_the_latest_time_of_each() {
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let mut batch = ActivityBatch::default();
        assert!(batch.is_empty());
        batch.user(UserId(1), late);
        batch.user(UserId(1), early);
        assert_eq!(batch.users.get(&UserId(1)), Some(&late));
    }
}
