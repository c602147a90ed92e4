//! The chunked transfer coding (RFC 9112 §7.1), read strictly: what two programs could read differently is an offence.

/// Longest line of a chunk's size with its extensions.
const LONGEST_LINE: usize = 4096;
/// All trailers together.
const LONGEST_TRAILERS: usize = 16 * 1024;

/// What is wrong with a body; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offence(pub(crate) &'static str);

/// Where in a chunked body one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunks {
    state: State,
    /// The line so far: of a chunk's size, or of a trailer.
    line: usize,
    /// All trailers so far.
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u8 },
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataEnd,
    DataEndFeed,
    Trailer,
    TrailerFeed,
    End,
}

/// A step through a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    /// How many bytes of the input it took.
    pub(crate) consumed: usize,
    /// The data among them, which are at their end; empty if the step went over something else.
    pub(crate) data: &'a [u8],
}

const SIZE: State = State::Size {
    value: 0,
    digits: 0,
};

impl Chunks {
    pub(crate) fn new() -> Self {
        Self {
            state: SIZE,
            line: 0,
            trailers: Vec::new(),
        }
    }

    /// Whether the last chunk and all trailers have been read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// The lines of the trailers, each with its end; complete when all is done.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Reads up to the end of the input, of a piece of data, or of the body.
    pub(crate) fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, Offence> {
        let mut at = 0;
        while let Some(byte) = input.get(at).copied() {
            match self.state {
                State::Data(left) => {
                    let rest = input.get(at..).unwrap_or_default();
                    let length =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - length as u64;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Step {
                        consumed: at + length,
                        data: rest.get(..length).unwrap_or_default(),
                    });
                }
                State::End => break,
                _ => self.byte(byte)?,
            }
            at += 1;
        }
        Ok(Step {
            consumed: at,
            data: &[],
        })
    }

    fn byte(&mut self, byte: u8) -> Result<(), Offence> {
        self.state = match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                if digits == 16 {
                    return Err(Offence("a chunk's size is too large"));
                }
                self.line += 1;
                State::Size {
                    value: value << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (State::Size { digits: 0, .. }, _) => {
                return Err(Offence("a chunk's size is not a number"));
            }
            (State::Size { value, .. }, b'\r') => State::SizeEnd(value),
            (State::Size { value, .. }, b';') => State::Extension(value),
            // White space is allowed before an extension, but some programs take it for something else.
            (State::Size { .. }, _) => return Err(Offence("a chunk's size is not a number")),
            (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Extension(size), b'\t' | b' '..=b'~') => {
                self.line += 1;
                if self.line > LONGEST_LINE {
                    return Err(Offence("the line of a chunk's size is too long"));
                }
                State::Extension(size)
            }
            (State::Extension(_), _) => return Err(Offence("a chunk's extension is garbled")),
            (State::SizeEnd(size), b'\n') => {
                self.line = 0;
                if size == 0 {
                    State::Trailer
                } else {
                    State::Data(size)
                }
            }
            (State::DataEnd, b'\r') => State::DataEndFeed,
            (State::DataEnd, _) => return Err(Offence("a chunk is longer than its size")),
            (State::DataEndFeed, b'\n') => SIZE,
            (State::Trailer, b'\r') => State::TrailerFeed,
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => {
                self.trailers.push(byte);
                self.line += 1;
                if self.trailers.len() > LONGEST_TRAILERS {
                    return Err(Offence("the trailers are too long"));
                }
                State::Trailer
            }
            (State::TrailerFeed, b'\n') if self.line == 0 => State::End,
            (State::TrailerFeed, b'\n') => {
                let begin = self.trailers.len() - self.line;
                check_trailer(self.trailers.get(begin..).unwrap_or_default())?;
                self.trailers.extend_from_slice(b"\r\n");
                self.line = 0;
                State::Trailer
            }
            _ => return Err(Offence("a line of a chunked body has no proper end")),
        };
        Ok(())
    }
}

fn check_trailer(line: &[u8]) -> Result<(), Offence> {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Err(Offence("a trailer has no colon"));
    };
    let name = line.get(..colon).unwrap_or_default();
    if name.is_empty() || !name.iter().all(|byte| crate::head::is_token(*byte)) {
        return Err(Offence("a trailer's name is garbled"));
    }
    if !may_be_trailer(name) {
        return Err(Offence("a trailer says what belongs into the head"));
    }
    Ok(())
}

/// Fields that say how a message is read, or who sends it, must not come when it has been read.
pub(crate) fn may_be_trailer(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 12] = [
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"connection",
        b"upgrade",
        b"trailer",
        b"te",
        b"authorization",
        b"cookie",
        b"set-cookie",
        b"keep-alive",
        b"expect",
    ];
    let is_forbidden = FORBIDDEN
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden));
    let tells_who = crate::forwarded::is_claim(name)
        || std::str::from_utf8(name).is_ok_and(crate::rewrite::is_identity_name);
    !is_forbidden && !tells_who
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a body in pieces of the given size; gives data and what is left over.
    fn read(input: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, bool), Offence> {
        let mut chunks = Chunks::new();
        let mut data = Vec::new();
        let mut used = 0;
        for part in input.chunks(piece) {
            let mut part = part;
            while !part.is_empty() && !chunks.is_done() {
                let step = chunks.step(part)?;
                data.extend_from_slice(step.data);
                used += step.consumed;
                part = &part[step.consumed..];
            }
        }
        Ok((data, input[used..].to_vec(), chunks.is_done()))
    }

    #[test]
    fn bodies_are_read_whatever_the_pieces() {
        let body = b"5\r\nhello\r\n00A;x=\"y z\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\nb:\r\n\r\nGET /";
        for piece in 1..body.len() {
            let (data, rest, done) = read(body, piece).unwrap();
            assert_eq!(data, b"hello0123456789");
            assert_eq!(rest, b"GET /");
            assert!(done);
        }
        let mut chunks = Chunks::new();
        let mut rest = &b"0\r\nX-Sum: 1\r\n\r\n"[..];
        while !rest.is_empty() {
            rest = &rest[chunks.step(rest).unwrap().consumed..];
        }
        assert_eq!(chunks.trailers(), b"X-Sum: 1\r\n");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_an_offence() {
        for bad in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "0x5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\nhello",
            "5\r\rhello",
            "11112222333344445\r\n",
            "3\r\nhello\r\n",
            "5\r\nhello0\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5;a\nb\r\nhello",
            "5;\0\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX y\r\n\r\n",
            "0\r\n: y\r\n\r\n",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n\rX",
        ] {
            assert!(read(bad.as_bytes(), 3).is_err(), "{bad:?}");
        }
        let long = format!("5;{}\r\nhello", "x".repeat(LONGEST_LINE));
        assert!(read(long.as_bytes(), 100).is_err());
        let long = format!("0\r\n{}", "x: y\r\n".repeat(LONGEST_TRAILERS / 6 + 10));
        assert!(read(long.as_bytes(), 100).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_pieces_do_not_matter(input in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
            let whole = read(&input, 1000);
            let parts = read(&input, piece);
            prop_assert_eq!(whole.is_ok(), parts.is_ok());
            if let (Ok(whole), Ok(parts)) = (whole, parts) {
                prop_assert_eq!(whole, parts);
            }
        }
    }
}
