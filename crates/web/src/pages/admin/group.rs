//! One group: members, properties, deletion.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_hub::groups::Membership;
use lyceum_hub::permit::{DeleteGroup, ManageGroup, ReadGroup};
use serde_json::Value;

use super::{Desk, names, problem};
use crate::api::models;
use crate::caller::{PageCaller, found};
use crate::forms::Form;
use crate::render::{AdminGroupPage, Member};
use crate::{ApiError, Web};

pub(crate) async fn show(
    State(web): State<Web>,
    caller: PageCaller,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match Desk::open(&web, &caller, &parts) {
        Ok(desk) => page(&desk, &name, None, (StatusCode::OK, None)).await,
        Err(response) => *response,
    }
}

pub(crate) async fn change(
    State(web): State<Web>,
    caller: PageCaller,
    Path(name): Path<String>,
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
    match carry_out(&desk, &name, &form).await {
        Ok(url) => found(&url),
        Err(error) => page(&desk, &name, Some(&form), problem(error)).await,
    }
}

/// Does what the form asks for; gives the page to go on to.
async fn carry_out(desk: &Desk<'_>, name: &str, form: &Form) -> Result<String, ApiError> {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    if form.get("do") == Some("delete") {
        let permit = hub.permit_group::<DeleteGroup>(principal, name).await?;
        if form.get("confirm") != Some("yes") {
            let text = "tick the box first, so that no group is deleted by mistake";
            return Err(ApiError::bad_request(text));
        }
        hub.delete_group(&permit, principal).await?;
        return Ok(desk.url("/groups"));
    }
    let permit = hub.permit_group::<ManageGroup>(principal, name).await?;
    match form.get("do") {
        Some("add") => {
            let users = names(form.get("users").unwrap_or_default());
            hub.set_members(&permit, principal, &users, Membership::Member)
                .await?;
        }
        Some("remove") => {
            let user = form.get("user").unwrap_or_default().to_owned();
            hub.set_members(&permit, principal, &[user], Membership::NoMember)
                .await?;
        }
        Some("properties") => {
            let typed = form.get("properties").unwrap_or_default();
            let Ok(Value::Object(properties)) = serde_json::from_str(typed) else {
                let text = "properties are written as a JSON object, such as {\"quota\": 2}";
                return Err(ApiError::bad_request(text));
            };
            hub.set_properties(&permit, principal, properties).await?;
        }
        _ => return Err(ApiError::bad_request("nothing was asked for")),
    }
    Ok(desk.group_url(name))
}

async fn page(
    desk: &Desk<'_>,
    name: &str,
    form: Option<&Form>,
    (status, problem): (StatusCode, Option<String>),
) -> Response {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    let read = async {
        let permit = hub.permit_group::<ReadGroup>(principal, name).await?;
        Ok::<_, ApiError>(hub.group_view(&permit).await?)
    };
    let view = match read.await {
        Ok(view) => view,
        Err(error) => return desk.error(&error),
    };
    let group = &view.group.name;
    let seen = models::group(&view, principal.scopes());
    let may_read = seen.contains_key("users");
    let members = view.members.iter().filter(|_| may_read);
    let typed = |field| form.and_then(|form| form.get(field)).map(str::to_owned);
    let properties = || {
        let stored = may_read.then(|| serde_json::to_string_pretty(&view.group.properties));
        stored.and_then(Result::ok).unwrap_or_default()
    };
    let page = AdminGroupPage {
        xsrf: desk.xsrf(),
        here: desk.group_url(group.as_str()),
        name: group.to_string(),
        members: members
            .map(|member| Member {
                name: member.to_string(),
                url: desk.user_url(member.as_str()),
            })
            .collect(),
        properties: typed("properties").unwrap_or_else(properties),
        typed: typed("users").unwrap_or_default(),
        may_read,
        may_change: hub.may_on_group::<ManageGroup>(principal, group),
        may_delete: hub.may_on_group::<DeleteGroup>(principal, group),
        problem,
        roles: if seen.contains_key("roles") {
            view.roles
        } else {
            Vec::new()
        },
    };
    desk.visitor.page(desk.web, status, &page)
}
