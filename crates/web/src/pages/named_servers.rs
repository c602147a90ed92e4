//! Forms of the home page: a new named server, another name for one, and its end.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use lyceum_core::{ServerRef, escape, slug};
use lyceum_hub::permit::{ManageServer, StopServer};
use lyceum_hub::{
    Action, Denied, Edit, EditError, HubError, RemoveError, ServerPermit, StoreError, display_name,
};

use super::errors;
use super::spawn::checked_form;
use crate::Web;
use crate::caller::{PageCaller, found, store_failed};
use crate::server_path::ServerPath;
use crate::visit::Visitor;

/// Finds a name for what the person has typed, and starts a server of that name.
pub(crate) async fn create(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    new_server(&web, &caller, &visitor, &parts, body)
        .await
        .unwrap_or_else(|response| *response)
}

async fn new_server(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    parts: &Parts,
    body: Body,
) -> Result<Response, Box<Response>> {
    let title = title(web, caller, visitor, parts, body).await?;
    let user = &caller.session.user;
    // Another title may have become the same name.
    for make in [slug::server_name_from_title, slug::unique_server_name] {
        let Some(name) = make(&title) else { continue };
        let permit: ServerPermit<ManageServer> =
            permit(web, caller, visitor, user.name.as_str(), name.as_str()).await?;
        let exists = web.hub().server_exists(&permit).await;
        if !exists.map_err(|error| Box::new(failed(web, visitor, &error)))? {
            let base = web.hub().settings().base_url.as_str();
            let start = ServerRef::new(user.name.clone(), name).hub_path(base, "spawn");
            let shown = escape::query_value(&title);
            return Ok(found(&format!("{start}?display_name={shown}")));
        }
    }
    let text = "You have a server of that name. Choose another one.";
    Err(Box::new(refuse(web, visitor, StatusCode::CONFLICT, text)))
}

/// Gives a server another name for people; its address stays.
pub(crate) async fn rename(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    let renamed = async {
        let title = title(&web, &caller, &visitor, &parts, body).await?;
        let permit: ServerPermit<ManageServer> =
            permit(&web, &caller, &visitor, &path.user, &path.server).await?;
        let edit = Edit {
            display_name: Some(title),
            ..Edit::default()
        };
        match web.hub().change_server(&permit, edit).await {
            Ok(_) => Ok(found(&format!("{}home", web.hub_url()))),
            Err(EditError::Store(error)) => Err(Box::new(failed(&web, &visitor, &error))),
            Err(error @ EditError::NotThere(_)) => {
                let text = error.to_string();
                Err(Box::new(refuse(
                    &web,
                    &visitor,
                    StatusCode::NOT_FOUND,
                    &text,
                )))
            }
            Err(error) => {
                let text = error.to_string();
                Err(Box::new(refuse(
                    &web,
                    &visitor,
                    StatusCode::BAD_REQUEST,
                    &text,
                )))
            }
        }
    };
    renamed
        .await
        .unwrap_or_else(|response: Box<Response>| *response)
}

/// Stops a named server and deletes its record. What takes longer goes on by itself.
pub(crate) async fn delete(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    let deleted = async {
        checked_form(&web, &caller, &visitor, &parts, body).await?;
        let permit: ServerPermit<StopServer> =
            permit(&web, &caller, &visitor, &path.user, &path.server).await?;
        let exists = web.hub().server_exists(&permit).await;
        let exists = exists.map_err(|error| Box::new(failed(&web, &visitor, &error)))?;
        if permit.server().server.is_default() || !exists {
            return Err(Box::new(errors::page(
                &web,
                &visitor,
                StatusCode::NOT_FOUND,
                None,
            )));
        }
        match web.hub().stop_and_remove(permit).await {
            Ok(_) => Ok(found(&format!("{}home", web.hub_url()))),
            Err(RemoveError::Store(error)) => Err(Box::new(failed(&web, &visitor, &error))),
            Err(error) => {
                let (status, text) = (StatusCode::SERVICE_UNAVAILABLE, error.to_string());
                Err(Box::new(refuse(&web, &visitor, status, &text)))
            }
        }
    };
    deleted
        .await
        .unwrap_or_else(|response: Box<Response>| *response)
}

/// Reads the field `title` of a form of ours: what people call a server.
async fn title(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    parts: &Parts,
    body: Body,
) -> Result<String, Box<Response>> {
    let form = checked_form(web, caller, visitor, parts, body).await?;
    let typed = form.get("title").unwrap_or_default().trim();
    // Nobody sees a difference between one space and two.
    let typed = typed.split_whitespace().collect::<Vec<_>>().join(" ");
    display_name::display_name(&typed).map_err(|_| {
        let text = "A name has 1 to 255 characters, and none that cannot be seen.";
        Box::new(refuse(web, visitor, StatusCode::BAD_REQUEST, text))
    })
}

async fn permit<A: Action>(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    user: &str,
    server: &str,
) -> Result<ServerPermit<A>, Box<Response>> {
    let permit = web.hub().permit_server(&caller.principal, user, server);
    let permit = permit.await;
    permit.map_err(|error| match error {
        HubError::Denied(Denied::NotFound) => {
            Box::new(errors::page(web, visitor, StatusCode::NOT_FOUND, None))
        }
        HubError::Denied(Denied::Forbidden) => {
            Box::new(errors::page(web, visitor, StatusCode::FORBIDDEN, None))
        }
        HubError::Store(error) => Box::new(failed(web, visitor, &error)),
    })
}

fn refuse(web: &Web, visitor: &Visitor, status: StatusCode, text: &str) -> Response {
    errors::page(web, visitor, status, Some(text))
}

fn failed(web: &Web, visitor: &Visitor, error: &StoreError) -> Response {
    let error = store_failed(error);
    errors::page(web, visitor, error.status(), error.message())
}
