//! Questions to name servers over UDP and TCP. Knows nothing of caches and of whom to ask.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use lyceum_core::random::{Randomness as _, SystemRandomness};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::lookup::{LookupError, plain};

/// How long one datagram is waited for; it may have been lost.
const UDP_LIMIT: Duration = Duration::from_secs(2);
/// How long a whole exchange over TCP may take.
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// The largest answer that is taken by UDP; larger ones would be cut in pieces on the way.
const UDP_SIZE: u16 = 1232;

/// Whether the server shall find out what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recursion {
    Wanted,
    /// What it knows by itself counts, as with servers of zones.
    No,
}

/// Makes a number that cannot be guessed, by which an answer is known.
pub(super) fn new_id() -> u16 {
    let mut bytes = [0; 2];
    SystemRandomness.fill(&mut bytes);
    u16::from_be_bytes(bytes)
}

/// Asks one server: twice by UDP, and by TCP if the answer does not fit.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    recursion: Recursion,
) -> Result<Message, LookupError> {
    let asked = question(name, kind, recursion);
    let bytes = asked
        .to_vec()
        .map_err(|_| LookupError::BadName(plain(name)))?;
    for _ in 0..2 {
        match timeout(UDP_LIMIT, over_udp(server, &bytes, &asked)).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => return ask_by_tcp(server, name, &bytes, &asked).await,
            Ok(Err(error)) => return Err(unreachable(server, &error)),
            Err(_) => {}
        }
    }
    Err(timed_out(server, name))
}

async fn ask_by_tcp(
    server: SocketAddr,
    name: &Name,
    bytes: &[u8],
    asked: &Message,
) -> Result<Message, LookupError> {
    match timeout(TCP_LIMIT, over_tcp(server, bytes)).await {
        Ok(Ok(answer)) => read_answer(&answer, asked).ok_or_else(|| LookupError::Malformed {
            name: plain(name),
            server: server.to_string(),
        }),
        Ok(Err(error)) => Err(unreachable(server, &error)),
        Err(_) => Err(timed_out(server, name)),
    }
}

fn unreachable(server: SocketAddr, error: &io::Error) -> LookupError {
    LookupError::Unreachable {
        server: server.to_string(),
        cause: error.to_string(),
    }
}

fn timed_out(server: SocketAddr, name: &Name) -> LookupError {
    LookupError::Timeout {
        name: plain(name),
        server: server.to_string(),
    }
}

fn question(name: &Name, kind: RecordType, recursion: Recursion) -> Message {
    let mut message = Message::new(new_id(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = recursion == Recursion::Wanted;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_SIZE).set_version(0);
    message.set_edns(edns);
    message
}

/// Sends a question and waits for its answer, without a limit; `None` if that did not fit, or cannot be read.
async fn over_udp(
    server: SocketAddr,
    bytes: &[u8],
    asked: &Message,
) -> io::Result<Option<Message>> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    // A connected socket takes only what comes from there.
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Some(datagram) = buffer.get(..length) else {
            continue;
        };
        if is_broken(datagram, asked.metadata.id) {
            return Ok(None);
        }
        // What is no answer to this question may be somebody's attempt to be believed: the right one may follow.
        if let Some(answer) = read_answer(datagram, asked) {
            return Ok(Some(answer));
        }
    }
}

/// Sends a message over TCP and waits for one, without a limit.
pub(super) async fn over_tcp(server: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(bytes.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"))?;
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = Vec::with_capacity(bytes.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(bytes);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Whether it is an answer that did not fit (the server says so in the third byte, RFC 1035 §4.1.1), or that is damaged.
fn is_broken(bytes: &[u8], id: u16) -> bool {
    match bytes {
        [a, b, flags, ..] if [*a, *b] == id.to_be_bytes() && flags & 0x80 != 0 => {
            flags & 0x02 != 0 || Message::from_vec(bytes).is_err()
        }
        _ => false,
    }
}

/// Reads bytes as an answer to what was asked; `None` if they are none.
pub(super) fn read_answer(bytes: &[u8], asked: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let fits = answer.metadata.id == asked.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == asked.metadata.op_code;
    // Servers that refuse may leave the question out; those that tell something may not.
    let same_question = match (answer.queries.as_slice(), asked.queries.as_slice()) {
        ([], _) => answer.answers.is_empty(),
        ([theirs], [ours]) => {
            theirs.name == ours.name
                && theirs.query_type == ours.query_type
                && theirs.query_class == ours.query_class
        }
        _ => false,
    };
    (fits && same_question).then_some(answer)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::RData;
    use hickory_proto::rr::Record;
    use proptest::prelude::*;

    use super::super::lookup::name;
    use super::*;

    fn asked() -> Message {
        let mut asked = question(
            &name("a.example.org").unwrap(),
            RecordType::A,
            Recursion::No,
        );
        asked.metadata.id = 0x1234;
        asked
    }

    fn answer() -> Message {
        let mut answer = asked().into_response();
        let data = RData::A(Ipv4Addr::new(192, 0, 2, 1).into());
        answer.add_answer(Record::from_rdata(name("A.Example.org").unwrap(), 60, data));
        answer
    }

    #[test]
    fn only_answers_to_the_question_are_taken() {
        let read = |message: &Message| read_answer(&message.to_vec().unwrap(), &asked());
        assert_eq!(read(&answer()).unwrap().answers.len(), 1);
        let mut other = answer();
        other.metadata.id = 0x1235;
        assert!(read(&other).is_none());
        let mut other = answer();
        other.queries[0].name = name("b.example.org").unwrap();
        assert!(read(&other).is_none());
        let mut other = answer();
        other.queries[0].query_type = RecordType::AAAA;
        assert!(read(&other).is_none());
        let mut other = answer();
        other.queries.clear();
        assert!(read(&other).is_none());
        assert!(read(&asked()).is_none(), "a question is no answer");
    }

    #[test]
    fn an_answer_that_did_not_fit_or_is_damaged_is_seen() {
        let mut cut = answer();
        cut.metadata.truncation = true;
        let bytes = cut.to_vec().unwrap();
        assert!(is_broken(&bytes, 0x1234));
        assert!(is_broken(&bytes[..14], 0x1234));
        assert!(!is_broken(&bytes, 0x1235));
        let whole = answer().to_vec().unwrap();
        assert!(!is_broken(&whole, 0x1234));
        assert!(is_broken(&whole[..whole.len() - 1], 0x1234));
        assert!(!is_broken(&[], 0x1234));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read_answer(&bytes, &asked());
            let _ = is_broken(&bytes, 0x1234);
        }

        #[test]
        fn damaged_answers_are_read_without_a_panic(at in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut bytes = answer().to_vec().unwrap();
            let length = bytes.len();
            bytes[at % length] = byte;
            let _ = read_answer(&bytes, &asked());
            bytes.truncate(cut);
            let _ = read_answer(&bytes, &asked());
        }
    }
}
