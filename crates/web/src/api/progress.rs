//! `…/server/progress`: what becomes of a start, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, StatusCode, header};
use lyceum_core::lifecycle::{Pending, State as Life};
use lyceum_hub::permit::ReadServer;
use lyceum_hub::servers::progress::ProgressEvent;
use lyceum_hub::{Principal, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::endpoints::{Endpoints, Rule};
use crate::caller::ApiCaller;
use crate::server_path::ServerPath;
use crate::{ApiError, Web};

/// How often an empty line keeps the connection alive (JupyterHub `keepalive_interval`).
const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// Events that wait for a slow reader; the stream pauses beyond.
const QUEUE: usize = 16;

pub(crate) fn endpoints() -> Endpoints {
    [
        "/users/{user}/server/progress",
        "/users/{user}/servers/{server}/progress",
    ]
    .into_iter()
    .fold(Endpoints::default(), |endpoints, path| {
        endpoints.get(path, Rule::of::<ReadServer>(), of_server)
    })
}

pub(crate) async fn of_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
) -> Result<Response, ApiError> {
    stream(&web, &caller, &path.user, &path.server).await
}

async fn stream(
    web: &Web,
    caller: &Principal,
    user: &str,
    server: &str,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_server::<ReadServer>(caller, user, server)
        .await?;
    let view = web.hub().server_view(&permit).await?;
    let log = web.hub().may_read_log(caller, &permit).await?;
    if view.row.is_none() && !view.now.state.is_active() {
        return Err(ApiError::not_found());
    }
    let url = permit.server().url_path(&web.hub().settings().base_url);
    let (sender, receiver) = mpsc::channel(QUEUE);
    if view.now.state.is_ready() {
        let _ = sender.try_send(ProgressEvent::ready(&url));
    } else if is_under_way(&view.now.state) {
        let Some(seen) = web.hub().follow(&permit) else {
            return Err(ApiError::not_found());
        };
        web.hub()
            .tasks()
            .spawn("tell the progress of a start", tell(seen, sender));
    } else if let Some(failure) = view.failure().filter(|failure| failure.is_of_start()) {
        let _ = sender.try_send(ProgressEvent::failed(failure));
    } else if permit.server().server.is_default() {
        // A default server that was stopped is as if it had never been (JupyterHub 6.1).
        return Err(ApiError::not_found());
    } else {
        return Err(ApiError::bad_request(format!(
            "{} is not starting...",
            permit.server()
        )));
    }
    Ok(events(receiver, log))
}

/// Whether there is more to be told of a start: also of one that has failed, until its remains are gone.
fn is_under_way(state: &Life) -> bool {
    match state {
        Life::Stopping {
            failure: Some(failure),
            ..
        } => failure.is_of_start(),
        _ => matches!(state.pending(), Some(Pending::Spawn | Pending::Check)),
    }
}

/// Sends what was said so far, then what is said, until the last event.
async fn tell(mut seen: watch::Receiver<Snapshot>, sender: mpsc::Sender<ProgressEvent>) {
    let mut told = 0;
    loop {
        let snapshot = seen.borrow_and_update().clone();
        for event in snapshot.progress.iter().skip(told) {
            let last = event.is_last();
            if sender.send(event.clone()).await.is_err() || last {
                return;
            }
            told += 1;
        }
        match &snapshot.state {
            Life::Stopped { failure: None } => {
                let failure = lyceum_core::lifecycle::Failure::new(
                    lyceum_core::lifecycle::Cause::ExitedEarly,
                    "The start was cancelled.",
                    "Start the server again if you want it.",
                );
                let _ = sender.send(ProgressEvent::failed(&failure)).await;
                return;
            }
            Life::Stopped { .. } | Life::Ready(_) => return,
            _ => {}
        }
        tokio::select! {
            changed = seen.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

/// Makes the stream; what the server wrote to its log is in it for those who may read that.
fn events(receiver: mpsc::Receiver<ProgressEvent>, log: bool) -> Response {
    let events = ReceiverStream::new(receiver).map(move |mut event| {
        if !log {
            event.log.clear();
        }
        let json = serde_json::to_string(&event).unwrap_or_default();
        Bytes::from(format!("data: {json}\n\n"))
    });
    // An empty line first, so that the browser knows at once that the stream stands.
    let beginning = tokio_stream::iter([Bytes::from_static(b"\n\n")]);
    let kept_alive = beginning
        .chain(events)
        .timeout_repeating(tokio::time::interval(KEEP_ALIVE));
    let bytes = kept_alive
        .map(|item| Ok::<_, Infallible>(item.unwrap_or_else(|_| Bytes::from_static(b"\n\n"))));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Proxies in front, nginx for one, would hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (StatusCode::OK, headers, Body::from_stream(bytes)).into_response()
}
