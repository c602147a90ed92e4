//! Headers as load balancers send them, as they must not be, cut anywhere, and made up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn check(bytes: impl AsRef<[u8]>, expected: Parsed) {
    let bytes = bytes.as_ref();
    assert_eq!(parse(bytes), Ok(expected), "{}", bytes.escape_ascii());
}

fn check_refused(bytes: impl AsRef<[u8]>, expected: ProxyProtocolError) {
    let bytes = bytes.as_ref();
    assert_eq!(parse(bytes), Err(expected), "{}", bytes.escape_ascii());
}

fn header(length: usize, source: &str, destination: &str) -> Parsed {
    Parsed::Header {
        length,
        source: Some(source.parse().unwrap()),
        destination: Some(destination.parse().unwrap()),
    }
}

fn without_addresses(length: usize) -> Parsed {
    Parsed::Header {
        length,
        source: None,
        destination: None,
    }
}

fn incomplete(at_least: usize) -> Parsed {
    Parsed::Incomplete { at_least }
}

/// Version 2 with this command, family and block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    bytes.extend(block);
    bytes
}

/// 192.0.2.1:513 to 192.0.2.2:80, with these extensions.
fn v4_block(extensions: &[u8]) -> Vec<u8> {
    let mut block = vec![192, 0, 2, 1, 192, 0, 2, 2, 2, 1, 0, 80];
    block.extend(extensions);
    block
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
    bytes
}

/// Version 2 over IPv4 whose checksum is right, between two other extensions.
fn checked() -> Vec<u8> {
    let before = extension(0x02, b"hub.example");
    let at = 16 + 12 + before.len() + 3;
    let extensions = [before, extension(0x03, &[0; 4]), extension(0x04, b"")].concat();
    let mut bytes = binary(0x21, 0x11, &v4_block(&extensions));
    let sum = binary::checksum(&bytes, at);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn lines_of_text_tell_both_ends() {
    check(
        "PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\nGET / HTTP/1.1\r\n",
        header(44, "203.0.113.9:51234", "192.0.2.1:443"),
    );
    check(
        "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        header(56, "255.255.255.255:65535", "255.255.255.255:65535"),
    );
    check(
        "PROXY TCP6 2001:db8::9 2001:DB8:0:0:0:0:0:1 0 443\r\n\r\n",
        header(51, "[2001:db8::9]:0", "[2001:db8::1]:443"),
    );
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    check(
        format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n"),
        header(
            104,
            &format!("[{longest}]:65535"),
            &format!("[{longest}]:65535"),
        ),
    );
    check(
        "PROXY TCP6 ::ffff:203.0.113.9 ::ffff:c000:201 51234 443\r\n",
        header(57, "203.0.113.9:51234", "192.0.2.1:443"),
    );
}

#[test]
fn unknown_clients_have_no_address_whatever_is_said_of_them() {
    check("PROXY UNKNOWN\r\n", without_addresses(15));
    check("PROXY UNKNOWN\r\nPROXY", without_addresses(15));
    check("PROXY UNKNOWN 1.2.3.4 ?  !\r\n", without_addresses(28));
    let all = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(all.len(), 107);
    check(&all, without_addresses(107));
    check_refused(
        "PROXY UNKNOWNS\r\n",
        ProxyProtocolError::Text("it names no protocol that there is"),
    );
}

#[test]
fn lines_that_are_not_exactly_as_they_should_be_are_refused() {
    let control = "its line has a byte that is no printable character";
    let family = "it names no protocol that there is";
    let address = "an address is not one of its protocol";
    let number = "a port is not a plain number";
    let missing = "a port is missing, or is not below 65536";
    let more = "something follows its ports";
    for (line, reason) in [
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", control),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n", control),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx", control),
        ("PROXY TCP4\t1.2.3.4 5.6.7.8 1 2\r\n", control),
        ("PROXY UNKNOWN \0\r\n", control),
        ("PROXY UNKNOWN \u{e9}\r\n", control),
        ("PROXY \r\n", family),
        ("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", family),
        ("PROXY TCP4\r\n", family),
        ("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", family),
        ("PROXY unknown\r\n", family),
        ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", family),
        ("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", family),
        ("PROXY TCP4 \r\n", address),
        ("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", address),
        ("PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n", address),
        ("PROXY TCP4 1.2.3.4 5.6.7 1 2\r\n", address),
        ("PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", address),
        ("PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n", address),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", address),
        ("PROXY TCP4 1.2.3.4 ::1 1 2\r\n", address),
        ("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", address),
        ("PROXY TCP6 ::1 5.6.7.8 1 2\r\n", address),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", address),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", address),
        ("PROXY TCP6 00001::1 ::1 1 2\r\n", address),
        ("PROXY TCP4 1.2.3.4 5.6.7.8\r\n", missing),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", missing),
        ("PROXY TCP4 1.2.3.4 5.6.7.8  1 2\r\n", missing),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2147483648\r\n", missing),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", missing),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", number),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 00\r\n", number),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", number),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", number),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 0x2\r\n", number),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", more),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", more),
    ] {
        check_refused(line, ProxyProtocolError::Text(reason));
    }
}

