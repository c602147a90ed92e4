//! The life of the process: start, signals, shutdown. Users' servers outlive it, unless it is a demo.

mod systemd;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lyceum_certs::ClientTls;
use lyceum_core::SystemClock;
use lyceum_gateway::{
    Challenges, ClosedGate, ForwardOptions, GatewayError, ListenAddress, MaintenanceSwitch, Parts,
    PlainErrorPages, RouteTable, StaticSets,
};
use lyceum_hub::Ending;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::adapters::{Door, Events, NoEvents, Pages, RouterService};
use crate::memory;
use crate::wire::{Assembly, external};

/// How long the hub's own tasks are given at shutdown.
const TASKS_LIMIT: Duration = Duration::from_secs(5);
/// How long blocking work is waited for at the very end.
const THREADS_LIMIT: Duration = Duration::from_secs(2);
/// How long a demo's servers are given to end, in all.
const SERVERS_LIMIT: Duration = Duration::from_secs(40);

/// How long services are given to end, in all; each gets two polite signals before it is killed.
const SERVICES_LIMIT: Duration = Duration::from_secs(20);

/// What becomes of users' servers when Lyceum ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtEnd {
    /// They go on, and are found again at the next start.
    KeepServers,
    /// They are stopped.
    StopServers,
}

/// Lets this process open as many files as it may, and gives the limit from before, which servers get back.
///
/// Each open notebook takes two; the usual soft limit of 1024, kept for programs that use `select`, is soon
/// reached. Failing to raise it is no reason not to start.
pub(crate) fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(error = %error, "could not raise the limit on open files above {soft}");
    }
    Some(soft)
}

/// Makes the runtime of the hub; the gateway has threads of its own.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("hub")
        .build()
        .context("could not start the hub's threads")
}

