//! The bytes of messages: pure, so that any bytes can be tried on it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Answer, MAX_MESSAGE, Question, Refusal, RefusalKind, Request, RunningServer, VERSION};

/// How many bytes tell the length of a message.
pub const LENGTH_BYTES: usize = 4;
/// Room for a message that is being written, so that growing leaves no copy of a secret behind.
const ROOM: usize = 64 * 1024;
/// How many bytes of servers are put into one message of their list; a message has room for one more than that.
const LIST_PART: usize = MAX_MESSAGE / 2;

/// What is wrong with a message.
#[derive(Debug, Error)]
pub enum FrameError {
    /// It says that it is empty, or longer than any message.
    #[error("a message of {0} bytes, where 1 to {MAX_MESSAGE} are possible")]
    Length(usize),
    /// It is not what it should be. What it says is not told, as a secret may be in it.
    #[error("a message that cannot be understood (line {line}, column {column})")]
    Content {
        /// Where the understanding ends, counted from 1.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// It could not be written.
    #[error("a message that cannot be written")]
    Unwritable,
}

/// Writes a message with its length.
pub fn encode<T: Serialize>(message: &T) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
    bytes.extend([0; LENGTH_BYTES]);
    serde_json::to_writer(&mut *bytes, message).map_err(|_| FrameError::Unwritable)?;
    let length = bytes.len() - LENGTH_BYTES;
    if length > MAX_MESSAGE {
        return Err(FrameError::Length(length));
    }
    let length = u32::try_from(length).map_err(|_| FrameError::Length(length))?;
    for (place, byte) in bytes.iter_mut().zip(length.to_be_bytes()) {
        *place = byte;
    }
    Ok(bytes)
}

/// Writes an answer: one message, or several of a long list.
pub fn encode_answer(answer: &Answer) -> Result<Vec<Zeroizing<Vec<u8>>>, FrameError> {
    let Answer::Servers { servers, more } = answer else {
        return Ok(vec![encode(answer)?]);
    };
    let mut parts: Vec<Vec<RunningServer>> = vec![Vec::new()];
    let mut length = 0;
    for server in servers {
        let bytes = serde_json::to_vec(server).map_err(|_| FrameError::Unwritable)?;
        length += bytes.len() + 1;
        if length > LIST_PART {
            parts.push(Vec::new());
            length = bytes.len();
        }
        if let Some(part) = parts.last_mut() {
            part.push(server.clone());
        }
    }
    let last = parts.len().saturating_sub(1);
    let part = |(number, servers)| {
        encode(&Answer::Servers {
            servers,
            more: *more || number < last,
        })
    };
    parts.into_iter().enumerate().map(part).collect()
}

/// Reads the length of a message.
pub fn length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, FrameError> {
    let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_MESSAGE {
        return Err(FrameError::Length(length));
    }
    Ok(length)
}

/// Reads a message without its length. Whatever is too much in it is an error.
pub fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(message).map_err(|error| FrameError::Content {
        line: error.line(),
        column: error.column(),
    })
}

/// Reads a question. One of another version is told apart from one that cannot be understood.
pub fn decode_question(message: &[u8]) -> Result<Request, Refusal> {
    let Versioned { version } =
        decode(message).map_err(|error| Refusal::protocol(format!("This is {error}.")))?;
    if version != VERSION {
        return Err(wrong_version(version));
    }
    let question: Question =
        decode(message).map_err(|error| Refusal::protocol(format!("This is {error}.")))?;
    Ok(question.request)
}

/// Reads an answer.
pub fn decode_answer(message: &[u8]) -> Result<Answer, FrameError> {
    decode(message)
}

