//! `[hub]`: the hub's place in the URL, its folders, and how long things may take.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lyceum_core::duration::HumanDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hub: its place in the URL, its folders, how long things may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HubConfig {
    /// The path below which everything is served. It begins and ends with a slash.
    #[schemars(example = "/jupyter/")]
    pub base_url: String,

    /// Scheme and host under which browsers reach this server, such as `https://jupyter.example.org`. Needed when
    /// another proxy stands in front; otherwise it follows from each request.
    #[schemars(example = "https://jupyter.example.org")]
    pub public_url: Option<String>,

    /// The folder for what must be kept: database, generated secrets, logs of servers. Back up this one.
    #[schemars(example = "/srv/lyceum/data", extend("format" = "path"))]
    pub data_dir: PathBuf,

    /// The folder for sockets, which may be emptied at boot.
    #[schemars(example = "/srv/lyceum/run", extend("format" = "path"))]
    pub runtime_dir: PathBuf,

    /// The address at which users' servers reach the hub's API. It answers nothing but API calls with a token. Port 0
    /// lets the system choose. It must be one of this machine's own (loopback) addresses, unless `internal_tls` is on.
    #[schemars(example = "127.0.0.1:8081", extend("format" = "socket-address"))]
    pub api_listen: SocketAddr,

    /// The name or address by which users' servers find the hub's API, without a port, if it is not the one of
    /// `api_listen`. Needed where `api_listen` stands for every address of this machine.
    #[schemars(extend("x-with" = "internal_tls = true"), example = "hub.example.org")]
    pub api_connect: Option<String>,

    /// Whether Lyceum and users' servers speak TLS with each other, each with a certificate that Lyceum makes: for
    /// servers on other hosts, over a network that others can listen to. `jupyterhub-singleuser` can do it as it is;
    /// another `command` has to take the variables `JUPYTERHUB_SSL_KEYFILE`, `JUPYTERHUB_SSL_CERTFILE` and
    /// `JUPYTERHUB_SSL_CLIENT_CA`. `api_listen` then speaks https, and only with servers that show their
    /// certificate; so programs of users that call the API there need the three files as well. Servers of the spawner
    /// `process` listen on a port in place of a Unix socket, and their traffic costs some processor time. Services
    /// that Lyceum starts reach the API on this machine by plain http, as before. Stop all users' servers before
    /// changing it, and back up `internal-tls` in `data_dir`: servers that run know no other hub.
    #[schemars(example = true)]
    pub internal_tls: bool,

    /// How long a login lasts. After that, people log in again; their servers go on running.
    #[schemars(example = "7 days")]
    pub cookie_max_age: HumanDuration,

    /// How long a browser may use a server before it asks the hub again, without the user's noticing.
    /// If it is not set, as long as a login lasts.
    #[schemars(example = "1 day")]
    pub oauth_token_lifetime: Option<HumanDuration>,

    /// Whether servers and services that log people in must prove, by PKCE, that they are who asked. Servers of
    /// JupyterHub 6 do; older ones, and some services, cannot.
    #[schemars(example = true)]
    pub oauth_require_pkce: bool,

    /// How long an API token may last at most. Tokens that are asked for without an end then last as long; those
    /// that exist already keep their end. If it is not set, tokens may last for ever.
    #[schemars(example = "365 days")]
    pub token_lifetime_limit: Option<HumanDuration>,

    /// How long it may take to start the process of a user's server.
    #[schemars(example = "2 min")]
    pub start_timeout: HumanDuration,

    /// How long a user's server may take from the start of its process to its first answer.
    #[schemars(example = "1 min")]
    pub http_timeout: HumanDuration,

    /// How long stopping a user's server may take in all, before it is tried again.
    #[schemars(example = "2 min")]
    pub stop_timeout: HumanDuration,

    /// How long an API request to start a server waits for the result before it answers "still starting" (202).
    #[schemars(example = "5s")]
    pub slow_spawn_timeout: HumanDuration,

    /// How long an API request to stop a server waits for the result before it answers "still stopping" (202).
    #[schemars(example = "5s")]
    pub slow_stop_timeout: HumanDuration,

    /// Where a login leads if nothing else was asked for: a path on this hub, beginning with a slash.
    /// If it is not set, to the user's server, or to the home page.
    #[schemars(example = "/hub/home")]
    pub default_url: Option<String>,

    /// Whether a login leads straight to the user's own server (`true`) or to the home page (`false`).
    #[schemars(example = false)]
    pub redirect_to_server: bool,

    /// Whether a user may have further servers beside the default one, each with its own name: `true` for as many
    /// as they like, or a number, the most that each user may have.
    #[schemars(example = 3)]
    pub named_servers: NamedServers,

    /// How many servers may be starting at the same time; who comes then is asked to try again in a moment.
    /// 0 for any number.
    #[schemars(example = 10)]
    pub concurrent_spawn_limit: u32,

    /// How many servers may run at the same time. 0 for any number.
    #[schemars(example = 50)]
    pub active_server_limit: u32,

    /// How many items a page of a list in the REST API has, if the client asks for pages and does not say how long.
    #[schemars(example = 100)]
    pub api_page_default_limit: u32,

    /// How many items a page of a list in the REST API has at most. Clients that do not ask for pages get this
    /// many and no more.
    #[schemars(example = 1000)]
    pub api_page_max_limit: u32,

    /// What the token of a user's server may do, as far as the user may. If it is not set, what the role `server`
    /// says: report activity, and let people in.
    #[schemars(example = ["users:activity!user", "access:servers!server", "list:services"])]
    pub server_token_scopes: Option<Vec<String>>,

    /// The scopes that a user's server may use for whoever opens it in a browser, as far as they have them.
    #[schemars(example = ["read:servers!user"])]
    pub oauth_client_allowed_scopes: Vec<String>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            base_url: "/".to_owned(),
            public_url: None,
            data_dir: PathBuf::from("/var/lib/lyceum"),
            runtime_dir: PathBuf::from("/run/lyceum"),
            api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            api_connect: None,
            internal_tls: false,
            cookie_max_age: HumanDuration::from_secs(14 * 24 * 3600),
            oauth_token_lifetime: None,
            oauth_require_pkce: false,
            token_lifetime_limit: None,
            start_timeout: HumanDuration::from_secs(60),
            http_timeout: HumanDuration::from_secs(30),
            stop_timeout: HumanDuration::from_secs(75),
            slow_spawn_timeout: HumanDuration::from_secs(10),
            slow_stop_timeout: HumanDuration::from_secs(10),
            default_url: None,
            redirect_to_server: true,
            named_servers: NamedServers::Off,
            concurrent_spawn_limit: 100,
            active_server_limit: 0,
            api_page_default_limit: 50,
            api_page_max_limit: 200,
            server_token_scopes: None,
            oauth_client_allowed_scopes: Vec::new(),
        }
    }
}

