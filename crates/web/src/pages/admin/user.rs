//! One user: another name, administrator or not, deletion, servers and groups.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_hub::permit::{DeleteUser, ManageUser, ReadUser};
use lyceum_hub::users::UserChange;

use super::{Desk, changes, problem};
use crate::caller::{PageCaller, found};
use crate::forms::Form;
use crate::render::{AdminUserPage, GroupLink};
use crate::{ApiError, Web};

pub(crate) async fn show(
    State(web): State<Web>,
    caller: PageCaller,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match Desk::open(&web, &caller, &parts) {
        Ok(desk) => page(&desk, &name, "", (StatusCode::OK, None)).await,
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
        Err(error) => {
            let typed = form.get("name").unwrap_or_default();
            page(&desk, &name, typed, problem(error)).await
        }
    }
}

/// Does what the form asks for; gives the page to go on to.
async fn carry_out(desk: &Desk<'_>, name: &str, form: &Form) -> Result<String, ApiError> {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    let change = match form.get("do") {
        Some("rename") => UserChange {
            name: Some(form.get("name").unwrap_or_default().trim().to_owned()),
            ..UserChange::default()
        },
        Some("admin") => UserChange {
            admin: Some(true),
            ..UserChange::default()
        },
        Some("no-admin") => UserChange {
            admin: Some(false),
            ..UserChange::default()
        },
        Some("delete") => {
            let permit = hub.permit_user::<DeleteUser>(principal, name).await?;
            if form.get("confirm") != Some("yes") {
                let text = "tick the box first, so that nobody is deleted by mistake";
                return Err(ApiError::bad_request(text));
            }
            hub.delete_user(permit, principal).await?;
            return Ok(desk.url(""));
        }
        _ => return Err(ApiError::bad_request("nothing was asked for")),
    };
    let permit = hub.permit_user::<ManageUser>(principal, name).await?;
    let view = hub.change_user(&permit, principal, change).await?;
    Ok(desk.user_url(view.user.name.as_str()))
}

async fn page(
    desk: &Desk<'_>,
    name: &str,
    typed: &str,
    (status, problem): (StatusCode, Option<String>),
) -> Response {
    let hub = desk.web.hub();
    let principal = &desk.caller.principal;
    let read = async {
        let permit = hub.permit_user::<ReadUser>(principal, name).await?;
        Ok::<_, ApiError>(hub.user_view(&permit).await?)
    };
    let view = match read.await {
        Ok(view) => view,
        Err(error) => return desk.error(&error),
    };
    let seen = desk.seen(&view);
    let servers = desk.servers(&view, &seen);
    let groups = view.groups.iter().filter(|_| seen.contains_key("groups"));
    let groups = groups.map(|group| GroupLink {
        name: group.to_string(),
        url: desk.group_url(group.as_str()),
        members: None,
    });
    // An administrator is changed by administrators only.
    let may_change = hub.may_on_user::<ManageUser>(principal, &view)
        && (principal.is_admin() || !view.user.admin);
    let itself = principal.name() == view.user.name.as_str();
    let page = AdminUserPage {
        xsrf: desk.xsrf(),
        here: desk.user_url(view.user.name.as_str()),
        server_action: desk.url("/server"),
        admin: view.user.admin && seen.contains_key("admin"),
        created: Some(view.user.created).filter(|_| seen.contains_key("created")),
        last_activity: view
            .user
            .last_activity
            .filter(|_| seen.contains_key("last_activity")),
        groups: groups.collect(),
        changing: changes(&servers),
        servers,
        may_change,
        may_change_admin: may_change && principal.is_admin() && !itself,
        may_delete: hub.may_on_user::<DeleteUser>(principal, &view) && !itself,
        typed: typed.to_owned(),
        problem,
        name: view.user.name.to_string(),
        roles: if seen.contains_key("roles") {
            view.roles
        } else {
            Vec::new()
        },
    };
    desk.visitor.page(desk.web, status, &page)
}
