//! `/hub/admin`: users, their servers, and groups, for those who look after them.
//!
//! Everything works with plain forms; a script does the starting and stopping of servers with the REST API, and
//! keeps what is shown up to date.

mod group;
mod groups;
mod user;
mod users;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use lyceum_core::{ServerName, ServerRef, escape};
use lyceum_hub::models::{ServerView, UserView};
use lyceum_hub::permit::{AccessServer, OpenAdminPage, StartServer, StopServer};
use serde_json::{Map, Value};

use super::home::profile_of;
use super::{errors, token};
use crate::api::models::{self, Stopped};
use crate::caller::{PageCaller, check_xsrf};
use crate::forms::Form;
use crate::handlers::{boxed, get, post};
use crate::render::{AdminServer, Meter, Part, PythonLine, ServerState};
use crate::visit::Visitor;
use crate::{ApiError, Web};

pub(crate) fn router() -> Router<Web> {
    Router::new()
        .route("/admin", get(users::show).post(boxed(users::create)))
        .route("/admin/server", post(users::server))
        .route(
            "/admin/users/{user}",
            get(user::show).post(boxed(user::change)),
        )
        .route(
            "/admin/groups",
            get(groups::show).post(boxed(groups::create)),
        )
        .route(
            "/admin/groups/{group}",
            get(group::show).post(boxed(group::change)),
        )
}

/// Who looks at the pages, and what it takes to answer them.
struct Desk<'a> {
    web: &'a Web,
    caller: &'a PageCaller,
    visitor: Visitor,
}

impl<'a> Desk<'a> {
    /// For whoever may open these pages; a page that says no for all others.
    fn open(web: &'a Web, caller: &'a PageCaller, parts: &Parts) -> Result<Self, Box<Response>> {
        let desk = Self {
            web,
            caller,
            visitor: Visitor::of(web, parts, Some(&caller.session)),
        };
        match web.hub().permit_hub::<OpenAdminPage>(&caller.principal) {
            Ok(_) => Ok(desk),
            Err(denied) => Err(Box::new(desk.error(&denied.into()))),
        }
    }

    /// Reads a form that came from one of our pages.
    async fn form(&self, parts: &Parts, body: Body) -> Result<Form, Box<Response>> {
        let form = Form::read(body)
            .await
            .map_err(|error| Box::new(self.error(&error)))?;
        let session = Some(&self.caller.session);
        if let Err(error) = check_xsrf(self.web, parts, session, form.get("_xsrf")) {
            tracing::info!(reason = %error, "refused a form without a valid XSRF token");
            let stale = ApiError::with(StatusCode::FORBIDDEN, errors::STALE_FORM);
            return Err(Box::new(self.error(&stale)));
        }
        Ok(form)
    }

    fn error(&self, error: &ApiError) -> Response {
        errors::page(self.web, &self.visitor, error.status(), error.message())
    }

