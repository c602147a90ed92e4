//! Heads of requests and answers, read strictly, once, for everything that is done with them.
//!
//! A head is scanned for its end line by line, so that a line without a carriage return is an offence at once; then
//! `httparse` splits it. What follows is that a body is as long as exactly one rule says (RFC 9112 §6.3).

use std::mem::MaybeUninit;

use crate::chunks::Chunks;

/// A field of a head: name and value as they came.
pub(crate) type Field<'b> = httparse::Header<'b>;

/// Fields that are kept on the stack; more take memory.
const USUAL_FIELDS: usize = 64;
/// Fields of an answer, at most.
const ANSWER_FIELDS: usize = 512;

/// The head of a request, whatever protocol it came by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'b> {
    pub(crate) method: &'b str,
    /// What the first line names: a path with its query, or a whole URL.
    pub(crate) target: &'b str,
    /// The minor version of HTTP/1; 1 for HTTP/2 as well.
    pub(crate) minor: u8,
    pub(crate) fields: &'b [Field<'b>],
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerHead<'b> {
    pub(crate) status: u16,
    pub(crate) reason: &'b str,
    pub(crate) minor: u8,
    pub(crate) fields: &'b [Field<'b>],
}

/// How long a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Length {
    /// That many bytes are still to come; 0 is no body.
    Bytes(u64),
    Chunked(Chunks),
    /// As long as the connection lasts.
    UntilClose,
}

impl Length {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(0))
    }
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadHead {
    /// It is malformed; the text is for the log.
    Malformed(&'static str),
    TooLarge,
    TargetTooLong,
}

/// Whether a byte may be in a method or a field's name (RFC 9110 §5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The search for the end of a head, over the pieces in which it comes.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Where the line begins that has no end yet.
    line: usize,
    /// Where the search goes on.
    at: usize,
    /// A line that is not empty has come.
    begun: bool,
}

impl Scan {
    /// Looks at all bytes that have come since the request before; gives the length of the head.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadHead> {
        while let Some(offset) = bytes
            .get(self.at..)
            .and_then(|rest| memchr::memchr(b'\n', rest))
        {
            let feed = self.at + offset;
            let line = bytes.get(self.line..feed).unwrap_or_default();
            match line {
                // Empty lines before a request are skipped (RFC 9112 §2.2).
                b"\r" if self.begun => return Ok(Some(feed + 1)),
                b"\r" => {}
                [.., b'\r'] => self.begun = true,
                _ => return Err(BadHead::Malformed("a line ends without a carriage return")),
            }
            self.line = feed + 1;
            self.at = feed + 1;
        }
        self.at = bytes.len();
        Ok(None)
    }
}

/// Splits the head of a request, and shows it to a function.
pub(crate) fn with_request<T>(
    bytes: &[u8],
    most_fields: usize,
    see: impl FnOnce(RequestHead<'_>) -> T,
) -> Result<T, BadHead> {
    // Empty lines before it were counted by the scan.
    let bytes = skip_empty_lines(bytes);
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse_request(bytes, &mut usual) {
        Err(httparse::Error::TooManyHeaders) if most_fields > USUAL_FIELDS => {
            let mut many = vec![MaybeUninit::uninit(); most_fields];
            parse_request(bytes, &mut many).map(see)
        }
        Ok(head) if head.fields.len() > most_fields => Err(httparse::Error::TooManyHeaders),
        outcome => outcome.map(see),
    }
    .map_err(|error| match error {
        httparse::Error::TooManyHeaders => BadHead::TooLarge,
        httparse::Error::Version => BadHead::Malformed("the version of HTTP is not known"),
        httparse::Error::Token => BadHead::Malformed("the request line is garbled"),
        _ => BadHead::Malformed("a header is garbled"),
    })
}

fn skip_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes
}

fn parse_request<'b>(
    bytes: &'b [u8],
    place: &'b mut [MaybeUninit<Field<'b>>],
) -> Result<RequestHead<'b>, httparse::Error> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, place)? {
        httparse::Status::Complete(length) if length == bytes.len() => {}
        _ => return Err(httparse::Error::NewLine),
    }
    Ok(RequestHead {
        method: request.method.ok_or(httparse::Error::Token)?,
        target: request.path.ok_or(httparse::Error::Token)?,
        minor: request.version.ok_or(httparse::Error::Version)?,
        fields: request.headers,
    })
}

/// Splits the head of an answer, if it is there as a whole, and shows it to a function with its length.
pub(crate) fn with_answer<T>(
    bytes: &[u8],
    see: impl FnOnce(AnswerHead<'_>, usize) -> T,
) -> Result<Option<T>, BadHead> {
    let malformed = |_| BadHead::Malformed("the head of an answer is garbled");
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse_answer(bytes, &mut usual) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = vec![MaybeUninit::uninit(); ANSWER_FIELDS];
            let found = parse_answer(bytes, &mut many).map_err(malformed)?;
            Ok(found.map(|(head, length)| see(head, length)))
        }
        outcome => Ok(outcome
            .map_err(malformed)?
            .map(|(head, length)| see(head, length))),
    }
}

fn parse_answer<'b>(
    bytes: &'b [u8],
    place: &'b mut [MaybeUninit<Field<'b>>],
) -> Result<Option<(AnswerHead<'b>, usize)>, httparse::Error> {
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        bytes,
        place,
    )?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let head = AnswerHead {
        // Below 100, we would see no body where others see one; there are no such statuses (RFC 9110 §15).
        status: answer
            .code
            .filter(|status| *status >= 100)
            .ok_or(httparse::Error::Status)?,
        reason: answer.reason.unwrap_or_default(),
        minor: answer.version.ok_or(httparse::Error::Version)?,
        fields: answer.headers,
    };
    Ok(Some((head, length)))
}

