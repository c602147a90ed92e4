//! What a running Lyceum can be told by its owner: a small API on a Unix socket in the runtime folder.
//!
//! The socket and its folder are the owner's alone; whoever can connect may ask for everything.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context as _;
use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use lyceum_certs::Manager;
use lyceum_core::{Clock as _, SystemClock, Timestamp};
use lyceum_gateway::{
    Body, BoundGateway, Gateway, GatewayConfig, HubService, ListenAddress, Maintenance,
    MaintenanceSwitch, Network,
};
use lyceum_hub::Hub;
use lyceum_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

mod certs;
pub(crate) mod cull;

pub(crate) use certs::{CERTS_PATH, Wish};

/// The name of the socket in the runtime folder.
const SOCKET: &str = "admin.sock";
/// Where maintenance is asked about and changed.
pub(crate) const MAINTENANCE_PATH: &str = "/maintenance";
/// The setting that keeps it over a restart.
const SETTING: &str = "maintenance";
/// The longest body that is read.
const LONGEST: usize = 64 * 1024;

/// Maintenance, as it is told and kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Told {
    /// Whether it is on.
    pub(crate) on: bool,
    /// What people are told.
    pub(crate) message: Option<String>,
    /// When it will be over.
    pub(crate) until: Option<Timestamp>,
    /// Who is not concerned.
    pub(crate) allow: Vec<Network>,
    /// Whether people who are here go on.
    pub(crate) keep_sessions: bool,
}

impl Told {
    fn maintenance(&self) -> Option<Maintenance> {
        self.on.then(|| Maintenance {
            message: self.message.clone(),
            until: self.until,
            allow: self.allow.clone(),
            keep_sessions: self.keep_sessions,
        })
    }

    fn of(maintenance: Option<&Maintenance>) -> Self {
        maintenance.map_or_else(Self::default, |maintenance| Self {
            on: true,
            message: maintenance.message.clone(),
            until: maintenance.until,
            allow: maintenance.allow.clone(),
            keep_sessions: maintenance.keep_sessions,
        })
    }
}

/// Where the socket is.
pub(crate) fn socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join(SOCKET)
}

/// Makes the socket.
pub(crate) fn bind(runtime_dir: &Path) -> anyhow::Result<BoundGateway> {
    let path = socket(runtime_dir);
    let bound = Gateway::bind(GatewayConfig {
        listen: vec![ListenAddress::Unix(path.clone())],
        threads: 1,
        ..GatewayConfig::default()
    })
    .context("could not make the socket for the owner's commands")?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))
        .with_context(|| format!("could not protect {}", path.display()))?;
    Ok(bound)
}

/// Reads whether it was closed when Lyceum ended.
pub(crate) async fn kept(store: &Store) -> Result<MaintenanceSwitch, StoreError> {
    let switch = MaintenanceSwitch::new();
    if let Some(text) = store.find_setting(SETTING).await? {
        match serde_json::from_str::<Told>(&text) {
            Ok(told) => {
                if told.on {
                    tracing::warn!(
                        "closed for maintenance, as it was before; `lyceum maintenance off` ends that"
                    );
                }
                switch.set(told.maintenance());
            }
            Err(error) => tracing::error!(error = %error,
                "what is kept of maintenance cannot be read, so it is off"),
        }
    }
    Ok(switch)
}

/// Answers the owner's commands.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) store: Store,
    pub(crate) switch: MaintenanceSwitch,
    pub(crate) certificates: Option<Manager>,
    /// Set as soon as there is one.
    pub(crate) hub: OnceLock<Hub>,
}

#[async_trait]
impl HubService for Commands {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(what) = parts.uri.path().strip_prefix(CERTS_PATH) {
            let manager = self.certificates.as_ref();
            return certs::answer(manager, &parts.method, what, body).await;
        }
        if let Some(what) = parts.uri.path().strip_prefix(cull::CULL_PATH) {
            return cull::answer(self.hub.get(), &parts.method, what, body).await;
        }
        if parts.uri.path() != MAINTENANCE_PATH {
            return told(StatusCode::NOT_FOUND, &"there is no such command");
        }
        match parts.method {
            Method::GET => {
                let current = self.switch.current();
                told(StatusCode::OK, &Told::of(current.as_deref()))
            }
            Method::PUT => match axum::body::to_bytes(axum::body::Body::new(body), LONGEST).await {
                Ok(bytes) => match serde_json::from_slice::<Told>(&bytes) {
                    Ok(wish) => self.set(&wish).await,
                    Err(error) => told(StatusCode::BAD_REQUEST, &error.to_string()),
                },
                Err(error) => told(StatusCode::BAD_REQUEST, &error.to_string()),
            },
            _ => told(StatusCode::METHOD_NOT_ALLOWED, &"use GET or PUT"),
        }
    }
}

impl Commands {
    async fn set(&self, wish: &Told) -> Response<Body> {
        // Written first: what was answered survives.
        if let Err(error) = self.write(wish).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "could not keep that it is closed for maintenance"
            );
            return told(
                StatusCode::INTERNAL_SERVER_ERROR,
                &"the hub's database did not do its part",
            );
        }
        self.switch.set(wish.maintenance());
        if wish.on {
            tracing::warn!("closed for maintenance");
        } else {
            tracing::info!("open again, after maintenance");
        }
        told(StatusCode::OK, wish)
    }

    async fn write(&self, wish: &Told) -> Result<(), StoreError> {
        let text = serde_json::to_string(wish).unwrap_or_default();
        let mut tx = self.store.begin().await?;
        tx.set_setting(SETTING, wish.on.then_some(text.as_str()))
            .await?;
        tx.commit().await
    }
}

fn told(status: StatusCode, what: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(what).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Now, for texts on the terminal.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
