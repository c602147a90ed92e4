//! Services: what there is to be told of them, those that are made by API, and the programs of those that the hub starts.

pub(crate) mod clients;
mod environment;
mod manage;
mod supervisor;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyceum_core::scope::{Access, Listing, Scope, Target};
use lyceum_core::seams::ServiceRunner;
use lyceum_core::service::{self, ServiceUrl};
use lyceum_core::{Route, RouteSpec, RouteStatus, Secret, ServiceName};
use lyceum_store::{Service, ServiceData, StoreError};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::manage::{CreateServiceError, DeleteServiceError};
use self::supervisor::Supervisor;
use crate::permit::{ListServices, ReadService};
use crate::provision::ServiceTokens;
use crate::{Hub, ListPermit, Principal, ServicePermit};

/// How long the search for services that an earlier run has left over, and their end, may take.
const SWEEP_LIMIT: Duration = Duration::from_secs(30);

/// The key by which a route is known to be a service's.
const ROUTE_KEY: &str = "service";

/// A service, and what it does now.
#[derive(Debug, Clone)]
pub struct ServiceView {
    /// The service.
    pub service: Service,
    /// The names of its roles, that of administrators included, sorted.
    pub roles: Vec<String>,
    /// The path of its pages, empty if it has none.
    pub prefix: String,
    /// The number of its process, if the hub has started one and it lives.
    pub pid: Option<u32>,
}

/// What is known of services beside their records.
pub(crate) struct Services {
    known: Mutex<Known>,
    /// Cancelled when all of them shall end.
    stop: CancellationToken,
    supervisors: TaskTracker,
}

#[derive(Debug, Default)]
struct Known {
    tokens: ServiceTokens,
    pids: BTreeMap<ServiceName, u32>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services")
            .field("pids", &self.lock().pids)
            .finish_non_exhaustive()
    }
}

