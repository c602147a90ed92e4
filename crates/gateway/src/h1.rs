//! HTTP/1.0 and 1.1 with a client: one request after the other, each to where `front` says.

use std::borrow::Cow;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use http::{Request, Response};

use crate::answer::{self, Manner, write_head};
use crate::body::Body;
use crate::buffer::Text;
use crate::client::{Client, NoHead};
use crate::deliver::Deliver;
use crate::exchange::{self, NoReply, Reply};
use crate::failure::{self, Failure};
use crate::feed::Feed;
use crate::front::{self, Known, Verdict};
use crate::h2;
use crate::head::{BadHead, Facts, Length, with_answer, with_request};
use crate::hub::NoAnswer;
use crate::pages::ErrorReason;
use crate::plan::{Plan, push};
use crate::pool::Link;
use crate::relay::{Broken, Relay};
use crate::request_id::RequestId;
use crate::serve::Core;
use crate::table::Entry;
use crate::tunnel::End;
use crate::upload::{ClientUpload, Uploading};

/// The beginning of HTTP/2 without TLS, by a client that knows that it is understood (RFC 9113 §3.3).
const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// What becomes of a connection after a request.
enum Next {
    /// It goes on.
    Another,
    /// It ends; nothing is on its way from the client.
    Close,
    /// It ends, and the client may be sending what nobody reads.
    Linger,
    /// It is cut off, so that a part of an answer is not taken for the whole.
    Abort,
    /// It speaks another protocol from here on.
    Tunnel(Box<(Link, Arc<Entry>)>),
}

/// What is known of a request when its head has been read, beside what is to be done with it.
struct Turn {
    length: Length,
    keep_alive: bool,
    /// The client believes that it does, and may have sent more.
    expects_more: bool,
    /// HTTP/1.0.
    old: bool,
    to_head: bool,
    expects_continue: bool,
    /// The client is told to come by TLS alone.
    says_hsts: bool,
}

impl Turn {
    /// How the connection ends after an answer, when the whole request was read.
    fn end(&self) -> Next {
        if self.expects_more {
            Next::Linger
        } else {
            Next::Close
        }
    }

    /// The lines of the answer's head that are about the connection.
    fn connection(&self, core: &Core) -> Cow<'static, [u8]> {
        let connection: &'static [u8] = match (self.keep_alive, self.old) {
            (false, _) => b"connection: close\r\n",
            (true, true) => b"connection: keep-alive\r\n",
            (true, false) => b"",
        };
        if self.says_hsts {
            return Cow::Owned([connection, core.hsts.as_bytes()].concat());
        }
        Cow::Borrowed(connection)
    }
}

/// Serves a client until its connection ends, is upgraded, or a drain lets it go.
pub(crate) async fn serve(core: Rc<Core>, mut client: Client) {
    let _woken = core.wake_to_drain().await;
    let mut first = true;
    let mut left = core.config.max_requests_per_connection;
    loop {
        let length = match client.read_head(&core, first).await {
            Ok(length) => length,
            Err(NoHead::Closed) => return client.close().await,
            Err(NoHead::TooSlow) => {
                return refuse(&core, client, ErrorReason::RequestTimeout).await;
            }
            Err(NoHead::Bad(bad)) => return refuse(&core, client, front::reason(bad)).await,
        };
        if first && client.inbox.data().starts_with(PREFACE_HEAD) {
            return h2::serve(core, client).await;
        }
        first = false;
        let last = left == 1;
        left = left.saturating_sub(1);
        match one(&core, &mut client, length, last).await {
            Next::Another => {}
            Next::Close => return client.close().await,
            Next::Linger => return client.linger().await,
            Next::Abort => return,
            Next::Tunnel(to) => return tunnel(&core, client, *to),
        }
    }
}

/// Answers a request that cannot be read, and ends the connection.
async fn refuse(core: &Core, mut client: Client, reason: ErrorReason) {
    let response = failure::fail(core, Failure::unknown(reason)).await;
    core.parts.counts.answered(response.status().as_u16());
    let mut deliver = Deliver::new(core, response, false, b"connection: close\r\n", false);
    let _ = poll_fn(|cx| deliver.poll(cx, core, &mut client)).await;
    client.linger().await;
}

