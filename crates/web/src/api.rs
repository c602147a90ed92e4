//! The REST API (JupyterHub 6): what users' servers, JupyterLab and scripts ask.

pub(crate) mod activity;
pub(crate) mod authorizations;
pub(crate) mod endpoints;
pub(crate) mod fields;
pub(crate) mod groups;
pub(crate) mod hub;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod openapi;
pub(crate) mod pagination;
pub(crate) mod progress;
pub(crate) mod proxy;
pub(crate) mod server_bodies;
pub(crate) mod servers;
pub(crate) mod services;
pub(crate) mod share_codes;
pub(crate) mod shares;
pub(crate) mod tokens;
pub(crate) mod user;
pub(crate) mod users;

use lyceum_hub::{Denied, HubError};

use self::endpoints::Endpoints;
use crate::ApiError;
use crate::caller::store_failed;

/// All endpoints below `/hub/api`.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .merge(hub::endpoints())
        .merge(user::endpoints())
        .merge(users::endpoints())
        .merge(groups::endpoints())
        .merge(activity::endpoints())
        .merge(servers::endpoints())
        .merge(services::endpoints())
        .merge(shares::endpoints())
        .merge(share_codes::endpoints())
        .merge(progress::endpoints())
        .merge(proxy::endpoints())
        .merge(metrics::endpoints())
        .merge(openapi::endpoints())
        .merge(tokens::endpoints())
        .merge(authorizations::endpoints())
        .merge(crate::oauth::endpoints())
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Forbidden => Self::forbidden(),
            Denied::NotFound => Self::not_found(),
        }
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Denied(denied) => denied.into(),
            HubError::Store(error) => store_failed(&error),
        }
    }
}

impl From<lyceum_hub::StoreError> for ApiError {
    fn from(error: lyceum_hub::StoreError) -> Self {
        store_failed(&error)
    }
}
