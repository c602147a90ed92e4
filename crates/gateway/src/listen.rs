//! Taking the addresses: sockets are bound before anything else starts, so that a mistake ends the start at once.

mod unix;

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use lyceum_certs::ServerTls;
use rustix::io::Errno;
use socket2::{Domain, Protocol, TcpKeepalive, Type};
use thiserror::Error;

use crate::address::ListenAddress;
use crate::config::GatewayConfig;
use crate::holder;
use crate::passed::{self, PassedSocket, Unfit};
use crate::pulse::Pulse;

pub(crate) use self::unix::BoundUnix;
use self::unix::bind_unix;

/// Connections that may wait to be accepted, per listener.
const BACKLOG: i32 = 4096;
/// When to ask a silent client whether it is still there; a laptop that sleeps does not say good-bye.
pub(crate) const KEEPALIVE: Duration = Duration::from_mins(1);

/// The gateway before it listens.
#[derive(Debug)]
pub struct Gateway;

/// Sockets that are bound and wait to be served; see [`BoundGateway::serve`].
#[derive(Debug)]
pub struct BoundGateway {
    pub(crate) config: GatewayConfig,
    pub(crate) sockets: Sockets,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) pulse: Pulse,
}

/// Everything that was bound.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The TCP listeners of each thread.
    pub(crate) per_thread: Vec<Vec<BoundTcp>>,
    /// Unix sockets, served by the first thread.
    pub(crate) unix: Vec<BoundUnix>,
    addresses: Vec<ListenAddress>,
    /// How many of the addresses speak no TLS; they are the first.
    plain: usize,
}

/// A TCP listener.
#[derive(Debug)]
pub(crate) struct BoundTcp {
    pub(crate) listener: TcpListener,
    /// Whether TLS is spoken on it.
    pub(crate) secure: bool,
}

/// Why the gateway could not start or run.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// Another process listens there already.
    #[error("could not listen on {address}: it is in use{by}")]
    InUse {
        /// The address.
        address: ListenAddress,
        /// Who holds it, as ` by process 12 (nginx)`; empty if the system does not tell.
        by: String,
    },
    /// A port below 1024, without the right to it.
    #[error("could not listen on {address}: this user may not use ports below 1024")]
    NotAllowed {
        /// The address.
        address: ListenAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address could not be bound for another reason.
    #[error("could not listen on {address}")]
    Bind {
        /// The address.
        address: ListenAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that is not a socket lies where the socket should be.
    #[error("could not listen on unix:{0}: there is a file of that name that is not a socket")]
    NotASocket(PathBuf),
    /// Systemd has passed no such socket.
    #[error(
        "could not listen on {address}: systemd has passed {}",
        none_such(address)
    )]
    NotPassed {
        /// The address.
        address: ListenAddress,
        /// The names of what it has passed.
        passed: Vec<String>,
    },
    /// Systemd has passed something else than a socket that takes connections.
    #[error("could not listen on {address}: the socket `{name}` that systemd has passed {}", fault(*reason))]
    Unfit {
        /// The address.
        address: ListenAddress,
        /// The socket's name.
        name: String,
        /// What is wrong with it.
        reason: Unfit,
    },
    /// HTTPS is to be spoken, and nobody has said with which certificates.
    #[error("could not listen on {address}: there is no certificate for HTTPS")]
    NoCertificate {
        /// The address.
        address: ListenAddress,
    },
    /// A thread that carries traffic could not be started.
    #[error("could not start a thread of the gateway")]
    Thread(#[source] io::Error),
    /// A thread that carries traffic has ended by itself.
    #[error("a thread of the gateway has ended unexpectedly")]
    ThreadEnded,
}

impl GatewayError {
    /// What to do about it, one sentence; `None` if there is nothing simple to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { address, .. } => Some(match address {
                ListenAddress::Tcp(tcp) => format!(
                    "end the other program, or choose another port, such as {}",
                    next_port(tcp.port())
                ),
                ListenAddress::Unix(_) | ListenAddress::Systemd(_) => {
                    "end the other program, or choose another path".to_owned()
                }
            }),
            Self::NotAllowed { .. } => Some(
                "choose a port from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE"
                    .to_owned(),
            ),
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("use an address of this machine; `ip address` lists them".to_owned())
            }
            Self::Bind { source, .. } if is_errno(source, Errno::AFNOSUPPORT) => {
                Some("this machine has no IPv6: use an IPv4 address".to_owned())
            }
            Self::NotASocket(path) => Some(format!("move {} away, or choose another path", path.display())),
            Self::NotPassed { passed, .. } if passed.is_empty() => Some(
                "start Lyceum by its socket's unit, as with `systemctl start lyceum.socket`, or choose an address"
                    .to_owned(),
            ),
            Self::NotPassed { passed, .. } => Some(format!(
                "write one of these names, or set `FileDescriptorName=` in the socket's unit: {}",
                passed.join(", ")
            )),
            Self::Unfit { reason: Unfit::NoStream, .. } => {
                Some("let the socket's unit have `ListenStream=` with an address, a port or a path".to_owned())
            }
            Self::Unfit { reason: Unfit::NotListening, .. } => {
                Some("let the socket's unit have `Accept=no`".to_owned())
            }
            Self::NoCertificate { .. } => {
                Some("name this server in `tls.domains`, or its files in `tls.certificates`".to_owned())
            }
            Self::Bind { .. } | Self::Thread(_) | Self::ThreadEnded => None,
        }
    }
}

