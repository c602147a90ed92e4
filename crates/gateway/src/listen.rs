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

/// Connections that may wait to be accepted, per listener.
const BACKLOG: i32 = 4096;
/// When to ask a silent client whether it is still there; a laptop that sleeps does not say good-bye.
const KEEPALIVE: Duration = Duration::from_mins(1);

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
    addresses: Vec<ListenAddress>,
    /// What all listeners speak TLS with; `None` for clear text.
    pub(crate) tls: Option<ServerTls>,
}

/// A Unix socket that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct BoundUnix {
    pub(crate) listener: UnixListener,
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
                ListenAddress::Unix(_) => "end the other program, or choose another path".to_owned(),
            }),
            Self::NotAllowed { .. } => Some(
                "choose a port from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE"
                    .to_owned(),
            ),
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                Some("use an address of this machine; `ip address` lists them".to_owned())
            }
            Self::NotASocket(path) => Some(format!("move {} away, or choose another path", path.display())),
            Self::Bind { .. } | Self::Thread(_) | Self::ThreadEnded => None,
        }
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
        for address in &config.listen {
            match address {
                ListenAddress::Tcp(tcp) => {
                    let bound = bind_tcp(*tcp, &mut per_thread)
                        .map_err(|source| explain(address, source))?;
                    addresses.push(ListenAddress::Tcp(bound));
                }
                ListenAddress::Unix(path) => {
                    unix.push(bind_unix(path)?);
                    addresses.push(address.clone());
                }
            }
        }
        Ok(BoundGateway {
            config,
            per_thread,
            unix,
            addresses,
            tls: None,
        })
    }
}

impl BoundGateway {
    /// Lets all listeners speak TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The addresses in the order of the configuration, with the ports that the system chose for port 0.
    pub fn local_addrs(&self) -> &[ListenAddress] {
        &self.addresses
    }
}

/// Binds one listener for each thread; the kernel spreads connections over them.
fn bind_tcp(address: SocketAddr, per_thread: &mut [Vec<TcpListener>]) -> io::Result<SocketAddr> {
    // Sockets that share a port let every process of the same user join, so that a second gateway would
    // silently take half of the connections. A socket that does not share finds out whether one is there.
    let probe = tcp_socket(address)?;
    probe.bind(&address.into())?;
    let bound = probe
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::InvalidData)?;
    drop(probe);
    for listeners in per_thread {
        let socket = tcp_socket(bound)?;
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

fn tcp_socket(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a previous process that are still being closed must not be in the way.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
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
        identity: identity(&std::fs::symlink_metadata(path)?),
        path: path.to_owned(),
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
        // While the listener is open, the system gives the number of its file to no other.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity)
        {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
