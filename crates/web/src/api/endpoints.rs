//! The table of the API's endpoints: no route without a rule that says who may.
//!
//! The router is made of this table. What walks it (`tests/scopes.txt`, the OpenAPI document) sees every endpoint
//! that there is.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use http::Method;
use lyceum_core::scope::Scope;
use lyceum_hub::{Action, On};

use crate::Web;
use crate::handlers::{Answer, Boxed, boxed};

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Everybody, also without credentials.
    Public,
    /// Whoever has proved who they are, by token or login.
    Known,
    /// Whoever holds one of these scopes on that object.
    Scopes {
        /// On what.
        on: On,
        /// The scopes.
        any: &'static [Scope],
    },
    /// As the endpoint itself says, in words for people.
    Other(&'static str),
}

impl Rule {
    /// The rule of an action: the same scopes that its permit asks for.
    pub(crate) const fn of<A: Action>() -> Self {
        Self::Scopes {
            on: A::ON,
            any: A::SCOPES,
        }
    }
}

/// An endpoint of the API.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path below `/hub/api`, with names in braces: `/users/{user}`.
    pub path: &'static str,
    /// Who may.
    pub rule: Rule,
}

/// Endpoints with their handlers.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    list: Vec<Endpoint>,
    router: Router<Web>,
}

impl Endpoints {
    pub(crate) fn get<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Web, Future = Answer> + Sync,
        T: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, rule, boxed(handler))
    }

    pub(crate) fn post<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Web, Future = Answer> + Sync,
        T: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, rule, boxed(handler))
    }

    pub(crate) fn put<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Web, Future = Answer> + Sync,
        T: 'static,
    {
        self.add(Method::PUT, MethodFilter::PUT, path, rule, boxed(handler))
    }

    pub(crate) fn patch<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Web, Future = Answer> + Sync,
        T: 'static,
    {
        self.add(
            Method::PATCH,
            MethodFilter::PATCH,
            path,
            rule,
            boxed(handler),
        )
    }

    pub(crate) fn delete<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Web, Future = Answer> + Sync,
        T: 'static,
    {
        self.add(
            Method::DELETE,
            MethodFilter::DELETE,
            path,
            rule,
            boxed(handler),
        )
    }

    /// Takes in the endpoints of another module.
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.list.extend(other.list);
        self.router = self.router.merge(other.router);
        self
    }

    pub(crate) fn into_list(self) -> Vec<Endpoint> {
        self.list
    }

    pub(crate) fn into_router(self) -> Router<Web> {
        self.router
    }

    fn add(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        rule: Rule,
        handler: Boxed,
    ) -> Self {
        self.router = self.router.route(path, on(filter, handler));
        self.list.push(Endpoint { method, path, rule });
        self
    }
}