    /// Whether an address is one of these pages, so that a form may lead there.
    fn is_here(&self, address: &str) -> bool {
        address
            .strip_prefix(&self.url(""))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    fn xsrf(&self) -> String {
        self.visitor.xsrf(self.web)
    }

    /// The address of one of these pages.
    fn url(&self, rest: &str) -> String {
        format!("{}admin{rest}", self.web.hub_url())
    }

    fn user_url(&self, name: &str) -> String {
        self.url(&format!("/users/{}", escape::path_segment(name)))
    }

    fn group_url(&self, name: &str) -> String {
        self.url(&format!("/groups/{}", escape::path_segment(name)))
    }

    /// What the viewer may know of a user: the API's word on it.
    fn seen(&self, view: &UserView) -> Map<String, Value> {
        models::user(
            self.web,
            view,
            self.caller.principal.scopes(),
            Stopped::Shown,
        )
    }

    /// The servers of a user that the viewer may know of, the default one first, whether or not it was ever
    /// started.
    fn servers(&self, view: &UserView, seen: &Map<String, Value>) -> Vec<AdminServer> {
        let Some(Value::Object(seen)) = seen.get("servers") else {
            return Vec::new();
        };
        let known = view
            .servers
            .iter()
            .filter(|server| seen.contains_key(server.server.server.as_str()));
        let mut servers: Vec<_> = known.map(|server| self.server(view, server)).collect();
        let has_default = view
            .servers
            .iter()
            .any(|server| server.server.server.is_default());
        if !has_default {
            let server = ServerRef::new(view.user.name.clone(), ServerName::default_server());
            let now = self.web.hub().snapshot(&server);
            let never_started = ServerView {
                server,
                row: None,
                now,
            };
            servers.insert(0, self.server(view, &never_started));
        }
        servers
    }

    fn server(&self, owner: &UserView, view: &ServerView) -> AdminServer {
        let hub = self.web.hub();
        let principal = &self.caller.principal;
        let base = hub.settings().base_url.as_str();
        let server = &view.server;
        let name = &server.server;
        let opens = hub.may_on_server::<AccessServer>(principal, owner, name);
        AdminServer {
            user: server.user.to_string(),
            name: name.to_string(),
            state: ServerState::from(&view.now.state),
            failed: view.failure().is_some(),
            open_url: opens.then(|| server.url_path(base)),
            progress_url: server.hub_path(base, "spawn-pending"),
            api_url: server.api_path(base),
            last_activity: view.row.as_ref().and_then(|row| row.last_activity),
            profile: profile_of(self.web, view),
            python: hub.server_python(server).map(PythonLine::from),
            memory: hub
                .last_usage(server)
                .and_then(|usage| Meter::of_memory(&usage)),
            stops_at: hub.cull_notice(server).map(|notice| notice.at),
            may_start: hub.may_on_server::<StartServer>(principal, owner, name),
            may_stop: hub.may_on_server::<StopServer>(principal, owner, name),
        }
    }
}

/// Whether one of these servers is about to become something else by itself.
fn changes<'a>(servers: impl IntoIterator<Item = &'a AdminServer>) -> bool {
    servers.into_iter().any(|server| {
        matches!(
            server.state,
            ServerState::Starting | ServerState::Stopping | ServerState::Checking
        )
    })
}

/// Which part of a list is shown, and where the others are.
fn part(offset: u64, limit: u64, shown: usize, total: u64, url: impl Fn(u64) -> String) -> Part {
    let shown = u64::try_from(shown).unwrap_or_default();
    let after = offset.saturating_add(limit);
    Part {
        first: if shown == 0 { 0 } else { offset + 1 },
        last: if shown == 0 { 0 } else { offset + shown },
        total,
        previous: (offset > 0).then(|| url(offset.saturating_sub(limit))),
        next: (after < total).then(|| url(after)),
    }
}

/// Takes names apart: one on each line, or with commas between them; a name may have spaces inside.
fn names(typed: &str) -> Vec<String> {
    typed
        .split(['\n', '\r', ',', ';'])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Says to a person why something was not done; the status is that of the API for the same.
fn problem(error: impl Into<ApiError>) -> (StatusCode, Option<String>) {
    let error = error.into();
    let text = match (error.message(), error.status()) {
        (Some(text), _) => token::sentence(text),
        (None, StatusCode::NOT_FOUND) => "There is nobody and nothing of this name.".to_owned(),
        (None, _) => "You may not do this.".to_owned(),
    };
    (error.status(), Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_at_lines_and_commas() {
        assert_eq!(
            names(" ada lovelace\r\n\nbob, eve;mia,\n"),
            ["ada lovelace", "bob", "eve", "mia"]
        );
        assert!(names(" \n,").is_empty());
    }

    #[test]
    fn parts_know_their_neighbours() {
        let url = |offset: u64| offset.to_string();
        let middle = part(50, 50, 50, 120, url);
        assert_eq!((middle.first, middle.last), (51, 100));
        assert_eq!(middle.previous.as_deref(), Some("0"));
        assert_eq!(middle.next.as_deref(), Some("100"));
        let beyond = part(200, 50, 0, 120, url);
        assert_eq!((beyond.first, beyond.last), (0, 0));
        assert_eq!(beyond.previous.as_deref(), Some("150"));
        assert!(beyond.next.is_none());
        let only = part(0, 50, 3, 3, url);
        assert!(only.previous.is_none() && only.next.is_none());
    }
}
