//! The threads that carry the traffic: one runtime per core, each with its own listeners and connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use lyceum_certs::{Challenges, ServerTls};
use lyceum_core::RouteSpec;
use lyceum_core::clock::Clock;

use crate::accept;
use crate::compress::Compression;
use crate::config::GatewayConfig;
use crate::counts::Counts;
use crate::files::StaticSets;
use crate::gate::Gate;
use crate::h2;
use crate::hub::{HubCaller, HubService};
use crate::limit::{Limits, Slot};
use crate::listen::{BoundGateway, BoundTcp, BoundUnix, GatewayError};
use crate::maintenance::MaintenanceSwitch;
use crate::options::ForwardOptions;
use crate::origin;
use crate::pages::{ErrorPages, ErrorReason};
use crate::patience;
use crate::pool::Pool;
use crate::pulse::{self, Pulse, Questions};
use crate::socket::Socket;
use crate::table::{Entry, RouteTable};
use crate::tunnel::{self, End, Stream};

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
    /// Closes what routes and sites lead to.
    pub maintenance: MaintenanceSwitch,
    /// The static files of the environments that servers run from, and what is kept of files in memory.
    pub statics: StaticSets,
    /// What authorities that check a name are answered, on every listener.
    pub challenges: Challenges,
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
    pub(crate) h2: hyper::server::conn::http2::Builder<LocalTasks>,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) compression: Compression,
    /// The port to which browsers are sent to come by TLS, if it is not the usual one.
    pub(crate) https_port: Option<u16>,
    /// The line by which browsers are told to come by TLS alone; empty if they are not.
    pub(crate) hsts: String,
    pub(crate) pool: Pool,
    pub(crate) limits: Arc<Limits>,
    /// Owns connections and tunnels of clients.
    pub(crate) clients: TaskTracker,
    /// Cancelled when no new request is to be taken.
    pub(crate) draining: CancellationToken,
    /// The same, for connections that are woken by [`Core::begin_to_drain`].
    drains: Cell<bool>,
    wakers: RefCell<HashMap<u64, Waker>>,
    next_waker: Cell<u64>,
}

/// Spawns tasks on the thread that asks for it; they belong to the thread's connections.
#[derive(Debug, Clone)]
pub(crate) struct LocalTasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for LocalTasks
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn_local(future);
    }
}

/// While it lives, its connection is woken when a drain begins.
pub(crate) struct WokenToDrain {
    core: Rc<Core>,
    number: u64,
}

impl Drop for WokenToDrain {
    fn drop(&mut self) {
        self.core.wakers.borrow_mut().remove(&self.number);
    }
}

impl Core {
    pub(crate) fn is_draining(&self) -> bool {
        self.drains.get()
    }

    /// Has the calling task woken when a drain begins.
    pub(crate) async fn wake_to_drain(self: &Rc<Self>) -> WokenToDrain {
        let number = self.next_waker.get();
        self.next_waker.set(number + 1);
        poll_fn(|cx| {
            self.wakers.borrow_mut().insert(number, cx.waker().clone());
            Poll::Ready(())
        })
        .await;
        WokenToDrain {
            core: Rc::clone(self),
            number,
        }
    }

