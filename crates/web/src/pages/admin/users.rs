//! The list of users: search, sort, create, and their servers.

use std::sync::LazyLock;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_core::lifecycle::Refusal;
use lyceum_hub::permit::{CreateUsers, ListUsers, StartServer, StopServer};
use lyceum_hub::users::{UserFilter, UserSort, UserState};
use lyceum_hub::{HubError, Page, StartError, StartInput};

use super::{Desk, changes, names, part, problem};
use crate::api::servers;
use crate::caller::{PageCaller, found};
use crate::forms::Form;
use crate::render::{AdminUser, AdminUsersPage, Heading, Order};
use crate::{ApiError, Web};

/// How the list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Asked {
    name_filter: String,
    state: Option<UserState>,
    sort: UserSort,
    descending: bool,
    offset: u64,
}

pub(crate) async fn show(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let desk = match Desk::open(&web, &caller, &parts) {
        Ok(desk) => desk,
        Err(response) => return *response,
    };
    let asked = Asked::read(parts.uri.query().unwrap_or_default());
    list(&desk, &asked, String::new(), (StatusCode::OK, None)).await
}

pub(crate) async fn create(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let desk = match Desk::open(&web, &caller, &parts) {
        Ok(desk) => desk,
        Err(response) => return *response,
    };
    let form = match desk.form(&parts, body).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    match create_users(&desk, &form).await {
        // The new ones are on top.
        Ok(()) => found(&desk.url("?sort=-id")),
        Err(error) => {
            let typed = form.get("names").unwrap_or_default().to_owned();
            list(&desk, &Asked::default(), typed, problem(error)).await
        }
    }
}

async fn create_users(desk: &Desk<'_>, form: &Form) -> Result<(), ApiError> {
    let principal = &desk.caller.principal;
    let hub = desk.web.hub();
    let permit = hub.permit_hub::<CreateUsers>(principal)?;
    let names = names(form.get("names").unwrap_or_default());
    if names.is_empty() {
        return Err(ApiError::bad_request("no name was given"));
    }
    let admin = form.get("admin").is_some();
    hub.create_users(&permit, principal, &names, admin).await?;
    Ok(())
}

/// Starts or stops a server, without waiting for it, and goes back to where the form was.
pub(crate) async fn server(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let desk = match Desk::open(&web, &caller, &parts) {
        Ok(desk) => desk,
        Err(response) => return *response,
    };
    let form = match desk.form(&parts, body).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    if let Err(error) = start_or_stop(&desk, &form).await {
        let asked = Asked::default();
        return list(&desk, &asked, String::new(), problem(error)).await;
    }
    let back = form.get("back").filter(|back| desk.is_here(back));
    found(back.unwrap_or(&desk.url("")))
}

async fn start_or_stop(desk: &Desk<'_>, form: &Form) -> Result<(), ApiError> {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    let user = form.get("user").unwrap_or_default();
    let server = form.get("server").unwrap_or_default();
    match form.get("do") {
        Some("start") => {
            let permit = hub
                .permit_server::<StartServer>(principal, user, server)
                .await?;
            match hub.request_start(&permit, StartInput::default()).await {
                // Two clicks, two windows, one server.
                Ok(())
                | Err(StartError::Refused(Refusal::AlreadyStarting | Refusal::AlreadyRunning)) => {
                    Ok(())
                }
                Err(error) => Err(servers::start_refused(error)),
            }
        }
        Some("stop") => {
            let permit = hub
                .permit_server::<StopServer>(principal, user, server)
                .await?;
            match hub.request_stop(&permit).await {
                Ok(()) | Err(Refusal::NotRunning | Refusal::Stopping) => Ok(()),
                Err(refusal) => Err(servers::refused(refusal)),
            }
        }
        _ => Err(ApiError::bad_request("nothing was asked for")),
    }
}

