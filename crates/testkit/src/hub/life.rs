//! One run of a hub, from its start to its end or to its crash.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up fails"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::seams::{Authenticator, Routes as _, ServiceRunner, Spawner};
use lyceum_core::xsrf::XsrfKey;
use lyceum_core::{Clock, HumanDuration, RouteStatus};
use lyceum_gateway::{
    BoundGateway, Challenges, ClosedGate, ForwardOptions, Gateway, GatewayConfig, ListenAddress,
    MaintenanceSwitch, Parts as GatewayParts, PlainErrorPages, RouteTable, Site, StaticSets,
};
use lyceum_hub::{Hub, HubSettings, Parts};
use lyceum_spawn::service::ProcessServices;
use lyceum_store::{Store, StoreSettings};
use lyceum_web::render::{Branding, Language, Options, Renderer};
use lyceum_web::{Web, WebSettings};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::adapters::{Door, Events, NoEvents, Pages, RouterService};
use super::{Plan, Room};
use crate::wait::{LIMIT, within};

/// A hub that runs, on a runtime of its own, so that it can be made to vanish.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) hub: Hub,
    pub(super) store: Store,
    pub(super) routes: RouteTable,
    /// Where people and programs come in.
    pub(super) address: SocketAddr,
    /// Where servers call the API.
    pub(super) api: SocketAddr,
    /// The routes at the moment when recovery was done, before anybody could ask for one.
    pub(super) recovered: Vec<RouteStatus>,
    shutdown: CancellationToken,
    runtime: Option<Runtime>,
}

/// The two addresses of a hub: for people, and for its servers.
pub(super) type Addresses = (SocketAddr, SocketAddr);

impl Life {
    /// Begins as the program does: database, routes of what runs, then the listeners.
    pub(super) async fn begin(room: &Room, plan: &Plan, addresses: Option<Addresses>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .thread_name("hub")
            .build()
            .unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (people, servers) = addresses.unwrap_or((any, any));
        let (people, address) = bind(people).await;
        let (servers, api) = bind(servers).await;
        let settings = HubSettings {
            api_url: format!("http://{api}{}hub/api", plan.settings.base_url),
            ..plan.settings.clone()
        };
        let begin = Begin {
            settings,
            spawner: plan.spawner(room),
            clock: Arc::clone(&plan.clock),
            authenticator: Arc::clone(&plan.authenticator),
            services: Arc::new(
                ProcessServices::new(&room.instance, room.places().programs, None).unwrap(),
            ),
            database: StoreSettings::sqlite(room.path("lyceum.sqlite")),
            xsrf_key: plan.xsrf_key.clone(),
            background: plan.background,
            sites: plan.sites.clone(),
            maintenance: plan.maintenance.clone(),
            people,
            servers,
        };
        let (hub, store, routes, recovered, shutdown) =
            within(runtime.spawn(begin.run(runtime.handle().clone())))
                .await
                .expect("the hub could not begin");
        Self {
            hub,
            store,
            routes,
            address,
            api,
            recovered,
            shutdown,
            runtime: Some(runtime),
        }
    }

    /// Ends as the program does on SIGTERM; servers go on.
    pub(super) async fn end(mut self) {
        self.shutdown.cancel();
        let hub = self.hub.clone();
        let runtime = self.runtime.take().unwrap();
        within(runtime.spawn(async move { hub.shut_down(Duration::from_secs(5)).await }))
            .await
            .unwrap();
        wind_down(runtime).await;
    }

    /// Vanishes, as by `kill -9`: nothing is written or told any more.
    pub(super) async fn crash(mut self) {
        wind_down(self.runtime.take().unwrap()).await;
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns when nothing of the runtime runs any more.
async fn wind_down(runtime: Runtime) {
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LIMIT))
        .await
        .unwrap();
}

