//! What fuzzing runs: functions that take any bytes, and panic if something does not hold that always must.
//!
//! The targets in `fuzz/` call them, and so do the tests beside them, with made-up bytes and with the seeds of
//! the targets. Nothing else does: they are no part of the gateway's interface.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use lyceum_core::seams::Routes as _;
use lyceum_core::{Route, RouteSpec, Upstream};

use crate::forwarded::{self, Inbound};
use crate::head::Field;
use crate::hub::ClientInfo;
use crate::path;
use crate::proxy_protocol::{Parsed, parse};
use crate::table::RouteTable;
use lyceum_core::Network;

mod messages;

pub use messages::{chunks, heads};

/// Any bytes at the beginning of a connection.
///
/// A header is found at the same place whatever follows it, each piece of it is incomplete, and what is an error
/// stays one.
pub fn proxy_protocol(data: &[u8]) {
    match parse(data) {
        Ok(Parsed::Incomplete { at_least }) => {
            assert!(at_least > data.len(), "{at_least} of {}", data.len());
        }
        Ok(Parsed::Header {
            length,
            source,
            destination,
        }) => {
            assert!((15..=data.len().min(4112)).contains(&length), "{length}");
            assert_eq!(source.is_some(), destination.is_some());
            let (header, _) = data.split_at(length);
            assert_eq!(parse(header), parse(data));
            for cut in [0, 1, 6, 13, 16, length / 2, length - 2, length - 1] {
                if let Some(piece) = header.get(..cut).filter(|_| cut < length) {
                    let asks = matches!(
                        parse(piece),
                        Ok(Parsed::Incomplete { at_least }) if at_least <= length
                    );
                    assert!(asks, "{cut} of {length}: {:?}", parse(piece));
                }
            }
        }
        Err(error) => {
            let longer = [data, b"\r\n"].concat();
            assert_eq!(parse(&longer), Err(error));
        }
    }
}

/// A request for `host/path`, then changes of the table, a line each: `host/prefix`, or `-host/prefix` to remove.
///
/// The table finds what a plain search through all routes finds. No path keeps a dot segment.
pub fn routes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let request = lines.next().unwrap_or_default();
    let (host, raw_path) = request.split_at(request.find('/').unwrap_or(request.len()));

    let resolved = path::resolve_dots(raw_path);
    assert_eq!(path::resolve_dots(&resolved), resolved);
    for segment in resolved.split('/') {
        let decoded = path::decode(segment);
        assert!(decoded != "." && decoded != "..", "{resolved}");
    }

    let table = RouteTable::new();
    let mut specs = BTreeSet::new();
    for line in lines {
        let (removed, line) = match line.strip_prefix('-') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let Ok(spec) = RouteSpec::parse(line) else {
            continue;
        };
        if removed {
            let _ = at_once(table.remove(&spec));
            specs.remove(&spec);
        } else {
            let _ = at_once(table.put(Route {
                spec: spec.clone(),
                target: Upstream::Unix("/x".into()),
                target_path: String::new(),
                data: serde_json::Map::default(),
            }));
            specs.insert(spec);
        }
    }
    if host.contains(':') {
        // What belongs to a port and what to the name is another question.
        let _ = table.find_spec(host, raw_path);
        return;
    }
    let expected = search(&specs, &host.to_ascii_lowercase(), &path::decode(&resolved));
    assert_eq!(table.find_spec(host, raw_path).as_ref(), expected);
    let with_port = format!("{host}:8000");
    assert_eq!(table.find_spec(&with_port, raw_path).as_ref(), expected);
}

/// Finds the route for a decoded path: that of the host before one for all hosts, then the longest.
fn search<'a>(specs: &'a BTreeSet<RouteSpec>, host: &str, path: &str) -> Option<&'a RouteSpec> {
    specs
        .iter()
        .filter(|spec| spec.host().is_none_or(|of| of == host))
        .filter(|spec| {
            let prefix = spec.path_prefix();
            path.starts_with(prefix) || prefix.strip_suffix('/') == Some(path)
        })
        .max_by_key(|spec| (spec.host().is_some(), spec.path_prefix().len()))
}