/// Puts a Lyceum together and runs it until a signal says otherwise. `ready` is called when everything listens.
///
/// Returns `false` if it was ended before it was ready.
pub(crate) async fn run(
    assembling: impl Future<Output = anyhow::Result<Assembly>>,
    mut signals: Signals,
    mut at_end: AtEnd,
    ready: impl FnOnce(&[ListenAddress]),
) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let assembly = tokio::select! {
        assembly = assembling => assembly?,
        name = signals.next() => {
            tracing::info!("ended before it was ready, because of {name}");
            return Ok(false);
        }
    };
    let Assembly {
        hub,
        web,
        routes,
        gateway,
        api,
        certificates,
        challenge_folder,
        services_api,
        internal_tls,
        external,
        services,
        statics,
        pythons,
        admin,
        commands,
    } = assembly;
    let shutdown = CancellationToken::new();
    hub.provision()
        .await
        .context("could not apply the roles, groups and services of the configuration")?;
    // Routes first: whoever comes back finds their server where it was.
    hub.recover()
        .await
        .context("could not read from the database which servers run")?;
    hub.run_background();
    hub.tasks().spawn("give memory back", memory::give_back());

    let static_sets = statics
        .as_ref()
        .map_or_else(StaticSets::new, |statics| statics.sets.clone());
    if let Some(pythons) = pythons {
        let looking = pythons.keep_looking();
        hub.tasks().spawn("watch Python environments", looking);
    }
    if let Some(statics) = statics {
        hub.tasks().spawn("static files", statics.keep_up());
    }

    let addresses = gateway.local_addrs().to_vec();
    let runtime = tokio::runtime::Handle::current();
    let mut options = ForwardOptions::default();
    options.hidden_cookies = web.hidden_cookies();
    options.challenge_folder = challenge_folder;
    options.internal_tls = internal_tls;
    let client_tls = tokio::task::spawn_blocking(|| ClientTls::new(None, None)).await?;
    options.client_tls =
        Some(client_tls.context("could not prepare TLS for services that are reached by https")?);
    let pulses = vec![gateway.pulse(), api.pulse(), admin.pulse()];
    let mut people_served = tokio::task::JoinSet::new();
    let mut servers_served = tokio::task::JoinSet::new();
    let people = Parts {
        table: routes,
        hub: Arc::new(RouterService {
            router: web.router(),
            maintenance: commands.switch.clone(),
        }),
        hub_runtime: runtime.clone(),
        error_pages: Arc::new(Pages {
            web: web.clone(),
            maintenance: commands.switch.clone(),
        }),
        events: Arc::new(Events(hub.clone())),
        clock: Arc::new(SystemClock),
        gate: Arc::new(Door(web.clone())),
        options: Arc::new(options),
        counts: Arc::default(),
        maintenance: commands.switch.clone(),
        statics: static_sets,
        challenges: certificates
            .as_ref()
            .map(|manager| manager.live().challenges().clone())
            .unwrap_or_default(),
    };
    let servers = || Parts {
        table: RouteTable::new(),
        hub: Arc::new(RouterService {
            router: web.api_router(),
            maintenance: MaintenanceSwitch::new(),
        }),
        hub_runtime: runtime.clone(),
        error_pages: Arc::new(PlainErrorPages),
        events: Arc::new(NoEvents),
        clock: Arc::new(SystemClock),
        gate: Arc::new(ClosedGate),
        options: Arc::default(),
        counts: Arc::default(),
        maintenance: MaintenanceSwitch::new(),
        statics: StaticSets::new(),
        challenges: Challenges::default(),
    };
    let owner = Parts {
        table: RouteTable::new(),
        hub: Arc::new(commands),
        hub_runtime: runtime.clone(),
        error_pages: Arc::new(PlainErrorPages),
        events: Arc::new(NoEvents),
        clock: Arc::new(SystemClock),
        gate: Arc::new(ClosedGate),
        options: Arc::default(),
        counts: Arc::default(),
        maintenance: MaintenanceSwitch::new(),
        statics: StaticSets::new(),
        challenges: Challenges::default(),
    };
    // Servers talk to the hub until they have ended: their listener closes last.
    let api_shutdown = CancellationToken::new();
    people_served.spawn(gateway.serve(people, shutdown.clone()));
    people_served.spawn(admin.serve(owner, shutdown.clone()));
    for listener in [Some(api), services_api].into_iter().flatten() {
        servers_served.spawn(listener.serve(servers(), api_shutdown.clone()));
    }
    tracing::info!(
        "lyceum {} listens on {}",
        env!("CARGO_PKG_VERSION"),
        list(&addresses)
    );
    // Authorities are answered by the gateway, so it comes first.
    if let Some(manager) = certificates {
        let ended = shutdown.child_token();
        let looking = async move {
            // Ends with the gateway, by which names are proven: before the hub's other tasks, which is no failure.
            manager.run(ended.clone()).await;
            if ended.is_cancelled() {
                std::future::pending::<()>().await;
            }
        };
        hub.tasks().spawn_vital("certificates", looking);
    }
    // Services ask the API as soon as they run.
    hub.run_services(services);
    if let Some(proxy) = external {
        let watching = external::watch(hub.clone(), proxy);
        hub.tasks().spawn_vital("watch the proxy", watching);
    }
    hub.metrics().started(begun.elapsed());
    ready(&addresses);
    systemd::ready(&addresses).await;
    let telling = systemd::keep_telling(hub.clone(), pulses);
    hub.tasks().spawn_vital("tell systemd", telling);

    let mut outcome = tokio::select! {
        name = signals.next() => {
            tracing::info!("ending, because of {name}");
            Ok(true)
        }
        ended = people_served.join_next() => Err(gateway_ended(ended)),
        ended = servers_served.join_next() => Err(gateway_ended(ended)),
        ending = hub.ending() => match ending {
            Ending::Asked { servers } => {
                at_end = match servers {
                    Some(true) => AtEnd::StopServers,
                    Some(false) => AtEnd::KeepServers,
                    None => at_end,
                };
                Ok(true)
            }
            Ending::TooManyFailures(count) => {
                Err(anyhow::anyhow!("{count} starts of servers have failed in a row; the log says why"))
            }
        },
        task = hub.tasks().failed() => Err(anyhow::anyhow!("the task `{task}` has broken off; the log says why")),
    };
    if let Err(error) = &outcome {
        tracing::error!(error = %error, "ending, because something that has to go on has ended");
    }
    systemd::stopping(match &outcome {
        Ok(_) => "as asked",
        Err(_) => "the log says why",
    })
    .await;
    shutdown.cancel();
    let finish = async {
        let mut left = 0;
        if at_end == AtEnd::StopServers {
            // Requests that are still under way must not start what nobody would stop.
            hub.close_to_starts();
            left = hub.stop_all(SERVERS_LIMIT).await;
        }
        while people_served.join_next().await.is_some() {}
        if !hub.stop_services(SERVICES_LIMIT).await {
            tracing::warn!("some services did not end in time");
        }
        api_shutdown.cancel();
        while servers_served.join_next().await.is_some() {}
        hub.shut_down(TASKS_LIMIT).await;
        left
    };
    tokio::select! {
        left = finish => {
            tracing::info!("ended");
            if left > 0 {
                outcome = Err(anyhow::anyhow!("{left} servers did not end in time; `ps` shows them"));
            }
        }
        name = signals.next() => {
            tracing::warn!("ended at once, because of a second {name}");
            outcome = Err(anyhow::anyhow!("ended at once, because of a second {name}; servers may still run"));
        }
    }
    outcome
}

pub(crate) fn gateway_ended(
    ended: Option<Result<Result<(), GatewayError>, tokio::task::JoinError>>,
) -> anyhow::Error {
    match ended {
        Some(Ok(Ok(()))) | None => anyhow::anyhow!("the gateway has ended by itself"),
        Some(Ok(Err(error))) => error.into(),
        Some(Err(error)) => error.into(),
    }
}

/// Ends the runtime; what still blocks a thread, such as a hung disk, does not hold the process.
pub(crate) fn end(runtime: Runtime) {
    runtime.shutdown_timeout(THREADS_LIMIT);
}

fn list(addresses: &[ListenAddress]) -> String {
    addresses
        .iter()
        .map(ListenAddress::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The signals that end the process.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on; must be called on the runtime. Until then, signals end the process at once.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one, and gives its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
