//! An answer of the gateway's own, or of the hub, on its way to an HTTP/1 client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, Bytes};
use http::Response;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
};
use http_body::Body as _;

use crate::answer::write_status;
use crate::body::Body;
use crate::buffer::Text;
use crate::client::{Client, Gone};
use crate::head::is_hop_by_hop;
use crate::plan::push;
use crate::serve::Core;

/// An answer that is being written.
pub(crate) struct Deliver {
    out: Text,
    written: usize,
    data: Bytes,
    /// Written after the data.
    tail: &'static [u8],
    body: Option<Body>,
    chunked: bool,
}

impl Deliver {
    /// Writes the head. `keep_alive` says whether the connection goes on; `old` is HTTP/1.0.
    pub(crate) fn new(
        core: &Core,
        response: Response<Body>,
        to_head: bool,
        connection: &[u8],
        old: bool,
    ) -> Self {
        let (head, body) = response.into_parts();
        let mut text = Text::new();
        let out = &mut text.0;
        write_status(out, head.status.as_u16(), "");
        for (name, value) in &head.headers {
            let said_already = !core.hsts.is_empty() && name == STRICT_TRANSPORT_SECURITY;
            if !said_already
                && !is_hop_by_hop(name.as_str())
                && ![CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name)
            {
                push(out, name.as_str(), value.as_bytes());
            }
        }
        if !head.headers.contains_key(DATE) {
            push(out, "date", date(core).as_bytes());
        }
        let status = head.status.as_u16();
        let bodiless = status < 200 || status == 204 || status == 304;
        let size = body.size_hint().exact();
        let mut chunked = false;
        if bodiless {
        } else if let Some(size) = size {
            // An answer to `HEAD` may tell a length without having a body.
            match head.headers.get(CONTENT_LENGTH).filter(|_| to_head) {
                Some(told) => push(out, "content-length", told.as_bytes()),
                None => push(out, "content-length", size.to_string().as_bytes()),
            }
        } else if !old {
            chunked = true;
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        out.extend_from_slice(connection);
        out.extend_from_slice(b"\r\n");
        Self {
            out: text,
            written: 0,
            data: Bytes::new(),
            tail: &[],
            body: (!bodiless && !to_head).then_some(body),
            chunked,
        }
    }

    /// Whether the end of the body can be told by the end of the connection alone.
    pub(crate) fn needs_close(response: &Response<Body>, old: bool) -> bool {
        old && response.body().size_hint().exact().is_none()
    }

    /// Ready when the whole answer was written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        client: &mut Client,
    ) -> Poll<Result<(), Gone>> {
        let limit = core.config.send_timeout.get();
        loop {
            let text = self.out.0.get(self.written..).unwrap_or_default();
            if !text.is_empty() || !self.data.is_empty() {
                match client.poll_write(cx, limit, text, &self.data)? {
                    Poll::Ready(count) => {
                        let of_text = count.min(text.len());
                        self.written += of_text;
                        self.data.advance(count - of_text);
                        if self.written == self.out.0.len() {
                            self.out.0.clear();
                            self.written = 0;
                        }
                        continue;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !self.tail.is_empty() {
                self.out.0.extend_from_slice(self.tail);
                self.tail = &[];
                continue;
            }
            let Some(body) = &mut self.body else {
                return client.poll_flush(cx, limit);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        if self.chunked {
                            use std::io::Write as _;
                            let _ = write!(self.out.0, "{:x}\r\n", data.len());
                            self.tail = b"\r\n";
                        }
                        self.data = data;
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.end(&trailers);
                    }
                },
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Gone)),
                Poll::Ready(None) => self.end(&http::HeaderMap::new()),
                Poll::Pending => {
                    let _ = client.poll_flush(cx, limit)?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn end(&mut self, trailers: &http::HeaderMap) {
        self.body = None;
        if self.chunked {
            self.out.0.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                push(&mut self.out.0, name.as_str(), value.as_bytes());
            }
            self.out.0.extend_from_slice(b"\r\n");
        }
    }
}

/// The time as `Date` has it (RFC 9110 §6.6.1).
fn date(core: &Core) -> String {
    let seconds = u64::try_from(core.parts.clock.now().as_second()).unwrap_or(0);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
