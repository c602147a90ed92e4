//! What is sent to an upstream in place of what the client has sent: the line, the fields, who the client is.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};
use lyceum_certs::ClientIdentity;

use crate::action::is_action;
use crate::buffer::Text;
use crate::forwarded::{self, Inbound};
use crate::head::{Facts, Field, Length, RequestHead, is_hop_by_hop, is_named};
use crate::options::ForwardOptions;
use crate::request_id::{self, RequestId};
use crate::rewrite::{self, Context};
use crate::site::{Forwarding, Site, SiteAction};
use crate::table::Entry;
use lyceum_core::Network;

/// What is known of a connection, for all of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The other end; `None` on a Unix socket.
    pub(crate) addr: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub(crate) secure: bool,
    /// Whether it is a trusted proxy, or every client is believed.
    pub(crate) believed: bool,
    /// Whether it is told to come by TLS alone from now on.
    pub(crate) says_hsts: bool,
    /// The certificate that it has shown, and that was checked.
    pub(crate) certificate: Option<Rc<ClientIdentity>>,
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
    pub(crate) peer: &'b Peer,
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
    /// It is a person's doing, if it succeeds.
    pub(crate) acts: bool,
    /// The answer has no body (`HEAD`).
    pub(crate) to_head: bool,
    /// The client has said which codings it takes.
    pub(crate) accepts_coding: bool,
    /// How long browsers shall come by TLS only is said here, whatever the upstream says.
    pub(crate) says_hsts: bool,
    /// Host and scheme that the browser sees, for the rewriting of answers; only where that is done.
    pub(crate) public: Option<Box<Public>>,
}

/// What the browser sees.
#[derive(Debug)]
pub(crate) struct Public {
    pub(crate) host: String,
    pub(crate) scheme: &'static str,
    /// What is done with redirects of routes.
    pub(crate) auto_rewrite: bool,
    pub(crate) protocol_rewrite: Option<String>,
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

