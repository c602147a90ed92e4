//! Version 2: a fixed head of 16 bytes, addresses, and extensions of which only the checksum is looked at.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Parsed, ProxyProtocolError, canonical, expect};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The head: the signature, version with command, family with transport, and the length of the rest.
const HEAD: usize = 16;
/// What may follow the head. The protocol could have 65,535 bytes; nobody sends more than a certificate.
const LONGEST_REST: usize = 4096;
/// The extension with a CRC32C of the whole header (§2.2.3).
const CHECKSUM: u8 = 0x03;

/// What stands where the addresses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    /// Two paths of Unix sockets.
    Unix,
    /// Nothing that would be known.
    Unspecified,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    expect(bytes, SIGNATURE)?;
    // What is known to be wrong is said at once.
    let local = match bytes.get(12) {
        None | Some(0x21) => false,
        Some(0x20) => true,
        Some(byte) if byte >> 4 == 2 => {
            return Err(ProxyProtocolError::Binary("its command is unknown"));
        }
        Some(_) => return Err(ProxyProtocolError::Binary("its version is not 2")),
    };
    let family = match bytes.get(13) {
        // The family of a proxy's own connections is to be ignored (§2.2).
        _ if local => Family::Unspecified,
        None | Some(0x00) => Family::Unspecified,
        // Streams and datagrams: a client of HTTP/3 comes by the latter.
        Some(0x11 | 0x12) => Family::V4,
        Some(0x21 | 0x22) => Family::V6,
        Some(0x31 | 0x32) => Family::Unix,
        Some(_) => {
            return Err(ProxyProtocolError::Binary(
                "its addresses are of no family that there is",
            ));
        }
    };
    let Some(&[high, low]) = bytes.get(14..HEAD) else {
        return Ok(Parsed::Incomplete { at_least: HEAD });
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest > LONGEST_REST {
        return Err(ProxyProtocolError::Binary("it is longer than 4096 bytes"));
    }
    if rest < family.size() {
        return Err(ProxyProtocolError::Binary(
            "it is too short for its addresses",
        ));
    }
    let length = HEAD + rest;
    let Some(header) = bytes.get(..length) else {
        return Ok(Parsed::Incomplete { at_least: length });
    };
    let (_, block) = header.split_at(HEAD);
    let (addresses, extensions) = block.split_at(family.size());
    if family != Family::Unspecified {
        check_extensions(header, extensions)?;
    }
    let addresses = family.read(addresses);
    Ok(Parsed::Header {
        length,
        source: addresses.map(|(source, _)| source),
        destination: addresses.map(|(_, destination)| destination),
    })
}

impl Family {
    /// How many bytes the addresses take.
    fn size(self) -> usize {
        match self {
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
            Self::Unspecified => 0,
        }
    }

    /// Reads source and destination, from as many bytes as they take.
    fn read(self, mut bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
        let (source, destination) = match self {
            Self::V4 => (
                Ipv4Addr::from(take::<4>(&mut bytes)?).into(),
                Ipv4Addr::from(take::<4>(&mut bytes)?).into(),
            ),
            Self::V6 => (
                Ipv6Addr::from(take::<16>(&mut bytes)?).into(),
                Ipv6Addr::from(take::<16>(&mut bytes)?).into(),
            ),
            Self::Unix | Self::Unspecified => return None,
        };
        let source_port = u16::from_be_bytes(take(&mut bytes)?);
        let destination_port = u16::from_be_bytes(take(&mut bytes)?);
        Some((
            canonical(SocketAddr::new(source, source_port)),
            canonical(SocketAddr::new(destination, destination_port)),
        ))
    }
}

/// Takes the next `N` bytes away from the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Looks whether the extensions fill their place exactly, and whether the checksum, if there is one, is right.
fn check_extensions(header: &[u8], mut extensions: &[u8]) -> Result<(), ProxyProtocolError> {
    const CUT: ProxyProtocolError =
        ProxyProtocolError::Binary("an extension is longer than the header");
    let mut checked = false;
    while !extensions.is_empty() {
        let [kind, high, low] = take(&mut extensions).ok_or(CUT)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let before = header.len() - extensions.len();
        let (value, rest) = extensions.split_at_checked(length).ok_or(CUT)?;
        extensions = rest;
        if kind != CHECKSUM {
            continue;
        }
        let expected = <[u8; 4]>::try_from(value)
            .map_err(|_| ProxyProtocolError::Binary("its checksum does not have four bytes"))?;
        if std::mem::replace(&mut checked, true) {
            return Err(ProxyProtocolError::Binary("it has several checksums"));
        }
        if checksum(header, before) != u32::from_be_bytes(expected) {
            return Err(ProxyProtocolError::Checksum);
        }
    }
    Ok(())
}

/// Computes the CRC32C of a header whose own checksum, of four bytes from `at` on, counts as zeros.
pub(super) fn checksum(header: &[u8], at: usize) -> u32 {
    !header
        .iter()
        .enumerate()
        .map(|(index, byte)| {
            if (at..at + 4).contains(&index) {
                0
            } else {
                *byte
            }
        })
        .fold(u32::MAX, crc32c_step)
}

/// Takes one byte into a CRC32C (RFC 9260, appendix A), bit by bit: a header comes once in a connection.
fn crc32c_step(crc: u32, byte: u8) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    (0..8).fold(crc ^ u32::from(byte), |crc, _| {
        (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
    })
}