impl Services {
    pub(crate) fn new() -> Self {
        Self {
            known: Mutex::default(),
            stop: CancellationToken::new(),
            supervisors: TaskTracker::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_tokens(&self, tokens: ServiceTokens) {
        self.lock().tokens = tokens;
    }

    fn token(&self, name: &ServiceName) -> Option<Secret<String>> {
        self.lock().tokens.get(name).cloned()
    }

    fn pid(&self, name: &ServiceName) -> Option<u32> {
        self.lock().pids.get(name).copied()
    }

    fn set_pid(&self, name: &ServiceName, pid: Option<u32>) {
        let mut known = self.lock();
        match pid {
            Some(pid) => known.pids.insert(name.clone(), pid),
            None => known.pids.remove(name),
        };
    }
}

impl Hub {
    /// Starts the managed services, after what an earlier run has left over of them has been ended. They are watched
    /// until [`Hub::stop_services`].
    pub fn run_services(&self, runner: Arc<dyn ServiceRunner>) {
        let hub = self.clone();
        let starting = async move {
            match timeout(SWEEP_LIMIT, runner.sweep()).await {
                Ok(Ok(0)) => {}
                Ok(Ok(count)) => {
                    tracing::warn!(
                        "ended {count} services that an earlier run of Lyceum has left over"
                    );
                }
                Ok(Err(error)) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not end services that an earlier run of Lyceum may have left over"
                ),
                Err(_) => tracing::error!(
                    "services that an earlier run of Lyceum may have left over did not end in {SWEEP_LIMIT:?}"
                ),
            }
            for spec in &hub.settings().declared.services {
                let (Some(command), Some(token)) =
                    (&spec.process, hub.services().token(&spec.name))
                else {
                    continue;
                };
                if hub.services().stop.is_cancelled() {
                    return;
                }
                let launch = environment::launch(hub.settings(), spec, command, &token);
                let supervisor = Supervisor {
                    hub: hub.clone(),
                    runner: Arc::clone(&runner),
                    launch,
                    token,
                };
                let watched = hub.services().supervisors.track_future(supervisor.run());
                hub.tasks().spawn("watch a service", watched);
            }
        };
        let starting = self.services().supervisors.track_future(starting);
        self.tasks().spawn("start the services", starting);
    }

    /// Ends the managed services, all at the same time, and waits for that; whether all have ended in time.
    pub async fn stop_services(&self, limit: Duration) -> bool {
        self.services().stop.cancel();
        self.services().supervisors.close();
        timeout(limit, self.services().supervisors.wait())
            .await
            .is_ok()
    }

    /// Lists the services that the caller may see, by name.
    pub async fn service_views(
        &self,
        permit: &ListPermit<ListServices>,
    ) -> Result<Vec<ServiceView>, StoreError> {
        let mut views = Vec::new();
        for service in self.store().list_services().await? {
            let is_seen = match permit.listing() {
                Listing::Everything => true,
                Listing::Only(filters) => filters.services.contains(&service.data.name),
                Listing::Denied => false,
            };
            if is_seen {
                views.push(self.view_for_others(service).await?);
            }
        }
        Ok(views)
    }

    /// Gives all that is known of a service. What of it the caller may see is for the caller of this to sort out.
    pub async fn service_view(
        &self,
        permit: &ServicePermit<ReadService>,
    ) -> Result<ServiceView, StoreError> {
        self.view_for_others(permit.service().clone()).await
    }

    /// To others, only what was declared with `admin` is one of administrators, and not what has got the role `admin` in
    /// another way; to itself both are (JupyterHub `ServiceListAPIHandler`, `SelfAPIHandler`).
    async fn view_for_others(&self, service: Service) -> Result<ServiceView, StoreError> {
        let mut view = self.view_of_service(service).await?;
        let data = &mut view.service.data;
        if let Some(declared) = self.settings().find_declared(data.name.as_str()) {
            data.admin = declared.admin;
        }
        Ok(view)
    }

    /// Lists the services with pages that the caller may open and that shall be shown, each with the path of its pages.
    pub async fn services_to_open(
        &self,
        caller: &Principal,
    ) -> Result<Vec<(ServiceName, String)>, StoreError> {
        let holds = caller.scopes().holds(Scope::AccessServices);
        if !holds && self.settings().sites().next().is_none() {
            return Ok(Vec::new());
        }
        let services = self.store().list_services().await?;
        let may_open = |name: &ServiceName| {
            if let Some(site) = self.settings().find_site(name.as_str()) {
                return self.may_visit(caller, site);
            }
            let target = Target::Service(name.as_str());
            caller.scopes().check(Scope::AccessServices, target) == Access::Allowed
        };
        Ok(services
            .into_iter()
            .map(|service| service.data)
            .filter(|data| data.display && may_open(&data.name))
            .filter_map(|data| Some((self.address_of_service(&data)?, data.name)))
            .map(|(address, name)| (name, address))
            .collect())
    }

    /// Gives all that is known of the asking service; `None` for a user.
    pub async fn own_service_view(
        &self,
        caller: &Principal,
    ) -> Result<Option<ServiceView>, StoreError> {
        match caller.owner() {
            crate::Owner::Service(service) => self.view_of_service(service.clone()).await.map(Some),
            crate::Owner::User(_) => Ok(None),
        }
    }

    async fn view_of_service(&self, service: Service) -> Result<ServiceView, StoreError> {
        let mut roles = self.known_roles_of_service(service.id).await?.to_vec();
        if service.data.admin {
            roles.push("admin".to_owned());
        }
        roles.sort();
        roles.dedup();
        let prefix = self.prefix_of_service(&service.data).unwrap_or_default();
        let pid = self.services().pid(&service.data.name);
        Ok(ServiceView {
            service,
            roles,
            prefix,
            pid,
        })
    }

    /// The path of a service's pages, if it has any.
    fn prefix_of_service(&self, data: &ServiceData) -> Option<String> {
        let base = &self.settings().base_url;
        let declared = self.settings().find_declared(data.name.as_str());
        let has_pages = data.url.is_some() || declared.is_some_and(|spec| spec.visitors.is_some());
        has_pages.then(|| match declared {
            Some(spec) => spec.prefix(base),
            None => service::prefix(base, &data.name),
        })
    }

    /// The same for a link.
    fn address_of_service(&self, data: &ServiceData) -> Option<String> {
        let path = self.prefix_of_service(data)?;
        let declared = self.settings().find_declared(data.name.as_str());
        let origin = declared.and_then(|spec| spec.origin.as_deref());
        Some(format!("{}{path}", origin.unwrap_or_default()))
    }

    /// The routes that services need; those that the gateway knows from the configuration need none.
    pub async fn service_routes(&self) -> Result<Vec<Route>, StoreError> {
        let services = self.store().list_services().await?;
        Ok(services
            .iter()
            .filter_map(|service| self.route_of_service(service))
            .collect())
    }

    fn route_of_service(&self, service: &Service) -> Option<Route> {
        let name = &service.data.name;
        let declared = self.settings().find_declared(name.as_str());
        if declared.is_some_and(|spec| spec.visitors.is_some()) {
            return None;
        }
        // One that cannot be used was made by another version, or by another program.
        let url = ServiceUrl::parse(service.data.url.as_deref()?);
        let url = url
            .map_err(|reason| tracing::error!(service.name = %name, "the URL of the service {name} cannot be used: {reason}"))
            .ok()?;
        Some(Route {
            spec: match declared {
                Some(spec) => spec.route(&self.settings().base_url),
                None => service::route(&self.settings().base_url, name),
            },
            target: url.upstream().clone(),
            target_path: String::new(),
            data: Map::from_iter([(ROUTE_KEY.to_owned(), Value::from(name.as_str()))]),
        })
    }

    /// Puts the routes of all services. They lead somewhere before the services answer: until then, the gateway tells
    /// that the service is not there.
    pub(crate) async fn publish_services(&self) -> Result<(), StoreError> {
        for route in self.service_routes().await? {
            self.put_route(route).await;
        }
        Ok(())
    }

    /// Puts routes of services that are missing or wrong, and removes those of services that there are not.
    pub(crate) async fn mend_service_routes(&self, listed: &BTreeMap<RouteSpec, RouteStatus>) {
        let wanted = match self.service_routes().await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not check the routes of services"
                );
                return;
            }
        };
        let is_wanted = |spec: &RouteSpec| wanted.iter().any(|route| route.spec == *spec);
        for (spec, status) in listed {
            if status.route.data.contains_key(ROUTE_KEY) && !is_wanted(spec) {
                tracing::warn!(route = %spec, "removing a route that leads to no service");
                self.remove_route(spec).await;
            }
        }
        for route in wanted {
            let target = listed.get(&route.spec).map(|status| &status.route.target);
            if target != Some(&route.target) {
                tracing::warn!(route = %route.spec, "mending the route of a service");
                self.put_route(route).await;
            }
        }
    }

    async fn remove_route(&self, spec: &RouteSpec) {
        if let Err(error) = self.shared().routes.remove(spec).await {
            tracing::error!(route = %spec, error = &error as &dyn std::error::Error,
                "could not remove the route of a service");
        }
    }

    async fn put_route(&self, route: Route) {
        let spec = route.spec.clone();
        if let Err(error) = self.shared().routes.put(route).await {
            tracing::error!(route = %spec, error = &error as &dyn std::error::Error,
                "could not put the route of a service");
        }
    }
}
