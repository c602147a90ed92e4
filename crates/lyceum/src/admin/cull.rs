//! What the owner can ask of the culler of a running Lyceum.

use std::time::Duration;

use http::{Method, StatusCode};
use lyceum_core::{HumanDuration, Timestamp, UserName};
use lyceum_gateway::Body;
use lyceum_hub::Hub;
use lyceum_hub::culler::rules::{LastUse, Limit, Said, Source};
use lyceum_hub::culler::{CullError, CullView, Culled};
use serde::{Deserialize, Serialize};

use super::{LONGEST, told};

/// Where all of it is.
pub(crate) const CULL_PATH: &str = "/cull";

/// A wish to stop servers that nobody uses now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CullWish {
    /// How long they must have been idle, if not as long as their rules say.
    pub(crate) idle: Option<HumanDuration>,
    /// Whose, if not everybody's.
    pub(crate) user: Option<UserName>,
}

/// A server that runs, as it is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ToldServer {
    /// Which server, as `USER/SERVER`.
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) started: Timestamp,
    pub(crate) last_use: Timestamp,
    /// What that was: `start`, `action`, `open-tab`, `busy-kernel`, `kernel` or `report`.
    pub(crate) used_by: String,
    pub(crate) idle_seconds: u64,
    /// Whether it is culled at all.
    pub(crate) enabled: bool,
    /// How long it may be idle, or `off`.
    pub(crate) idle_limit: String,
    /// How long it may run, or `off`.
    pub(crate) max_age: String,
    /// Which part of the configuration says so.
    pub(crate) rules: ToldRules,
    /// When it goes if nothing happens any more.
    pub(crate) stops_at: Option<Timestamp>,
    /// Why: `idle` or `max-age`.
    pub(crate) reason: Option<String>,
    /// Whether people are being warned.
    pub(crate) warned: bool,
    /// Whether the server has said what it computes.
    pub(crate) answered: bool,
}

/// Keys of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ToldRules {
    pub(crate) enabled: String,
    pub(crate) idle: String,
    pub(crate) max_age: String,
}

/// All servers that run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ToldServers {
    pub(crate) now: Timestamp,
    pub(crate) servers: Vec<ToldServer>,
}

/// A server that was stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ToldCull {
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) reason: String,
    pub(crate) last_use: Timestamp,
    pub(crate) used_by: String,
    pub(crate) idle_seconds: u64,
}

/// Answers what is asked of the culler.
pub(super) async fn answer(
    hub: Option<&Hub>,
    method: &Method,
    what: &str,
    body: Body,
) -> http::Response<Body> {
    let Some(hub) = hub else {
        return told(StatusCode::SERVICE_UNAVAILABLE, &"the hub is being started");
    };
    match (method, what) {
        (&Method::GET, "") => match hub.cull_views().await {
            Ok(views) => {
                let now = hub.now();
                let servers = views.iter().map(|view| server(view, now)).collect();
                told(StatusCode::OK, &ToldServers { now, servers })
            }
            Err(error) => failed(&error),
        },
        (&Method::POST, "/now") => {
            let body = axum::body::Body::new(body);
            let bytes = match axum::body::to_bytes(body, LONGEST).await {
                Ok(bytes) => bytes,
                Err(error) => return told(StatusCode::BAD_REQUEST, &error.to_string()),
            };
            let wish: CullWish = match serde_json::from_slice(&bytes) {
                Ok(wish) => wish,
                Err(error) => return told(StatusCode::BAD_REQUEST, &error.to_string()),
            };
            let idle = wish.idle.map(HumanDuration::get);
            match hub.cull_now(idle, wish.user.as_ref()).await {
                Ok(culled) => {
                    let culled: Vec<_> = culled.iter().map(cull).collect();
                    told(StatusCode::OK, &culled)
                }
                Err(error) => failed(&error),
            }
        }
        (_, "" | "/now") => told(StatusCode::METHOD_NOT_ALLOWED, &"use GET, or POST"),
        _ => told(StatusCode::NOT_FOUND, &"there is no such command"),
    }
}

fn failed(error: &CullError) -> http::Response<Body> {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "could not look at the servers for a command"
    );
    told(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
}

fn server(view: &CullView, now: Timestamp) -> ToldServer {
    let LastUse { at, by } = view.last;
    let rule = &view.rule;
    let idle = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    ToldServer {
        server: view.server.to_string(),
        user: view.server.user.to_string(),
        started: view.started,
        last_use: at,
        used_by: by.as_str().to_owned(),
        idle_seconds: idle.as_secs(),
        enabled: rule.enabled.value,
        idle_limit: limit(rule.idle.value),
        max_age: limit(rule.max_age.value),
        rules: ToldRules {
            enabled: key(&rule.enabled, "enabled"),
            idle: key(&rule.idle, "idle"),
            max_age: key(&rule.max_age, "max_age"),
        },
        stops_at: view.due.map(|due| due.at),
        reason: view.due.map(|due| due.reason.as_str().to_owned()),
        warned: view.warned,
        answered: view.answered,
    }
}

fn cull(culled: &Culled) -> ToldCull {
    ToldCull {
        server: culled.server.to_string(),
        user: culled.server.user.to_string(),
        reason: culled.reason.as_str().to_owned(),
        last_use: culled.last.at,
        used_by: culled.last.by.as_str().to_owned(),
        idle_seconds: culled.idle.as_secs(),
    }
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::After(limit) => {
            let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            HumanDuration::from_millis(millis).to_string()
        }
        Limit::Off => "off".to_owned(),
    }
}

/// The key of the configuration that has said a value.
fn key<T>(said: &Said<T>, key: &str) -> String {
    match &said.by {
        Source::General => format!("cull.{key}"),
        Source::Named => format!("cull.named.{key}"),
        Source::Group(name) => format!("cull.groups.{name}.{key}"),
        Source::Profile(name) => format!("cull.profiles.{name}.{key}"),
        Source::Admins => "cull.admins".to_owned(),
    }
}
