//! `/hub/metrics` and `/hub/api/metrics`: what is measured, for Prometheus.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_hub::permit::ReadMetrics;

use super::endpoints::{Endpoints, Rule};
use crate::Web;
use crate::caller::{Accept, identify, store_failed};
use crate::pages::errors;
use crate::visit::Visitor;

/// The text format that every Prometheus reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default().get("/metrics", Rule::of::<ReadMetrics>(), show)
}

/// Gives the metrics. Who may not gets a page, as in JupyterHub, where this is one of the pages.
pub(crate) async fn show(State(web): State<Web>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let refuse = |status, message: Option<&str>| {
        errors::page(&web, &Visitor::of(&web, &parts, None), status, message)
    };
    let caller = match identify(&web, &parts, Accept::TokenOrCookie).await {
        Ok(caller) => caller,
        Err(error) => return refuse(error.status(), error.message()),
    };
    let Ok(permit) = web.hub().permit_metrics(caller.as_ref()) else {
        return refuse(StatusCode::FORBIDDEN, None);
    };
    match web.hub().metrics_text(&permit).await {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            let error = store_failed(&error);
            refuse(error.status(), error.message())
        }
    }
}
