//! API tokens: those of people, services and servers, and the access tokens of OAuth clients.

use jiff::Timestamp;
use lyceum_core::ids::{ServerId, ServiceId, TokenId, UserId};
use lyceum_core::secret::Secret;
use lyceum_core::token::{self, TokenHash};

use crate::cache::Tag;
use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::services::{Service, service_columns};
use crate::tx::{Tx, reads};
use crate::users::{User, user_columns};

/// An API token, without the text that its holder shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The id; the API writes it as `a<number>`.
    pub id: TokenId,
    /// Whose it is.
    pub owner: TokenOwner,
    /// The OAuth client that got it, if it came that way.
    pub client_id: Option<String>,
    /// The public id of the browser session that it belongs to, if any.
    pub session_id: Option<String>,
    /// The server that it was made for, if it is a server's own.
    pub server_id: Option<ServerId>,
    /// The scopes, as granted: not expanded.
    pub scopes: Vec<String>,
    /// What it is for, for people.
    pub note: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, if ever.
    pub last_activity: Option<Timestamp>,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenOwner {
    /// A user's.
    User(UserId),
    /// A service's.
    Service(ServiceId),
}

impl TokenOwner {
    fn columns(self) -> (Option<UserId>, Option<ServiceId>) {
        match self {
            Self::User(id) => (Some(id), None),
            Self::Service(id) => (None, Some(id)),
        }
    }
}

/// Whose a token is, with all that we know of them.
#[derive(Debug, Clone)]
pub enum Owner {
    /// A user.
    User(User),
    /// A service.
    Service(Service),
}

/// A token to be created.
#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    /// The text that its holder will show; stored only as a hash.
    pub secret: &'a Secret<String>,
    /// Whose it is.
    pub owner: TokenOwner,
    /// The OAuth client that gets it.
    pub client_id: Option<&'a str>,
    /// The public id of the browser session that it belongs to.
    pub session_id: Option<&'a str>,
    /// The server that it is made for.
    pub server_id: Option<ServerId>,
    /// The scopes.
    pub scopes: &'a [String],
    /// What it is for, for people.
    pub note: &'a str,
    /// Now.
    pub created: Timestamp,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

macro_rules! token_columns {
    () => {
        "api_tokens.id AS token_id, api_tokens.user_id AS token_user_id, \
         api_tokens.service_id AS token_service_id, api_tokens.client_id AS token_client_id, \
         api_tokens.session_id AS token_session_id, api_tokens.server_id AS token_server_id, \
         api_tokens.scopes AS token_scopes, api_tokens.note AS token_note, \
         api_tokens.created AS token_created, api_tokens.last_activity AS token_last_activity, \
         api_tokens.expires_at AS token_expires_at"
    };
}

impl ApiToken {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let owner = match (row.get("token_user_id")?, row.get("token_service_id")?) {
            (Some(id), None) => TokenOwner::User(id),
            (None, Some(id)) => TokenOwner::Service(id),
            _ => {
                return Err(StoreError::corrupt(
                    "token_user_id",
                    "a token has one owner",
                ));
            }
        };
        Ok(Self {
            id: row.get("token_id")?,
            owner,
            client_id: row.get("token_client_id")?,
            session_id: row.get("token_session_id")?,
            server_id: row.get("token_server_id")?,
            scopes: row.json("token_scopes")?,
            note: row.get("token_note")?,
            created: row.get("token_created")?,
            last_activity: row.get("token_last_activity")?,
            expires_at: row.get("token_expires_at")?,
        })
    }
}

reads! {
    /// Finds the token that somebody shows, unless it has ended, with its owner.
    find_token(presented: &Secret<String>, now: Timestamp) -> Option<(ApiToken, Owner)>;
    /// Finds a token by id, ended or not.
    find_token_by_id(id: TokenId) -> Option<ApiToken>;
    /// Lists the tokens of a user or service that have not ended, the oldest first.
    tokens_of(owner: TokenOwner, now: Timestamp) -> Vec<ApiToken>;
}

async fn find_token(
    db: &mut Db<'_>,
    presented: &Secret<String>,
    now: Timestamp,
) -> Result<Option<(ApiToken, Owner)>, StoreError> {
    let Some(prefix) = token::prefix(presented.expose()) else {
        return Ok(None);
    };
    let sql = concat!(
        "SELECT api_tokens.hashed AS token_hash, ",
        token_columns!(),
        ", ",
        user_columns!(),
        ", ",
        service_columns!(),
        " FROM api_tokens LEFT JOIN users ON users.id = api_tokens.user_id \
         LEFT JOIN services ON services.id = api_tokens.service_id \
         WHERE api_tokens.prefix = $1 \
         AND (api_tokens.expires_at IS NULL OR api_tokens.expires_at > $2)"
    );
    let rows = db.all("find a token", sql, values![prefix, now]).await?;
    for row in rows {
        let hash: TokenHash = row.get("token_hash")?;
        if hash.matches(presented.expose()) {
            let token = ApiToken::read(&row)?;
            let owner = match token.owner {
                TokenOwner::User(_) => Owner::User(User::read(&row)?),
                TokenOwner::Service(_) => Owner::Service(Service::read(&row)?),
            };
            return Ok(Some((token, owner)));
        }
    }
    Ok(None)
}