/// Makes the page.
async fn list(
    desk: &Desk<'_>,
    asked: &Asked,
    typed: String,
    (status, problem): (StatusCode, Option<String>),
) -> Response {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    let limit = u64::from(hub.settings().api_page_default_limit.max(1));
    let filter = UserFilter {
        page: Page {
            offset: asked.offset,
            limit,
        },
        name_contains: Some(asked.name_filter.clone()).filter(|text| !text.is_empty()),
        state: asked.state,
        sort: asked.sort,
        descending: asked.descending,
    };
    let listed = match hub.permit_list::<ListUsers>(principal) {
        Ok(permit) => hub.list_users(&permit, filter).await,
        Err(denied) => Err(denied.into()),
    };
    let (users, total) = match listed {
        Ok(page) => (Some(page.items), page.total),
        // Somebody may open the page for its groups alone.
        Err(HubError::Denied(_)) => (None, 0),
        Err(error) => return desk.error(&error.into()),
    };
    let users: Option<Vec<AdminUser>> = users.map(|users| {
        users
            .iter()
            .map(|view| {
                let seen = desk.seen(view);
                let last_activity = view.user.last_activity;
                AdminUser {
                    name: view.user.name.to_string(),
                    url: desk.user_url(view.user.name.as_str()),
                    admin: view.user.admin && seen.contains_key("admin"),
                    last_activity: last_activity.filter(|_| seen.contains_key("last_activity")),
                    servers: desk.servers(view, &seen),
                }
            })
            .collect()
    });
    let shown = users.as_ref().map_or(0, Vec::len);
    let url = |asked: &Asked| desk.url(&asked.query());
    let part = part(asked.offset, limit, shown, total, |offset| {
        url(&Asked {
            offset,
            ..asked.clone()
        })
    });
    let changing = users
        .as_ref()
        .is_some_and(|users| changes(users.iter().flat_map(|user| &user.servers)));
    let page = AdminUsersPage {
        xsrf: desk.xsrf(),
        here: url(asked),
        create_action: desk.url(""),
        server_action: desk.url("/server"),
        may_create: hub.permit_hub::<CreateUsers>(principal).is_ok(),
        typed,
        problem,
        name_filter: asked.name_filter.clone(),
        state: asked.state.map_or("", state_word).to_owned(),
        sort: asked.sort_word(),
        headings: headings(asked, url),
        users,
        part,
        changing,
    };
    desk.visitor.page(desk.web, status, &page)
}

fn headings(asked: &Asked, url: impl Fn(&Asked) -> String) -> Vec<Heading> {
    [
        (UserSort::Name, "name"),
        (UserSort::LastActivity, "last_activity"),
    ]
    .into_iter()
    .map(|(sort, column)| {
        let order = (asked.sort == sort).then_some(if asked.descending {
            Order::Descending
        } else {
            Order::Ascending
        });
        // Names from A on, and those who were seen just now, first.
        let first = sort == UserSort::LastActivity;
        let descending = order.map_or(first, |order| order == Order::Ascending);
        Heading {
            column,
            url: url(&Asked {
                sort,
                descending,
                offset: 0,
                ..asked.clone()
            }),
            order,
        }
    })
    .collect()
}

fn state_word(state: UserState) -> &'static str {
    match state {
        UserState::Active => "active",
        UserState::Ready => "ready",
        UserState::Inactive => "inactive",
    }
}

impl Asked {
    /// Reads a query; what makes no sense counts as absent.
    fn read(query: &str) -> Self {
        let mut asked = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "name_filter" => value.trim().clone_into(&mut asked.name_filter),
                "state" => {
                    let all = [UserState::Active, UserState::Ready, UserState::Inactive];
                    asked.state = all.into_iter().find(|state| state_word(*state) == value);
                }
                "sort" => {
                    let (name, descending) = match value.strip_prefix('-') {
                        Some(name) => (name, true),
                        None => (value.as_ref(), false),
                    };
                    (asked.sort, asked.descending) = match name {
                        "name" => (UserSort::Name, descending),
                        "last_activity" => (UserSort::LastActivity, descending),
                        "id" => (UserSort::Id, descending),
                        _ => (UserSort::default(), false),
                    };
                }
                "offset" => asked.offset = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        asked
    }

    fn sort_word(&self) -> String {
        let name = match self.sort {
            UserSort::Id => "id",
            UserSort::Name => "name",
            UserSort::LastActivity => "last_activity",
        };
        format!("{}{name}", if self.descending { "-" } else { "" })
    }

    /// The query that asks for this; empty if nothing in particular is asked for.
    fn query(&self) -> String {
        static USUAL: LazyLock<Asked> = LazyLock::new(Asked::default);
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.name_filter.is_empty() {
            query.append_pair("name_filter", &self.name_filter);
        }
        if let Some(state) = self.state {
            query.append_pair("state", state_word(state));
        }
        if (self.sort, self.descending) != (USUAL.sort, USUAL.descending) {
            query.append_pair("sort", &self.sort_word());
        }
        if self.offset > 0 {
            query.append_pair("offset", &self.offset.to_string());
        }
        match query.finish() {
            query if query.is_empty() => query,
            query => format!("?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_can_be_asked_for_again() {
        for query in [
            "",
            "?name_filter=a+b%26",
            "?state=ready&sort=-last_activity&offset=50",
            "?sort=-id",
        ] {
            let asked = Asked::read(query.trim_start_matches('?'));
            assert_eq!(asked.query(), query);
        }
        let nonsense = Asked::read("state=all&sort=size&offset=-3&x=y");
        assert_eq!(nonsense, Asked::default());
    }
}