    /// The status of a redirect to another address for good.
    pub(crate) fn moved(&self) -> u16 {
        if matches!(self.head.method, "GET" | "HEAD") {
            301
        } else {
            308
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
        if forwarded::is_certificate(name.as_bytes()) {
            return true;
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
        trusted: &[Network],
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
        let asked = self.path_and_query_text();
        let stripped = strips.then(|| rewrite::strip(entry.route.spec.path_prefix(), &asked));
        let target = stripped.flatten();
        out.extend_from_slice(target.as_deref().unwrap_or(&asked).as_bytes());
        let sent = out.get(target_at..).unwrap_or_default();
        let original = (sent != asked.as_bytes()).then(|| asked.as_ref().into());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        let public =
            (forwarding.is_some() || options.auto_rewrite || options.protocol_rewrite.is_some())
                .then(|| Box::new(self.public(options, trusted)));
        let target_host = options
            .change_origin
            .then(|| authority(&entry.route.target));
        let host = target_host.as_deref().unwrap_or(match self.host {
            "" => "localhost",
            host => host,
        });
        push(out, "host", host.as_bytes());
        match (site, forwarding) {
            (Some(site), Some(forwarding)) => {
                self.site_fields(out, site, forwarding, public.as_deref(), options, admitted);
            }
            _ if options.custom_headers.is_empty() => {
                self.passed_on(options, |name, value| push(out, name, value));
            }
            _ => {
                let custom = &options.custom_headers;
                self.passed_on(options, |name, value| {
                    if !is_among(custom, name) {
                        push(out, name, value);
                    }
                });
                for (name, value) in custom {
                    push(out, name.as_str(), value.as_bytes());
                }
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
        Plan {
            head: text,
            original,
            id: self.id,
            upgrade: self.upgrade,
            says_hsts: false,
            idempotent: is_idempotent(self.head.method),
            acts: is_action(self.head.method, &self.path, self.head.fields),
            to_head: self.head.method == "HEAD",
            accepts_coding: self.facts.accepts_coding,
            public,
            entry,
        }
    }

    fn path_and_query_text(&self) -> Cow<'_, str> {
        match self.query {
            None => Cow::Borrowed(&self.path),
            // As they came, they stand side by side.
            Some(_)
                if self
                    .head
                    .target
                    .strip_prefix(&*self.path)
                    .is_some_and(|rest| rest.starts_with('?')) =>
            {
                Cow::Borrowed(self.head.target)
            }
            Some(_) => Cow::Owned(self.path_and_query()),
        }
    }

    fn public(&self, options: &ForwardOptions, trusted: &[Network]) -> Public {
        let client = forwarded::client(self.head.fields, self.inbound(), trusted);
        Public {
            host: client.host,
            scheme: client.scheme,
            auto_rewrite: options.auto_rewrite,
            protocol_rewrite: options.protocol_rewrite.clone(),
        }
    }

    /// Writes the fields for a site's application.
    fn site_fields(
        &self,
        out: &mut Vec<u8>,
        site: &Site,
        forwarding: &Forwarding,
        public: Option<&Public>,
        options: &ForwardOptions,
        admitted: Option<&Admitted>,
    ) {
        let of_gate = admitted.map(|admitted| &admitted.headers);
        let hidden = admitted.map(|admitted| admitted.hide_cookies.as_slice());
        let hidden: Vec<&String> = options
            .hidden_cookies
            .iter()
            .chain(hidden.into_iter().flatten())
            .collect();
        self.passed_on(options, |name, value| {
            let skipped = rewrite::is_site_field(name, forwarding.kind)
                || rewrite::is_identity_name(name)
                || is_among(&site.request_headers, name)
                || of_gate.is_some_and(|headers| headers.contains_key(name));
            if skipped {
                return;
            }
            if name.eq_ignore_ascii_case("cookie") {
                let kept = rewrite::without_cookies(value, &hidden);
                if !kept.is_empty() {
                    push(out, name, &kept);
                }
                return;
            }
            push(out, name, value);
        });
        if let Some(public) = public {
            let asked = self.path_and_query_text();
            let request = rewrite::Request {
                path_and_query: &asked,
                kind: forwarding.kind,
            };
            rewrite::site_fields(request, &public.context(site, forwarding), |name, value| {
                if !is_among(&site.request_headers, name) {
                    push(out, name, value.as_bytes());
                }
            });
        }
        if site.access.client_certificate
            && let Some(certificate) = &self.peer.certificate
        {
            push(
                out,
                forwarded::CERTIFICATE_SUBJECT,
                certificate.subject.as_bytes(),
            );
            push(
                out,
                forwarded::CERTIFICATE_SHA256,
                certificate.sha256.as_bytes(),
            );
        }
        for (name, value) in of_gate.into_iter().flatten() {
            // An empty one takes away.
            if !value.is_empty() && !is_among(&site.request_headers, name.as_str()) {
                push(out, name.as_str(), value.as_bytes());
            }
        }
        for (name, value) in &site.request_headers {
            push(out, name.as_str(), value.as_bytes());
        }
    }
}

fn is_among(headers: &[(HeaderName, HeaderValue)], name: &str) -> bool {
    headers
        .iter()
        .any(|(among, _)| among.as_str().eq_ignore_ascii_case(name))
}

impl Public {
    /// What has to be known to make an answer right for the browser.
    pub(crate) fn context<'a>(&'a self, site: &'a Site, forwarding: &'a Forwarding) -> Context<'a> {
        Context {
            prefix: site.spec.path_prefix(),
            stripped: forwarding.strip_prefix,
            scheme: self.scheme,
            host: &self.host,
            upstream: &forwarding.target,
        }
    }
}

/// Writes one field. Whoever calls it has seen to it that neither part ends a line.
pub(crate) fn push(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(memchr::memchr3(b'\r', b'\n', b'\0', value).is_none());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
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
        lyceum_core::Upstream::OwnedTcp { port, .. } => {
            with_port(lyceum_core::Upstream::OWNED_HOST, *port, 80)
        }
        lyceum_core::Upstream::Tls { host, port }
        | lyceum_core::Upstream::Internal { host, port, .. } => with_port(host, *port, 443),
        lyceum_core::Upstream::Unix(_) | lyceum_core::Upstream::Owned { .. } => {
            "localhost".to_owned()
        }
    }
}

fn has_body_by_nature(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}
