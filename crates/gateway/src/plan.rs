//! What is sent to an upstream in place of what the client has sent: the line, the fields, who the client is.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};

use crate::buffer::Text;
use crate::forwarded::{self, Inbound};
use crate::head::{Facts, Field, Length, RequestHead, is_hop_by_hop, is_named};
use crate::options::ForwardOptions;
use crate::request_id::{self, RequestId};
use crate::site::SiteAction;
use crate::table::Entry;

/// What is known of a connection, for all of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The other end; `None` on a Unix socket.
    pub(crate) addr: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub(crate) secure: bool,
    /// Whether it is a trusted proxy, or every client is believed.
    pub(crate) believed: bool,
}

/// A request that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'b> {
    pub(crate) head: RequestHead<'b>,
    pub(crate) facts: Facts<'b>,
    /// The host that was asked for, perhaps with a port; empty only with HTTP/1.0.
    pub(crate) host: &'b str,
    /// The path without dot segments, as it came otherwise.
    pub(crate) path: Cow<'b, str>,
    pub(crate) query: Option<&'b str>,
    pub(crate) peer: Peer,
    pub(crate) id: RequestId,
    /// Another protocol is asked for, which can be tunnelled.
    pub(crate) upgrade: bool,
}

/// What the gate has said of a visitor.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    pub(crate) headers: HeaderMap,
    pub(crate) hide_cookies: Vec<String>,
}

/// A request that is ready for its upstream.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) entry: Arc<Entry>,
    /// Line and fields, to the empty line.
    pub(crate) head: Text,
    /// Path and query that were asked for, if others are sent.
    pub(crate) original: Option<Box<str>>,
    pub(crate) id: RequestId,
    /// Another protocol is asked for.
    pub(crate) upgrade: bool,
    /// It may be sent twice.
    pub(crate) idempotent: bool,
    /// The answer has no body (`HEAD`).
    pub(crate) to_head: bool,
    /// Host and scheme that the browser sees, for the rewriting of answers; only where that is done.
    pub(crate) public: Option<Box<Public>>,
}

/// What the browser sees.
#[derive(Debug)]
pub(crate) struct Public {
    pub(crate) host: String,
    pub(crate) scheme: &'static str,
}

impl Asked<'_> {
    pub(crate) fn inbound(&self) -> Inbound<'_> {
        Inbound {
            peer: self.peer.addr,
            secure: self.peer.secure,
            host: self.host,
            upgrade: self.upgrade,
            believed: self.peer.believed,
        }
    }

    pub(crate) fn path_and_query(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone().into_owned(),
        }
    }

    /// Gives the fields that go on, hub or upstream, to a function; not those that tell how the message is read.
    pub(crate) fn passed_on(&self, options: &ForwardOptions, mut field: impl FnMut(&str, &[u8])) {
        let fields = self.head.fields;
        for Field { name, value } in fields.iter().copied() {
            let skipped = is_hop_by_hop(name)
                || (name.len() == 4 && name.eq_ignore_ascii_case("host"))
                || (name.len() == 14 && name.eq_ignore_ascii_case("content-length"))
                || (name.len() == 12 && name.eq_ignore_ascii_case(request_id::NAME))
                || (self.facts.names_others && is_named(fields, name))
                || (self.facts.claims && self.drops_claim(name, options));
            if !skipped {
                field(name, value);
            }
        }
        if self.facts.takes_trailers {
            field("te", b"trailers");
        }
        field(request_id::NAME, self.id.as_str().as_bytes());
        if options.x_forward {
            forwarded::write(fields, self.facts.claims, self.inbound(), field);
        }
    }

    fn drops_claim(&self, name: &str, options: &ForwardOptions) -> bool {
        if !forwarded::is_claim(name.as_bytes()) {
            return false;
        }
        let rewritten = || {
            forwarded::REWRITTEN
                .iter()
                .any(|rewritten| name.eq_ignore_ascii_case(rewritten))
        };
        !self.peer.believed || (options.x_forward && rewritten())
    }

    /// The fields as a map, for the hub and the gate.
    pub(crate) fn header_map(&self, options: &ForwardOptions) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.head.fields.len() + 6);
        let mut insert = |name: &str, value: &[u8]| {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_bytes(value),
            ) {
                map.append(name, value);
            }
        };
        if !self.host.is_empty() {
            insert("host", self.host.as_bytes());
        }
        self.passed_on(options, insert);
        map
    }

    /// Writes what is sent to the upstream of an entry.
    pub(crate) fn plan(
        &self,
        entry: Arc<Entry>,
        options: &ForwardOptions,
        length: &Length,
        admitted: Option<&Admitted>,
    ) -> Plan {
        let mut text = Text::new();
        let out = &mut text.0;
        let site = entry.site.as_deref();
        let forwarding = site.and_then(|site| match &site.action {
            SiteAction::Forward(forwarding) => Some(forwarding),
            SiteAction::Files(_) | SiteAction::Redirect { .. } => None,
        });
        out.extend_from_slice(self.head.method.as_bytes());
        out.push(b' ');
        let target_at = out.len();
        if options.prepend_path {
            out.extend_from_slice(entry.route.target_path.as_bytes());
        }
        let strips = forwarding.map_or(!options.include_prefix, |forwarding| {
            forwarding.strip_prefix
        });
        if strips {
            out.extend_from_slice(strip(entry.route.spec.path_prefix(), &self.path).as_bytes());
        } else {
            out.extend_from_slice(self.path.as_bytes());
        }
        if let Some(query) = self.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        let original = self.original_if_other(out.get(target_at..).unwrap_or_default());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let target_host = options
            .change_origin
            .then(|| authority(&entry.route.target));
        let host = target_host.as_deref().unwrap_or(match self.host {
            "" => "localhost",
            host => host,
        });
        push(out, "host", host.as_bytes());
        let is_set = |name: &str| {
            site.is_some_and(|site| {
                site.request_headers
                    .iter()
                    .any(|(set, _)| set.as_str().eq_ignore_ascii_case(name))
            }) || admitted.is_some_and(|admitted| admitted.headers.contains_key(name))
                || options
                    .custom_headers
                    .iter()
                    .any(|(set, _)| set.as_str().eq_ignore_ascii_case(name))
        };
        let replaces = site.is_some() || !options.custom_headers.is_empty();
        self.passed_on(options, |name, value| {
            if replaces {
                if is_set(name) || (site.is_some() && forwarded::is_identity(name.as_bytes())) {
                    return;
                }
                if let Some(admitted) = admitted
                    && name.eq_ignore_ascii_case("cookie")
                {
                    let kept = without_cookies(value, &admitted.hide_cookies);
                    if !kept.is_empty() {
                        push(out, name, &kept);
                    }
                    return;
                }
            }
            push(out, name, value);
        });
        if replaces {
            let set = site
                .map(|site| site.request_headers.as_slice())
                .unwrap_or_default();
            for (name, value) in set.iter().chain(&options.custom_headers) {
                push(out, name.as_str(), value.as_bytes());
            }
            for (name, value) in admitted.iter().flat_map(|admitted| &admitted.headers) {
                push(out, name.as_str(), value.as_bytes());
            }
        }
        if self.upgrade {
            out.extend_from_slice(b"connection: Upgrade\r\n");
            push(out, "upgrade", self.facts.upgrade.unwrap_or_default());
        }
        match length {
            Length::Bytes(0) if !has_body_by_nature(self.head.method) => {}
            Length::Bytes(bytes) => {
                let _ = write!(out, "content-length: {bytes}\r\n");
            }
            Length::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Length::UntilClose => {}
        }
        out.extend_from_slice(b"\r\n");
        let rewrites = options.auto_rewrite
            || options.protocol_rewrite.is_some()
            || forwarding.is_some_and(|forwarding| forwarding.rewrite);
        let public = rewrites.then(|| {
            Box::new(Public {
                host: self.host.to_owned(),
                scheme: if self.peer.secure { "https" } else { "http" },
            })
        });
        Plan {
            head: text,
            original,
            id: self.id,
            upgrade: self.upgrade,
            idempotent: is_idempotent(self.head.method),
            to_head: self.head.method == "HEAD",
            public,
            entry,
        }
    }

    fn original_if_other(&self, sent: &[u8]) -> Option<Box<str>> {
        let query = self.query.map_or(0, |query| query.len() + 1);
        let same = sent.len() == self.path.len() + query && sent.starts_with(self.path.as_bytes());
        (!same).then(|| self.path_and_query().into())
    }
}

