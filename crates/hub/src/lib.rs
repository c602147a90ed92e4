//! What the hub does: log in, start, stop, issue tokens; and the background tasks that keep it true.

pub mod activity;
pub mod audit;
pub mod auth_state;
pub mod background;
pub mod culler;
pub mod display_name;
pub mod error;
mod events;
pub mod groups;
pub mod import;
pub mod internal_tls;
mod known;
pub mod login;
mod membership;
pub mod metrics;
pub mod models;
pub mod named_servers;
pub mod oauth;
pub mod permit;
pub mod principal;
pub mod profiles;
pub mod provision;
pub mod proxy;
pub mod pythons;
pub mod reserve;
pub mod restart;
pub mod running;
pub mod servers;
pub mod services;
pub mod sessions;
pub mod settings;
pub mod share_codes;
pub mod shares;
pub mod shutdown;
pub mod sites;
pub mod tasks;
pub mod throttle;
mod timeline;
pub mod tokens;
pub mod usage;
pub mod users;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lyceum_core::scope::Catalogue;
use lyceum_core::seams::{Authenticator, Routes, Spawner};
use lyceum_core::{Clock, Timestamp};
use lyceum_store::Store;
use tokio::sync::OnceCell;

pub use activity::Activity;
pub use audit::{Actor, Audit, AuditEvent, AuditKind, AuditSettings};
pub use auth_state::{AuthStateError, CryptKeys, CryptKeysError};
/// Why the store could not do its part; callers only tell it on.
pub use lyceum_store::StoreError;
/// Which part of a long list is wanted, and that part.
pub use lyceum_store::{Page, Paged};

pub use culler::CullSettings;
pub use error::{Denied, HubError, LoginError, RemoveError, StartError};
pub use internal_tls::{Connection, InternalTls};
pub use metrics::{MetricSettings, Metrics, MetricsPermit};
pub use named_servers::{Edit, EditError, OldNames};
pub use permit::{
    Action, GroupPermit, HubPermit, ListPermit, NamePermit, On, ServerPermit, ServicePermit,
    UserPermit,
};
pub use principal::{Owner, Principal, Via};
pub use profiles::{NoSuchProfile, OfferedProfile, Profile, ProfileChoice, Profiles};
pub use provision::ProvisionError;
pub use pythons::ServerPython;
pub use reserve::Reserve;
pub use servers::{Counts, Snapshot, StartInput};
pub use services::{CreateServiceError, DeleteServiceError, ServiceView};
pub use sessions::Session;
pub use settings::{Access, FormReading, HubSettings, OptionsForm, ServerSettings};
pub use shutdown::Ending;
pub use tasks::Tasks;
pub use throttle::ThrottleSettings;
pub use usage::{Happening, ServerNotice};

use crate::culler::Culler;
use crate::events::EventLog;
use crate::known::Known;
use crate::proxy::RouteCheck;
use crate::servers::{Servers, Shared};
use crate::services::Services;
use crate::shutdown::Endings;
use crate::throttle::Throttle;
use crate::timeline::{Present, Timeline};
use crate::usage::Usages;

/// The version of JupyterHub whose behaviour on the wire we have; clients compare its major number.
pub const JUPYTERHUB_VERSION: &str = "6.1.1";

/// The hub. A clone is the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    authenticator: Arc<dyn Authenticator>,
    servers: Servers,
    activity: Activity,
    known: Known,
    throttle: Throttle,
    /// The key of what is stored of places, once it is read.
    place_key: OnceCell<String>,
    tasks: Tasks,
    services: Services,
    usages: Usages,
    culler: Culler,
    timeline: Timeline,
}

/// What a hub is made of.
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub settings: HubSettings,
    /// The database.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How people log in.
    pub authenticator: Arc<dyn Authenticator>,
    /// How servers are started.
    pub spawner: Arc<dyn Spawner>,
    /// The table of routes.
    pub routes: Arc<dyn Routes>,
    /// The runtime on which the hub's own work is done.
    pub runtime: tokio::runtime::Handle,
}

impl Hub {
    /// Puts a hub together. Nothing runs yet: see [`Hub::recover`] and [`Hub::run_background`].
    pub fn new(parts: Parts) -> Self {
        let (events, event_writer) = EventLog::new(parts.settings.servers.event_log.clone());
        let (audit, audit_writer) = Audit::new(
            &parts.settings.audit,
            parts.store.clone(),
            Arc::clone(&parts.clock),
        );
        let shared = Arc::new(Shared {
            audit,
            metrics: Metrics::new(&parts.settings.metrics, &parts.settings.reporters),
            events,
            endings: Endings::default(),
            route_check: RouteCheck::default(),
            catalogue: parts.settings.declared.catalogue.clone(),
            settings: Arc::new(parts.settings),
            store: parts.store,
            clock: Arc::clone(&parts.clock),
            spawner: parts.spawner,
            routes: parts.routes,
            runtime: parts.runtime.clone(),
            closing: AtomicBool::new(false),
        });
        let inner = Inner {
            servers: Servers::new(Arc::clone(&shared)),
            known: Known::new(&shared.store),
            throttle: Throttle::new(&shared.settings.throttle),
            place_key: OnceCell::new(),
            culler: Culler::default(),
            timeline: Timeline::new(parts.clock.as_ref()),
            shared,
            authenticator: parts.authenticator,
            usages: Usages::new(parts.clock.now()),
            activity: Activity::new(parts.clock),
            tasks: Tasks::new(parts.runtime),
            services: Services::new(),
        };
        if let Some(writer) = event_writer {
            let stop = inner.tasks.stop_token().clone();
            inner
                .tasks
                .spawn_to_end("write the event log", writer.run(stop));
        }
        if let Some(writer) = audit_writer {
            let stop = inner.tasks.stop_token().clone();
            inner
                .tasks
                .spawn_to_end("write the audit table", writer.run(stop));
        }
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &HubSettings {
        &self.inner.shared.settings
    }

    /// The owner of the hub's background tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    /// The activity gathered so far.
    pub fn activity(&self) -> &Activity {
        &self.inner.activity
    }

    /// All scopes that exist here.
    pub fn catalogue(&self) -> &Catalogue {
        &self.inner.shared.catalogue
    }

    /// The current instant.
    pub fn now(&self) -> Timestamp {
        self.inner.shared.clock.now()
    }

    /// The names of the spawner and of the authenticator.
    pub fn kinds(&self) -> (&'static str, &'static str) {
        (
            self.inner.shared.spawner.kind(),
            self.inner.authenticator.kind(),
        )
    }

    /// The current instant, on the line of time that nobody can set.
    pub(crate) fn steady_now(&self) -> Timestamp {
        self.present().steady
    }

    /// The current instant, on the line of time that nobody can set and on the clock.
    pub(crate) fn present(&self) -> Present {
        self.timeline().look(self.inner.shared.clock.as_ref())
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.inner.timeline
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.shared.store
    }

    pub(crate) fn known(&self) -> &Known {
        &self.inner.known
    }

    pub(crate) fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    pub(crate) fn place_key(&self) -> &OnceCell<String> {
        &self.inner.place_key
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn authenticator(&self) -> &dyn Authenticator {
        self.inner.authenticator.as_ref()
    }

    pub(crate) fn services(&self) -> &Services {
        &self.inner.services
    }

    pub(crate) fn usages(&self) -> &Usages {
        &self.inner.usages
    }

    pub(crate) fn culler(&self) -> &Culler {
        &self.inner.culler
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.inner.servers
    }
}
