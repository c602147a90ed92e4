//! A blocking HTTP/1.1 client that changes nothing: paths and headers go out as written and come in as sent.
//!
//! One connection for each request. It follows no redirect and decodes nothing but the chunks of a body.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// More headers than any hub sends.
const HEADERS: usize = 64;

/// When enough of an endless body has come.
pub(crate) type Until<'u> = Option<&'u dyn Fn(&[u8]) -> bool>;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum WireError {
    #[error("could not connect")]
    Connect(#[source] io::Error),
    #[error("could not read the answer: {0}")]
    Read(io::Error),
    #[error("the answer took too long; so far {0} bytes came")]
    Slow(usize),
    #[error("the answer is no HTTP: {0}")]
    Http(#[from] httparse::Error),
    #[error("the answer ends in the middle")]
    Short,
}

/// An answer, as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names as sent; values that are not UTF-8 have replacement characters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Sends a request and reads the whole answer, until a moment at the latest.
///
/// `request` is all that goes out. `until` may end the reading of an endless body early.
pub(crate) fn exchange(
    address: SocketAddr,
    request: &[u8],
    deadline: Instant,
    until: Until<'_>,
) -> Result<Answer, WireError> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT).map_err(WireError::Connect)?;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(Duration::from_secs(20)));
    // Who refuses a large body may close before all of it is written; the answer counts.
    let sent = stream.write_all(request);
    let mut received = Vec::new();
    let is_head = request.starts_with(b"HEAD ");
    loop {
        if let Some(answer) = parse(&received, is_head, false)? {
            return Ok(answer);
        }
        if let Some(until) = until
            && let Some(answer) = parse_so_far(&received)?
            && until(&answer.body)
        {
            return Ok(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(WireError::Slow(received.len()));
        }
        let _ = stream.set_read_timeout(Some(left));
        let mut piece = [0; 16 * 1024];
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => received.extend(piece.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Err(WireError::Slow(received.len()));
            }
            Err(error) if received.is_empty() => {
                return Err(WireError::Read(sent.err().unwrap_or(error)));
            }
            Err(_) => break,
        }
    }
    parse(&received, is_head, true)?.ok_or(WireError::Short)
}

/// The head of an answer and where its body begins; `None` if it is not all there, informational ones are passed over.
fn parse_head(received: &[u8]) -> Result<Option<(Answer, usize)>, WireError> {
    let mut begin = 0;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let rest = received.get(begin..).unwrap_or_default();
        let httparse::Status::Complete(length) = head.parse(rest)? else {
            return Ok(None);
        };
        begin += length;
        let status = head.code.unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let headers = head
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_owned(), value)
            })
            .collect();
        let answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        return Ok(Some((answer, begin)));
    }
}

/// A whole answer, or `None` if there is more to come.
fn parse(received: &[u8], is_head: bool, ended: bool) -> Result<Option<Answer>, WireError> {
    let Some((mut answer, begin)) = parse_head(received)? else {
        return Ok(None);
    };
    let rest = received.get(begin..).unwrap_or_default();
    if is_head || matches!(answer.status, 101 | 204 | 304) {
        return Ok(Some(answer));
    }
    if answer.is_chunked() {
        let (body, complete) = unchunk(rest);
        answer.body = body;
        return Ok((complete || ended).then_some(answer));
    }
    if let Some(length) = answer.length() {
        let body = rest.get(..length);
        return match body {
            Some(body) => {
                body.clone_into(&mut answer.body);
                Ok(Some(answer))
            }
            None if ended => Err(WireError::Short),
            None => Ok(None),
        };
    }
    rest.clone_into(&mut answer.body);
    Ok(ended.then_some(answer))
}

/// The answer with as much of its body as has come.
fn parse_so_far(received: &[u8]) -> Result<Option<Answer>, WireError> {
    let Some((mut answer, begin)) = parse_head(received)? else {
        return Ok(None);
    };
    let rest = received.get(begin..).unwrap_or_default();
    answer.body = if answer.is_chunked() {
        unchunk(rest).0
    } else {
        rest.to_owned()
    };
    Ok(Some(answer))
}

impl Answer {
    /// The first header of a name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding")
            .is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length")?.trim().parse().ok()
    }
}

/// Joins the chunks of a body; also says whether the last one was there.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return (body, false);
        };
        let (line, after) = rest.split_at(end);
        let size = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split(';').next())
            .and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let Some(size) = size else {
            return (body, false);
        };
        if size == 0 {
            return (body, true);
        }
        let data = after.get(2..).unwrap_or_default();
        let Some(chunk) = data.get(..size) else {
            body.extend_from_slice(data);
            return (body, false);
        };
        body.extend_from_slice(chunk);
        rest = data.get(size + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<Answer> {
        parse(text.as_bytes(), false, false).unwrap()
    }

    #[test]
    fn bodies_are_measured_by_length_by_chunks_or_by_the_end() {
        let answer = whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]));
        assert!(whole("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").is_none());
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n";
        assert!(whole(chunked).is_none());
        assert_eq!(whole(&format!("{chunked}0\r\n\r\n")).unwrap().body, b"abc");
        let open = "HTTP/1.1 200 OK\r\n\r\nabc";
        assert!(whole(open).is_none());
        assert!(parse(open.as_bytes(), false, true).unwrap().is_some());
    }

    #[test]
    fn answers_without_a_body_end_with_their_head() {
        assert_eq!(
            whole("HTTP/1.1 204 No Content\r\n\r\n").unwrap().status,
            204
        );
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert!(parse(head, true, false).unwrap().is_some());
        let after = whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(after.unwrap().status, 204);
    }
}
