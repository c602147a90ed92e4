//! Handlers without their types.
//!
//! A handler is an `async fn`, whose type holds all that it waits for. Axum makes some forty functions for the type of
//! each handler, and for each of them the compiler proves anew that all of that may go from thread to thread: two
//! thirds of the time that this crate took. Here the type ends at the first step.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{self, MethodRouter};

use crate::Web;

/// What a handler gives: the response, in a while.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler of which only what it does is known.
#[derive(Clone)]
pub(crate) struct Boxed(Arc<dyn Fn(Request, Web) -> Answer + Send + Sync>);

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boxed")
    }
}

impl Handler<Self, Web> for Boxed {
    type Future = Answer;

    fn call(self, request: Request, web: Web) -> Answer {
        (self.0)(request, web)
    }
}

/// Forgets a handler's type.
pub(crate) fn boxed<H, T>(handler: H) -> Boxed
where
    H: Handler<T, Web, Future = Answer> + Sync,
    T: 'static,
{
    Boxed(Arc::new(move |request, web| {
        handler.clone().call(request, web)
    }))
}

/// Routes `GET`, and `HEAD` as Axum does it.
pub(crate) fn get<H, T>(handler: H) -> MethodRouter<Web>
where
    H: Handler<T, Web, Future = Answer> + Sync,
    T: 'static,
{
    routing::get(boxed(handler))
}

/// Routes `POST`.
pub(crate) fn post<H, T>(handler: H) -> MethodRouter<Web>
where
    H: Handler<T, Web, Future = Answer> + Sync,
    T: 'static,
{
    routing::post(boxed(handler))
}

/// Routes every method.
pub(crate) fn any<H, T>(handler: H) -> MethodRouter<Web>
where
    H: Handler<T, Web, Future = Answer> + Sync,
    T: 'static,
{
    routing::any(boxed(handler))
}
