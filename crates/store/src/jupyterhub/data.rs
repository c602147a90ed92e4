//! What is in a database of JupyterHub's, as plain data. Ids are those of its rows, names are not checked.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::revision::Revision;

/// All that is read from a database of JupyterHub's.
#[derive(Debug, Clone)]
pub struct Database {
    /// Which JupyterHub made it.
    pub revision: &'static Revision,
    /// The users.
    pub users: Vec<User>,
    /// The groups.
    pub groups: Vec<Group>,
    /// The roles, with those that every JupyterHub has.
    pub roles: Vec<Role>,
    /// The services, configured ones and those made by the API.
    pub services: Vec<Service>,
    /// The users' servers.
    pub servers: Vec<Server>,
    /// The OAuth clients.
    pub clients: Vec<OAuthClient>,
    /// The API tokens.
    pub tokens: Vec<Token>,
    /// The shares of servers.
    pub shares: Vec<Share>,
    /// The codes for shares.
    pub share_codes: Vec<ShareCode>,
    /// How many OAuth codes there are; they live for minutes.
    pub oauth_codes: u64,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The id of the row.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Whether the user is an administrator.
    pub admin: bool,
    /// When the user was created, if that is known.
    pub created: Option<Timestamp>,
    /// When the user was last seen, if ever.
    pub last_activity: Option<Timestamp>,
    /// What clients may know of the user.
    pub user_info: Option<Map<String, Json>>,
    /// The encrypted state of the authenticator.
    pub auth_state: Option<Vec<u8>>,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// The id of the row.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The properties.
    pub properties: Map<String, Json>,
    /// The ids of its users.
    pub users: Vec<i64>,
}

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its scopes, not expanded.
    pub scopes: Vec<String>,
    /// Whether the authenticator made it.
    pub managed_by_auth: bool,
    /// The ids of the users who hold it.
    pub users: Vec<i64>,
    /// The ids of the groups that hold it.
    pub groups: Vec<i64>,
    /// The ids of the services that hold it.
    pub services: Vec<i64>,
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// The id of the row.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Whether it is an administrator.
    pub admin: bool,
    /// Where it answers.
    pub url: Option<String>,
    /// The scopes that it may ask its users for.
    pub allowed_scopes: Vec<String>,
    /// Free data.
    pub info: Map<String, Json>,
    /// Whether pages show it.
    pub display: bool,
    /// Whether users are not asked before it may know them.
    pub oauth_no_confirm: bool,
    /// The program that JupyterHub starts for it.
    pub command: Vec<String>,
    /// The folder in which it is started.
    pub cwd: Option<String>,
    /// The names of its variables; their values may be secret and are not read.
    pub environment: Vec<String>,
    /// The system account under which it is started.
    pub user: Option<String>,
    /// Whether it comes from the configuration.
    pub from_config: bool,
    /// The identifier of its OAuth client.
    pub client_id: Option<String>,
}

/// A user's server, running or not.
#[derive(Debug, Clone)]
pub struct Server {
    /// The id of the row.
    pub id: i64,
    /// The id of its user.
    pub user: i64,
    /// The name; empty for the default server.
    pub name: String,
    /// What pages call it.
    pub display_name: Option<String>,
    /// Whether it runs, as far as the database knows.
    pub running: bool,
    /// When it was started, if it runs.
    pub started: Option<Timestamp>,
    /// When it was last used.
    pub last_activity: Option<Timestamp>,
    /// The options of the last start.
    pub user_options: Option<Map<String, Json>>,
}

/// An OAuth client.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    /// The `client_id`.
    pub identifier: String,
    /// What it is.
    pub description: String,
    /// The hash of its secret; empty without one.
    pub secret: String,
    /// Where codes are sent.
    pub redirect_uri: String,
    /// The scopes that it may ask for.
    pub allowed_scopes: Vec<String>,
}

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOwner {
    /// The user with this id.
    User(i64),
    /// The service with this id.
    Service(i64),
}

/// An API token.
#[derive(Debug, Clone)]
pub struct Token {
    /// The id of the row.
    pub id: i64,
    /// Whose it is; `None` if the row does not say.
    pub owner: Option<TokenOwner>,
    /// Its hash, `algorithm:rounds:salt:hex`.
    pub hashed: String,
    /// Its first characters.
    pub prefix: String,
    /// The OAuth client that got it; `jupyterhub` is the hub itself.
    pub client_id: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_activity: Option<Timestamp>,
    /// What it is for.
    pub note: String,
    /// Its scopes, not expanded.
    pub scopes: Vec<String>,
}

/// With whom a server is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareReceiver {
    /// The user with this id.
    User(i64),
    /// The group with this id.
    Group(i64),
}

/// A shared server.
#[derive(Debug, Clone)]
pub struct Share {
    /// The id of the row.
    pub id: i64,
    /// The id of the server.
    pub server: i64,
    /// With whom; `None` if the row does not say.
    pub with: Option<ShareReceiver>,
    /// What they may do, with the filter for the server.
    pub scopes: Vec<String>,
    /// Since when.
    pub created: Option<Timestamp>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// A code that can be exchanged for a share.
#[derive(Debug, Clone)]
pub struct ShareCode {
    /// The id of the row.
    pub id: i64,
    /// The id of the server.
    pub server: i64,
    /// Its hash, as that of a token.
    pub hashed: String,
    /// Its first characters.
    pub prefix: String,
    /// What the share will permit, with the filter for the server.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// How often it was exchanged.
    pub exchange_count: u64,
    /// When it was exchanged last.
    pub last_exchanged_at: Option<Timestamp>,
}
