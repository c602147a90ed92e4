//! Version 1: one line, such as `PROXY TCP4 203.0.113.9 192.0.2.1 51234 443`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Parsed, ProxyProtocolError, canonical, expect};

const SIGNATURE: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` with its line end.
pub(super) const SHORTEST: usize = 15;
/// The longest line with its line end (§2.1).
const LONGEST: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    expect(bytes, SIGNATURE)?;
    let in_reach = bytes.get(..LONGEST).unwrap_or(bytes);
    let Some(end) = in_reach.iter().position(|byte| !is_printable(*byte)) else {
        return incomplete(in_reach.len() + 2);
    };
    let (line, rest) = in_reach.split_at(end);
    match rest {
        [b'\r', b'\n', ..] => read(line, end + 2),
        [b'\r'] => incomplete(end + 2),
        _ => Err(ProxyProtocolError::Text(
            "its line has a byte that is no printable character",
        )),
    }
}

fn is_printable(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

fn incomplete(at_least: usize) -> Result<Parsed, ProxyProtocolError> {
    if at_least > LONGEST {
        return Err(ProxyProtocolError::Text(
            "its line does not end within 107 bytes",
        ));
    }
    Ok(Parsed::Incomplete {
        at_least: at_least.max(SHORTEST),
    })
}

/// Reads the line without its end.
fn read(line: &[u8], length: usize) -> Result<Parsed, ProxyProtocolError> {
    let fields = line
        .strip_prefix(SIGNATURE)
        .and_then(|fields| std::str::from_utf8(fields).ok())
        .ok_or(ProxyProtocolError::Absent)?;
    let (family, fields) = match fields.split_once(' ') {
        Some((family, fields)) => (family, Some(fields)),
        None => (fields, None),
    };
    let addresses = match (family, fields) {
        // Whatever follows has to be ignored (§2.1).
        ("UNKNOWN", _) => None,
        ("TCP4", Some(fields)) => Some(addresses::<Ipv4Addr>(fields)?),
        ("TCP6", Some(fields)) => Some(addresses::<Ipv6Addr>(fields)?),
        _ => {
            return Err(ProxyProtocolError::Text(
                "it names no protocol that there is",
            ));
        }
    };
    Ok(Parsed::Header {
        length,
        source: addresses.map(|(source, _)| source),
        destination: addresses.map(|(_, destination)| destination),
    })
}

/// Reads two addresses and two ports, with one space between any two of them.
fn addresses<A>(fields: &str) -> Result<(SocketAddr, SocketAddr), ProxyProtocolError>
where
    A: FromStr + Into<IpAddr>,
{
    let mut fields = fields.split(' ');
    let mut next = || fields.next().unwrap_or_default();
    let (source, destination) = (address::<A>(next())?, address::<A>(next())?);
    let (source_port, destination_port) = (port(next())?, port(next())?);
    if fields.next().is_some() {
        return Err(ProxyProtocolError::Text("something follows its ports"));
    }
    Ok((
        canonical(SocketAddr::new(source, source_port)),
        canonical(SocketAddr::new(destination, destination_port)),
    ))
}

fn address<A>(field: &str) -> Result<IpAddr, ProxyProtocolError>
where
    A: FromStr + Into<IpAddr>,
{
    field
        .parse::<A>()
        .map(Into::into)
        .map_err(|_| ProxyProtocolError::Text("an address is not one of its protocol"))
}

/// Reads a port: digits only, without zeros before it.
fn port(field: &str) -> Result<u16, ProxyProtocolError> {
    let plain = field.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (field.len() > 1 && field.starts_with('0')) {
        return Err(ProxyProtocolError::Text("a port is not a plain number"));
    }
    field
        .parse()
        .map_err(|_| ProxyProtocolError::Text("a port is missing, or is not below 65536"))
}