    fn begin_to_drain(&self) {
        self.drains.set(true);
        let wakers: Vec<Waker> = self.wakers.borrow().values().cloned().collect();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Tells the hub that an upstream may have died.
    pub(crate) fn report(&self, entry: &Entry, reason: ErrorReason) {
        if matches!(
            reason,
            ErrorReason::UpstreamUnreachable
                | ErrorReason::UpstreamTimeout
                | ErrorReason::UpstreamClosed
        ) {
            self.parts.events.upstream_failed(&entry.route.spec);
        }
    }

    /// Joins two connections, in a task that is waited for in a drain, and ended by the end of the thread.
    pub(crate) fn spawn_tunnel(
        self: &Rc<Self>,
        entry: Arc<Entry>,
        client: End<Socket>,
        upstream: End<Socket>,
        slot: Slot,
    ) {
        let clock = Arc::clone(&self.parts.clock);
        let open = OpenTunnel::new(Arc::clone(&self.parts.counts));
        let idle = self.tunnel_limit(&entry);
        self.clients.spawn_local(async move {
            // The connection counts as long as the tunnel stays.
            let _counted = (slot, open);
            join(&entry, &*clock, idle, client, upstream).await;
        });
    }

    /// How long a tunnel may be silent.
    fn tunnel_limit(&self, entry: &Entry) -> Option<Duration> {
        let configured = self.config.tunnel_idle_timeout.get();
        let site = entry
            .site
            .as_ref()
            .and_then(|site| site.limits.tunnel_timeout);
        site.or_else(|| (!configured.is_zero()).then_some(configured))
    }

    /// Joins a stream of HTTP/2 with a connection, until both have ended.
    pub(crate) async fn join_tunnel<C, H>(
        &self,
        entry: Arc<Entry>,
        client: End<C>,
        upstream: End<Socket>,
        held: H,
    ) where
        C: Stream,
    {
        let _counted = (held, OpenTunnel::new(Arc::clone(&self.parts.counts)));
        let idle = self.tunnel_limit(&entry);
        join(&entry, &*self.parts.clock, idle, client, upstream).await;
    }
}

async fn join<C>(
    entry: &Entry,
    clock: &dyn Clock,
    idle: Option<Duration>,
    client: End<C>,
    upstream: End<Socket>,
) where
    C: Stream,
{
    let note = |acts| {
        let now = clock.now();
        entry.touch(now);
        if acts {
            entry.touch_action(now);
        }
    };
    let ended = tunnel::run(client, upstream, idle, note).await;
    if let Err(error) = ended {
        tracing::trace!(route = %entry.route.spec, error = %error, "a tunnel broke off");
    }
}

/// Counts a tunnel while it is open.
struct OpenTunnel(Arc<Counts>);

impl OpenTunnel {
    fn new(counts: Arc<Counts>) -> Self {
        counts.tunnels_open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one thread begins with.
struct Start {
    config: GatewayConfig,
    parts: Parts,
    tcp: Vec<BoundTcp>,
    unix: Vec<BoundUnix>,
    draining: CancellationToken,
    calls: TaskTracker,
    limits: Arc<Limits>,
    tls: Option<ServerTls>,
    https_port: Option<u16>,
    compression: Compression,
    questions: Questions,
}

impl BoundGateway {
    /// Gives what tells later whether the threads that serve still turn.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

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
        if let Some(address) = self.local_tls_addrs().first()
            && self.tls.is_none()
        {
            return Err(GatewayError::NoCertificate {
                address: address.clone(),
            });
        }
        let https_port = origin::https_port(self.local_tls_addrs());
        let draining = shutdown.child_token();
        let _drain_when_dropped = draining.clone().drop_guard();
        let calls = TaskTracker::new();
        let limits = Limits::new(&self.config);
        let compression = Compression::new(self.config.compress);
        let mut unix = Some(self.sockets.unix);
        let mut ends = Vec::new();
        for (number, tcp) in self.sockets.per_thread.into_iter().enumerate() {
            let start = Start {
                config: self.config.clone(),
                parts: parts.clone(),
                tcp,
                unix: unix.take().unwrap_or_default(),
                draining: draining.clone(),
                calls: calls.clone(),
                limits: Arc::clone(&limits),
                tls: self.tls.clone(),
                https_port,
                compression: compression.clone(),
                questions: self.pulse.questions(),
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
            let clients = TaskTracker::new();
            let core = Rc::new(Core {
                hub: HubCaller {
                    service: Arc::clone(&start.parts.hub),
                    pages: Arc::clone(&start.parts.error_pages),
                    gate: Arc::clone(&start.parts.gate),
                    runtime: start.parts.hub_runtime.clone(),
                    calls: start.calls,
                },
                h2: h2::builder(&start.config, LocalTasks(clients.clone())),
                tls: start.tls,
                https_port: start.https_port,
                compression: start.compression,
                hsts: start
                    .config
                    .hsts
                    .map(|age| {
                        format!(
                            "strict-transport-security: max-age={}\r\n",
                            age.get().as_secs()
                        )
                    })
                    .unwrap_or_default(),
                pool: Pool::new(start.config.connect_timeout.get()),
                limits: start.limits,
                clients,
                draining: start.draining,
                drains: Cell::new(false),
                wakers: RefCell::default(),
                next_waker: Cell::new(0),
                config: start.config,
                parts: start.parts,
            });
            let listeners = TaskTracker::new();
            for BoundTcp { listener, secure } in start.tcp {
                let listener = TcpListener::from_std(listener)?;
                let core = Rc::clone(&core);
                listeners.spawn_local(async move { accept::tcp(core, listener, secure).await });
            }
            for bound in start.unix {
                let listener = UnixListener::from_std(bound.listener.try_clone()?)?;
                let core = Rc::clone(&core);
                listeners.spawn_local(async move {
                    accept::unix(core, listener, bound.secure).await;
                    drop(bound);
                });
            }
            let sweeping = Rc::clone(&core);
            let sweeper = tokio::task::spawn_local(async move { sweep(sweeping).await });
            let keeper = tokio::task::spawn_local(patience::keep());
            let pulse = tokio::task::spawn_local(pulse::answer(start.questions));
            core.draining.cancelled().await;
            core.begin_to_drain();
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
            keeper.abort();
            pulse.abort();
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
