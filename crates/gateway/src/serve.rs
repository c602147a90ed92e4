//! The threads that carry the traffic: one runtime per core, each with its own listeners and connections.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use lyceum_core::RouteSpec;
use lyceum_core::clock::Clock;

use crate::config::GatewayConfig;
use crate::connection;
use crate::counts::Counts;
use crate::files::StaticSets;
use crate::gate::Gate;
use crate::hub::{HubCaller, HubService};
use crate::limit::{Full, Limits};
use crate::listen::{BoundGateway, BoundUnix, GatewayError};
use crate::options::ForwardOptions;
use crate::pages::ErrorPages;
use crate::pool::Pool;
use crate::socket::Socket;
use crate::table::RouteTable;

/// How long to wait after the system refused to accept a connection, for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is said, per listener, that connections are refused.
const FULL_PAUSE: Duration = Duration::from_secs(10);
/// How often unused connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(15);

/// Is told what the gateway notices about upstreams. Called on the gateway's threads: must not wait.
pub trait UpstreamEvents: Send + Sync + 'static {
    /// The upstream of a route did not accept a connection, or closed it without an answer; its process
    /// may have ended. Called for every such request, so perhaps often.
    fn upstream_failed(&self, spec: &RouteSpec);
}

/// What the gateway works with.
#[derive(Clone)]
pub struct Parts {
    /// The routes.
    pub table: RouteTable,
    /// Answers what no route covers.
    pub hub: Arc<dyn HubService>,
    /// The multi-threaded runtime on which the hub is called.
    pub hub_runtime: Handle,
    /// Renders error pages, on the hub's runtime.
    pub error_pages: Arc<dyn ErrorPages>,
    /// Is told about upstreams.
    pub events: Arc<dyn UpstreamEvents>,
    /// The time of a route's last activity.
    pub clock: Arc<dyn Clock>,
    /// Decides who may enter sites.
    pub gate: Arc<dyn Gate>,
    /// How requests are forwarded.
    pub options: Arc<ForwardOptions>,
    /// What is counted.
    pub counts: Arc<Counts>,
    /// The static files of the environments that servers run from, and what is kept of files in memory.
    pub statics: StaticSets,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// What the connections of one thread share.
pub(crate) struct Core {
    pub(crate) config: GatewayConfig,
    pub(crate) parts: Parts,
    pub(crate) hub: HubCaller,
    pub(crate) http: http1::Builder,
    pub(crate) pool: Pool,
    pub(crate) limits: Arc<Limits>,
    /// Owns connections and tunnels of clients.
    pub(crate) clients: TaskTracker,
    /// Cancelled when no new request is to be taken.
    pub(crate) draining: CancellationToken,
}

/// What one thread begins with.
struct Start {
    config: GatewayConfig,
    parts: Parts,
    tcp: Vec<std::net::TcpListener>,
    unix: Vec<BoundUnix>,
    draining: CancellationToken,
    calls: TaskTracker,
    limits: Arc<Limits>,
}

impl BoundGateway {
    /// Serves until `shutdown` is cancelled and everything has ended.
    ///
    /// Then the listeners close, idle connections too, running requests are finished, and WebSockets stay
    /// until they close by themselves; after the drain limit all is cut off. Dropping the future begins the
    /// same without waiting for it.
    pub async fn serve(
        self,
        parts: Parts,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        let draining = shutdown.child_token();
        let _drain_when_dropped = draining.clone().drop_guard();
        let calls = TaskTracker::new();
        let limits = Limits::new(&self.config);
        let mut unix = Some(self.unix);
        let mut ends = Vec::new();
        for (number, tcp) in self.per_thread.into_iter().enumerate() {
            let start = Start {
                config: self.config.clone(),
                parts: parts.clone(),
                tcp,
                unix: unix.take().unwrap_or_default(),
                draining: draining.clone(),
                calls: calls.clone(),
                limits: Arc::clone(&limits),
            };
            let (ended, end) = oneshot::channel();
            std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || {
                    let outcome = run(start);
                    let _ = ended.send(outcome);
                })
                .map_err(GatewayError::Thread)?;
            ends.push(end);
        }
        let mut outcome = Ok(());
        for end in ends {
            let ended = end.await.unwrap_or(Err(GatewayError::ThreadEnded));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// The whole life of one thread.
fn run(start: Start) -> Result<(), GatewayError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(GatewayError::Thread)?;
    let drain_timeout = start.config.drain_timeout.get();
    // However this thread ends, the others end with it: half a gateway would serve half of the clients.
    let _all_end = start.draining.clone().drop_guard();
    runtime
        .block_on(async move {
            let core = Rc::new(Core {
                hub: HubCaller {
                    service: Arc::clone(&start.parts.hub),
                    pages: Arc::clone(&start.parts.error_pages),
                    runtime: start.parts.hub_runtime.clone(),
                    calls: start.calls,
                },
                http: connection::builder(&start.config),
                pool: Pool::new(start.config.connect_timeout.get()),
                limits: start.limits,
                clients: TaskTracker::new(),
                draining: start.draining,
                config: start.config,
                parts: start.parts,
            });
            let listeners = TaskTracker::new();
            for listener in start.tcp {
                let listener = TcpListener::from_std(listener)?;
                let core = Rc::clone(&core);
                listeners.spawn_local(async move { accept_tcp(core, listener).await });
            }
            for bound in start.unix {
                let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
                let core = Rc::clone(&core);
                listeners.spawn_local(async move {
                    accept_unix(core, listener).await;
                    drop(bound);
                });
            }
            let sweeping = Rc::clone(&core);
            let sweeper = tokio::task::spawn_local(async move { sweep(sweeping).await });
            core.draining.cancelled().await;
            listeners.close();
            listeners.wait().await;
            core.clients.close();
            if tokio::time::timeout(drain_timeout, core.clients.wait())
                .await
                .is_err()
            {
                tracing::info!(
                    connections = core.clients.len(),
                    "cut off connections that were still open after the drain limit"
                );
            }
            sweeper.abort();
            Ok::<_, io::Error>(())
        })
        .map_err(GatewayError::Thread)
    // Dropping the runtime drops what is left: tunnels, and connections to upstreams.
}

async fn sweep(core: Rc<Core>) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tick.tick().await;
        core.pool.sweep();
    }
}

