//! The REST API (JupyterHub 6): what users' servers, JupyterLab and scripts ask.

pub(crate) mod activity;
pub(crate) mod hub;
pub(crate) mod models;
pub(crate) mod progress;
pub(crate) mod servers;
pub(crate) mod user;

use lyceum_hub::{Denied, HubError};

use crate::ApiError;
use crate::caller::store_failed;

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Denied(Denied::Forbidden) => Self::forbidden(),
            HubError::Denied(Denied::NotFound) => Self::not_found(),
            HubError::Store(error) => store_failed(&error),
        }
    }
}

impl From<lyceum_hub::StoreError> for ApiError {
    fn from(error: lyceum_hub::StoreError) -> Self {
        store_failed(&error)
    }
}
