//! `/hub/spawn-pending/…`: shows what becomes of a start or a stop. It never starts anything itself.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use lyceum_core::escape;
use lyceum_core::lifecycle::{Failure, Pending};
use lyceum_hub::permit::ManageServer;
use lyceum_hub::{ServerPermit, Snapshot};

use super::spawn::{manage, subject};
use super::{errors, next};
use crate::Web;
use crate::caller::{PageCaller, found, store_failed};
use crate::render::{FailedPage, NotRunningPage, ProgressPage, StoppingPage};
use crate::server_path::ServerPath;
use crate::visit::Visitor;

/// How often the page of a stop looks again.
const LOOK_AGAIN_SECONDS: u32 = 2;

pub(crate) async fn page(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    show(&web, &caller, &path.user, &path.server, request).await
}

async fn show(
    web: &Web,
    caller: &PageCaller,
    user: &str,
    server: &str,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(web, &parts, Some(&caller.session));
    let permit = match manage(web, caller, &visitor, user, server).await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    let view = match web.hub().server_view(&permit).await {
        Ok(view) => view,
        Err(error) => {
            let error = store_failed(&error);
            return errors::page(web, &visitor, error.status(), error.message());
        }
    };
    if view.row.is_none() && !permit.server().server.is_default() && !view.now.state.is_active() {
        return errors::page(web, &visitor, StatusCode::NOT_FOUND, None);
    }
    let base = web.hub().settings().base_url.as_str();
    let ready_url = next::safe(web, &parts, None).unwrap_or_else(|| permit.server().url_path(base));
    if view.now.state.is_ready() {
        return found(&ready_url);
    }
    match view.now.state.pending() {
        Some(Pending::Stop) => {
            let page = StoppingPage {
                subject: subject(caller, permit.server()),
                refresh_seconds: LOOK_AGAIN_SECONDS,
            };
            visitor.page(web, StatusCode::OK, &page)
        }
        Some(Pending::Spawn | Pending::Check) => {
            let page = progress(web, caller, &visitor, &permit, &view.now, ready_url);
            visitor.page(web, StatusCode::OK, &page)
        }
        None => {
            let failure = view.failure();
            if let Some(failure) = failure.filter(|failure| failure.is_of_start()) {
                return failed(web, caller, &visitor, &parts, &permit, failure);
            }
            let page = NotRunningPage {
                subject: subject(caller, permit.server()),
                start_url: start_url(web, &parts, &permit),
                failure: failure.cloned(),
            };
            visitor.page(web, StatusCode::OK, &page)
        }
    }
}

fn progress(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    permit: &ServerPermit<ManageServer>,
    now: &Snapshot,
    ready_url: String,
) -> ProgressPage {
    let base = web.hub().settings().base_url.as_str();
    let server = permit.server();
    let xsrf = visitor.xsrf(web);
    let elapsed = now.started.map_or(0, |started| {
        web.hub().now().duration_since(started).as_secs()
    });
    ProgressPage {
        subject: subject(caller, server),
        events_url: format!(
            "{}/progress?_xsrf={}",
            server.api_path(base),
            escape::query_value(&xsrf)
        ),
        ready_url,
        stop_action: server.hub_path(base, "stop"),
        xsrf,
        elapsed_seconds: u64::try_from(elapsed).unwrap_or_default(),
        percent: now
            .progress
            .iter()
            .rev()
            .find_map(|event| event.progress)
            .unwrap_or_default(),
        messages: now
            .progress
            .iter()
            .map(|event| event.message.clone())
            .collect(),
    }
}

fn failed(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    parts: &Parts,
    permit: &ServerPermit<ManageServer>,
    failure: &Failure,
) -> Response {
    let page = FailedPage {
        subject: subject(caller, permit.server()),
        failure: failure.clone(),
        retry_url: start_url(web, parts, permit),
        request_id: visitor.request_id.clone(),
    };
    visitor.page(web, StatusCode::INTERNAL_SERVER_ERROR, &page)
}

fn start_url(web: &Web, parts: &Parts, permit: &ServerPermit<ManageServer>) -> String {
    let url = permit
        .server()
        .hub_path(&web.hub().settings().base_url, "spawn");
    match next::safe(web, parts, None) {
        Some(next) => format!("{url}?next={}", escape::query_value(&next)),
        None => url,
    }
}