async fn accept_tcp(core: Rc<Core>, listener: TcpListener) {
    accept(&core, || async {
        let (stream, peer) = listener.accept().await?;
        Ok((Socket::Tcp(stream), Some(peer.ip().to_canonical())))
    })
    .await;
}

async fn accept_unix(core: Rc<Core>, listener: UnixListener) {
    accept(&core, || async {
        let (stream, _) = listener.accept().await?;
        Ok((Socket::Unix(stream), None))
    })
    .await;
}

/// Accepts until the drain begins.
async fn accept(core: &Rc<Core>, next: impl AsyncFn() -> io::Result<(Socket, Option<IpAddr>)>) {
    let mut last_told = None;
    loop {
        let accepted = tokio::select! {
            accepted = next() => accepted,
            () = core.draining.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => match core.limits.take(peer) {
                Ok(slot) => {
                    core.clients.spawn_local(connection::serve(
                        Rc::clone(core),
                        socket,
                        peer,
                        slot,
                    ));
                }
                Err(full) => {
                    connection::refuse(&socket);
                    tell_full(&mut last_told, full, peer);
                }
            },
            // The client went away before it was accepted; the listener is well.
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(error = %error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Says that a limit was reached, now and then: whoever connects must not fill the log.
fn tell_full(last_told: &mut Option<Instant>, full: Full, peer: Option<IpAddr>) {
    if last_told.is_some_and(|told| told.elapsed() < FULL_PAUSE) {
        return;
    }
    *last_told = Some(Instant::now());
    let setting = match full {
        Full::Total => "max_connections",
        Full::Address => "max_connections_per_address",
    };
    tracing::warn!(
        client.addr = ?peer,
        setting,
        "refused a connection, as too many are open already"
    );
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}
