//! The hub on HTTP: REST API, OAuth2 endpoints and pages.

pub mod render;

mod api;
mod app;
mod caller;
mod client;
mod cookies;
mod error;
mod forms;
mod gate;
mod handlers;
mod maintenance;
mod notices;
mod oauth;
mod pages;
mod request_id;
mod server_path;
mod uploads;
mod visit;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use lyceum_core::xsrf::XsrfKey;
use lyceum_core::{RouteSpec, Timestamp};
use lyceum_hub::Hub;
use sha2::{Digest as _, Sha256};

pub use api::endpoints::{Endpoint, Rule};
pub use client::Client;
pub use error::ApiError;
pub use gate::{SiteAdmission, SiteVisit};
pub use maintenance::Maintenance;
pub use request_id::RequestId;

use crate::render::{Language, Renderer};

/// The hub with its pages. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Web {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    hub: Hub,
    renderer: Renderer,
    settings: WebSettings,
    /// Names the content of the administrator's logo.
    logo_hash: String,
}

/// What the pages need to know of the configuration.
#[derive(Debug)]
pub struct WebSettings {
    /// The key of the XSRF tokens.
    pub xsrf_key: XsrfKey,
    /// The languages that are offered; the first one is for browsers that want none of them.
    pub languages: Vec<Language>,
    /// The administrator's own logo, with its content type.
    pub logo: Option<(Bytes, &'static str)>,
    /// Whether cookies are marked `Secure` for all requests, because the public URL is https.
    pub always_secure: bool,
}

impl Web {
    /// Puts pages and API on top of a hub.
    pub fn new(hub: Hub, renderer: Renderer, settings: WebSettings) -> Self {
        let logo_hash = settings
            .logo
            .as_ref()
            .map(|(bytes, _)| Sha256::digest(bytes));
        let logo_hash = logo_hash
            .map(|hash| URL_SAFE_NO_PAD.encode(hash))
            .unwrap_or_default();
        Self {
            inner: Arc::new(Inner {
                hub,
                renderer,
                settings,
                logo_hash,
            }),
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    pub(crate) fn renderer(&self) -> &Renderer {
        &self.inner.renderer
    }

    pub(crate) fn settings(&self) -> &WebSettings {
        &self.inner.settings
    }

    pub(crate) fn logo_hash(&self) -> &str {
        &self.inner.logo_hash
    }

    /// The URL path of the hub's pages, with slashes at both ends.
    pub(crate) fn hub_url(&self) -> String {
        self.hub().settings().hub_url()
    }

    /// Makes the page that the gateway shows when something behind it does not answer.
    pub fn gateway_error(&self, failure: &GatewayFailure<'_>) -> String {
        pages::errors::for_gateway(self, failure)
    }
}

/// What the gateway knows of an answer that it has to make itself.
#[derive(Debug, Clone, Copy)]
pub struct GatewayFailure<'a> {
    /// The status of the answer.
    pub status: u16,
    /// Whether a user's server, or another upstream, does not answer.
    pub upstream_is_dead: bool,
    /// If it is closed on purpose, what is said of that.
    pub maintenance: Option<ClosedFor<'a>>,
    /// Path and query that were asked for.
    pub target: &'a str,
    /// `Accept-Language`, if the browser sent it.
    pub accept_language: Option<&'a str>,
    /// The cookies, if the browser sent some; for the choice of the language only.
    pub cookies: Option<&'a str>,
    /// The id of the request in the log.
    pub request_id: Option<&'a str>,
}

/// Something that the gateway keeps closed.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClosedFor<'a> {
    /// The route, if it is only a service.
    pub service: Option<&'a RouteSpec>,
    /// What the administrator says.
    pub message: Option<&'a str>,
    /// When it will be over, if that is known.
    pub until: Option<Timestamp>,
}
