//! What a service is, checked: the same rules for services of the configuration and for those made by the API.
//!
//! Whether its roles and scopes are beyond what somebody may give is not asked here.

mod place;
mod url;
mod visitors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::escape;
use crate::names::ServiceName;
use crate::route::RouteSpec;
use crate::scope::Catalogue;
use crate::secret::Secret;
use crate::token;

pub use self::place::is_place;
pub use self::url::ServiceUrl;
pub use self::visitors::{Chosen, ENTRY, Visitors};

/// What the ids of services' OAuth clients begin with; no other client's id does.
pub const CLIENT_PREFIX: &str = "service-";

/// A service as somebody has written it, unchecked.
#[derive(Debug, Clone)]
pub struct ServiceDraft {
    /// The name.
    pub name: String,
    /// Whether it has the role `admin`.
    pub admin: bool,
    /// Where it listens.
    pub url: Option<String>,
    /// The program to start, with its arguments; empty if it is started by others.
    pub command: Vec<String>,
    /// The system account to start it under.
    pub user: Option<String>,
    /// The folder to start it in.
    pub cwd: Option<PathBuf>,
    /// Further variables for the program.
    pub environment: BTreeMap<String, String>,
    /// Its API token, which is its OAuth secret too.
    pub api_token: Option<Secret<String>>,
    /// The id of its OAuth client, if it is not the usual one.
    pub oauth_client_id: Option<String>,
    /// Where browsers return after a login, if that is not the usual place.
    pub oauth_redirect_uri: Option<String>,
    /// The scopes that it may ask its users for.
    pub oauth_client_allowed_scopes: Vec<String>,
    /// Whether users are not asked before it may know them.
    pub oauth_no_confirm: bool,
    /// Whether pages show it.
    pub display: bool,
    /// Free data.
    pub info: Map<String, Value>,
    /// Its part of the URL space, if that is not the usual one.
    pub place: Option<RouteSpec>,
    /// Who may come, if it logs nobody in itself.
    pub visitors: Option<Visitors>,
    /// Scheme and host in front of its paths, if it has a host of its own: `https://forum.example.org`.
    pub origin: Option<String>,
}

impl Default for ServiceDraft {
    /// A service without a name, which is shown.
    fn default() -> Self {
        Self {
            name: String::new(),
            admin: false,
            url: None,
            command: Vec::new(),
            user: None,
            cwd: None,
            environment: BTreeMap::new(),
            api_token: None,
            oauth_client_id: None,
            oauth_redirect_uri: None,
            oauth_client_allowed_scopes: Vec::new(),
            oauth_no_confirm: false,
            display: true,
            info: Map::new(),
            place: None,
            visitors: None,
            origin: None,
        }
    }
}

/// A service that can be used as it is.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// The name.
    pub name: ServiceName,
    /// Whether it has the role `admin`.
    pub admin: bool,
    /// Where it listens, if it has pages.
    pub url: Option<ServiceUrl>,
    /// What to start, if the hub starts it.
    pub process: Option<ServiceCommand>,
    /// Its API token; a managed service without one gets a fresh one at each start.
    pub api_token: Option<Secret<String>>,
    /// Its OAuth client, if it can log users in.
    pub oauth: Option<ServiceOAuth>,
    /// The scopes that it may ask its users for.
    pub allowed_scopes: Vec<String>,
    /// Whether users are not asked before it may know them.
    pub oauth_no_confirm: bool,
    /// Whether pages show it.
    pub display: bool,
    /// Free data.
    pub info: Map<String, Value>,
    /// Its part of the URL space, if that is not the usual one.
    pub place: Option<RouteSpec>,
    /// Who may come, if it logs nobody in itself: the gateway asks the hub. Any other service asks by itself.
    pub visitors: Option<Visitors>,
    /// Scheme and host in front of its paths, if it has a host of its own.
    pub origin: Option<String>,
}

/// What to start for a managed service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCommand {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// The system account; `None` for the hub's own.
    pub user: Option<String>,
    /// The folder; `None` for the hub's own.
    pub cwd: Option<PathBuf>,
    /// Further variables.
    pub environment: BTreeMap<String, String>,
}

