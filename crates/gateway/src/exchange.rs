//! A request to an upstream, up to the head of its answer: connection, retry, the body while the answer is waited for.

use std::future::{Future as _, poll_fn};
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite as _;
use tokio::time::Instant;

use crate::buffer::CHUNK;
use crate::head::{Facts, Length, with_answer};
use crate::pages::ErrorReason;
use crate::patience::Patience;
use crate::plan::Plan;
use crate::pool::{ConnectError, Link};
use crate::serve::Core;
use crate::upload::{Upload, UploadError};

/// The largest head of an answer.
const LARGEST_HEAD: usize = 4 * CHUNK;

/// How long an upstream may take nothing of a request. Long, as programs with one thread read nothing while they
/// compute.
const DEAF_LIMIT: Duration = Duration::from_mins(10);

/// An answer of which the head has come. It is still at the front of the link's inbox.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) link: Link,
    pub(crate) status: u16,
    /// How long the head is.
    pub(crate) head: usize,
    pub(crate) length: Length,
    /// The connection cannot be used again.
    pub(crate) close: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The client has gone; nobody is to be told.
    ClientGone,
    Reason(ErrorReason),
}

/// How an attempt on one connection failed.
enum Failed {
    /// Nothing of an answer has come, and the connection is closed.
    Closed,
    Final(NoReply),
}

/// Sends a request, a second time on a new connection if a used one turns out to be closed.
///
/// Gives the reply; the upload may not be done yet, and is to be gone on with by [`poll_pump`].
pub(crate) async fn ask<U: Upload>(
    core: &Core,
    plan: &Plan,
    upload: &mut U,
) -> Result<Reply, NoReply> {
    let repeatable = plan.idempotent && upload.is_absent();
    if !plan.upgrade
        && let Some(link) = core.pool.take(plan.entry.target_id, repeatable)
    {
        match attempt(core, plan, link, upload).await {
            Ok(reply) => return Ok(reply),
            Err(Failed::Closed) if repeatable => {}
            Err(Failed::Closed) => return Err(closed(plan)),
            Err(Failed::Final(why)) => return Err(why),
        }
    }
    let limit = plan
        .entry
        .site
        .as_ref()
        .and_then(|site| site.limits.connect_timeout);
    let options = &core.parts.options;
    let connecting = core.pool.connect(plan.entry.target(), options, limit);
    let mut connecting = std::pin::pin!(connecting);
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(Some(connected)),
        Poll::Pending if upload.is_absent() => upload.poll_gone(cx).map(|()| None),
        Poll::Pending => Poll::Pending,
    })
    .await
    .ok_or(NoReply::ClientGone)?;
    let link = connected.map_err(|error| {
        tracing::debug!(
            route = %plan.entry.route.spec,
            upstream = %plan.entry.target(),
            error = %error,
            source = std::error::Error::source(&error).map(tracing::field::display),
            "no connection to an upstream"
        );
        NoReply::Reason(match error {
            ConnectError::Timeout { .. } => ErrorReason::UpstreamTimeout,
            ConnectError::Unreachable { .. } => ErrorReason::UpstreamUnreachable,
        })
    })?;
    match attempt(core, plan, link, upload).await {
        Ok(reply) => Ok(reply),
        Err(Failed::Closed) => Err(closed(plan)),
        Err(Failed::Final(why)) => Err(why),
    }
}

fn closed(plan: &Plan) -> NoReply {
    tracing::debug!(
        route = %plan.entry.route.spec,
        upstream = %plan.entry.target(),
        "an upstream closed its connection without an answer"
    );
    NoReply::Reason(ErrorReason::UpstreamClosed)
}

/// How long to wait for an upstream that sends nothing, and what that is then.
pub(crate) fn response_timeout(core: &Core, plan: &Plan) -> Option<(Duration, ErrorReason)> {
    let site = plan.entry.site.as_ref();
    let slow = |limit| (limit, ErrorReason::UpstreamSlow);
    let configured = core.config.response_timeout.get();
    site.and_then(|site| site.limits.response_timeout)
        .map(slow)
        // As configurable-http-proxy has it, an upstream that is slow is one that does not answer.
        .or_else(|| {
            Some((
                core.parts.options.response_timeout?,
                ErrorReason::UpstreamTimeout,
            ))
        })
        .or_else(|| (!configured.is_zero()).then(|| slow(configured)))
}

