//! `[[services]]`: programs beside the users' servers that ask the hub about users, or act on it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lyceum_core::{HumanDuration, HumanSize, Secret};
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sites::{ServiceAccess, ServiceKind};

/// What an example of a key needs beside it.
const GENERIC: &str = "kind = \"generic\"\nurl = \"http://127.0.0.1:8501\"";

/// A service: a program beside the users' servers that asks the hub about users, or acts on it. One with a `command`
/// is started by Lyceum and started again when it ends; any other is started by you. Entries of all files are taken
/// together, so that a service can have a file of its own in `lyceum.d`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct ServiceConfig {
    /// Its name. If it has pages, they are at `/services/NAME/`, unless `prefix` says otherwise.
    #[schemars(example = &"forum")]
    pub name: String,

    /// What it is. Without a kind, it is made for JupyterHub: browsers reach it at once, and it logs them in by the hub.
    /// A service of any other kind knows nothing of logins. Lyceum lets in whom `access` allows, and tells the program
    /// who it is, by headers that nobody else can send.
    #[schemars(extend("x-with" = "url = \"http://127.0.0.1:3838\""), example = ServiceKind::Shiny)]
    pub kind: ServiceKind,

    /// Where it listens, if it has pages: `http://HOST:PORT`, or `unix:/PATH` for a socket. With a `kind`, `https://`
    /// too. A path in the URL plays no part: requests keep theirs.
    #[schemars(example = "http://127.0.0.1:10101")]
    pub url: Option<String>,

    /// The path at which browsers find it, with a slash at both ends, if not `/services/NAME/`. With a `kind`, it can
    /// have a host of its own before the path, such as `stats.example.org/`. It does not lie below `hub.base_url` by
    /// itself.
    #[schemars(extend("x-with" = "url = \"http://127.0.0.1:10101\""), example = "/forum/")]
    pub prefix: Option<String>,

    /// Who may come: `"public"`, `"users"` (whoever can log in), or a table of `users`, `groups` and `roles`, of which one
    /// has to match, and of `networks`, from which people have to come. Administrators may come in any case, and whoever
    /// holds the scope `access:services!service=NAME`. If it is not set, `"users"`. Needs a `kind`, as others ask
    /// themselves.
    #[schemars(extend("x-with" = GENERIC), example = serde_json::json!({"groups": ["class"], "networks": ["10.0.0.0/8"]}))]
    pub access: Option<ServiceAccess>,

    /// Whether the prefix is taken from the path of each request, so that the program believes to be at `/`. If it is
    /// not set, it is for the kinds `rstudio` and `shiny`. A program that can be told its prefix works better without.
    #[schemars(extend("x-with" = GENERIC), example = true)]
    pub strip_prefix: Option<bool>,

    /// Whether addresses and paths of cookies in the heads of answers are made right for browsers (`Location`,
    /// `Content-Location`, `Refresh`, `Set-Cookie`). If it is not set, they are if the prefix is taken away.
    #[schemars(extend("x-with" = GENERIC), example = true)]
    pub rewrite: Option<bool>,

    /// The folder whose files are shown, with the kind `static`.
    #[schemars(extend("format" = "path"))]
    pub folder: Option<PathBuf>,

    /// Where browsers are sent, with the kind `redirect`: a web address or a path. If it ends with a slash, what follows
    /// the prefix is appended.
    #[schemars(extend("x-with" = "kind = \"redirect\""), example = "https://docs.example.org/")]
    pub redirect_to: Option<String>,

    /// The status with which they are sent: 302 or 307 for now, 301 or 308 for ever, as browsers remember it. If it is not
    /// set, 302.
    #[schemars(
        extend("x-with" = "kind = \"redirect\"\nredirect_to = \"https://docs.example.org/\""),
        range(min = 301, max = 308),
        example = 308
    )]
    pub redirect_status: Option<u16>,

    /// The largest body of a request, such as an upload; larger ones are answered with status 413. If it is not set, any
    /// size will do.
    #[schemars(extend("x-with" = GENERIC))]
    pub max_body: Option<HumanSize>,

    /// How long to wait for the program to accept a connection, if not `gateway.connect_timeout`.
    #[schemars(extend("x-with" = GENERIC))]
    pub connect_timeout: Option<HumanDuration>,

    /// How long to wait for the program when it sends nothing of its answer. If it is not set, for ever.
    #[schemars(extend("x-with" = GENERIC))]
    pub response_timeout: Option<HumanDuration>,

    /// How long a WebSocket may be silent before it is closed. If it is not set, for ever.
    #[schemars(extend("x-with" = GENERIC))]
    pub tunnel_timeout: Option<HumanDuration>,

    /// Headers that the program gets with each request, in place of any of the same name.
    #[schemars(extend("x-with" = GENERIC), example = BTreeMap::from([("X-Course", "statistics")]))]
    pub request_headers: BTreeMap<String, String>,

    /// Headers that browsers get with each answer, in place of any of the same name.
    #[schemars(extend("x-with" = GENERIC), example = BTreeMap::from([("X-Frame-Options", "DENY")]))]
    pub response_headers: BTreeMap<String, String>,

    /// Closes the service: what is said to whoever comes, with status 503.
    #[schemars(extend("x-with" = GENERIC), example = "We are moving to a larger machine. Back at noon.")]
    pub maintenance: Option<String>,

    /// Whether it is only for visitors whose browser shows a certificate that `tls.client_ca_file` vouches for; others are
    /// refused before any login. The service is told whose it is, in `X-Lyceum-Client-Cert-Subject` and
    /// `X-Lyceum-Client-Cert-Sha256`, which nobody else can send. Needs a `kind`.
    pub client_certificate: bool,

    /// The program that Lyceum starts for it, and its arguments. It is started again whenever it ends. Never write a
    /// secret here: everybody on the machine can list them. What the program needs comes in its environment, as
    /// JupyterHub's services know it (`JUPYTERHUB_API_TOKEN` and so on).
    #[schemars(example = ["python3", "-m", "jupyterhub_idle_culler", "--timeout=3600"])]
    pub command: Vec<String>,

    /// The account of this machine under which the program runs, if not Lyceum's own. Only root can use another.
    pub user: Option<String>,

    /// The folder in which the program starts, if not Lyceum's own.
    #[schemars(extend("format" = "path"))]
    pub cwd: Option<PathBuf>,

    /// Environment variables for the program, over those that Lyceum sets.
    pub environment: BTreeMap<String, String>,

    /// A file with the service's API token in its first line, 8 to 64 characters; nobody else may be able to read the
    /// file. The token is also the secret of the service's OAuth client. A service with a `command` needs none: it
    /// gets a fresh one at each start.
    #[schemars(example = "/etc/lyceum/forum-token")]
    pub api_token_file: Option<PathBuf>,

    /// The API token itself. Better is `api_token_file`, as whoever reads the configuration reads the token too.
    pub api_token: Option<SecretText>,

    /// Gives the service the role `admin`. Better is `scopes`, with no more than what it needs.
    #[schemars(example = true)]
    pub admin: bool,

    /// What the service may do: the scopes of a role of its own. Roles that are shared stand in `[[roles]]`.
    #[schemars(example = ["list:users", "read:users:activity", "read:servers", "delete:servers"])]
    pub scopes: Vec<String>,

    /// The id of its OAuth client, which begins with `service-`. If it is not set, `service-NAME`.
    pub oauth_client_id: Option<String>,

    /// Where browsers return after a login, if not at `/services/NAME/oauth_callback`: needed for a service that
    /// browsers reach elsewhere.
    #[schemars(example = "https://forum.example.org/oauth_callback")]
    pub oauth_redirect_uri: Option<String>,

    /// The scopes that the service may use for whoever logs in to it. Without any, it learns who they are and in
    /// which groups.
    #[schemars(example = ["read:servers!user"])]
    pub oauth_client_allowed_scopes: Vec<String>,

    /// Logs users in without asking them first whether the service may know them.
    pub oauth_no_confirm: bool,

    /// Whether the pages of the hub show a link to it.
    #[schemars(example = false)]
    pub display: bool,

    /// Anything that programs may want to know of it; the API tells it.
    #[schemars(example = serde_json::json!({"contact": "ada@example.org"}))]
    pub info: serde_json::Map<String, serde_json::Value>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: ServiceKind::default(),
            url: None,
            prefix: None,
            access: None,
            strip_prefix: None,
            rewrite: None,
            folder: None,
            redirect_to: None,
            redirect_status: None,
            max_body: None,
            connect_timeout: None,
            response_timeout: None,
            tunnel_timeout: None,
            request_headers: BTreeMap::new(),
            response_headers: BTreeMap::new(),
            maintenance: None,
            client_certificate: false,
            command: Vec::new(),
            user: None,
            cwd: None,
            environment: BTreeMap::new(),
            api_token_file: None,
            api_token: None,
            admin: false,
            scopes: Vec::new(),
            oauth_client_id: None,
            oauth_redirect_uri: None,
            oauth_client_allowed_scopes: Vec::new(),
            oauth_no_confirm: false,
            display: true,
            info: serde_json::Map::new(),
        }
    }
}

/// A secret that stands in the configuration; never written out again.
#[derive(Debug, Clone)]
pub struct SecretText(pub Secret<String>);

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Secret::new(String::deserialize(deserializer)?)))
    }
}

impl JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretText".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}
