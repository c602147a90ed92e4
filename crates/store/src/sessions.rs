//! Browser sessions: who is logged in where. The cookie's secret itself is not stored.

use jiff::Timestamp;
use lyceum_core::ids::{SessionId, UserId};
use lyceum_core::secret::Secret;

use crate::cache::Tag;
use crate::engine::{Db, Row, values};
use crate::error::{Kind, StoreError};
use crate::fingerprint::fingerprint;
use crate::tx::{Tx, reads};
use crate::users::{User, user_columns};

/// A login of a user in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The id.
    pub id: SessionId,
    /// The value of the cookie `jupyterhub-session-id`, which other components read: 32 hexadecimal digits.
    pub public_id: String,
    /// Who is logged in.
    pub user_id: UserId,
    /// When the user logged in.
    pub created: Timestamp,
    /// When the session was last used, to the precision with which that is written down.
    pub last_seen: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Where the login came from; empty if unknown.
    pub client_addr: String,
    /// What the browser called itself; empty if it did not.
    pub user_agent: String,
}

/// A session to be created.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// The opaque value of the login cookie, with 128 random bits or more.
    pub secret: &'a Secret<String>,
    /// The value of the cookie `jupyterhub-session-id`.
    pub public_id: &'a str,
    /// Who logs in.
    pub user_id: UserId,
    /// Now.
    pub created: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// Where the login comes from; empty if unknown.
    pub client_addr: &'a str,
    /// What the browser calls itself; cut to 300 characters.
    pub user_agent: &'a str,
}

const MAX_USER_AGENT_CHARS: usize = 300;

macro_rules! session_columns {
    () => {
        "sessions.id AS session_id, sessions.public_id AS session_public_id, \
         sessions.user_id AS session_user_id, sessions.created AS session_created, \
         sessions.last_seen AS session_last_seen, sessions.expires_at AS session_expires_at, \
         sessions.client_addr AS session_client_addr, sessions.user_agent AS session_user_agent"
    };
}

impl Session {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("session_id")?,
            public_id: row.get("session_public_id")?,
            user_id: row.get("session_user_id")?,
            created: row.get("session_created")?,
            last_seen: row.get("session_last_seen")?,
            expires_at: row.get("session_expires_at")?,
            client_addr: row.get("session_client_addr")?,
            user_agent: row.get("session_user_agent")?,
        })
    }
}

reads! {
    /// Finds the session of a login cookie, unless it has ended, with its user.
    find_session(secret: &Secret<String>, now: Timestamp) -> Option<(Session, User)>;
    /// Lists the sessions of a user that have not ended, the last used first.
    sessions_of_user(user: UserId, now: Timestamp) -> Vec<Session>;
}

async fn find_session(
    db: &mut Db<'_>,
    secret: &Secret<String>,
    now: Timestamp,
) -> Result<Option<(Session, User)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        ", ",
        user_columns!(),
        " FROM sessions JOIN users ON users.id = sessions.user_id \
         WHERE sessions.secret_hash = $1 AND sessions.expires_at > $2"
    );
    let all = values![fingerprint(secret), now];
    let row = db.first("find a session", sql, all).await?;
    row.map(|row| Ok((Session::read(&row)?, User::read(&row)?)))
        .transpose()
}

async fn sessions_of_user(
    db: &mut Db<'_>,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let sql = concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY last_seen DESC, id DESC"
    );
    let rows = db
        .all("list the sessions of a user", sql, values![user, now])
        .await?;
    rows.iter().map(Session::read).collect()
}

impl Tx {
    /// Creates a session.
    pub async fn create_session(&mut self, new: NewSession<'_>) -> Result<Session, StoreError> {
        let sql = concat!(
            "INSERT INTO sessions (secret_hash, public_id, user_id, created, last_seen, expires_at, \
             client_addr, user_agent) VALUES ($1, $2, $3, $4, $4, $5, $6, $7) RETURNING ",
            session_columns!()
        );
        let user_agent: String = new.user_agent.chars().take(MAX_USER_AGENT_CHARS).collect();
        let all = values![
            fingerprint(new.secret),
            new.public_id,
            new.user_id,
            new.created,
            new.expires_at,
            new.client_addr,
            user_agent
        ];
        let row = self
            .db()
            .first("create a session", sql, all)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::User, new.user_id))?;
        Session::read(&row)
    }

    /// Notes that a session was used; never moves backwards. Without such a session, nothing happens.
    pub async fn touch_session(
        &mut self,
        id: SessionId,
        last_seen: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET last_seen = $2, expires_at = $3 \
                   WHERE id = $1 AND last_seen < $2";
        self.touching([Tag::Session(id)])
            .run(
                "note a session's use",
                sql,
                values![id, last_seen, expires_at],
            )
            .await
            .map(drop)
    }

    /// Ends a session; says whether there was one.
    pub async fn delete_session(&mut self, id: SessionId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM sessions WHERE id = $1";
        let mut db = self.touching([Tag::Session(id)]);
        let count = db.run("end a session", sql, values![id]).await?;
        Ok(count > 0)
    }

    /// Ends all sessions of a user, and gives their number.
    pub async fn delete_sessions_of_user(&mut self, user: UserId) -> Result<u64, StoreError> {
        let sql = "DELETE FROM sessions WHERE user_id = $1";
        self.touching([Tag::User(user)])
            .run("end the sessions of a user", sql, values![user])
            .await
    }
}
