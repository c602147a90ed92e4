//! Rows that another hub has made, written as they are: hashes, because nobody knows the secrets, and times.

use jiff::Timestamp;
use lyceum_core::ids::{ServerId, ServiceId};
use lyceum_core::token::TokenHash;

use crate::engine::{Value, values};
use crate::error::StoreError;
use crate::shares::ReceiverId;
use crate::tokens::TokenOwner;
use crate::tx::Tx;

/// A token that another hub has made.
#[derive(Debug, Clone)]
pub struct AdoptedToken<'a> {
    /// Its hash.
    pub hash: &'a TokenHash,
    /// Its first four characters, by which it is found.
    pub prefix: &'a str,
    /// Whose it is.
    pub owner: TokenOwner,
    /// The scopes.
    pub scopes: &'a [String],
    /// What it is for, for people.
    pub note: &'a str,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, if ever.
    pub last_activity: Option<Timestamp>,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// A service's OAuth client that another hub has made.
#[derive(Debug, Clone)]
pub struct AdoptedClient<'a> {
    /// The `client_id` of the protocol.
    pub identifier: &'a str,
    /// What it is, for the page that asks for consent.
    pub description: &'a str,
    /// The hash of its secret; without one it cannot authenticate.
    pub secret: Option<&'a TokenHash>,
    /// Where codes are sent.
    pub redirect_uri: &'a str,
    /// The scopes that it may ask for.
    pub allowed_scopes: &'a [String],
    /// The service that it is.
    pub service: ServiceId,
}

/// A share that another hub has made.
#[derive(Debug, Clone)]
pub struct AdoptedShare<'a> {
    /// The server.
    pub server: ServerId,
    /// With whom it is shared.
    pub with: ReceiverId,
    /// Names of scopes, without the filter, which is always the server.
    pub scopes: &'a [String],
    /// Since when.
    pub created: Timestamp,
    /// Until when; `None` for no end.
    pub expires_at: Option<Timestamp>,
}

/// A code for a share that another hub has made.
#[derive(Debug, Clone)]
pub struct AdoptedShareCode<'a> {
    /// The server.
    pub server: ServerId,
    /// Its hash.
    pub hash: &'a TokenHash,
    /// Its first four characters, by which it is found.
    pub prefix: &'a str,
    /// Names of scopes, without the filter, which is always the server.
    pub scopes: &'a [String],
    /// When it was made.
    pub created: Timestamp,
    /// When it stops working; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// How often it was exchanged.
    pub exchange_count: u64,
    /// When it was exchanged last.
    pub last_exchanged_at: Option<Timestamp>,
}

impl Tx {
    /// Stores a token of another hub's; says whether it was not there yet.
    pub async fn adopt_token(&mut self, token: AdoptedToken<'_>) -> Result<bool, StoreError> {
        let sql = "INSERT INTO api_tokens (prefix, hashed, user_id, service_id, scopes, note, \
                   created, last_activity, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (hashed) DO NOTHING";
        let (user, service) = match token.owner {
            TokenOwner::User(id) => (Some(id), None),
            TokenOwner::Service(id) => (None, Some(id)),
        };
        let mut all = values![token.prefix, token.hash, user, service];
        all.push(Value::json(&token.scopes)?);
        all.extend(values![
            token.note,
            token.created,
            token.last_activity,
            token.expires_at
        ]);
        self.insert("adopt a token", sql, all).await
    }

    /// Stores a service's OAuth client of another hub's; says whether there was none of that identifier.
    pub async fn adopt_oauth_client(
        &mut self,
        client: AdoptedClient<'_>,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO oauth_clients (identifier, description, secret_hash, redirect_uri, \
                   allowed_scopes, service_id) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (identifier) DO NOTHING";
        let mut all = values![
            client.identifier,
            client.description,
            client.secret,
            client.redirect_uri
        ];
        all.push(Value::json(&client.allowed_scopes)?);
        all.push(client.service.into());
        self.insert("adopt an OAuth client", sql, all).await
    }

    /// Stores a share of another hub's; says whether the server was not shared so yet.
    pub async fn adopt_share(&mut self, share: AdoptedShare<'_>) -> Result<bool, StoreError> {
        let sql = "INSERT INTO shares (server_id, user_id, group_id, scopes, created, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let (user, group) = match share.with {
            ReceiverId::User(id) => (Some(id), None),
            ReceiverId::Group(id) => (None, Some(id)),
        };
        let mut all = values![share.server, user, group];
        all.push(Value::json(&share.scopes)?);
        all.extend(values![share.created, share.expires_at]);
        self.insert("adopt a share", sql, all).await
    }

    /// Stores a code for a share of another hub's; says whether it was not there yet.
    pub async fn adopt_share_code(
        &mut self,
        code: AdoptedShareCode<'_>,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO share_codes (server_id, prefix, hashed, scopes, created, expires_at, \
                   exchange_count, last_exchanged_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (hashed) DO NOTHING";
        let mut all = values![code.server, code.prefix, code.hash];
        all.push(Value::json(&code.scopes)?);
        all.extend(values![code.created, code.expires_at]);
        let count = i64::try_from(code.exchange_count).unwrap_or(i64::MAX);
        all.extend(values![count, code.last_exchanged_at]);
        self.insert("adopt a share code", sql, all).await
    }

    async fn insert(
        &mut self,
        doing: &'static str,
        sql: &'static str,
        all: Vec<Value>,
    ) -> Result<bool, StoreError> {
        Ok(self.db().run(doing, sql, all).await? > 0)
    }
}