#[test]
fn a_line_beyond_107_bytes_is_refused_as_soon_as_it_cannot_end_in_time() {
    let too_long = ProxyProtocolError::Text("its line does not end within 107 bytes");
    let line = |length: usize| format!("{:x<length$}", "PROXY UNKNOWN ");
    check(line(105), incomplete(107));
    check(line(105) + "\r", incomplete(107));
    check_refused(line(106), too_long);
    check_refused(line(106) + "\r", too_long);
    check_refused(line(106) + "\r\n", too_long);
    check_refused(line(5_000), too_long);
}

#[test]
fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
    for bytes in [
        "GET / HTTP/1.1\r\n",
        "\x16\x03\x01",
        "PROXZ",
        "PROXY\t",
        "POST / HTTP/1.1",
        " PROXY",
        "proxy TCP4",
        "\r\nGET / HTTP/1.1",
        "\r\n\r\n\0\r\nQUIT\r",
        "\0",
    ] {
        check_refused(bytes, ProxyProtocolError::Absent);
    }
}

#[test]
fn binary_headers_tell_both_ends() {
    let v4 = v4_block(&[]);
    for family in [0x11, 0x12] {
        check(
            [binary(0x21, family, &v4), b"GET".to_vec()].concat(),
            header(28, "192.0.2.1:513", "192.0.2.2:80"),
        );
    }
    let ends: [Ipv6Addr; 2] = ["2001:db8::9", "2001:db8::1"].map(|text| text.parse().unwrap());
    let v6 = [
        &ends[0].octets()[..],
        &ends[1].octets(),
        &[0xff, 0xff, 1, 187],
    ]
    .concat();
    for family in [0x21, 0x22] {
        check(
            binary(0x21, family, &v6),
            header(52, "[2001:db8::9]:65535", "[2001:db8::1]:443"),
        );
    }
    let mapped = ["::ffff:203.0.113.9", "::ffff:192.0.2.1"]
        .map(|text| text.parse::<Ipv6Addr>().unwrap().octets())
        .concat();
    check(
        binary(0x21, 0x21, &[&mapped[..], &[0, 1, 0, 2]].concat()),
        header(52, "203.0.113.9:1", "192.0.2.1:2"),
    );
}

#[test]
fn proxies_own_connections_and_those_without_addresses_have_none() {
    for family in [0x00, 0x11, 0x21, 0x31, 0xff] {
        check(binary(0x20, family, &[]), without_addresses(16));
        check(binary(0x20, family, &[7; 50]), without_addresses(66));
    }
    check(binary(0x21, 0x00, &[]), without_addresses(16));
    check(binary(0x21, 0x00, &[7; 50]), without_addresses(66));
    for family in [0x31, 0x32] {
        check(binary(0x21, family, &[b'/'; 216]), without_addresses(232));
    }
}