/// The OAuth client of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOAuth {
    /// The `client_id`.
    pub client_id: String,
    /// Where codes are sent; `None` for the usual place below the service's prefix.
    pub redirect_uri: Option<String>,
}

/// Something that is wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFault {
    /// The key at fault, as in the configuration and the API.
    pub key: &'static str,
    /// The entry of the list under that key, if it is one.
    pub index: Option<usize>,
    /// What is wrong: a sentence without a full stop.
    pub message: String,
    /// What would be right.
    pub hint: &'static str,
}

impl ServiceDraft {
    /// Checks everything, and tells all that is wrong.
    pub fn check(self, catalogue: &Catalogue) -> Result<ServiceSpec, Vec<ServiceFault>> {
        let mut faults = Vec::new();
        let mut fault = |key, index, message: String, hint| {
            faults.push(ServiceFault {
                key,
                index,
                message,
                hint,
            });
        };
        let name = ServiceName::parse(&self.name)
            .map_err(|error| fault("name", None, error.to_string(), "for example `culler`"))
            .ok();
        let url = match self
            .url
            .as_deref()
            .filter(|url| !url.is_empty())
            .map(|url| match &self.visitors {
                Some(_) => ServiceUrl::parse_origin(url),
                None => ServiceUrl::parse(url),
            }) {
            Some(Ok(url)) => Some(url),
            Some(Err(reason)) => {
                let hint = "for example `http://127.0.0.1:10101` or `unix:/run/service.sock`";
                fault("url", None, reason, hint);
                None
            }
            None => None,
        };
        for (index, scope) in self.oauth_client_allowed_scopes.iter().enumerate() {
            if let Err(error) = catalogue.parse(scope) {
                let key = "oauth_client_allowed_scopes";
                fault(
                    key,
                    Some(index),
                    error.to_string(),
                    "see the list of scopes",
                );
            }
        }
        if let Some(secret) = &self.api_token
            && (token::prefix(secret.expose()).is_none() || !is_printable(secret.expose()))
        {
            fault(
                "api_token",
                None,
                format!(
                    "a token has {} to {} printable ASCII characters, and no spaces",
                    token::MIN_TOKEN_CHARS,
                    token::MAX_TOKEN_CHARS
                ),
                "make one: `openssl rand -hex 32`",
            );
        }
        if self.command.first().is_some_and(String::is_empty) {
            let hint = "for example `[\"python3\", \"-m\", \"jupyterhub_idle_culler\"]`";
            fault(
                "command",
                Some(0),
                "the program has no name".to_owned(),
                hint,
            );
        }
        for (key, is_set) in [
            ("user", self.user.is_some()),
            ("cwd", self.cwd.is_some()),
            ("environment", !self.environment.is_empty()),
        ] {
            if is_set && self.command.is_empty() {
                let message = format!(
                    "`{key}` is for services that the hub starts, and this one has no `command`"
                );
                fault(key, None, message, "add a `command`, or leave it out");
            }
        }
        if self.cwd.as_deref().is_some_and(|cwd| !cwd.is_absolute()) {
            fault(
                "cwd",
                None,
                "it is not a whole path".to_owned(),
                "begin it with a slash",
            );
        }
        if self.command.iter().any(|part| part.contains('\0')) {
            fault(
                "command",
                None,
                "it contains a zero byte".to_owned(),
                "leave it out",
            );
        }
        if self.environment.iter().any(|(name, value)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        }) {
            let message = "a variable's name is empty or contains `=`, or one contains a zero byte";
            fault(
                "environment",
                None,
                message.to_owned(),
                "for example `{ NAME = \"value\" }`",
            );
        }
        let oauth = self.oauth(url.is_some(), &mut fault);
        match (name, faults.is_empty()) {
            (Some(name), true) => Ok(ServiceSpec {
                name,
                admin: self.admin,
                url,
                process: (!self.command.is_empty()).then_some(ServiceCommand {
                    command: self.command,
                    user: self.user.filter(|user| !user.is_empty()),
                    cwd: self.cwd.filter(|cwd| cwd != Path::new("")),
                    environment: self.environment,
                }),
                api_token: self.api_token,
                oauth,
                allowed_scopes: self.oauth_client_allowed_scopes,
                oauth_no_confirm: self.oauth_no_confirm || self.visitors.is_some(),
                display: self.display,
                info: self.info,
                place: self.place,
                visitors: self.visitors,
                origin: self.origin,
            }),
            _ => Err(faults),
        }
    }

    /// The OAuth client: for a service with pages, or with anything said about OAuth.
    fn oauth(
        &self,
        has_url: bool,
        fault: &mut impl FnMut(&'static str, Option<usize>, String, &'static str),
    ) -> Option<ServiceOAuth> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (client_id, redirect_uri) = (
            given(&self.oauth_client_id),
            given(&self.oauth_redirect_uri),
        );
        if let Some(client_id) = &client_id
            && !(client_id.starts_with(CLIENT_PREFIX) && is_printable(client_id))
        {
            let message = format!("the id of a service's client begins with `{CLIENT_PREFIX}`");
            fault(
                "oauth_client_id",
                None,
                message,
                "for example `service-forum`",
            );
        }
        if let Some(uri) = &redirect_uri
            && !is_redirect_uri(uri)
        {
            let message = "it is neither a web address nor a path".to_owned();
            let hint = "for example `https://forum.example.org/oauth_callback`";
            fault("oauth_redirect_uri", None, message, hint);
        }
        if let Some(visitors) = &self.visitors {
            // The gateway logs people in: nobody else knows the secret of this client.
            return visitors.need_login().then(|| ServiceOAuth {
                client_id: format!("{CLIENT_PREFIX}{}", escape::client_id(&self.name)),
                redirect_uri: None,
            });
        }
        let key = match (&client_id, self.oauth_no_confirm) {
            (Some(_), _) => Some("oauth_client_id"),
            (None, true) => Some("oauth_no_confirm"),
            (None, false) => None,
        };
        match key {
            _ if has_url || redirect_uri.is_some() => {}
            None => return None,
            // With a `url` that cannot be used, enough is said.
            Some(_) if given(&self.url).is_some() => {}
            Some(key) => {
                let message = "users cannot log in without a place to return to".to_owned();
                fault(key, None, message, "add `oauth_redirect_uri`, or a `url`");
            }
        }
        Some(ServiceOAuth {
            client_id: client_id
                .unwrap_or_else(|| format!("{CLIENT_PREFIX}{}", escape::client_id(&self.name))),
            redirect_uri,
        })
    }
}