async fn find_token_by_id(db: &mut Db<'_>, id: TokenId) -> Result<Option<ApiToken>, StoreError> {
    let sql = concat!(
        "SELECT ",
        token_columns!(),
        " FROM api_tokens WHERE id = $1"
    );
    let row = db.first("find a token", sql, values![id]).await?;
    row.as_ref().map(ApiToken::read).transpose()
}

async fn tokens_of(
    db: &mut Db<'_>,
    owner: TokenOwner,
    now: Timestamp,
) -> Result<Vec<ApiToken>, StoreError> {
    let (sql, id) = match owner {
        TokenOwner::User(id) => (
            concat!(
                "SELECT ",
                token_columns!(),
                " FROM api_tokens WHERE user_id = $1 \
                 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id"
            ),
            Value::from(id),
        ),
        TokenOwner::Service(id) => (
            concat!(
                "SELECT ",
                token_columns!(),
                " FROM api_tokens WHERE service_id = $1 \
                 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id"
            ),
            Value::from(id),
        ),
    };
    let rows = db.all("list tokens", sql, vec![id, now.into()]).await?;
    rows.iter().map(ApiToken::read).collect()
}

impl Tx {
    /// Stores a token; fails with [`StoreError::TokenLength`] if its text could never be found again.
    pub async fn create_token(&mut self, new: NewToken<'_>) -> Result<ApiToken, StoreError> {
        let hash = TokenHash::of(new.secret.expose());
        self.insert_token(new, &hash).await
    }

    /// Stores a token that a person has chosen, hashed so that guessing it is dear.
    pub async fn create_chosen_token(&mut self, new: NewToken<'_>) -> Result<ApiToken, StoreError> {
        let hash = TokenHash::of_chosen(new.secret.expose());
        self.insert_token(new, &hash).await
    }

    async fn insert_token(
        &mut self,
        new: NewToken<'_>,
        hash: &TokenHash,
    ) -> Result<ApiToken, StoreError> {
        let secret = new.secret.expose();
        let prefix = token::prefix(secret).ok_or(StoreError::TokenLength)?;
        let (user, service) = new.owner.columns();
        let sql = concat!(
            "INSERT INTO api_tokens (prefix, hashed, user_id, service_id, client_id, session_id, \
             server_id, scopes, note, created, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING ",
            token_columns!()
        );
        let mut all = values![
            prefix,
            hash,
            user,
            service,
            new.client_id,
            new.session_id,
            new.server_id
        ];
        all.push(Value::json(&new.scopes)?);
        all.extend(values![new.note, new.created, new.expires_at]);
        let row = self
            .db()
            .first("create a token", sql, all)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::Token, new.note))?;
        ApiToken::read(&row)
    }

    /// Deletes a token; says whether there was one.
    pub async fn delete_token(&mut self, id: TokenId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM api_tokens WHERE id = $1";
        let mut db = self.touching([Tag::Token(id)]);
        let count = db.run("delete a token", sql, values![id]).await?;
        Ok(count > 0)
    }

    /// Deletes a user's tokens of one browser session, and gives their number: a logout there.
    pub async fn delete_tokens_of_session(
        &mut self,
        user: UserId,
        session_id: &str,
    ) -> Result<u64, StoreError> {
        let sql = "DELETE FROM api_tokens WHERE user_id = $1 AND session_id = $2";
        self.touching([Tag::User(user)])
            .run(
                "delete the tokens of a session",
                sql,
                values![user, session_id],
            )
            .await
    }

    /// Deletes a user's tokens of one OAuth client, and gives their number.
    pub async fn delete_tokens_of_client(
        &mut self,
        user: UserId,
        client_id: &str,
    ) -> Result<u64, StoreError> {
        let sql = "DELETE FROM api_tokens WHERE user_id = $1 AND client_id = $2";
        self.touching([Tag::User(user)])
            .run(
                "delete the tokens of a client",
                sql,
                values![user, client_id],
            )
            .await
    }

    /// Deletes the tokens that were made for a server's own use, and gives their number.
    pub async fn delete_tokens_of_server(&mut self, server: ServerId) -> Result<u64, StoreError> {
        let sql = "DELETE FROM api_tokens WHERE server_id = $1";
        self.touching([Tag::Server(server)])
            .run("delete the tokens of a server", sql, values![server])
            .await
    }
}