#[test]
fn binary_headers_that_are_not_exactly_as_they_should_be_are_refused() {
    let v4 = v4_block(&[]);
    let refused = |bytes: Vec<u8>, reason| check_refused(bytes, ProxyProtocolError::Binary(reason));
    for command in [0x22, 0x2f] {
        refused(binary(command, 0x11, &v4), "its command is unknown");
    }
    for version in [0x01, 0x11, 0x31, 0xf1] {
        refused(binary(version, 0x11, &v4), "its version is not 2");
    }
    for family in [0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x41, 0xff] {
        let reason = "its addresses are of no family that there is";
        refused(binary(0x21, family, &[0; 300]), reason);
    }
    for (family, size) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        let reason = "it is too short for its addresses";
        refused(binary(0x21, family, &vec![0; size - 1]), reason);
        refused(binary(0x21, family, &[]), reason);
    }
}

#[test]
fn a_binary_header_has_4096_bytes_after_its_head_at_most() {
    check(binary(0x20, 0, &[0; 4096]), without_addresses(4112));
    let long = binary(0x20, 0, &[0; 4097]);
    let refused = ProxyProtocolError::Binary("it is longer than 4096 bytes");
    check_refused(&long, refused);
    check_refused(&long[..16], refused);
    check(&long[..15], incomplete(16));
}

#[test]
fn extensions_are_skipped_but_must_fill_their_place() {
    let with = |extensions: &[u8]| parse(&binary(0x21, 0x11, &v4_block(extensions)));
    let addresses = |more: usize| Ok(header(28 + more, "192.0.2.1:513", "192.0.2.2:80"));
    assert_eq!(with(&extension(0x01, b"h2")), addresses(5));
    assert_eq!(
        with(&[extension(0x20, &[1; 40]), extension(0xee, b"")].concat()),
        addresses(46)
    );
    let cut = Err(ProxyProtocolError::Binary(
        "an extension is longer than the header",
    ));
    assert_eq!(with(&[1]), cut);
    assert_eq!(with(&[1, 0]), cut);
    assert_eq!(with(&[1, 0, 1]), cut);
    assert_eq!(with(&[1, 0xff, 0xff, 0]), cut);
    assert_eq!(with(&[&extension(1, b"h2")[..], &[4]].concat()), cut);
}

#[test]
fn a_checksum_is_that_of_the_specification() {
    let mut digits = [0; 13];
    // The usual test of a CRC, after four bytes that count as zeros, as their place is that of the checksum.
    digits[4..].copy_from_slice(b"123456789");
    assert_eq!(binary::checksum(b"123456789", 9), 0xE306_9283);
    assert_eq!(
        binary::checksum(&digits, 0),
        binary::checksum(&[&[9; 4], &digits[4..]].concat(), 0)
    );
}

#[test]
fn a_header_that_was_changed_on_its_way_is_refused() {
    let good = checked();
    assert!(matches!(parse(&good), Ok(Parsed::Header { length, .. }) if length == good.len()));
    // From the addresses on, nothing else would notice a changed bit but what gives extensions their length.
    for at in 16..28 {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        check_refused(&bad, ProxyProtocolError::Checksum);
    }
    let sums = |length: usize| {
        parse(&binary(
            0x21,
            0x11,
            &v4_block(&extension(0x03, &vec![0; length])),
        ))
    };
    assert_eq!(sums(4), Err(ProxyProtocolError::Checksum));
    let reason = "its checksum does not have four bytes";
    for length in [0, 3, 5] {
        assert_eq!(sums(length), Err(ProxyProtocolError::Binary(reason)));
    }
}

#[test]
fn two_checksums_are_one_too_many() {
    let mut bytes = checked();
    let second = extension(0x03, &[0; 4]);
    bytes.extend(&second);
    bytes[15] += 7;
    // The first has to be right for the second to be looked at.
    let at = 16 + 12 + 14 + 3;
    let sum = binary::checksum(&bytes, at);
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    check_refused(
        &bytes,
        ProxyProtocolError::Binary("it has several checksums"),
    );
}

#[test]
fn nothing_yet_is_incomplete() {
    check("", incomplete(15));
    check("P", incomplete(15));
    check("\r", incomplete(16));
    check("\r\n\r\n\0\r\nQUIT\n", incomplete(16));
    check("PROXY TCP4 1.2.3.4", incomplete(20));
    check("PROXY TCP4 1.2.3.4\r", incomplete(20));
}