/// What was found at the front of the link's inbox.
enum Found {
    Final {
        status: u16,
        head: usize,
        length: Length,
        close: bool,
    },
    /// A head that only says that another one follows.
    Interim(usize),
}

async fn attempt<U: Upload>(
    core: &Core,
    plan: &Plan,
    mut link: Link,
    upload: &mut U,
) -> Result<Reply, Failed> {
    let mut unsent = plan.head.0.as_slice();
    let mut patience = Patience::default();
    let limit = response_timeout(core, plan);
    let mut waiting_since = None;
    // The upstream takes nothing more; perhaps it has answered before that.
    let mut deaf = false;
    let mut interim = 0;
    // Since when the upstream has taken nothing of what is there for it, and how much that is.
    let mut stalled: Option<(Instant, usize)> = None;
    let found = poll_fn(|cx| {
        if !deaf {
            match poll_send(cx, core, plan, &mut unsent, &mut link, upload) {
                Poll::Ready(Err(Sending::Upload(error))) => {
                    return Poll::Ready(Err(Failed::Final(NoReply::Reason(match error {
                        UploadError::Broken => ErrorReason::BadRequest,
                        UploadError::TimedOut => ErrorReason::RequestTimeout,
                        UploadError::TooLarge => ErrorReason::ContentTooLarge,
                    }))));
                }
                Poll::Ready(Err(Sending::Upstream)) => deaf = true,
                Poll::Ready(Ok(())) if upload.poll_gone(cx).is_ready() => {
                    return Poll::Ready(Err(Failed::Final(NoReply::ClientGone)));
                }
                Poll::Ready(Ok(())) => {}
                // Nothing comes from the client, which has a limit of its own, or the upstream takes nothing.
                Poll::Pending => {
                    let left = unsent.len() + upload.bytes().len();
                    if left == 0 {
                        stalled = None;
                    } else {
                        let (since, before) =
                            *stalled.get_or_insert_with(|| (Instant::now(), left));
                        if before != left {
                            stalled = Some((Instant::now(), left));
                        } else if patience.poll(cx, since + DEAF_LIMIT).is_ready() {
                            let reason = NoReply::Reason(ErrorReason::UpstreamTimeout);
                            return Poll::Ready(Err(Failed::Final(reason)));
                        }
                    }
                }
            }
        }
        loop {
            match look(link.inbox.data(), plan.to_head) {
                Ok(Some(Found::Interim(length))) => {
                    // An upstream could go on for ever.
                    interim += 1;
                    if interim > 32 {
                        return Poll::Ready(Err(bad_answer(plan)));
                    }
                    link.inbox.consume(length);
                    continue;
                }
                Ok(Some(found)) => return Poll::Ready(Ok(found)),
                Ok(None) if link.inbox.data().len() >= LARGEST_HEAD => {
                    return Poll::Ready(Err(bad_answer(plan)));
                }
                Ok(None) => {}
                Err(()) => return Poll::Ready(Err(bad_answer(plan))),
            }
            match link.inbox.poll_fill(cx, &mut link.io, LARGEST_HEAD + CHUNK) {
                Poll::Ready(Ok(0) | Err(_)) if link.inbox.is_empty() => {
                    return Poll::Ready(Err(Failed::Closed));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(bad_answer(plan))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        let Some((limit, reason)) = limit.filter(|_| upload.is_done()) else {
            return Poll::Pending;
        };
        let since = *waiting_since.get_or_insert_with(Instant::now);
        patience
            .poll(cx, since + limit)
            .map(|()| Err(Failed::Final(NoReply::Reason(reason))))
    })
    .await?;
    match found {
        Found::Final {
            status,
            head,
            length,
            close,
        } => Ok(Reply {
            link,
            status,
            head,
            length,
            // What was not sent to its end must not be followed by another request.
            close: close || deaf || !unsent.is_empty() || !upload.is_done(),
        }),
        Found::Interim(_) => Err(bad_answer(plan)),
    }
}

fn bad_answer(plan: &Plan) -> Failed {
    tracing::debug!(
        route = %plan.entry.route.spec,
        upstream = %plan.entry.target(),
        "the answer of an upstream cannot be understood"
    );
    Failed::Final(NoReply::Reason(ErrorReason::UpstreamBadAnswer))
}

fn look(bytes: &[u8], to_head: bool) -> Result<Option<Found>, ()> {
    if bytes.is_empty() {
        return Ok(None);
    }
    with_answer(bytes, |head, length| {
        if (100..200).contains(&head.status) && head.status != 101 {
            return Ok(Found::Interim(length));
        }
        let facts = Facts::of_answer(&head).map_err(|_| ())?;
        let body = facts.answer_length(head.status, to_head);
        let lasts = if head.minor == 0 {
            facts.keep_alive
        } else {
            !facts.close
        };
        Ok(Found::Final {
            status: head.status,
            head: length,
            close: !lasts || body == Length::UntilClose,
            length: body,
        })
    })
    .map_err(|_| ())?
    .transpose()
}

enum Sending {
    Upload(UploadError),
    Upstream,
}

/// Writes the head, with as much of the body as is there, and then the body as it comes.
fn poll_send<U: Upload>(
    cx: &mut Context<'_>,
    core: &Core,
    plan: &Plan,
    head: &mut &[u8],
    link: &mut Link,
    upload: &mut U,
) -> Poll<Result<(), Sending>> {
    while !head.is_empty() {
        // What is there already goes in the same packet.
        let with_body =
            !upload.is_absent() && matches!(upload.poll_bytes(cx, core), Poll::Ready(Ok(true)));
        let io = Pin::new(&mut link.io);
        let outcome = if with_body {
            io.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(upload.bytes())])
        } else {
            io.poll_write(cx, head)
        };
        match outcome {
            Poll::Ready(Ok(count)) if count > 0 => {
                let of_head = count.min(head.len());
                *head = head.get(of_head..).unwrap_or_default();
                if count > of_head {
                    upload.advance(count - of_head);
                    plan.entry.touch(core.parts.clock.now());
                }
            }
            Poll::Ready(_) => return Poll::Ready(Err(Sending::Upstream)),
            Poll::Pending => return Poll::Pending,
        }
    }
    match poll_pump(cx, core, plan, link, upload) {
        Poll::Ready(Ok(())) => match Pin::new(&mut link.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Sending::Upstream)),
            Poll::Pending => Poll::Pending,
        },
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// Goes on with the body of a request; ready when all of it was written.
fn poll_pump<U: Upload>(
    cx: &mut Context<'_>,
    core: &Core,
    plan: &Plan,
    link: &mut Link,
    upload: &mut U,
) -> Poll<Result<(), Sending>> {
    while !upload.is_done() {
        match upload.poll_bytes(cx, core) {
            Poll::Ready(Ok(true)) => {}
            Poll::Ready(Ok(false)) => break,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Sending::Upload(error))),
            Poll::Pending => {
                // TLS may hold some of what was written.
                let _ = Pin::new(&mut link.io).poll_flush(cx);
                return Poll::Pending;
            }
        }
        match Pin::new(&mut link.io).poll_write(cx, upload.bytes()) {
            Poll::Ready(Ok(count)) if count > 0 => {
                upload.advance(count);
                plan.entry.touch(core.parts.clock.now());
            }
            Poll::Ready(_) => return Poll::Ready(Err(Sending::Upstream)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(()))
}

/// Goes on with an upload while the answer is being read; ready when there is no more to do for it. An error is the
/// client's: nobody knows what it sends next.
pub(crate) fn poll_rest<U: Upload>(
    cx: &mut Context<'_>,
    core: &Core,
    plan: &Plan,
    link: &mut Link,
    upload: &mut U,
) -> Poll<Result<(), UploadError>> {
    match poll_pump(cx, core, plan, link, upload) {
        Poll::Ready(Err(Sending::Upload(error))) => Poll::Ready(Err(error)),
        // It has answered, and may want no more.
        Poll::Ready(Err(Sending::Upstream)) => Poll::Ready(Ok(())),
        Poll::Ready(Ok(())) => match Pin::new(&mut link.io).poll_flush(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(Ok(())),
        },
        Poll::Pending => Poll::Pending,
    }
}