/// Binds an address; one of an earlier life may take a moment to become free.
async fn bind(address: SocketAddr) -> (BoundGateway, SocketAddr) {
    let config = GatewayConfig {
        listen: vec![ListenAddress::Tcp(address)],
        threads: 1,
        drain_timeout: HumanDuration::from_secs(0),
        ..GatewayConfig::default()
    };
    let mut bound = None;
    crate::wait::eventually("the address is free", async || {
        bound = Gateway::bind(config.clone()).ok();
        bound.is_some()
    })
    .await;
    let bound = bound.unwrap();
    let address = bound.local_addrs().iter().find_map(|one| match one {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
    });
    (bound, address.unwrap())
}

struct Begin {
    settings: HubSettings,
    spawner: Arc<dyn Spawner>,
    clock: Arc<dyn Clock>,
    authenticator: Arc<dyn Authenticator>,
    services: Arc<dyn ServiceRunner>,
    database: StoreSettings,
    xsrf_key: XsrfKey,
    background: bool,
    sites: Vec<Site>,
    maintenance: MaintenanceSwitch,
    people: BoundGateway,
    servers: BoundGateway,
}

type Begun = (Hub, Store, RouteTable, Vec<RouteStatus>, CancellationToken);

impl Begin {
    async fn run(self, runtime: tokio::runtime::Handle) -> Begun {
        let store = Store::open(&self.database, self.clock.now()).await.unwrap();
        let routes = RouteTable::new();
        routes.set_sites(self.sites);
        let renderer = Renderer::new(Options {
            base_url: format!("{}hub/", self.settings.base_url),
            version: "0".to_owned(),
            branding: Branding::default(),
            override_dir: None,
        });
        let hub = Hub::new(Parts {
            settings: self.settings,
            store: store.clone(),
            clock: Arc::clone(&self.clock),
            authenticator: self.authenticator,
            spawner: self.spawner,
            routes: Arc::new(routes.clone()),
            runtime: runtime.clone(),
        });
        let web = Web::new(
            hub.clone(),
            renderer.unwrap(),
            WebSettings {
                xsrf_key: self.xsrf_key,
                languages: vec![Language::default()],
                logo: None,
                always_secure: false,
            },
        );
        hub.provision().await.unwrap();
        hub.recover().await.unwrap();
        let recovered = routes.list().await.unwrap();
        if self.background {
            hub.run_background();
        }
        let mut options = ForwardOptions::default();
        options.hidden_cookies = web.hidden_cookies();
        let people = GatewayParts {
            table: routes.clone(),
            hub: Arc::new(RouterService {
                router: web.router(),
                maintenance: self.maintenance.clone(),
            }),
            hub_runtime: runtime.clone(),
            error_pages: Arc::new(Pages {
                web: web.clone(),
                maintenance: self.maintenance.clone(),
            }),
            events: Arc::new(Events(hub.clone())),
            clock: Arc::clone(&self.clock),
            gate: Arc::new(Door(web.clone())),
            options: Arc::new(options),
            counts: Arc::default(),
            maintenance: self.maintenance,
            statics: StaticSets::new(),
            challenges: Challenges::default(),
        };
        let servers = GatewayParts {
            table: RouteTable::new(),
            hub: Arc::new(RouterService {
                router: web.api_router(),
                maintenance: MaintenanceSwitch::new(),
            }),
            hub_runtime: runtime,
            error_pages: Arc::new(PlainErrorPages),
            events: Arc::new(NoEvents),
            clock: self.clock,
            gate: Arc::new(ClosedGate),
            options: Arc::default(),
            counts: Arc::default(),
            maintenance: MaintenanceSwitch::new(),
            statics: StaticSets::new(),
            challenges: Challenges::default(),
        };
        let shutdown = CancellationToken::new();
        for (gateway, parts) in [(self.people, people), (self.servers, servers)] {
            let shutdown = shutdown.clone();
            hub.tasks().spawn("gateway", async move {
                let _ = gateway.serve(parts, shutdown).await;
            });
        }
        hub.run_services(self.services);
        (hub, store, routes, recovered, shutdown)
    }
}
