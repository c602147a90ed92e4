//! Where to go next: the `next` of a request if it stays on this site, else the usual place.

use http::request::Parts;
use lyceum_core::next_url::safe_next;
use lyceum_core::{ServerName, ServerRef};
use lyceum_hub::Session;

use crate::client::Client;
use crate::{Web, caller};

/// Gives the first value of a query parameter, decoded.
pub(crate) fn query(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Gives `next` of the query if it leads to a path of this site; anything else counts as absent.
pub(crate) fn safe(web: &Web, parts: &Parts, raw: Option<&str>) -> Option<String> {
    let from_query = query(parts, "next");
    let raw = raw
        .map(str::to_owned)
        .or(from_query)
        .filter(|next| !next.is_empty())?;
    let client = Client::of(parts);
    let public = web
        .hub()
        .settings()
        .public_url
        .as_deref()
        .and_then(|url| url.split_once("://"))
        .map(|(_, host)| host);
    let hosts: Vec<&str> = [Some(client.host.as_str()), public]
        .into_iter()
        .flatten()
        .filter(|h| !h.is_empty())
        .collect();
    let next = safe_next(&raw, &hosts);
    if next.is_none() {
        tracing::warn!("ignored a `next` that leads away from this site");
    }
    next
}

/// Where somebody goes who asked for nothing in particular (JupyterHub `get_next_url`): the configured place,
/// or their server, or the home page. The query of the request goes along.
pub(crate) fn default_place(web: &Web, parts: &Parts, caller: Option<&Session>) -> String {
    let settings = web.hub().settings();
    let place = match (&settings.default_url, caller) {
        (Some(url), _) => url.clone(),
        (None, Some(session)) if settings.redirect_to_server => {
            let server = ServerRef::new(session.user.name.clone(), ServerName::default_server());
            if web.hub().is_active(&server) {
                server.url_path(&settings.base_url)
            } else {
                format!("{}spawn", web.hub_url())
            }
        }
        _ => format!("{}home", web.hub_url()),
    };
    with_query(&place, parts)
}

/// The server of somebody's that a link means which names none (JupyterHub `default_server_name`).
pub(crate) fn usual_server(web: &Web, session: &Session) -> ServerRef {
    let settings = web.hub().settings();
    let named = settings
        .servers
        .default_name
        .clone()
        .filter(|_| settings.allow_named_servers);
    ServerRef::new(session.user.name.clone(), named.unwrap_or_default())
}

/// Appends the query of the request, without what is the hub's own.
pub(crate) fn with_query(place: &str, parts: &Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| !matches!(pair.split('=').next(), Some("next" | "_xsrf")))
        .collect();
    if kept.is_empty() {
        return place.to_owned();
    }
    let separator = if place.contains('?') { '&' } else { '?' };
    format!("{place}{separator}{}", kept.join("&"))
}

/// The path and query that the browser asked for.
pub(crate) fn here(parts: &Parts) -> &str {
    caller::target(parts)
}