/// Reads a head that has come, and decides.
fn read_turn(
    core: &Core,
    client: &Client,
    length: usize,
    last: bool,
    known: &Known,
) -> (Turn, Verdict) {
    let bytes = client.inbox.data().get(..length).unwrap_or_default();
    let seen = with_request(bytes, core.config.max_headers.into(), |head| {
        if head.target.len() > core.config.max_uri_bytes as usize {
            return Err(BadHead::TargetTooLong);
        }
        let facts = Facts::of_request(&head)?;
        let length = facts.request_length();
        let lasts = if head.minor == 0 {
            facts.keep_alive
        } else {
            !facts.close
        };
        let verdict = front::decide(core, head, facts, &client.peer, &length, known);
        let turn = Turn {
            length,
            // What follows a wish for another protocol may be anything.
            keep_alive: lasts && !last && facts.upgrade.is_none() && !core.is_draining(),
            expects_more: lasts,
            old: head.minor == 0,
            to_head: head.method == "HEAD",
            expects_continue: facts.expects_continue && head.minor == 1,
            says_hsts: client.peer.says_hsts,
        };
        Ok::<_, BadHead>((turn, verdict))
    });
    seen.and_then(|seen| seen).unwrap_or_else(|bad| {
        let turn = Turn {
            length: Length::Bytes(0),
            keep_alive: false,
            expects_more: true,
            old: false,
            to_head: false,
            expects_continue: false,
            says_hsts: client.peer.says_hsts,
        };
        let failure = Failure::unknown(front::reason(bad));
        (turn, Verdict::Fail(Box::new(failure)))
    })
}

async fn one(core: &Rc<Core>, client: &mut Client, length: usize, last: bool) -> Next {
    let mut known = Known::default();
    let (mut turn, mut verdict) = read_turn(core, client, length, last, &known);
    if let Verdict::Ask(visit) = verdict {
        let site = visit.site.clone();
        (turn, verdict) = match core.hub.admit(*visit).await {
            Ok(admitted) => {
                known.admitted = Some((site, admitted));
                read_turn(core, client, length, last, &known)
            }
            Err(response) => (turn, Verdict::Answer(Box::new(response))),
        };
    }
    if let Verdict::File(file) = verdict {
        if let Some(response) = front::answer_file(core, &file).await {
            verdict = Verdict::Answer(Box::new(response));
        } else {
            known.no_file = true;
            (turn, verdict) = read_turn(core, client, length, last, &known);
        }
    }
    client.inbox.consume(length);
    if let Verdict::Health(response) = verdict {
        return answer(core, client, turn, *response, false).await;
    }
    core.parts.counts.requests.fetch_add(1, Ordering::Relaxed);
    match verdict {
        Verdict::Answer(response) => answer(core, client, turn, *response, true).await,
        Verdict::Fail(failure) => fail(core, client, turn, *failure).await,
        Verdict::Forward(plan) => forward(core, client, turn, plan).await,
        Verdict::Hub(request) => ask_hub(core, client, turn, *request).await,
        Verdict::Folder(folder) => {
            let response = front::answer_folder(core, *folder).await;
            answer(core, client, turn, response, true).await
        }
        // Neither comes a second time.
        Verdict::Ask(_) | Verdict::File(_) | Verdict::Health(_) => Next::Abort,
    }
}

/// Answers here. A body that nobody wants ends the connection.
async fn answer(
    core: &Core,
    client: &mut Client,
    mut turn: Turn,
    response: Response<Body>,
    counted: bool,
) -> Next {
    turn.keep_alive &= turn.length.is_empty();
    if counted {
        core.parts.counts.answered(response.status().as_u16());
    }
    if Deliver::needs_close(&response, turn.old) {
        turn.keep_alive = false;
    }
    let mut deliver = Deliver::new(
        core,
        response,
        turn.to_head,
        &turn.connection(core),
        turn.old,
    );
    let outcome = poll_fn(|cx| match deliver.poll(cx, core, client) {
        Poll::Pending if turn.length.is_empty() => client.poll_gone(cx).map(Err),
        outcome => outcome,
    })
    .await;
    match outcome {
        Err(_) => Next::Abort,
        Ok(()) if turn.keep_alive => Next::Another,
        Ok(()) if turn.length.is_empty() => turn.end(),
        Ok(()) => Next::Linger,
    }
}

async fn fail(core: &Core, client: &mut Client, mut turn: Turn, failure: Failure) -> Next {
    let ends = failure::ends_connection(failure.reason);
    let response = failure::fail(core, failure).await;
    turn.keep_alive &= !ends;
    match answer(core, client, turn, response, true).await {
        Next::Close if ends => Next::Linger,
        next => next,
    }
}