/// The part that questions of all versions have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn wrong_version(version: u32) -> Refusal {
    Refusal::new(
        RefusalKind::Version,
        format!(
            "The broker is of another version than the program that asks (protocol {VERSION} and {version})."
        ),
        "After an upgrade, restart both: `systemctl restart lyceum-broker.service lyceum.service`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refusal {
        decode_question(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn a_question_comes_back_as_it_was() {
        let text = r#"{"version":2,"request":{"ensure-account":{"user":"ada"}}}"#;
        let request = decode_question(text.as_bytes()).unwrap();
        assert!(matches!(&request, Request::EnsureAccount { user } if user.as_str() == "ada"));
        let question = Question {
            version: VERSION,
            request,
        };
        let bytes = encode(&question).unwrap();
        assert_eq!(&bytes[LENGTH_BYTES..], text.as_bytes());
        assert_eq!(
            length([bytes[0], bytes[1], bytes[2], bytes[3]]).unwrap(),
            text.len()
        );
    }

    #[test]
    fn whatever_is_unknown_or_too_much_is_refused() {
        for text in [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "null",
            "[]",
            r#"{"version":2}"#,
            r#"{"version":2,"request":"status"}"#,
            r#"{"version":2,"request":{"status":{}},"more":1}"#,
            r#"{"version":2,"request":{"status":{"more":1}}}"#,
            r#"{"version":2,"request":{"status":{}}} x"#,
            r#"{"version":2,"request":{"status":{}}}{}"#,
            r#"{"version":2,"request":{"shell":{"command":"id"}}}"#,
            r#"{"version":2,"request":{"status":{},"list":{}}}"#,
            r#"{"version":2,"request":{"ensure-account":{"user":"ada","user":"bob"}}}"#,
            r#"{"version":2,"request":{"ensure-account":{"user":"ada","uid":0}}}"#,
            r#"{"version":2,"request":{"ensure-account":{"user":7}}}"#,
            r#"{"version":2,"request":{"ensure-account":{}}}"#,
            r#"{"version":-1,"request":{"status":{}}}"#,
            r#"{"version":2.0,"request":{"status":{}}}"#,
        ] {
            assert_eq!(refused(text).kind, RefusalKind::Protocol, "{text}");
        }
        let deep = format!(
            r#"{{"version":2,"request":{}1{}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!(refused(&deep).kind, RefusalKind::Protocol);
        assert!(
            decode_question(b"{\"version\":2,\"request\":{\"status\":{}},\"\xff\":1}").is_err()
        );
    }

    #[test]
    fn names_that_are_none_do_not_get_past_the_parser() {
        for name in ["", "..", "a/b", " ada", "a\\nb", "a\\u0000b"] {
            let text =
                format!(r#"{{"version":2,"request":{{"ensure-account":{{"user":"{name}"}}}}}}"#);
            assert_eq!(refused(&text).kind, RefusalKind::Protocol, "{name}");
        }
    }

    #[test]
    fn another_version_is_told_plainly_whatever_it_asks() {
        for version in [1, 3] {
            let refusal = refused(&format!(
                r#"{{"version":{version},"request":{{"dance":{{}}}},"mood":"good"}}"#
            ));
            assert_eq!(refusal.kind, RefusalKind::Version);
            assert!(refusal.hint.contains("restart"), "{refusal:?}");
        }
    }

    #[test]
    fn a_password_is_in_no_error() {
        let text =
            r#"{"version":2,"request":{"authenticate":{"user":"ada","password":"hunter2"}}}"#;
        let refusal = refused(text);
        assert!(!format!("{refusal:?}").contains("hunter2"));
    }

    #[test]
    fn lengths_beyond_the_limit_are_refused() {
        assert!(length([0; 4]).is_err());
        assert!(length([0xff; 4]).is_err());
        assert!(length(*b"GET ").is_err());
        let most = u32::try_from(MAX_MESSAGE).unwrap();
        assert!(length(most.to_be_bytes()).is_ok());
        assert!(length((most + 1).to_be_bytes()).is_err());
        assert!(encode(&"x".repeat(MAX_MESSAGE)).is_err());
    }

    #[test]
    fn a_list_of_any_length_fits_into_messages_and_nothing_of_it_is_lost() {
        for count in [0, 1, 700, 2_500] {
            let of = |number| RunningServer {
                key: crate::protocol::ServerKey {
                    user: lyceum_core::UserName::parse(&format!("{number}{}", "ř".repeat(100)))
                        .unwrap(),
                    server: lyceum_core::ServerName::default(),
                    marker: "0123456789".to_owned(),
                },
                unit: format!("lyceum-{number}"),
                usage: crate::protocol::Usage::default(),
            };
            let servers: Vec<RunningServer> = (0..count).map(of).collect();
            let answer = Answer::Servers {
                servers: servers.clone(),
                more: false,
            };
            let messages = encode_answer(&answer).unwrap();
            let last = messages.len() - 1;
            let mut all = Vec::new();
            for (number, message) in messages.iter().enumerate() {
                match decode_answer(&message[LENGTH_BYTES..]).unwrap() {
                    Answer::Servers { servers, more } => {
                        assert_eq!(more, number < last);
                        all.extend(servers);
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(all, servers);
            assert_eq!(last > 0, count > 600, "{count}");
        }
    }
}
