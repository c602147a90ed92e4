//! The table of routes as a whole: shown to whoever may, and kept in step with the servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lyceum_core::seams::RoutesError;
use lyceum_core::{RouteSpec, RouteStatus, ServerName, ServerRef, UserName};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::permit::ManageProxy;
use crate::{Hub, HubPermit};

/// How often the routes are checked (JupyterHub `last_activity_interval`).
pub(crate) const CHECK_EVERY: Duration = Duration::from_mins(5);

/// Checks follow each other: two at once would mend what the other is mending.
#[derive(Debug, Default)]
pub(crate) struct RouteCheck(Mutex<()>);

impl Hub {
    /// Lists all routes but the hub's own, which is not in the table.
    pub async fn routes(
        &self,
        _: &HubPermit<ManageProxy>,
    ) -> Result<Vec<RouteStatus>, RoutesError> {
        self.list_routes().await
    }

    /// Checks the routes now, and mends them.
    pub async fn check_routes_now(&self, _: &HubPermit<ManageProxy>) -> Result<(), RoutesError> {
        self.check_routes().await
    }

    /// Checks the routes as [`Hub::check_routes_now`] does, for a program that has seen them disappear.
    pub async fn mend_routes(&self) -> Result<(), RoutesError> {
        self.check_routes().await
    }

    /// Puts routes that are missing or wrong, and removes those of servers that do not run. Servers with something
    /// going on are left alone: what goes on takes care of their routes. Services' routes are mended likewise; all others
    /// are left alone.
    pub(crate) async fn check_routes(&self) -> Result<(), RoutesError> {
        let _one_at_a_time = self.shared().route_check.0.lock().await;
        let begun = Instant::now();
        let listed = self.list_routes().await?;
        let listed: BTreeMap<RouteSpec, RouteStatus> = listed
            .into_iter()
            .map(|status| (status.route.spec.clone(), status))
            .collect();
        for (server, upstream) in self.servers().running() {
            let found = listed.get(&self.servers().spec_of(&server));
            let target = found.map(|status| &status.route.target);
            if target != Some(&upstream) {
                self.servers().mend_route(&server, target.cloned()).await;
            }
        }
        for (spec, status) in &listed {
            let Some(server) = server_of(status) else {
                continue;
            };
            if self.servers().spec_of(&server) != *spec {
                tracing::warn!(route = %spec, "removing a route that leads to no server");
                self.shared().routes.remove(spec).await?;
            } else if !self.servers().snapshot(&server).state.is_active() {
                let target = Some(status.route.target.clone());
                self.servers().mend_route(&server, target).await;
            }
        }
        self.mend_service_routes(&listed).await;
        self.metrics().routes_checked(begun.elapsed());
        Ok(())
    }

    pub(crate) async fn list_routes(&self) -> Result<Vec<RouteStatus>, RoutesError> {
        let begun = Instant::now();
        let listed = self.shared().routes.list().await;
        self.metrics().routes_listed(begun.elapsed());
        listed
    }
}

/// The server that a route was put for.
pub(crate) fn server_of(status: &RouteStatus) -> Option<ServerRef> {
    let text = |key: &str| status.route.data.get(key).and_then(Value::as_str);
    let user = UserName::parse(text("user")?).ok()?;
    let server = ServerName::parse(text("server_name")?).ok()?;
    Some(ServerRef::new(user, server))
}