/// Forwards a request, and passes its answer on.
async fn forward(core: &Rc<Core>, client: &mut Client, mut turn: Turn, plan: Box<Plan>) -> Next {
    if plan.upgrade {
        core.parts.counts.upgrades.fetch_add(1, Ordering::Relaxed);
    }
    let most = plan
        .entry
        .site
        .as_ref()
        .and_then(|site| site.limits.max_body);
    let length = std::mem::replace(&mut turn.length, Length::Bytes(0));
    let mut upload = ClientUpload::new(length, most, turn.expects_continue);
    let asking = exchange::ask(
        core,
        &plan,
        &mut Uploading {
            client,
            upload: &mut upload,
        },
    )
    .await;
    let reason = match asking {
        Ok(reply) if reply.status != 101 => {
            return pass_on(core, client, turn, plan, reply, upload).await;
        }
        Ok(reply) if plan.upgrade && upload.is_done() => {
            return switch(core, client, plan, reply).await;
        }
        Ok(_) => ErrorReason::UpstreamBadAnswer,
        Err(NoReply::ClientGone) => return Next::Abort,
        Err(NoReply::Reason(reason)) => reason,
    };
    core.report(&plan.entry, reason);
    let is_done = upload.is_done();
    turn.keep_alive &= is_done;
    let next = if plan.upgrade {
        let response = failure::own(reason.status(), bytes::Bytes::new(), plan.id);
        answer(core, client, turn, response, true).await
    } else {
        fail(core, client, turn, Failure::of_plan(reason, &plan)).await
    };
    match next {
        Next::Close if !is_done => Next::Linger,
        next => next,
    }
}

/// Passes an answer on to the client; the connection returns to the pool after its end.
async fn pass_on(
    core: &Rc<Core>,
    client: &mut Client,
    mut turn: Turn,
    plan: Box<Plan>,
    reply: Reply,
    mut upload: ClientUpload,
) -> Next {
    let Reply {
        mut link,
        status,
        head,
        length,
        close,
    } = reply;
    if !upload.keep_quiet() {
        return Next::Abort;
    }
    let squeezed = crate::squeeze::plan(core, &plan, &link, head, &length);
    let unknown = squeezed.is_some() || length == Length::UntilClose;
    let chunked = unknown || matches!(length, Length::Chunked(_));
    let manner = match (chunked, turn.old) {
        // HTTP/1.0 knows no chunks.
        (true, true) => Manner::UntilClose,
        _ if unknown => Manner::Chunked,
        _ => Manner::AsItCame,
    };
    turn.keep_alive &= manner != Manner::UntilClose && upload.is_done() && !core.is_draining();
    let mut out = Text::new();
    let bytes = link.inbox.data().get(..head).unwrap_or_default();
    let _ = with_answer(bytes, |head, _| match &squeezed {
        Some(squeezed) => squeezed.write_head(&mut out.0, &head, manner, &turn.connection(core)),
        None => write_head(
            &mut out.0,
            &plan,
            &head,
            &length,
            manner,
            &turn.connection(core),
        ),
    });
    link.inbox.consume(head);
    core.parts.counts.answered(status);
    let entry = (status < 300).then(|| Arc::clone(&plan.entry));
    if plan.acts && entry.is_some() {
        plan.entry.touch_action(core.parts.clock.now());
    }
    let limit = exchange::response_timeout(core, &plan)
        .filter(|_| plan.entry.site.is_some())
        .map(|(limit, _)| limit);
    let encoder = squeezed.map(|squeezed| squeezed.encoder);
    let mut relay = Relay::new(out, length, manner, entry, limit).compressing(encoder);
    // Even if all was written, TLS may hold some of it.
    let mut uploading = !upload.is_absent();
    let outcome = poll_fn(|cx| {
        if uploading {
            let mut upload = Uploading {
                client,
                upload: &mut upload,
            };
            match exchange::poll_rest(cx, core, &plan, &mut link, &mut upload) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Client)),
                Poll::Ready(Ok(())) => uploading = false,
                Poll::Pending => {}
            }
        }
        match relay.poll(cx, core, &mut link, client) {
            Poll::Pending if !uploading => client.poll_gone(cx).map(|_| Err(Broken::Client)),
            outcome => outcome,
        }
    })
    .await;
    match outcome {
        Ok(()) => {
            if !close && upload.is_done() {
                core.pool.give_back(plan.entry.target_id, link);
            }
            match turn.keep_alive {
                true => Next::Another,
                false if upload.is_done() => turn.end(),
                false => Next::Linger,
            }
        }
        Err(broken) => {
            if broken == Broken::Upstream {
                tracing::debug!(
                    route = %plan.entry.route.spec,
                    upstream = %plan.entry.target(),
                    "the answer of an upstream broke off"
                );
            }
            Next::Abort
        }
    }
}

