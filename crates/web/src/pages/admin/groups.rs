//! The list of groups.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_hub::permit::{CreateGroups, ListGroups};
use lyceum_hub::{HubError, Page};

use super::{Desk, part, problem};
use crate::api::models;
use crate::caller::{PageCaller, found};
use crate::render::{AdminGroupsPage, GroupLink};
use crate::{ApiError, Web};

pub(crate) async fn show(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let desk = match Desk::open(&web, &caller, &parts) {
        Ok(desk) => desk,
        Err(response) => return *response,
    };
    let query = parts.uri.query().unwrap_or_default();
    let offset = form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "offset")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default();
    list(&desk, offset, String::new(), (StatusCode::OK, None)).await
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
    let name = form.get("name").unwrap_or_default().trim().to_owned();
    let create = async {
        let principal = &caller.principal;
        let permit = web.hub().permit_hub::<CreateGroups>(principal)?;
        let names = std::slice::from_ref(&name);
        web.hub()
            .create_groups(&permit, principal, names, &[])
            .await?;
        Ok::<_, ApiError>(())
    };
    match create.await {
        Ok(()) => found(&desk.group_url(&name)),
        Err(error) => list(&desk, 0, name, problem(error)).await,
    }
}

async fn list(
    desk: &Desk<'_>,
    offset: u64,
    typed: String,
    (status, problem): (StatusCode, Option<String>),
) -> Response {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    let limit = u64::from(hub.settings().api_page_default_limit.max(1));
    let listed = match hub.permit_list::<ListGroups>(principal) {
        Ok(permit) => hub.list_groups(&permit, Page { offset, limit }).await,
        Err(denied) => Err(denied.into()),
    };
    let (groups, total) = match listed {
        Ok(page) => (Some(page.items), page.total),
        Err(HubError::Denied(_)) => (None, 0),
        Err(error) => return desk.error(&error.into()),
    };
    let groups: Option<Vec<GroupLink>> = groups.map(|groups| {
        groups
            .iter()
            .map(|view| GroupLink {
                name: view.group.name.to_string(),
                url: desk.group_url(view.group.name.as_str()),
                members: models::group(view, principal.scopes())
                    .contains_key("users")
                    .then_some(view.members.len()),
            })
            .collect()
    });
    let shown = groups.as_ref().map_or(0, Vec::len);
    let page = AdminGroupsPage {
        xsrf: desk.xsrf(),
        create_action: desk.url("/groups"),
        may_create: hub.permit_hub::<CreateGroups>(principal).is_ok(),
        typed,
        problem,
        groups,
        part: part(offset, limit, shown, total, |offset| {
            desk.url(&format!("/groups?offset={offset}"))
        }),
    };
    desk.visitor.page(desk.web, status, &page)
}
