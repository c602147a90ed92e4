//! Authorization codes: each works once, for minutes. The code itself is not stored.

use jiff::Timestamp;
use lyceum_core::ids::UserId;
use lyceum_core::secret::Secret;

use crate::engine::{Row, Value, values};
use crate::error::StoreError;
use crate::fingerprint::fingerprint;
use crate::tx::Tx;

/// What an authorization code stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthCode {
    /// The identifier of the client that it was issued to.
    pub client_id: String,
    /// Who consented.
    pub user_id: UserId,
    /// Where it was sent; the client must name the same.
    pub redirect_uri: String,
    /// The public id of the browser session in which it was issued.
    pub session_id: Option<String>,
    /// The scopes that were granted.
    pub scopes: Vec<String>,
    /// The challenge of PKCE, if the client sent one (RFC 7636).
    pub code_challenge: Option<String>,
    /// How the challenge was made: `S256` or `plain`.
    pub code_challenge_method: Option<String>,
    /// When it stops working.
    pub expires_at: Timestamp,
}

impl OAuthCode {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            client_id: row.get("client_id")?,
            user_id: row.get("user_id")?,
            redirect_uri: row.get("redirect_uri")?,
            session_id: row.get("session_id")?,
            scopes: row.json("scopes")?,
            code_challenge: row.get("code_challenge")?,
            code_challenge_method: row.get("code_challenge_method")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

impl Tx {
    /// Stores what a fresh code stands for; the code has 128 random bits or more.
    pub async fn create_oauth_code(
        &mut self,
        code: &Secret<String>,
        means: &OAuthCode,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO oauth_codes (code_hash, client_id, user_id, redirect_uri, session_id, \
                   code_challenge, code_challenge_method, expires_at, scopes) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let mut all = values![
            fingerprint(code),
            means.client_id.as_str(),
            means.user_id,
            means.redirect_uri.as_str(),
            means.session_id.as_deref(),
            means.code_challenge.as_deref(),
            means.code_challenge_method.as_deref(),
            means.expires_at
        ];
        all.push(Value::json(&means.scopes)?);
        self.db().run("store a code", sql, all).await.map(drop)
    }

    /// Takes a code, so that it works for nobody else; `None` if it is unknown, taken already or too old.
    ///
    /// Commit also when what is asked for with it is refused afterwards: a code that was tried is used up.
    pub async fn take_oauth_code(
        &mut self,
        code: &Secret<String>,
        now: Timestamp,
    ) -> Result<Option<OAuthCode>, StoreError> {
        let sql = "DELETE FROM oauth_codes WHERE code_hash = $1 RETURNING client_id, user_id, \
                   redirect_uri, session_id, scopes, code_challenge, code_challenge_method, \
                   expires_at";
        let row = self
            .db()
            .first("take a code", sql, values![fingerprint(code)])
            .await?;
        let code = row.as_ref().map(OAuthCode::read).transpose()?;
        Ok(code.filter(|code| code.expires_at > now))
    }
}
