//! `/hub/home`: the user's servers.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_core::{ServerName, ServerRef};
use lyceum_hub::culler::rules::Reason;
use lyceum_hub::models::{ServerView, UserView};

use super::errors;
use crate::Web;
use crate::caller::{PageCaller, store_failed};
use crate::render::{
    HomePage, NewServerForm, ServerCard, ServerEdit, ServerState, ServiceLink, StopNotice,
};
use crate::visit::Visitor;

pub(crate) async fn show(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    let view = match web.hub().own_view(&caller.principal).await {
        Ok(Some(view)) => view,
        Ok(None) => return errors::page(&web, &visitor, StatusCode::FORBIDDEN, None),
        Err(error) => {
            let error = store_failed(&error);
            return errors::page(&web, &visitor, error.status(), error.message());
        }
    };
    let named: Vec<_> = view
        .servers
        .iter()
        .filter(|view| !view.server.server.is_default())
        .map(|view| card(&web, view))
        .collect();
    let services = match web.hub().services_to_open(&caller.principal).await {
        Ok(services) => services,
        Err(error) => {
            let error = store_failed(&error);
            return errors::page(&web, &visitor, error.status(), error.message());
        }
    };
    let settings = web.hub().settings();
    let limit = settings.named_server_limit;
    let page = HomePage {
        xsrf: visitor.xsrf(&web),
        server: default_card(&web, &view),
        new_server: settings.allow_named_servers.then(|| NewServerForm {
            action: format!("{}new-server", web.hub_url()),
            limit,
            full: limit > 0 && u32::try_from(named.len()).is_ok_and(|count| count >= limit),
        }),
        named,
        services: services
            .into_iter()
            .map(|(name, url)| ServiceLink {
                name: name.to_string(),
                url,
            })
            .collect(),
    };
    visitor.page(&web, StatusCode::OK, &page)
}

fn default_card(web: &Web, view: &UserView) -> ServerCard {
    let known = view
        .servers
        .iter()
        .find(|view| view.server.server.is_default());
    known.map_or_else(
        || {
            let server = ServerRef::new(view.user.name.clone(), ServerName::default_server());
            let now = web.hub().snapshot(&server);
            card(
                web,
                &ServerView {
                    server,
                    row: None,
                    now,
                },
            )
        },
        |known| card(web, known),
    )
}

fn card(web: &Web, view: &ServerView) -> ServerCard {
    let base = web.hub().settings().base_url.as_str();
    let server = &view.server;
    let row = view.row.as_ref();
    let active = view.now.state.is_active();
    let name = server.server.as_str();
    let title = row
        .and_then(|row| row.display_name.as_deref())
        .unwrap_or(name);
    ServerCard {
        name: name.to_owned(),
        title: title.to_owned(),
        edit: (!name.is_empty()).then(|| ServerEdit {
            rename_action: server.hub_path(base, "rename"),
            delete_action: server.hub_path(base, "delete"),
        }),
        state: ServerState::from(&view.now.state),
        open_url: server.url_path(base),
        progress_url: server.hub_path(base, "spawn-pending"),
        start_action: server.hub_path(base, "spawn"),
        stop_action: server.hub_path(base, "stop"),
        since: view.now.started.filter(|_| active),
        last_activity: row.and_then(|row| row.last_activity),
        failure: view.failure().cloned(),
        stop: web.hub().cull_notice(server).map(|notice| StopNotice {
            at: notice.at,
            for_age: notice.reason == Reason::MaxAge,
            keep_action: notice.can_be_kept.then(|| server.hub_path(base, "keep")),
        }),
    }
}