fn none_such(address: &ListenAddress) -> &'static str {
    match address {
        ListenAddress::Systemd(Some(_)) => "no socket of this name",
        _ => "no socket",
    }
}

fn fault(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::NoStream => "is not one for connections",
        Unfit::NotListening => "does not listen",
    }
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(8000)
}

impl Gateway {
    /// Binds every address of the configuration; the first that fails ends it.
    pub fn bind(config: GatewayConfig) -> Result<BoundGateway, GatewayError> {
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads.into(),
        };
        passed::find(&config);
        let mut sockets = Sockets {
            per_thread: (0..threads).map(|_| Vec::new()).collect(),
            unix: Vec::new(),
            addresses: Vec::new(),
            plain: 0,
        };
        for address in &config.listen {
            sockets.add(address, &config)?;
        }
        sockets.plain = sockets.addresses.len();
        let first_secure = (
            sockets.per_thread.first().map_or(0, Vec::len),
            sockets.unix.len(),
        );
        for address in &config.listen_tls {
            sockets.add(address, &config)?;
        }
        sockets.secure_from(first_secure);
        Ok(BoundGateway {
            config,
            sockets,
            tls: None,
            pulse: Pulse::new(),
        })
    }
}

impl BoundGateway {
    /// Has every listener speak TLS, also those of `listen`.
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.sockets.plain = 0;
        self.sockets.secure_from((0, 0));
        self.tls = Some(tls);
        self
    }

    /// Gives the listeners of `listen_tls` what they speak TLS with; the others speak none.
    #[must_use]
    pub fn with_tls_listeners(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The addresses in the order of the configuration, those of `listen` before those of `listen_tls`, with the ports
    /// that the system chose for port 0, and with those of the sockets that systemd has passed.
    pub fn local_addrs(&self) -> &[ListenAddress] {
        &self.sockets.addresses
    }

    /// Those of them on which TLS is spoken.
    pub fn local_tls_addrs(&self) -> &[ListenAddress] {
        let all = &self.sockets.addresses;
        all.get(self.sockets.plain..).unwrap_or_default()
    }
}

impl Sockets {
    /// Takes what was passed for an address, or binds it.
    fn add(&mut self, address: &ListenAddress, config: &GatewayConfig) -> Result<(), GatewayError> {
        let passed = passed::take(address)?;
        if !passed.is_empty() {
            for socket in passed {
                let bound = self
                    .add_passed(socket)
                    .map_err(|source| explain(address, source))?;
                self.addresses
                    .push(bound.unwrap_or_else(|| address.clone()));
            }
            return Ok(());
        }
        match address {
            ListenAddress::Tcp(tcp) => {
                let bound = self
                    .add_tcp(*tcp, config)
                    .map_err(|source| explain(address, source))?;
                self.addresses.extend(bound.map(ListenAddress::Tcp));
            }
            ListenAddress::Unix(path) => {
                self.unix.push(bind_unix(path)?);
                self.addresses.push(address.clone());
            }
            // Those that were passed are taken above, or refused.
            ListenAddress::Systemd(_) => {}
        }
        Ok(())
    }

    /// Binds a TCP address, or what stands for it where there is no IPv6; `None` if that is nothing.
    fn add_tcp(
        &mut self,
        address: SocketAddr,
        config: &GatewayConfig,
    ) -> io::Result<Option<SocketAddr>> {
        let only_v6 = address.is_ipv6() && !covers_v4(address, config);
        let error = match bind_tcp(address, only_v6, &mut self.per_thread) {
            Ok(bound) => return Ok(Some(bound)),
            Err(error) => error,
        };
        match without_ipv6(address, only_v6, &error) {
            None => Err(error),
            Some(Instead::V4(instead)) => {
                tracing::warn!(
                    error = %error,
                    "this machine has no IPv6: listening on {instead} in place of {address}"
                );
                bind_tcp(instead, false, &mut self.per_thread).map(Some)
            }
            Some(Instead::Nothing) => {
                tracing::warn!(
                    error = %error,
                    "this machine has no IPv6: not listening on {address}"
                );
                Ok(None)
            }
        }
    }