/// What the fields say of the message itself. Everything else is passed on.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Facts<'b> {
    pub(crate) host: Option<&'b [u8]>,
    length: Option<u64>,
    chunked: bool,
    /// `Connection: close`.
    pub(crate) close: bool,
    /// `Connection: keep-alive`.
    pub(crate) keep_alive: bool,
    /// `Connection` names fields that are for the neighbour only, beside the usual ones.
    pub(crate) names_others: bool,
    /// `Connection: upgrade`.
    pub(crate) connection_upgrade: bool,
    pub(crate) upgrade: Option<&'b [u8]>,
    /// `Expect: 100-continue`.
    pub(crate) expects_continue: bool,
    /// `TE: trailers`.
    pub(crate) takes_trailers: bool,
    /// `Accept-Encoding` is there.
    pub(crate) accepts_coding: bool,
    /// There is a field by which proxies or gates tell who somebody is.
    pub(crate) claims: bool,
}

impl<'b> Facts<'b> {
    /// Reads the fields of a request; two views of one message are an offence.
    pub(crate) fn of_request(head: &RequestHead<'b>) -> Result<Self, BadHead> {
        let mut facts = Self::default();
        for field in head.fields {
            facts.read(field, Side::Client)?;
        }
        if facts.chunked && head.minor == 0 {
            return Err(BadHead::Malformed("HTTP/1.0 knows no transfer encodings"));
        }
        if facts.chunked && facts.length.is_some() {
            return Err(BadHead::Malformed(
                "there are both a content length and a transfer encoding",
            ));
        }
        Ok(facts)
    }

    /// Reads the fields of an answer.
    pub(crate) fn of_answer(head: &AnswerHead<'b>) -> Result<Self, BadHead> {
        let mut facts = Self::default();
        for field in head.fields {
            facts.read(field, Side::Upstream)?;
        }
        if facts.chunked && facts.length.is_some() {
            // The encoding counts (RFC 9112 §6.3), and the connection is used no more.
            facts.length = None;
            facts.close = true;
        }
        Ok(facts)
    }

    /// The body of a request.
    pub(crate) fn request_length(&self) -> Length {
        if self.chunked {
            Length::Chunked(Chunks::new())
        } else {
            Length::Bytes(self.length.unwrap_or(0))
        }
    }

    /// The body of an answer.
    pub(crate) fn answer_length(&self, status: u16, to_head: bool) -> Length {
        if to_head || status < 200 || status == 204 || status == 304 {
            Length::Bytes(0)
        } else if self.chunked {
            Length::Chunked(Chunks::new())
        } else {
            self.length.map_or(Length::UntilClose, Length::Bytes)
        }
    }

    fn read(&mut self, field: &Field<'b>, side: Side) -> Result<(), BadHead> {
        let name = field.name.as_bytes();
        let value = field.value;
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        // Most names are passed by after one look at their length.
        match name.len() {
            2 if is("te") => {
                self.takes_trailers |=
                    words(value).any(|word| word.eq_ignore_ascii_case(b"trailers"));
            }
            4 if is("host") && self.host.replace(value).is_some() => {
                return Err(BadHead::Malformed("there are several hosts"));
            }
            6 if is("expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if is("upgrade") => self.upgrade = Some(value),
            10 if is("connection") => words(value).for_each(|word| self.connection(word)),
            14 if is("content-length") => self.content_length(value, side)?,
            15 if is("accept-encoding") => self.accepts_coding = true,
            17 if is("transfer-encoding") => {
                if self.chunked {
                    return Err(BadHead::Malformed("there are several transfer encodings"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadHead::Malformed("the transfer encoding is not `chunked`"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        self.claims |= crate::forwarded::is_claim(name);
        Ok(())
    }

    fn content_length(&mut self, value: &[u8], side: Side) -> Result<(), BadHead> {
        let length =
            number(value).ok_or(BadHead::Malformed("the content length is not a number"))?;
        match self.length.replace(length) {
            // An answer that says the same twice is clear enough (RFC 9110 §8.6).
            Some(before) if side == Side::Client || before != length => {
                Err(BadHead::Malformed("there are several content lengths"))
            }
            _ => Ok(()),
        }
    }

    fn connection(&mut self, word: &[u8]) {
        if word.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
        } else if word.eq_ignore_ascii_case(b"close") {
            self.close = true;
        } else if word.eq_ignore_ascii_case(b"upgrade") {
            self.connection_upgrade = true;
        } else if !word.is_empty() {
            self.names_others = true;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

/// The words of a list, without white space around them.
pub(crate) fn words(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Reads decimal digits and nothing else: no sign, no space, no list.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Whether a field is between two neighbours only (RFC 9110 §7.6.1); one that `Connection` names is looked up by
/// [`is_named`].
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    match name.len() {
        2 => is("te"),
        6 => is("expect"),
        7 => is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        _ => false,
    }
}

/// Whether `Connection` names a field. What says how the message is read cannot be named away.
pub(crate) fn is_named(fields: &[Field<'_>], name: &str) -> bool {
    const KEPT: [&str; 4] = ["host", "content-length", "transfer-encoding", "te"];
    if KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept)) {
        return false;
    }
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("connection"))
        .flat_map(|field| words(field.value))
        .any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Finds the first field of a name.
pub(crate) fn find<'b>(fields: &[Field<'b>], name: &str) -> Option<&'b [u8]> {
    fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

#[cfg(test)]
mod tests;
