//! What can go wrong when something is looked up in the DNS, told apart as people need it.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use thiserror::Error;

/// Why a look-up gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LookupError {
    /// The name is not there at all.
    #[error("`{0}` does not exist in the DNS (NXDOMAIN)")]
    NoSuchName(String),
    /// The name is there, without such a record.
    #[error("`{name}` has no {kind} record")]
    NoSuchRecord {
        /// The name.
        name: String,
        /// The kind of record.
        kind: String,
    },
    /// The name server could not find out.
    #[error(
        "the name server {server} could not find out about `{name}` (SERVFAIL): the servers of its zone do not answer, \
         or its DNSSEC signatures are wrong"
    )]
    ServerFailure {
        /// The name.
        name: String,
        /// Who was asked.
        server: String,
    },
    /// The name server does not want to tell.
    #[error("the name server {server} refuses to tell about `{name}` (REFUSED)")]
    Refused {
        /// The name.
        name: String,
        /// Who was asked.
        server: String,
    },
    /// Nothing came in time.
    #[error("the name server {server} did not answer about `{name}` in time")]
    Timeout {
        /// The name.
        name: String,
        /// Who was asked.
        server: String,
    },
    /// The name server cannot be reached.
    #[error("the name server {server} cannot be reached: {cause}")]
    Unreachable {
        /// Who was asked.
        server: String,
        /// What the operating system says.
        cause: String,
    },
    /// What came is no answer to what was asked.
    #[error("the name server {server} gave an answer about `{name}` that cannot be read")]
    Malformed {
        /// The name.
        name: String,
        /// Who was asked.
        server: String,
    },
    /// Another answer, by its code.
    #[error("the name server {server} answered about `{name}` with {code}")]
    Code {
        /// The name.
        name: String,
        /// Who was asked.
        server: String,
        /// What it said.
        code: String,
    },
    /// It cannot be a name in the DNS.
    #[error("`{0}` cannot be a name in the DNS")]
    BadName(String),
    /// One alias leads to the next, without an end.
    #[error("`{0}` leads from alias to alias without an end (CNAME)")]
    TooManyAliases(String),
    /// There is nobody to ask.
    #[error("there is no name server to ask")]
    NoServers,
}

impl LookupError {
    /// Whether it says that there is nothing, in contrast to that nobody knows.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NoSuchName(_) | Self::NoSuchRecord { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoSuchName(_) | Self::NoSuchRecord { .. } => {
                "add the record where the domain is managed; a new one may take until the time to live of the old \
                 answer is over"
            }
            Self::ServerFailure { .. } => {
                "check the zone with `dig +trace NAME`, and its signatures with `delv NAME`"
            }
            Self::Refused { .. } | Self::NoServers => {
                "check that /etc/resolv.conf names servers that answer this machine"
            }
            Self::Timeout { .. } | Self::Unreachable { .. } => {
                "check that this machine reaches its name servers: UDP and TCP, port 53"
            }
            Self::Malformed { .. } | Self::Code { .. } => {
                "ask the name server by hand with `dig NAME @SERVER`, and look at its log"
            }
            Self::BadName(_) => "check how the name is written",
            Self::TooManyAliases(_) => "follow the CNAME records with `dig NAME`, and end them",
        }
    }
}

/// Reads a name; it is always taken from the root on.
pub(super) fn name(text: &str) -> Result<Name, LookupError> {
    let mut name = Name::from_ascii(text).map_err(|_| LookupError::BadName(text.to_owned()))?;
    if name.num_labels() == 0 {
        return Err(LookupError::BadName(text.to_owned()));
    }
    name.set_fqdn(true);
    Ok(name)
}

/// Writes a name as people do: lower case, without the dot at its end.
pub(super) fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    match text.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => text,
    }
}

/// The error for a code that an answer has, if it has one.
pub(super) fn refused(code: ResponseCode, name: &Name, server: &str) -> Option<LookupError> {
    let (name, server) = (plain(name), server.to_owned());
    Some(match code {
        ResponseCode::NoError => return None,
        ResponseCode::NXDomain => LookupError::NoSuchName(name),
        ResponseCode::ServFail => LookupError::ServerFailure { name, server },
        ResponseCode::Refused => LookupError::Refused { name, server },
        other => LookupError::Code {
            name,
            server,
            code: format!("{:?} ({})", other, u16::from(other)),
        },
    })
}

/// The error for a name without records of a kind.
pub(super) fn no_such_record(name: &Name, kind: RecordType) -> LookupError {
    LookupError::NoSuchRecord {
        name: plain(name),
        kind: kind.to_string(),
    }
}
