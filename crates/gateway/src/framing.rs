//! A strict look at the bytes of requests before the HTTP library sees them: lines, lengths, chunks.
//!
//! The library is lenient where two programs in a row may disagree on where a request ends, which is
//! what request smuggling lives on: bare line feeds, several lengths, a length beside an encoding. Here
//! such a request is cut off at the offending byte, and [`POISON`] put in its place, which the library
//! answers with status 400. Nothing else is changed, and bodies are passed without being looked at.

/// What takes the place of everything from the first offence on: no head, chunk or trailer parses with it.
pub(crate) const POISON: &[u8] = b"\0\r\n\r\n";

/// Longest line of a chunk's size with its extensions.
const LONGEST_CHUNK_LINE: usize = 4096;

/// Follows the requests of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    phase: Phase,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    longest_line: usize,
    /// The request asks for another protocol, which begins after its body.
    upgrade: bool,
}

#[derive(Debug)]
enum Phase {
    /// In the head of a request, or before it.
    Head(Head),
    /// In a body of known length.
    Length(u64),
    /// In a chunked body.
    Chunks(Chunks),
    /// The request asked for another protocol: what follows may be anything.
    Opaque,
    /// Something was wrong; nothing more is read.
    Refused,
}

#[derive(Debug, Default)]
struct Head {
    lines: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

#[derive(Debug, Clone, Copy)]
enum Chunks {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
    End,
}

/// Why a request is refused; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offence(pub(crate) &'static str);

impl Framing {
    /// Starts before the first request. Lines beyond `longest_line` bytes are an offence; the HTTP library
    /// is expected to refuse them before that.
    pub(crate) fn new(longest_line: usize) -> Self {
        Self {
            phase: Phase::Head(Head::default()),
            partial: Vec::new(),
            longest_line,
            upgrade: false,
        }
    }

    /// Whether nothing of a request has come yet, or of the next one.
    pub(crate) fn between_requests(&self) -> bool {
        matches!(&self.phase, Phase::Head(head) if head.lines == 0) && self.partial.is_empty()
    }

    /// Whether a part of a head has come and the rest has not.
    pub(crate) fn inside_head(&self) -> bool {
        matches!(self.phase, Phase::Head(_)) && !self.between_requests()
    }

    /// Whether a head has come, and its body not yet to the end.
    pub(crate) fn inside_body(&self) -> bool {
        matches!(self.phase, Phase::Length(_) | Phase::Chunks(_))
    }

    /// Whether the client may still be sending what nobody will read.
    pub(crate) fn unfinished(&self) -> bool {
        !self.between_requests() && !self.is_opaque()
    }

    /// Whether the connection may speak another protocol from here on.
    pub(crate) fn is_opaque(&self) -> bool {
        matches!(self.phase, Phase::Opaque)
    }

    /// Looks at bytes that have just come; an error says how many of them are good.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Result<(), (usize, Offence)> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.phase {
                Phase::Opaque | Phase::Refused => return Ok(()),
                Phase::Length(left) => {
                    at += take(left, rest.len());
                    if *left == 0 {
                        self.end_body();
                    }
                }
                Phase::Chunks(Chunks::Data(left)) => {
                    at += take(left, rest.len());
                    if *left == 0 {
                        self.phase = Phase::Chunks(Chunks::DataEnd);
                    }
                }
                Phase::Head(_) | Phase::Chunks(_) => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let (piece, _) = rest.split_at(end.unwrap_or(rest.len()));
                    let outcome = match end {
                        Some(_) => self.end_line(piece),
                        None => self.keep(piece),
                    };
                    at += piece.len();
                    if let Err(offence) = outcome {
                        self.phase = Phase::Refused;
                        return Err((at, offence));
                    }
                    at += usize::from(end.is_some());
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), Offence> {
        let limit = match self.phase {
            Phase::Chunks(Chunks::Size | Chunks::DataEnd) => LONGEST_CHUNK_LINE,
            _ => self.longest_line,
        };
        if self.partial.len() + piece.len() > limit {
            return Err(Offence("a line is too long"));
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    /// Judges the line that ends after `piece`, and moves on.
    fn end_line(&mut self, piece: &[u8]) -> Result<(), Offence> {
        if self.partial.is_empty() {
            return self.judge(piece);
        }
        self.keep(piece)?;
        let line = std::mem::take(&mut self.partial);
        self.judge(&line)
    }

    fn end_body(&mut self) {
        self.phase = if self.upgrade {
            Phase::Opaque
        } else {
            Phase::Head(Head::default())
        };
    }

    fn judge(&mut self, line: &[u8]) -> Result<(), Offence> {
        let Some((b'\r', line)) = line.split_last() else {
            return Err(Offence("a line ends without a carriage return"));
        };
        match &mut self.phase {
            Phase::Head(head) if line.is_empty() => {
                // Empty lines before a request are skipped (RFC 9112 §2.2).
                if head.lines > 0 {
                    self.upgrade = head.upgrade;
                    self.phase = head.what_follows();
                }
            }
            Phase::Head(head) => {
                head.lines += 1;
                if head.lines > 1 {
                    head.header(line)?;
                }
            }
            Phase::Chunks(chunks) => {
                *chunks = chunks.after(line)?;
                if matches!(chunks, Chunks::End) {
                    self.end_body();
                }
            }
            Phase::Length(_) | Phase::Opaque | Phase::Refused => {}
        }
        Ok(())
    }
}

/// Takes as much from `left` as there is, and says how much that was.
fn take(left: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= taken as u64;
    taken
}

impl Head {
    fn header(&mut self, line: &[u8]) -> Result<(), Offence> {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Err(Offence("a header is folded over two lines"));
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(Offence("a header has no colon"));
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        // Names are compared only if their length can be one of those that matter.
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Offence("there are several content lengths"));
                }
                self.length =
                    Some(number(value, 10).ok_or(Offence("the content length is not a number"))?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Offence("there are several transfer encodings"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Offence("the transfer encoding is not `chunked`"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        if self.chunked && self.length.is_some() {
            return Err(Offence(
                "there are both a content length and a transfer encoding",
            ));
        }
        Ok(())
    }

    fn what_follows(&self) -> Phase {
        match (self.upgrade, self.chunked, self.length) {
            (_, true, _) => Phase::Chunks(Chunks::Size),
            (_, false, Some(length)) if length > 0 => Phase::Length(length),
            (true, false, _) => Phase::Opaque,
            (false, false, _) => Phase::Head(Self::default()),
        }
    }
}

impl Chunks {
    /// Gives the state after a line, which has lost its line end.
    fn after(self, line: &[u8]) -> Result<Self, Offence> {
        Ok(match self {
            Self::Size => {
                let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit());
                let (digits, extension) = line.split_at(digits.unwrap_or(line.len()));
                if !matches!(extension.trim_ascii_start(), [] | [b';', ..]) {
                    return Err(Offence("a chunk's size is not a number"));
                }
                match number(digits, 16) {
                    Some(0) => Self::Trailer,
                    Some(size) => Self::Data(size),
                    None => return Err(Offence("a chunk's size is not a number")),
                }
            }
            Self::DataEnd if line.is_empty() => Self::Size,
            Self::DataEnd => return Err(Offence("a chunk is longer than its size")),
            Self::Trailer if line.is_empty() => Self::End,
            Self::Trailer => Self::Trailer,
            Self::Data(_) | Self::End => self,
        })
    }
}

/// Reads digits and nothing else: no sign, no space, no list.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        number.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests;
