//! Whose socket listens at a port of this machine: the question to the kernel, and its answer, as bytes.
//!
//! A port of the loopback address is open to every account, so that any of them could listen where a user's server was to.
//! The kernel tells the account of who listens (sock_diag(7)); asking it is the caller's, as nothing here opens a socket.

use thiserror::Error;

/// How many bytes the kernel's answer has at most.
pub const ANSWER_ROOM: usize = 512;

/// The length of `struct nlmsghdr`, which comes before everything.
const HEADER: usize = 16;
/// The length of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `SOCK_DIAG_BY_FAMILY`, `NLM_F_REQUEST`, `NLMSG_ERROR`.
const BY_FAMILY: u16 = 20;
const IS_REQUEST: u16 = 1;
const IS_ERROR: u16 = 2;
/// `AF_INET`, `IPPROTO_TCP`, `TCP_LISTEN`.
const INET: u8 = 2;
const TCP: u8 = 6;
const LISTEN: u8 = 10;
/// `ENOENT`.
const NO_SUCH_SOCKET: i32 = 2;
/// Where things are in `struct inet_diag_req_v2`, and in `struct inet_diag_msg`, which is the answer.
const ASKED_STATES: usize = 4;
const ASKED_PORT: usize = 8;
const ASKED_ADDRESS: usize = 12;
const ASKED_COOKIE: usize = 48;
const STATE: usize = 1;
const PORT: usize = 4;
const UID: usize = 64;

/// The kernel does not tell whose socket listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Untold {
    /// It refuses, with an error number.
    #[error("the kernel does not tell who listens at a port (error {0})")]
    Refused(i32),
    /// Its answer is not one to this question.
    #[error("the kernel's answer about who listens at a port cannot be understood")]
    Garbled,
}

/// The question who would get a connection to this port of 127.0.0.1, for a socket of `NETLINK_SOCK_DIAG`.
pub fn question(port: u16) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    let mut put = |at: usize, value: &[u8]| {
        for (place, byte) in bytes.iter_mut().skip(at).zip(value) {
            *place = *byte;
        }
    };
    let length = u32::try_from(HEADER + REQUEST).unwrap_or_default();
    put(0, &length.to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &IS_REQUEST.to_ne_bytes());
    put(HEADER, &[INET, TCP]);
    put(HEADER + ASKED_STATES, &(1_u32 << LISTEN).to_ne_bytes());
    put(HEADER + ASKED_PORT, &port.to_be_bytes());
    put(HEADER + ASKED_ADDRESS, &[127, 0, 0, 1]);
    // `INET_DIAG_NOCOOKIE`: whichever socket it is.
    put(HEADER + ASKED_COOKIE, &[0xff; 8]);
    bytes
}

/// Reads the answer: the number of the account that listens, or `None` if nobody does.
pub fn owner(answer: &[u8], port: u16) -> Result<Option<u32>, Untold> {
    let short = |at: usize| bytes(answer, at).map(u16::from_ne_bytes);
    let body = HEADER;
    match short(4).ok_or(Untold::Garbled)? {
        IS_ERROR => match bytes(answer, body).map(i32::from_ne_bytes) {
            // Written as a negative number.
            Some(error) if error == -NO_SUCH_SOCKET => Ok(None),
            Some(error) => Err(Untold::Refused(error.saturating_neg())),
            None => Err(Untold::Garbled),
        },
        BY_FAMILY => {
            let state = answer.get(body + STATE).ok_or(Untold::Garbled)?;
            let found = bytes(answer, body + PORT).map(u16::from_be_bytes);
            let uid = bytes(answer, body + UID).map(u32::from_ne_bytes);
            match uid {
                Some(_) if *state != LISTEN => Ok(None),
                Some(uid) if found == Some(port) => Ok(Some(uid)),
                _ => Err(Untold::Garbled),
            }
        }
        _ => Err(Untold::Garbled),
    }
}

fn bytes<const N: usize>(answer: &[u8], at: usize) -> Option<[u8; N]> {
    answer.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(number: i32) -> Vec<u8> {
        let mut answer = vec![0; HEADER];
        answer[4..6].copy_from_slice(&IS_ERROR.to_ne_bytes());
        answer.extend((-number).to_ne_bytes());
        answer
    }

    fn socket(state: u8, port: u16, uid: u32) -> Vec<u8> {
        let mut answer = vec![0; HEADER + 72];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER + STATE] = state;
        answer[HEADER + PORT..HEADER + PORT + 2].copy_from_slice(&port.to_be_bytes());
        answer[HEADER + UID..HEADER + UID + 4].copy_from_slice(&uid.to_ne_bytes());
        answer
    }

    #[test]
    fn an_answer_tells_the_account_that_nobody_listens_or_that_it_is_not_told() {
        assert_eq!(owner(&socket(LISTEN, 8888, 1001), 8888), Ok(Some(1001)));
        assert_eq!(owner(&socket(1, 8888, 1001), 8888), Ok(None));
        assert_eq!(owner(&error(NO_SUCH_SOCKET), 8888), Ok(None));
        assert_eq!(owner(&error(1), 8888), Err(Untold::Refused(1)));
        let other = owner(&socket(LISTEN, 8889, 1001), 8888);
        assert_eq!(other, Err(Untold::Garbled));
        assert_eq!(owner(&[], 8888), Err(Untold::Garbled));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_harm(answer in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = owner(&answer, 8888);
        }
    }
}