// --- Made up -----------------------------------------------------------------------------------

/// What a header says, before it is written.
#[derive(Debug, Clone)]
struct Said {
    ends: Option<(SocketAddr, SocketAddr)>,
    bytes: Vec<u8>,
}

fn said() -> impl Strategy<Value = Said> {
    let ports = any::<(u16, u16)>();
    let v4 = (any::<([u8; 4], [u8; 4])>(), ports).prop_map(|((source, destination), ports)| {
        let ends = (Ipv4Addr::from(source), Ipv4Addr::from(destination));
        (IpAddr::from(ends.0), IpAddr::from(ends.1), ports)
    });
    let v6 = (any::<([u16; 8], [u16; 8])>(), any::<(u16, u16)>()).prop_map(
        |((source, destination), ports)| {
            let ends = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
            (IpAddr::from(ends.0), IpAddr::from(ends.1), ports)
        },
    );
    let ends = prop_oneof![v4, v6].prop_map(|(source, destination, ports)| {
        (
            SocketAddr::new(source, ports.0),
            SocketAddr::new(destination, ports.1),
        )
    });
    let extensions = proptest::collection::vec(
        (4_u8.., proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, value)| extension(kind, &value)),
        0..4,
    );
    prop_oneof![
        ends.clone().prop_map(|ends| Said {
            ends: Some(ends),
            bytes: write_text(ends),
        }),
        "[ -~]{0,91}".prop_map(|rest| Said {
            ends: None,
            bytes: format!("PROXY UNKNOWN {rest}\r\n").into_bytes(),
        }),
        (ends, extensions, any::<bool>()).prop_map(|(ends, extensions, datagram)| Said {
            ends: Some(ends),
            bytes: write_binary(ends, datagram, &extensions.concat()),
        }),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(
            |(family, block)| Said {
                ends: None,
                bytes: binary(0x20, family, &block),
            }
        ),
        Just(Said {
            ends: Some((
                "192.0.2.1:513".parse().unwrap(),
                "192.0.2.2:80".parse().unwrap()
            )),
            bytes: checked(),
        }),
    ]
}

fn write_text((source, destination): (SocketAddr, SocketAddr)) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
    .into_bytes()
}

fn write_binary(
    (source, destination): (SocketAddr, SocketAddr),
    datagram: bool,
    extensions: &[u8],
) -> Vec<u8> {
    let mut block = Vec::new();
    for address in [source.ip(), destination.ip()] {
        match address {
            IpAddr::V4(v4) => block.extend(v4.octets()),
            IpAddr::V6(v6) => block.extend(v6.octets()),
        }
    }
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    block.extend(extensions);
    let family = if source.is_ipv4() { 0x10 } else { 0x20 };
    binary(0x21, family + 1 + u8::from(datagram), &block)
}

proptest! {
    #[test]
    fn what_is_written_is_read(said in said(), rest in proptest::collection::vec(any::<u8>(), 0..40)) {
        let bytes = [&said.bytes[..], &rest].concat();
        let expected = Parsed::Header {
            length: said.bytes.len(),
            source: said.ends.map(|ends| canonical(ends.0)),
            destination: said.ends.map(|ends| canonical(ends.1)),
        };
        prop_assert_eq!(parse(&bytes), Ok(expected));
    }

    #[test]
    fn every_piece_of_a_header_is_incomplete_and_asks_for_no_more_than_the_header(said in said()) {
        for cut in 0..said.bytes.len() {
            let Ok(Parsed::Incomplete { at_least }) = parse(&said.bytes[..cut]) else {
                panic!("{cut} bytes are {:?}", parse(&said.bytes[..cut]));
            };
            prop_assert!(at_least > cut && at_least <= said.bytes.len(), "{} of {}", at_least, cut);
        }
    }

    #[test]
    fn one_changed_byte_makes_no_reader_panic(
        said in said(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = said.bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Parsed::Header { length, .. }) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
