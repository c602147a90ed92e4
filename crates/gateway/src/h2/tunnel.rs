//! Other protocols on a stream of HTTP/2 (RFC 8441): WebSockets, joined with a connection to an upstream.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::answer::{FromUpstream, Streamed};
use super::{OpenStream, own};
use crate::answer;
use crate::exchange::{self, NoReply, Reply};
use crate::failure;
use crate::head::{Facts, with_answer};
use crate::limit::Slot;
use crate::plan::Plan;
use crate::pool::Link;
use crate::request_id::RequestId;
use crate::serve::Core;
use crate::tunnel::End;
use crate::upload::{Upload, UploadError};

/// The key that HTTP/1.1 wants of a WebSocket and HTTP/2 does not have (RFC 8441 §5). It protects nobody here.
pub(super) fn websocket_key() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(RequestId::new().as_str())
}

/// Begins another protocol on a stream (RFC 8441).
pub(super) async fn switch(
    core: &Rc<Core>,
    plan: Box<Plan>,
    held: (Rc<Slot>, OpenStream),
    upgrade: hyper::upgrade::OnUpgrade,
) -> Response<Streamed> {
    if !plan.upgrade {
        return own(StatusCode::NOT_IMPLEMENTED);
    }
    core.parts.counts.upgrades.fetch_add(1, Ordering::Relaxed);
    let mut none = NoUpload;
    let reason = match exchange::ask(core, &plan, &mut none).await {
        Ok(reply) if reply.status == 101 => {
            return join(core, &plan, held, upgrade, reply);
        }
        Ok(reply) => return refused(core, plan, reply),
        Err(NoReply::ClientGone) => return own(StatusCode::BAD_REQUEST),
        Err(NoReply::Reason(reason)) => reason,
    };
    core.report(&plan.entry, reason);
    failure::own(reason.status(), Bytes::new(), plan.id).map(Streamed::body)
}

fn refused(core: &Rc<Core>, plan: Box<Plan>, reply: Reply) -> Response<Streamed> {
    let Reply {
        mut link,
        status,
        head,
        length,
        ..
    } = reply;
    link.inbox.consume(head);
    // To the client, success would mean that the other protocol has begun.
    let told = StatusCode::from_u16(status)
        .ok()
        .filter(|status| !status.is_success());
    let mut response = own(told.unwrap_or(StatusCode::BAD_GATEWAY));
    *response.body_mut() = Streamed::upstream(FromUpstream {
        core: Rc::clone(core),
        plan,
        link: Some(link),
        length,
        close: true,
        success: false,
        upload: None,
        encoder: None,
        given: Some(Instant::now()),
        given_up: false,
    });
    response
}

fn join(
    core: &Rc<Core>,
    plan: &Plan,
    held: (Rc<Slot>, OpenStream),
    upgrade: hyper::upgrade::OnUpgrade,
    reply: Reply,
) -> Response<Streamed> {
    let Reply { mut link, head, .. } = reply;
    let mut response = own(StatusCode::OK);
    let bytes = link.inbox.data().get(..head).unwrap_or_default();
    let _ = with_answer(bytes, |head, _| {
        let Ok(facts) = Facts::of_answer(&head) else {
            return;
        };
        answer::passed_on(plan, &head, &facts, |name, value| {
            // The answer to our own key means nothing to the client.
            if name.eq_ignore_ascii_case("sec-websocket-accept") {
                return;
            }
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_bytes(&value),
            ) {
                response.headers_mut().append(name, value);
            }
        });
    });
    link.inbox.consume(head);
    let entry = Arc::clone(&plan.entry);
    let task_core = Rc::clone(core);
    core.clients.spawn_local(async move {
        let Ok(client) = upgrade.await else { return };
        let Link { io, mut inbox } = link;
        let client = End {
            socket: TokioIo::new(client),
            early: Bytes::new(),
        };
        let upstream = End {
            early: inbox.take_all().into(),
            socket: io,
        };
        task_core.join_tunnel(entry, client, upstream, held).await;
    });
    response
}

/// The body of a request that has none.
struct NoUpload;

impl Upload for NoUpload {
    fn poll_bytes(
        &mut self,
        _cx: &mut Context<'_>,
        _core: &Core,
    ) -> Poll<Result<bool, UploadError>> {
        Poll::Ready(Ok(false))
    }

    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn advance(&mut self, _count: usize) {}

    fn is_done(&self) -> bool {
        true
    }

    fn is_absent(&self) -> bool {
        true
    }

    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