    /// Gives a socket that was passed to all threads; a TCP listener is shared by them, a Unix socket is the first's.
    fn add_passed(&mut self, socket: PassedSocket) -> io::Result<Option<ListenAddress>> {
        let address = socket.address()?;
        match socket {
            PassedSocket::Tcp(listener) => {
                for listeners in &mut self.per_thread {
                    listeners.push(BoundTcp {
                        listener: listener.try_clone()?,
                        secure: false,
                    });
                }
            }
            PassedSocket::Unix(listener) => self.unix.push(BoundUnix::passed(listener)),
        }
        Ok(address)
    }

    /// Has all listeners speak TLS, except for so many of TCP in each thread and so many Unix sockets.
    fn secure_from(&mut self, (tcp, unix): (usize, usize)) {
        for listeners in &mut self.per_thread {
            for bound in listeners.iter_mut().skip(tcp) {
                bound.secure = true;
            }
        }
        for bound in self.unix.iter_mut().skip(unix) {
            bound.secure = true;
        }
    }
}

/// What is listened on in place of an IPv6 address.
#[derive(Debug, PartialEq, Eq)]
enum Instead {
    V4(SocketAddr),
    /// The configuration says which IPv4 addresses are wanted.
    Nothing,
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Tells what stands for every address of a machine that has no IPv6; `None` if the error is of another kind, or a
/// certain address was wanted.
fn without_ipv6(address: SocketAddr, only_v6: bool, error: &io::Error) -> Option<Instead> {
    let no_ipv6 = [
        Errno::AFNOSUPPORT,
        Errno::ADDRNOTAVAIL,
        Errno::PROTONOSUPPORT,
    ]
    .into_iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    if !no_ipv6 || !address.is_ipv6() || !address.ip().is_unspecified() {
        return None;
    }
    Some(if only_v6 {
        Instead::Nothing
    } else {
        Instead::V4((Ipv4Addr::UNSPECIFIED, address.port()).into())
    })
}

/// Tells whether a socket for every IPv6 address is one for every IPv4 address, too. It is not if the
/// configuration says which IPv4 addresses are wanted at this port.
fn covers_v4(address: SocketAddr, config: &GatewayConfig) -> bool {
    let is_v4_at_this_port = |other: &ListenAddress| matches!(other, ListenAddress::Tcp(other) if other.is_ipv4() && other.port() == address.port());
    let mut all = config.listen.iter().chain(&config.listen_tls);
    address.ip().is_unspecified() && (address.port() == 0 || !all.any(is_v4_at_this_port))
}

/// Binds one listener for each thread; the kernel spreads connections over them.
fn bind_tcp(
    address: SocketAddr,
    only_v6: bool,
    per_thread: &mut [Vec<BoundTcp>],
) -> io::Result<SocketAddr> {
    // Sockets that share a port let every process of the same user join, so that a second gateway would
    // silently take half of the connections. A socket that does not share finds out whether one is there.
    let probe = tcp_socket(address, only_v6)?;
    probe.bind(&address.into())?;
    let bound = probe
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::InvalidData)?;
    drop(probe);
    for listeners in per_thread {
        let socket = tcp_socket(bound, only_v6)?;
        socket.set_reuse_port(true)?;
        // Accepted connections inherit these two, which saves calls for each of them.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        socket.bind(&bound.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        listeners.push(BoundTcp {
            listener: socket.into(),
            secure: false,
        });
    }
    Ok(bound)
}

fn tcp_socket(address: SocketAddr, only_v6: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a previous process that are still being closed must not be in the way.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    Ok(socket)
}

fn explain(address: &ListenAddress, source: io::Error) -> GatewayError {
    let address = address.clone();
    match (source.kind(), &address) {
        (io::ErrorKind::AddrInUse, ListenAddress::Tcp(tcp)) => {
            let mut by = String::new();
            if let Some(holder) = holder::of_port(*tcp) {
                let _ = write!(by, " by process {} ({})", holder.pid, holder.command);
            }
            GatewayError::InUse { address, by }
        }
        (io::ErrorKind::PermissionDenied, ListenAddress::Tcp(_)) => {
            GatewayError::NotAllowed { address, source }
        }
        _ => GatewayError::Bind { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ipv6_listens_on_every_ipv4_address_unless_some_are_listed() {
        let check = |address: &str, only_v6, errno: Errno, expected: Option<Instead>| {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            let address = address.parse().unwrap();
            assert_eq!(
                without_ipv6(address, only_v6, &error),
                expected,
                "{address}"
            );
        };
        let every = || Some(Instead::V4(([0, 0, 0, 0], 80).into()));
        check("[::]:80", false, Errno::AFNOSUPPORT, every());
        check("[::]:80", false, Errno::ADDRNOTAVAIL, every());
        check("[::]:80", true, Errno::AFNOSUPPORT, Some(Instead::Nothing));
        check("[::]:80", false, Errno::ADDRINUSE, None);
        check("[::]:80", false, Errno::ACCESS, None);
        check("[::1]:80", false, Errno::ADDRNOTAVAIL, None);
        check("0.0.0.0:80", false, Errno::ADDRNOTAVAIL, None);
    }
}