/// A prefix, a path and the value of a field of an answer, a line each.
///
/// A path without its prefix names no host, and no rewritten value ends a line.
pub fn rewrite_answer(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (prefix, path) = (text(), text());
    crate::rewrite::fuzz(&prefix, &path, lines.next().unwrap_or_default());
}

/// Gives the outcome of what never waits.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// The headers by which we tell who the client is.
const TOLD: [&str; 4] = [
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-host",
];

/// A byte that says how the request came, the value of `Host` up to the end of the line, and lines of headers.
///
/// Strangers' claims do not survive, a trusted proxy's are added to at the end of the list, and all other headers
/// stay as they came, in their order.
pub fn forwarded(data: &[u8]) {
    let (flags, rest) = data.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(rest);
    let mut lines = text.lines();
    let host = lines.next().unwrap_or_default();
    let mut headers: HeaderMap = lines.filter_map(header).collect();
    let before = others(&headers);

    let trusted: Vec<Network> = ["10.0.0.0/8", "fd00::/8", "unix"]
        .iter()
        .filter_map(|network| network.parse().ok())
        .collect();
    let kind = flags & 0b11;
    let is_stranger = kind == 0;
    let peer: Option<IpAddr> = match kind {
        0 => Some([192, 0, 2, 1].into()),
        1 => Some([10, 0, 0, 1].into()),
        2 => Some([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()),
        _ => None,
    };
    let inbound = Inbound {
        peer,
        secure: flags & 0b100 != 0,
        host,
        upgrade: flags & 0b1000 != 0,
        believed: forwarded::is_trusted(&trusted, peer),
    };
    let client = rewrite(&mut headers, inbound, &trusted);

    for name in TOLD {
        // What we do not add to is passed on as a trusted proxy sent it.
        let added = match name {
            "x-forwarded-host" => false,
            "x-forwarded-for" => peer.is_some(),
            _ => true,
        };
        let may_repeat = !is_stranger && !added;
        assert!(
            may_repeat || headers.get_all(name).iter().count() <= 1,
            "{name} twice"
        );
    }
    let last = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value.rsplit(',').next().map(str::to_owned)
    };
    let told = peer.map(|peer| peer.to_string());
    assert_eq!(
        last("x-forwarded-for").filter(|_| peer.is_some()),
        told,
        "the peer comes last"
    );
    if is_stranger {
        assert_eq!(client.addr, peer);
        assert_eq!(client.host, host);
        assert_eq!(client.scheme == "https", inbound.secure);
        for name in headers.keys() {
            let plain = name.as_str().replace('_', "-");
            let invented = plain.starts_with("x-forwarded-") && !TOLD.contains(&name.as_str());
            assert!(!invented, "{name} is a stranger's claim");
        }
        assert!(
            last("x-forwarded-for") == headers_text(&headers, "x-forwarded-for"),
            "a stranger's addresses are still there"
        );
    } else {
        assert_eq!(before, others(&headers), "other headers have changed");
    }
}

/// What the engine does with the headers of a request.
fn rewrite(headers: &mut HeaderMap, inbound: Inbound<'_>, trusted: &[Network]) -> ClientInfo {
    let sent = std::mem::take(headers);
    let fields: Vec<Field<'_>> = sent
        .iter()
        .map(|(name, value)| Field {
            name: name.as_str(),
            value: value.as_bytes(),
        })
        .collect();
    for (name, value) in &sent {
        let rewritten = forwarded::REWRITTEN.contains(&name.as_str());
        let dropped =
            forwarded::is_claim(name.as_str().as_bytes()) && (!inbound.believed || rewritten);
        if !dropped {
            headers.append(name, value.clone());
        }
    }
    forwarded::write(&fields, true, inbound, |name, value| {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value),
        ) {
            headers.append(name, value);
        }
    });
    forwarded::client(&fields, inbound, trusted)
}

fn headers_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Reads a line as `name: value`; `None` if it cannot stand in a request.
fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, value.trim().parse().ok()?))
}

/// All headers but those that we write.
fn others(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    headers
        .iter()
        .filter(|(name, _)| !TOLD.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
