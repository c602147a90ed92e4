//! The life of the process: start, signals, shutdown. Users' servers outlive it, unless it is a demo.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lyceum_core::SystemClock;
use lyceum_gateway::{ListenAddress, Parts, PlainErrorPages, RouteTable};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::adapters::{Events, NoEvents, Pages, RouterService};
use crate::wire::Assembly;

/// How long the hub's own tasks are given at shutdown.
const TASKS_LIMIT: Duration = Duration::from_secs(5);
/// How long a demo's servers are given to end, in all.
const SERVERS_LIMIT: Duration = Duration::from_secs(40);

/// What becomes of users' servers when Lyceum ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// They go on, and are found again at the next start.
    KeepServers,
    /// They are stopped.
    StopServers,
}

/// Makes the runtime of the hub; the gateway has threads of its own.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("hub")
        .build()
        .context("could not start the hub's threads")
}

/// Runs until a signal says otherwise. `ready` is called when everything listens.
pub(crate) async fn run(
    assembly: Assembly,
    at_end: AtEnd,
    ready: impl FnOnce(&[ListenAddress]),
) -> anyhow::Result<()> {
    let Assembly {
        hub,
        web,
        routes,
        gateway,
        api,
    } = assembly;
    // Signals count from here on: a start that is broken off must not leave anything behind.
    let shutdown = CancellationToken::new();
    let mut signals = Signals::new()?;

    // Routes first: whoever comes back finds their server where it was.
    hub.recover()
        .await
        .context("could not read from the database which servers run")?;
    hub.run_background();

    let addresses = gateway.local_addrs().to_vec();
    let runtime = tokio::runtime::Handle::current();
    let mut serving = tokio::task::JoinSet::new();
    let people = Parts {
        table: routes,
        hub: Arc::new(RouterService(web.router())),
        hub_runtime: runtime.clone(),
        error_pages: Arc::new(Pages(web.clone())),
        events: Arc::new(Events(hub.clone())),
        clock: Arc::new(SystemClock),
    };
    let servers = Parts {
        table: RouteTable::new(),
        hub: Arc::new(RouterService(web.api_router())),
        hub_runtime: runtime,
        error_pages: Arc::new(PlainErrorPages),
        events: Arc::new(NoEvents),
        clock: Arc::new(SystemClock),
    };
    // Servers talk to the hub until they have ended: their listener closes last.
    let api_shutdown = CancellationToken::new();
    serving.spawn(gateway.serve(people, shutdown.clone()));
    serving.spawn(api.serve(servers, api_shutdown.clone()));
    tracing::info!(
        "lyceum {} listens on {}",
        env!("CARGO_PKG_VERSION"),
        list(&addresses)
    );
    ready(&addresses);

    let mut outcome = Ok(());
    tokio::select! {
        name = signals.next() => tracing::info!("ending, because of {name}"),
        ended = serving.join_next() => {
            outcome = match ended {
                Some(Ok(Ok(()))) | None => Err(anyhow::anyhow!("the gateway has ended by itself")),
                Some(Ok(Err(error))) => Err(error.into()),
                Some(Err(error)) => Err(error.into()),
            };
            tracing::error!("ending, because the gateway has ended");
        }
    }
    shutdown.cancel();
    let finish = async {
        if at_end == AtEnd::StopServers {
            let left = hub.stop_all(SERVERS_LIMIT).await;
            if left > 0 {
                tracing::error!(servers = left, "{left} servers did not end in time");
            }
        }
        api_shutdown.cancel();
        while serving.join_next().await.is_some() {}
        hub.shut_down(TASKS_LIMIT).await;
    };
    tokio::select! {
        () = finish => tracing::info!("ended"),
        name = signals.next() => tracing::warn!("ended at once, because of a second {name}"),
    }
    outcome
}

fn list(addresses: &[ListenAddress]) -> String {
    addresses
        .iter()
        .map(ListenAddress::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The signals that end the process.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
