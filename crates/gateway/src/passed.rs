//! Sockets that systemd has opened and passes at start: found once, kept, and handed out as copies.
//!
//! They are kept for the life of the process, so that they can be listened on again after a change of the
//! configuration. Whether they are what they should be is said to whoever wants them.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;

use listenfd::ListenFd;
use socket2::{SockRef, TcpKeepalive};

use crate::address::ListenAddress;
use crate::config::GatewayConfig;
use crate::listen::{GatewayError, KEEPALIVE};

/// The names of the sockets, separated by colons (`sd_listen_fds_with_names(3)`). The number of the sockets and
/// the process that they are for, `LISTEN_FDS` and `LISTEN_PID`, are read and unset by the library.
const NAMES: &str = "LISTEN_FDNAMES";
/// What systemd calls a socket that has no name.
const NAMELESS: &str = "unknown";

/// A socket to listen on.
#[derive(Debug)]
pub(crate) enum PassedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What was passed in one place.
#[derive(Debug)]
struct Passed {
    name: String,
    /// `None` if it is no stream socket.
    socket: Option<PassedSocket>,
}

static PASSED: OnceLock<Vec<Passed>> = OnceLock::new();

/// Finds out what was passed; only the first call in the life of the process does anything.
///
/// Called even if nothing is wanted: until then, programs that are started inherit what was passed.
pub(crate) fn find(config: &GatewayConfig) {
    PASSED.get_or_init(|| {
        let passed = find_now();
        for one in &passed {
            let mut wanted = config.listen.iter().chain(&config.listen_tls);
            if !wanted.any(|address| one.is_meant(address)) {
                tracing::warn!(
                    "systemd has passed a socket `{0}` on which nobody listens; add \"systemd:{0}\" to \
                     `gateway.listen` or `gateway.listen_tls`, or remove it from the socket's unit",
                    one.name
                );
            }
        }
        passed
    });
}

/// Gives copies of the sockets that are meant by an address: those of a name, or those that systemd has opened at
/// that very address, of which there may be none.
pub(crate) fn take(address: &ListenAddress) -> Result<Vec<PassedSocket>, GatewayError> {
    let passed = PASSED.get_or_init(find_now);
    let meant: Vec<&Passed> = passed.iter().filter(|one| one.is_meant(address)).collect();
    if meant.is_empty() && matches!(address, ListenAddress::Systemd(_)) {
        return Err(GatewayError::NotPassed {
            address: address.clone(),
            passed: passed.iter().map(|one| one.name.clone()).collect(),
        });
    }
    meant.into_iter().map(|one| one.copy(address)).collect()
}

fn find_now() -> Vec<Passed> {
    let names = env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut descriptors = ListenFd::from_env();
    (0..descriptors.len())
        .map(|index| Passed {
            name: names
                .next()
                .filter(|name| !name.is_empty())
                .unwrap_or(NAMELESS)
                .to_owned(),
            socket: take_stream(&mut descriptors, index),
        })
        .collect()
}

/// Takes a stream socket; sockets of other kinds are closed.
fn take_stream(descriptors: &mut ListenFd, index: usize) -> Option<PassedSocket> {
    if let Ok(tcp) = descriptors.take_tcp_listener(index) {
        return tcp.map(PassedSocket::Tcp);
    }
    if let Ok(unix) = descriptors.take_unix_listener(index) {
        return unix.map(PassedSocket::Unix);
    }
    drop(descriptors.take_udp_socket(index));
    drop(descriptors.take_unix_datagram(index));
    None
}

impl Passed {
    fn is_meant(&self, address: &ListenAddress) -> bool {
        match address {
            ListenAddress::Systemd(None) => true,
            ListenAddress::Systemd(Some(name)) => *name == self.name,
            ListenAddress::Tcp(_) | ListenAddress::Unix(_) => self
                .socket
                .as_ref()
                .and_then(|socket| socket.address().ok().flatten())
                .is_some_and(|own| own == *address),
        }
    }

    fn copy(&self, address: &ListenAddress) -> Result<PassedSocket, GatewayError> {
        let unfit = |reason| GatewayError::Unfit {
            address: address.clone(),
            name: self.name.clone(),
            reason,
        };
        let failed = |source| GatewayError::Bind {
            address: address.clone(),
            source,
        };
        match &self.socket {
            None => Err(unfit(Unfit::NoStream)),
            Some(socket) if !socket.listens().map_err(failed)? => Err(unfit(Unfit::NotListening)),
            Some(socket) => socket.copy().map_err(failed),
        }
    }
}

/// Why a socket that was passed cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is a datagram socket, a pipe, or something else through which no connection comes.
    NoStream,
    /// It does not listen: it may be a connection already.
    NotListening,
}

impl PassedSocket {
    fn listens(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(listener) => SockRef::from(listener).is_listener(),
            Self::Unix(listener) => SockRef::from(listener).is_listener(),
        }
    }

    /// Copies it, and sets what its connections inherit, as for sockets of our own.
    fn copy(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => {
                let socket = SockRef::from(listener);
                socket.set_tcp_nodelay(true)?;
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                listener.set_nonblocking(true)?;
                Self::Tcp(listener.try_clone()?)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Self::Unix(listener.try_clone()?)
            }
        })
    }

    /// Where it listens; `None` for a Unix socket without a file.
    pub(crate) fn address(&self) -> io::Result<Option<ListenAddress>> {
        Ok(match self {
            Self::Tcp(listener) => Some(ListenAddress::Tcp(listener.local_addr()?)),
            Self::Unix(listener) => listener
                .local_addr()?
                .as_pathname()
                .map(|path| ListenAddress::Unix(path.to_owned())),
        })
    }
}