pub(crate) fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Takes a decoded prefix from a path that may have escapes; what is left begins with one slash.
pub(crate) fn strip<'p>(prefix: &str, path: &'p str) -> Cow<'p, str> {
    let mut left = prefix.strip_suffix('/').unwrap_or(prefix).len();
    let mut rest = path;
    while left > 0 && !rest.is_empty() {
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let (step, decoded) = match first {
            1 if rest.starts_with('%') => (3, 1),
            length => (length, length),
        };
        rest = rest.get(step..).unwrap_or_default();
        left = left.saturating_sub(decoded);
    }
    let inner = rest.trim_start_matches('/');
    match rest.len() - inner.len() {
        1 => Cow::Borrowed(rest),
        _ => Cow::Owned(format!("/{inner}")),
    }
}

/// Takes cookies out of a `Cookie` field.
fn without_cookies(value: &[u8], hidden: &[String]) -> Vec<u8> {
    let kept: Vec<&[u8]> = value
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| {
            let name = cookie
                .split(|byte| *byte == b'=')
                .next()
                .unwrap_or_default();
            !cookie.is_empty()
                && !hidden
                    .iter()
                    .any(|hidden| hidden.as_bytes() == name.trim_ascii())
        })
        .collect();
    kept.join(&b"; "[..])
}

/// Host and port of a target, as `Host` names them.
fn authority(target: &lyceum_core::Upstream) -> String {
    let with_port = |host: &str, port: u16, usual: u16| {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        if port == usual {
            host
        } else {
            format!("{host}:{port}")
        }
    };
    match target {
        lyceum_core::Upstream::Tcp { host, port } => with_port(host, *port, 80),
        lyceum_core::Upstream::Tls { host, port } => with_port(host, *port, 443),
        lyceum_core::Upstream::Unix(_) => "localhost".to_owned(),
    }
}

fn has_body_by_nature(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_from_a_path_with_escapes() {
        for (prefix, path, expected) in [
            ("/r/", "/r/", "/"),
            ("/r/", "/r", "/"),
            ("/r/", "/r/a%2Fb", "/a%2Fb"),
            ("/r/", "/r//evil.example/x", "/evil.example/x"),
            ("/a b/", "/a%20b/c", "/c"),
            ("/a/b/", "/a%2Fb/c", "/c"),
            ("/r/", "/r%2Fx", "/%2Fx"),
            ("/ü/", "/%C3%BC/x", "/x"),
            ("/", "/x/y", "/x/y"),
        ] {
            assert_eq!(strip(prefix, path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn hidden_cookies_are_taken_out_and_others_left() {
        let hidden = ["a".to_owned(), "session".to_owned()];
        let check = |value: &str, expected: &str| {
            assert_eq!(
                without_cookies(value.as_bytes(), &hidden),
                expected.as_bytes()
            );
        };
        check("a=1; b=2; session=x; ab=3", "b=2; ab=3");
        check("a=1", "");
        check("b=\"x;y\"", "b=\"x; y\"");
    }
}