/// Tells the client that the protocol has changed.
async fn switch(core: &Core, client: &mut Client, plan: Box<Plan>, reply: Reply) -> Next {
    let Reply { mut link, head, .. } = reply;
    let mut out = Text::new();
    let bytes = link.inbox.data().get(..head).unwrap_or_default();
    let _ = with_answer(bytes, |head, _| {
        let Ok(facts) = Facts::of_answer(&head) else {
            return;
        };
        answer::write_status(&mut out.0, 101, head.reason);
        answer::passed_on(&plan, &head, &facts, |name, value| {
            push(&mut out.0, name, &value);
        });
        out.0.extend_from_slice(b"connection: Upgrade\r\n");
        if let Some(protocol) = facts.upgrade {
            push(&mut out.0, "upgrade", protocol);
        }
        out.0.extend_from_slice(b"\r\n");
    });
    link.inbox.consume(head);
    core.parts.counts.answered(101);
    match client.write_all(core, &out.0).await {
        Ok(()) => Next::Tunnel(Box::new((link, Arc::clone(&plan.entry)))),
        Err(_) => Next::Abort,
    }
}

/// Joins both sides, in a task of its own: that of the connection is large, and a tunnel small.
fn tunnel(core: &Rc<Core>, client: Client, (link, entry): (Link, Arc<Entry>)) {
    let Client {
        io,
        mut inbox,
        slot,
        ..
    } = client;
    let Link {
        io: upstream,
        inbox: mut from_upstream,
    } = link;
    let client = End {
        early: inbox.take_all().into(),
        socket: io,
    };
    let upstream = End {
        early: from_upstream.take_all().into(),
        socket: upstream,
    };
    core.spawn_tunnel(entry, client, upstream, slot);
}

/// Hands a request to the hub, and passes its answer on.
async fn ask_hub(core: &Core, client: &mut Client, mut turn: Turn, request: Request<()>) -> Next {
    let id = request.extensions().get::<RequestId>().copied();
    let failure = Failure::of_request(
        ErrorReason::HubFailed,
        &request,
        id.unwrap_or_else(RequestId::new),
    );
    let length = std::mem::replace(&mut turn.length, Length::Bytes(0));
    let upload = ClientUpload::new(length, None, turn.expects_continue);
    let (mut feed, body) = Feed::new(upload);
    let mut calling = pin!(core.hub.call(request.map(|()| body)));
    let called = poll_fn(|cx| {
        let fed = feed.poll(cx, core, client);
        match calling.as_mut().poll(cx) {
            Poll::Ready(called) => Poll::Ready(Some(called)),
            Poll::Pending if fed.is_ready() && feed.is_done() => client.poll_gone(cx).map(|_| None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    let response = match called {
        None => return Next::Abort,
        Some(Ok(response)) => response,
        Some(Err(no_answer)) => {
            let reason = match no_answer {
                NoAnswer::Panicked => ErrorReason::HubFailed,
                NoAnswer::Ended => ErrorReason::HubEnded,
            };
            turn.keep_alive &= feed.is_done();
            return fail(core, client, turn, failure.because(reason)).await;
        }
    };
    turn.keep_alive &= feed.is_done() && !Deliver::needs_close(&response, turn.old);
    core.parts.counts.answered(response.status().as_u16());
    let mut deliver = Deliver::new(
        core,
        response,
        turn.to_head,
        &turn.connection(core),
        turn.old,
    );
    let outcome = poll_fn(|cx| {
        let fed = feed.poll(cx, core, client);
        match deliver.poll(cx, core, client) {
            Poll::Pending if fed.is_ready() && feed.is_done() => client.poll_gone(cx).map(Err),
            outcome => outcome,
        }
    })
    .await;
    match outcome {
        Err(_) => Next::Abort,
        Ok(()) if turn.keep_alive => Next::Another,
        Ok(()) if feed.is_done() => turn.end(),
        Ok(()) => Next::Linger,
    }
}