/// Whether a text can stand in a header and in a URL's query.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_redirect_uri(uri: &str) -> bool {
    let rooted = ["http://", "https://"].iter().any(|scheme| {
        uri.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    let path = uri.starts_with('/') && !uri.starts_with("//");
    (rooted || path) && is_printable(uri) && !uri.contains(['#', '\\'])
}

/// The URL path below which a service answers, escaped, with slashes at both ends.
pub fn prefix(base_url: &str, name: &ServiceName) -> String {
    format!(
        "{base_url}services/{}/",
        escape::path_segment(name.as_str())
    )
}

/// The route of a service.
pub fn route(base_url: &str, name: &ServiceName) -> RouteSpec {
    RouteSpec::path(&format!("{base_url}services/{name}/"))
}

impl ServiceSpec {
    /// Where codes are sent.
    pub fn redirect_uri(&self, base_url: &str) -> Option<String> {
        let oauth = self.oauth.as_ref()?;
        Some(oauth.redirect_uri.clone().unwrap_or_else(|| {
            let last = match self.visitors {
                Some(_) => ENTRY,
                None => "oauth_callback",
            };
            format!("{}{last}", self.address(base_url))
        }))
    }

    /// Its part of the URL space.
    pub fn route(&self, base_url: &str) -> RouteSpec {
        self.place
            .clone()
            .unwrap_or_else(|| route(base_url, &self.name))
    }

    /// The URL path below which it answers, escaped, with slashes at both ends.
    pub fn prefix(&self, base_url: &str) -> String {
        match &self.place {
            // Places have no characters that need an escape.
            Some(place) => place.path_prefix().to_owned(),
            None => prefix(base_url, &self.name),
        }
    }

    /// The same for a link: with scheme and host if it has a host of its own.
    pub fn address(&self, base_url: &str) -> String {
        let origin = self.origin.as_deref().unwrap_or_default();
        format!("{origin}{}", self.prefix(base_url))
    }
}

#[cfg(test)]
mod tests;
