//! Taking the addresses: sockets are bound before anything else starts, so that a mistake ends the start at once.

use std::fmt::Write as _;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_certs::ServerTls;
use socket2::{Domain, Protocol, SockAddr, TcpKeepalive, Type};
use thiserror::Error;

use crate::address::ListenAddress;
use crate::config::GatewayConfig;
use crate::holder;
use crate::passed::{self, PassedSocket, Unfit};

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
    /// The TCP listeners of each thread.
    pub(crate) per_thread: Vec<Vec<TcpListener>>,
    /// Unix sockets, served by the first thread.
    pub(crate) unix: Vec<BoundUnix>,
    /// With it, every listener speaks TLS.
    pub(crate) tls: Option<ServerTls>,
    addresses: Vec<ListenAddress>,
}

/// A Unix socket; one of our own is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct BoundUnix {
    pub(crate) listener: UnixListener,
    /// `None` if it was passed: then it is not ours to remove.
    file: Option<SocketFile>,
}

/// The file of a Unix socket of our own.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and number of the file: by the time it is dropped, a successor's may have its name.
    identity: (u64, u64),
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
        let mut per_thread: Vec<Vec<TcpListener>> = (0..threads).map(|_| Vec::new()).collect();
        let mut unix = Vec::new();
        let mut addresses = Vec::new();
        passed::find(&config.listen);
        for address in &config.listen {
            match address {
                ListenAddress::Tcp(tcp) => {
                    let only_v6 = tcp.is_ipv6() && !covers_v4(*tcp, &config.listen);
                    let bound = bind_tcp(*tcp, only_v6, &mut per_thread)
                        .map_err(|source| explain(address, source))?;
                    addresses.push(ListenAddress::Tcp(bound));
                }
                ListenAddress::Unix(path) => {
                    unix.push(bind_unix(path)?);
                    addresses.push(address.clone());
                }
                ListenAddress::Systemd(_) => {
                    for socket in passed::take(address)? {
                        let bound = add_passed(socket, &mut per_thread, &mut unix)
                            .map_err(|source| explain(address, source))?;
                        addresses.push(bound.unwrap_or_else(|| address.clone()));
                    }
                }
            }
        }
        Ok(BoundGateway {
            config,
            per_thread,
            unix,
            tls: None,
            addresses,
        })
    }
}

impl BoundGateway {
    /// Has every listener speak TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The addresses in the order of the configuration, with the ports that the system chose for port 0, and
    /// with those of the sockets that systemd has passed.
    pub fn local_addrs(&self) -> &[ListenAddress] {
        &self.addresses
    }
}

/// Tells whether a socket for every IPv6 address is one for every IPv4 address, too. It is not if the
/// configuration says which IPv4 addresses are wanted at this port.
fn covers_v4(address: SocketAddr, listen: &[ListenAddress]) -> bool {
    let is_v4_at_this_port = |other: &ListenAddress| matches!(other, ListenAddress::Tcp(other) if other.is_ipv4() && other.port() == address.port());
    address.ip().is_unspecified() && (address.port() == 0 || !listen.iter().any(is_v4_at_this_port))
}

/// Gives a socket that was passed to all threads; a TCP listener is shared by them, a Unix socket is the first's.
fn add_passed(
    socket: PassedSocket,
    per_thread: &mut [Vec<TcpListener>],
    unix: &mut Vec<BoundUnix>,
) -> io::Result<Option<ListenAddress>> {
    let address = socket.address()?;
    match socket {
        PassedSocket::Tcp(listener) => {
            for listeners in per_thread {
                listeners.push(listener.try_clone()?);
            }
        }
        PassedSocket::Unix(listener) => unix.push(BoundUnix {
            listener,
            file: None,
        }),
    }
    Ok(address)
}

/// Binds one listener for each thread; the kernel spreads connections over them.
fn bind_tcp(
    address: SocketAddr,
    only_v6: bool,
    per_thread: &mut [Vec<TcpListener>],
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
        listeners.push(socket.into());
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

/// Who may connect to a Unix socket: owner and group.
const SOCKET_MODE: u32 = 0o660;

/// Binds a Unix socket for owner and group; one that nobody listens on any more is replaced.
fn bind_unix(path: &Path) -> Result<BoundUnix, GatewayError> {
    let address = || ListenAddress::Unix(path.to_owned());
    let failed = |source| GatewayError::Bind {
        address: address(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(GatewayError::NotASocket(path.to_owned()));
        }
        Ok(_) if is_served(path).map_err(failed)? => {
            return Err(GatewayError::InUse {
                address: address(),
                by: String::new(),
            });
        }
        Ok(_) => remove(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    listen_unix(path).map_err(failed)
}

/// Tells whether somebody listens on a Unix socket. Only a refused connection says that nobody does: any
/// other failure, such as a missing right, says nothing, and the socket may be another program's.
fn is_served(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose queue is full would keep us waiting.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn listen_unix(path: &Path) -> io::Result<BoundUnix> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Set on the socket itself, the mode is the widest that its file is ever made with; the process's own
    // mask may only have narrowed it.
    let same = File::from(OwnedFd::from(socket.try_clone()?));
    same.set_permissions(Permissions::from_mode(SOCKET_MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let bound = BoundUnix {
        file: Some(SocketFile {
            identity: identity(&std::fs::symlink_metadata(path)?),
            path: path.to_owned(),
        }),
        listener: OwnedFd::from(socket.try_clone()?).into(),
    };
    std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(bound)
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for BoundUnix {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        // While the listener is open, the system gives the number of its file to no other.
        if std::fs::symlink_metadata(&file.path).is_ok_and(|now| identity(&now) == file.identity) {
            let _ = std::fs::remove_file(&file.path);
        }
    }
}
