//! The table of routes of a proxy that runs elsewhere, changed and read over its REST API.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use lyceum_core::seams::{Routes, RoutesError};
use lyceum_core::{Route, RouteSpec, RouteStatus, Secret, Upstream, escape};
use lyceum_gateway::HttpClient;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::errors::chain;
use crate::target::Target;

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long a change is tried again while the proxy does not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause before another try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many requests are sent at the same time.
const AT_ONCE: usize = 10;
/// The longest list of routes: about a hundred thousand.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// What marks a route as a hub's (JupyterHub `ConfigurableHTTPProxy.add_route`).
const MARK: &str = "jupyterhub";

/// A proxy that runs elsewhere: [`Routes`] for a hub without a gateway table of its own.
pub struct ExternalProxy {
    client: HttpClient,
    api: Target,
    authorization: Option<HeaderValue>,
    /// The route to the hub itself.
    hub: Route,
    requests: Semaphore,
    patience: Duration,
    /// Since when the proxy has not answered: then changes are not tried for long.
    silent: Mutex<Option<Instant>>,
}

impl ExternalProxy {
    /// A proxy whose API is at `api`, with the route that leads to the hub, which is kept there as well.
    pub fn new(
        client: HttpClient,
        api: Target,
        token: Option<&Secret<String>>,
        hub: Route,
    ) -> Self {
        let authorization = token.and_then(|token| {
            let mut value = HeaderValue::try_from(format!("token {}", token.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            client,
            api,
            authorization,
            hub,
            requests: Semaphore::new(AT_ONCE),
            patience: PATIENCE,
            silent: Mutex::new(None),
        }
    }

    /// Tells whether the proxy has the route to the hub; without it, it has started anew.
    pub async fn has_hub_route(&self) -> Result<bool, RoutesError> {
        // One slash would be the question for all routes.
        let path = match path_of(&self.hub.spec) {
            path if path == "/" => "//".to_owned(),
            path => path,
        };
        let answer = self.ask(Method::GET, &path, Bytes::new()).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(false),
            StatusCode::OK => {}
            _ => return Err(unexpected("the question for the route to the hub", &answer)),
        }
        let data = serde_json::from_slice::<Map<String, Value>>(answer.body()).ok();
        let status = data.and_then(|data| read(&self.hub.spec.to_string(), data));
        Ok(status.is_some_and(|status| status.route.target == self.hub.target))
    }

    /// Puts the route to the hub. Better after those of servers: with it, whoever comes is told that there are none.
    pub async fn put_hub_route(&self) -> Result<(), RoutesError> {
        self.post(&self.hub).await
    }

    async fn post(&self, route: &Route) -> Result<(), RoutesError> {
        let mut data = route.data.clone();
        let target = format!("{}{}", route.target, route.target_path);
        data.insert("target".to_owned(), Value::String(target));
        data.insert(MARK.to_owned(), Value::Bool(true));
        let body = Bytes::from(Value::Object(data).to_string());
        let answer = self.ask(Method::POST, &path_of(&route.spec), body).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(unexpected(&format!("the route {}", route.spec), &answer)),
        }
    }

    /// Asks, again and again for a while if the proxy cannot be reached or fails.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, RoutesError> {
        let begun = Instant::now();
        let patience = match *self.silent.lock().unwrap_or_else(PoisonError::into_inner) {
            // Whoever comes next need not wait as long as the first.
            Some(_) => Duration::ZERO,
            None => self.patience,
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.ask_once(method.clone(), path, body.clone()).await {
                Ok(answer) if !answer.status().is_server_error() => {
                    self.heard();
                    return Ok(answer);
                }
                Ok(answer) => format!("it answered with status {}", answer.status()),
                Err(reason) => reason,
            };
            if begun.elapsed() >= patience {
                self.not_heard(&reason);
                return Err(RoutesError(format!(
                    "the proxy's API at {} cannot be used: {reason}",
                    self.api.upstream
                )));
            }
            tracing::debug!("asking the proxy again, as {reason}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask_once(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/routes{path}", self.api.path));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|error| error.to_string())?;
        let _one_of_few = self
            .requests
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        self.client
            .call(&self.api.upstream, request, REQUEST_LIMIT, LONGEST_ANSWER)
            .await
            .map_err(|error| chain(&error))
    }

    fn heard(&self) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = silent.take() {
            tracing::info!("the proxy answers again, after {:.0?}", since.elapsed());
        }
    }

    fn not_heard(&self, reason: &str) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent.is_none() {
            *silent = Some(Instant::now());
            tracing::error!(
                "the proxy's API at {} does not answer: {reason}",
                self.api.upstream
            );
        }
    }
}