impl HubConfig {
    /// How long an OAuth access token lasts: its own setting, or as long as a login.
    pub fn effective_oauth_token_lifetime(&self) -> HumanDuration {
        self.oauth_token_lifetime.unwrap_or(self.cookie_max_age)
    }
}

/// Whether users may have named servers, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedServers {
    /// Only the default server.
    Off,
    /// As many as they like.
    Unlimited,
    /// At most this many for each user.
    UpTo(u32),
}

impl NamedServers {
    /// Whether there can be named servers at all.
    pub fn allowed(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// The most that one user may have; 0 for any number (JupyterHub `named_server_limit_per_user`).
    pub fn limit(self) -> u32 {
        match self {
            Self::UpTo(count) => count,
            Self::Off | Self::Unlimited => 0,
        }
    }
}

impl Serialize for NamedServers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Unlimited => serializer.serialize_bool(true),
            Self::UpTo(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for NamedServers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = NamedServers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or the most that each user may have")
            }

            fn visit_bool<E: de::Error>(self, allowed: bool) -> Result<NamedServers, E> {
                Ok(if allowed {
                    NamedServers::Unlimited
                } else {
                    NamedServers::Off
                })
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<NamedServers, E> {
                match u32::try_from(count) {
                    Ok(0) => Ok(NamedServers::Off),
                    Ok(count) => Ok(NamedServers::UpTo(count)),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<NamedServers, E> {
                let count = i64::try_from(count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(count), &self))?;
                self.visit_i64(count)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for NamedServers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NamedServers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            ],
        })
    }
}
