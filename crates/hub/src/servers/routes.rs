//! The route of a server: what it looks like, and how it gets into the table and out of it.

use std::time::Instant;

use lyceum_core::lifecycle::{Cause, Failure, Running};
use lyceum_core::{Route, RouteSpec, ServerRef, escape};
use serde_json::{Map, Value};

use super::Shared;

/// Puts the route; only then is the server ready.
pub(super) async fn publish(
    shared: &Shared,
    server: &ServerRef,
    running: &Running,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let put = shared.routes.put(route(shared, server, running)).await;
    shared.metrics.route_put(put.is_ok(), begun.elapsed());
    put.map_err(|error| {
        tracing::error!(server.name = %server, error = &error as &dyn std::error::Error, "could not put a route");
        Failure::new(
            Cause::Internal,
            "The server runs, but the proxy could not be told where.",
            "Try again; if this repeats, the administrator finds the reason in Lyceum's log.",
        )
    })
}

/// Removes the route; that it could not be done is only logged.
pub(super) async fn remove(shared: &Shared, server: &ServerRef) {
    let begun = Instant::now();
    let removed = shared.routes.remove(&spec(shared, server)).await;
    shared
        .metrics
        .route_removed(removed.is_ok(), begun.elapsed());
    if let Err(error) = removed {
        tracing::error!(server.name = %server, error = &error as &dyn std::error::Error,
            "could not remove the route of a server");
    }
}

fn route(shared: &Shared, server: &ServerRef, running: &Running) -> Route {
    let text = |name: &str| Value::String(name.to_owned());
    let mut data = Map::from_iter([
        ("user".to_owned(), text(server.user.as_str())),
        ("server_name".to_owned(), text(server.server.as_str())),
    ]);
    if let Some(environment) = shared.spawner.environment(&running.handle) {
        data.insert(Route::ENVIRONMENT.to_owned(), Value::String(environment));
    }
    Route {
        spec: spec(shared, server),
        target: running.upstream.clone(),
        target_path: String::new(),
        data,
    }
}

/// Routes are written with decoded paths.
pub(super) fn spec(shared: &Shared, server: &ServerRef) -> RouteSpec {
    let path = server.url_path(&shared.settings.base_url);
    RouteSpec::path(&escape::decode(&path).unwrap_or(path))
}