#[async_trait]
impl Routes for ExternalProxy {
    async fn put(&self, route: Route) -> Result<(), RoutesError> {
        self.post(&route).await
    }

    async fn remove(&self, spec: &RouteSpec) -> Result<(), RoutesError> {
        let answer = self
            .ask(Method::DELETE, &path_of(spec), Bytes::new())
            .await?;
        match answer.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(unexpected(&format!("the end of the route {spec}"), &answer)),
        }
    }

    /// Lists the routes that a hub has put, other than the one to itself.
    async fn list(&self) -> Result<Vec<RouteStatus>, RoutesError> {
        let answer = self.ask(Method::GET, "", Bytes::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(unexpected("the question for its routes", &answer));
        }
        let all: BTreeMap<String, Map<String, Value>> = serde_json::from_slice(answer.body())
            .map_err(|error| {
                RoutesError(format!("the proxy's list of routes is garbled: {error}"))
            })?;
        let mut routes = Vec::with_capacity(all.len());
        for (path, data) in all {
            if !data.contains_key(MARK) {
                continue;
            }
            let Some(status) = read(&path, data) else {
                tracing::warn!(route = %path, "the proxy has a route that leads nowhere");
                continue;
            };
            if status.route.spec != self.hub.spec {
                routes.push(status);
            }
        }
        Ok(routes)
    }
}

impl fmt::Debug for ExternalProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalProxy")
            .field("api", &self.api)
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// A route's path in the API: escaped, without a slash at its end; with a host, that is the first segment.
fn path_of(spec: &RouteSpec) -> String {
    let host = spec.host().into_iter();
    let segments = host.chain(spec.path_prefix().trim_matches('/').split('/'));
    let mut path = String::new();
    for segment in segments.filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(&escape::path_segment(segment));
    }
    if path.is_empty() {
        "/".to_owned()
    } else {
        path
    }
}

/// Reads what the API tells of a route; `None` if its target is none that we know.
fn read(path: &str, mut data: Map<String, Value>) -> Option<RouteStatus> {
    let target: Target = data.remove("target")?.as_str()?.parse().ok()?;
    data.remove(MARK);
    let last_activity = data
        .remove("last_activity")
        .and_then(|time| time.as_str()?.parse::<Timestamp>().ok());
    // With host routing, the proxy tells which part of the path is the host.
    let spec = match data.remove("host").as_ref().and_then(Value::as_str) {
        Some(host) => {
            let rest = path.trim_start_matches('/').strip_prefix(host)?;
            RouteSpec::path(rest).on_host(host)
        }
        None => RouteSpec::path(path),
    };
    Some(RouteStatus {
        route: Route {
            spec,
            target: target.upstream,
            target_path: target.path,
            data,
        },
        last_activity,
        // It cannot tell.
        last_action: last_activity,
    })
}

fn unexpected(what: &str, answer: &Response<Bytes>) -> RoutesError {
    let status = answer.status();
    let why = match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            ": the token is wrong (see `proxy.auth_token_file`)".to_owned()
        }
        StatusCode::NOT_FOUND => ": there is no such API (see `proxy.api_url`)".to_owned(),
        _ => {
            let text = String::from_utf8_lossy(answer.body());
            let line: String = text
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect();
            if line.is_empty() {
                line
            } else {
                format!(": {line}")
            }
        }
    };
    RoutesError(format!(
        "the proxy answered {what} with status {status}{why}"
    ))
}

/// The route by which a proxy reaches the hub.
pub(crate) fn hub_route(prefix: &str, target: Target) -> Route {
    Route {
        spec: RouteSpec::path(prefix),
        target: target.upstream,
        target_path: target.path,
        data: Map::from_iter([("hub".to_owned(), Value::Bool(true))]),
    }
}

impl ExternalProxy {
    /// Makes one of its configuration; `own` is where the hub listens, unless the configuration says something else.
    pub fn of_config(
        config: &crate::ExternalConfig,
        token: Option<&Secret<String>>,
        client: HttpClient,
        own: Upstream,
    ) -> Result<Self, crate::ProxyConfigError> {
        let own = Target {
            upstream: own,
            path: String::new(),
        };
        let hub = config.hub()?.unwrap_or(own);
        Ok(Self::new(client, config.api()?, token, hub_route("/", hub)))
    }
}

#[cfg(test)]
mod tests;
