//! OAuth clients: the servers and services that log users in through the hub.

use lyceum_core::ids::{ClientId, ServerId, ServiceId};
use lyceum_core::secret::Secret;
use lyceum_core::token::TokenHash;

use crate::cache::Tag;
use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::tx::{Tx, reads};

/// An OAuth client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// The id of the row.
    pub id: ClientId,
    /// The `client_id` of the protocol.
    pub identifier: String,
    /// What it is, for the page that asks for consent.
    pub description: String,
    /// The hash of its secret; without one it cannot authenticate.
    pub secret_hash: Option<TokenHash>,
    /// Where codes are sent: a URL or an absolute path, compared exactly.
    pub redirect_uri: String,
    /// The scopes that it may ask for.
    pub allowed_scopes: Vec<String>,
    /// The server that it is, if it is one.
    pub server_id: Option<ServerId>,
    /// The service that it is, if it is one.
    pub service_id: Option<ServiceId>,
}

/// An OAuth client to be created or brought up to date.
#[derive(Debug, Clone)]
pub struct NewOAuthClient<'a> {
    /// The `client_id` of the protocol.
    pub identifier: &'a str,
    /// What it is, for the page that asks for consent.
    pub description: &'a str,
    /// Its secret, if it can authenticate; stored only as a hash.
    pub secret: Option<&'a Secret<String>>,
    /// Where codes are sent.
    pub redirect_uri: &'a str,
    /// The scopes that it may ask for.
    pub allowed_scopes: &'a [String],
    /// The server that it is, if it is one.
    pub server_id: Option<ServerId>,
    /// The service that it is, if it is one.
    pub service_id: Option<ServiceId>,
}

macro_rules! client_columns {
    () => {
        "oauth_clients.id AS client_id, oauth_clients.identifier AS client_identifier, \
         oauth_clients.description AS client_description, \
         oauth_clients.secret_hash AS client_secret_hash, \
         oauth_clients.redirect_uri AS client_redirect_uri, \
         oauth_clients.allowed_scopes AS client_allowed_scopes, \
         oauth_clients.server_id AS client_server_id, oauth_clients.service_id AS client_service_id"
    };
}

impl OAuthClient {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("client_id")?,
            identifier: row.get("client_identifier")?,
            description: row.get("client_description")?,
            secret_hash: row.get("client_secret_hash")?,
            redirect_uri: row.get("client_redirect_uri")?,
            allowed_scopes: row.json("client_allowed_scopes")?,
            server_id: row.get("client_server_id")?,
            service_id: row.get("client_service_id")?,
        })
    }

    /// Tells, in constant time, whether this is the client's secret.
    pub fn secret_matches(&self, presented: &Secret<String>) -> bool {
        self.secret_hash
            .as_ref()
            .is_some_and(|hash| hash.matches(presented.expose()))
    }
}

reads! {
    /// Finds an OAuth client by the protocol's `client_id`.
    find_oauth_client(identifier: &str) -> Option<OAuthClient>;
    /// Lists all OAuth clients, by identifier.
    list_oauth_clients() -> Vec<OAuthClient>;
}

async fn find_oauth_client(
    db: &mut Db<'_>,
    identifier: &str,
) -> Result<Option<OAuthClient>, StoreError> {
    let sql = concat!(
        "SELECT ",
        client_columns!(),
        " FROM oauth_clients WHERE identifier = $1"
    );
    let row = db
        .first("find an OAuth client", sql, values![identifier])
        .await?;
    row.as_ref().map(OAuthClient::read).transpose()
}

async fn list_oauth_clients(db: &mut Db<'_>) -> Result<Vec<OAuthClient>, StoreError> {
    let sql = concat!(
        "SELECT ",
        client_columns!(),
        " FROM oauth_clients ORDER BY identifier"
    );
    let rows = db.all("list the OAuth clients", sql, Vec::new()).await?;
    rows.iter().map(OAuthClient::read).collect()
}

impl Tx {
    /// Creates an OAuth client, or brings the one of that identifier up to date; its tokens stay.
    ///
    /// The client of a server is noted in the server's record as well.
    pub async fn upsert_oauth_client(
        &mut self,
        new: NewOAuthClient<'_>,
    ) -> Result<OAuthClient, StoreError> {
        let hash = new.secret.map(|secret| TokenHash::of(secret.expose()));
        self.store_oauth_client(new, hash.as_ref()).await
    }

    /// The same with a hash of the secret that is known already, or made in another way.
    pub async fn store_oauth_client(
        &mut self,
        new: NewOAuthClient<'_>,
        hash: Option<&TokenHash>,
    ) -> Result<OAuthClient, StoreError> {
        let sql = concat!(
            "INSERT INTO oauth_clients (identifier, description, secret_hash, redirect_uri, \
             allowed_scopes, server_id, service_id) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (identifier) DO UPDATE SET description = excluded.description, \
             secret_hash = excluded.secret_hash, redirect_uri = excluded.redirect_uri, \
             allowed_scopes = excluded.allowed_scopes, server_id = excluded.server_id, \
             service_id = excluded.service_id RETURNING ",
            client_columns!()
        );
        let mut all = values![new.identifier, new.description, hash, new.redirect_uri];
        all.push(Value::json(&new.allowed_scopes)?);
        all.extend(values![new.server_id, new.service_id]);
        let doing = "store an OAuth client";
        let row = self
            .touching([Tag::Client(new.identifier)])
            .first(doing, sql, all)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::OAuthClient, new.identifier))?;
        if let Some(server) = new.server_id {
            let sql = "UPDATE servers SET oauth_client_id = $2 WHERE id = $1";
            let all = values![server, new.identifier];
            self.touching([Tag::Server(server)])
                .run(doing, sql, all)
                .await?;
        }
        OAuthClient::read(&row)
    }

    /// Deletes the OAuth client of a server with its tokens and codes; one that belongs to another by now stays.
    pub async fn delete_oauth_client_of(
        &mut self,
        server: ServerId,
        identifier: &str,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM oauth_clients WHERE identifier = $1 AND server_id = $2";
        self.touching([Tag::Client(identifier)])
            .run(
                "delete the OAuth client of a server",
                sql,
                values![identifier, server],
            )
            .await
            .map(drop)
    }

    /// Deletes an OAuth client with its tokens and codes; says whether there was one.
    pub async fn delete_oauth_client(&mut self, identifier: &str) -> Result<bool, StoreError> {
        let sql = "DELETE FROM oauth_clients WHERE identifier = $1";
        let count = self
            .touching([Tag::Client(identifier)])
            .run("delete an OAuth client", sql, values![identifier])
            .await?;
        Ok(count > 0)
    }
}
