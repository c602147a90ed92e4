//! What the owner can ask of the certificates of a running Lyceum.

use http::{Method, StatusCode};
use lyceum_certs::{Manager, RevocationReason, Trouble};
use lyceum_gateway::Body;
use serde::{Deserialize, Serialize};

use super::{LONGEST, told};

/// Where all of it is.
pub(crate) const CERTS_PATH: &str = "/certificates";

/// A wish; the part of the path behind [`CERTS_PATH`] says which.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wish {
    /// Certificates by their names; all without any.
    pub(crate) names: Vec<String>,
    /// Those that are not due, too.
    pub(crate) all: bool,
    /// The authority's place for trials, and nothing is kept.
    pub(crate) staging: bool,
    /// Why a certificate is declared void.
    pub(crate) reason: Option<RevocationReason>,
    /// Even if no new one can be got.
    pub(crate) anyway: bool,
}

/// Answers what is asked of certificates.
pub(super) async fn answer(
    manager: Option<&Manager>,
    method: &Method,
    what: &str,
    body: Body,
) -> http::Response<Body> {
    let Some(manager) = manager else {
        let trouble = Trouble::new(
            lyceum_certs::TroubleKind::Configuration,
            "no HTTPS is configured",
            "name this server in `tls.domains`",
        );
        return told(StatusCode::CONFLICT, &trouble);
    };
    if (method, what) == (&Method::GET, "") {
        return told(StatusCode::OK, &manager.status());
    }
    if *method != Method::POST {
        return told(StatusCode::METHOD_NOT_ALLOWED, &"use GET, or POST");
    }
    let bytes = match axum::body::to_bytes(axum::body::Body::new(body), LONGEST).await {
        Ok(bytes) => bytes,
        Err(error) => return told(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let wish: Wish = match serde_json::from_slice(&bytes) {
        Ok(wish) => wish,
        Err(error) => return told(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match what {
        "/renew" if wish.staging => result(manager.try_out(&wish.names).await),
        "/renew" => result(manager.renew(&wish.names, wish.all).await),
        "/check" => result(manager.check(&wish.names).await),
        "/revoke" => {
            let reason = wish.reason.unwrap_or(RevocationReason::Unspecified);
            let Some(name) = wish.names.first() else {
                return told(StatusCode::BAD_REQUEST, &"which certificate?");
            };
            result(manager.revoke(name, reason, wish.anyway).await)
        }
        "/account-key" => result(manager.roll_account_key().await),
        _ => told(StatusCode::NOT_FOUND, &"there is no such command"),
    }
}

fn result<T: Serialize>(result: Result<T, Trouble>) -> http::Response<Body> {
    match result {
        Ok(done) => told(StatusCode::OK, &done),
        Err(trouble) => told(StatusCode::CONFLICT, &trouble),
    }
}
