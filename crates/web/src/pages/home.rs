//! `/hub/home`: the user's servers.

use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use lyceum_core::limits::NamedServers;
use lyceum_core::{ServerName, ServerRef};
use lyceum_hub::culler::rules::Reason;
use lyceum_hub::models::{ServerView, UserView};

use super::errors;
use crate::Web;
use crate::caller::{PageCaller, store_failed};
use crate::render::{
    HomePage, Meter, NewServerForm, PythonLine, ServerCard, ServerEdit, ServerNews, ServerState,
    ServiceLink, SpaceLine, StopNotice,
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
    let settings = web.hub().settings();
    let asks = settings.servers.options_form.is_some()
        || settings.profiles.is_choice_for(&view.user, &view.groups);
    let named_views = view
        .servers
        .iter()
        .filter(|view| !view.server.server.is_default());
    // Each is asked within a second, and all at once.
    let (server, named, space) = tokio::join!(
        default_card(&web, &view, asks),
        join_all(named_views.map(|view| card(&web, view, asks))),
        web.hub().home_space(&view.user.name),
    );
    let services = match web.hub().services_to_open(&caller.principal).await {
        Ok(services) => services,
        Err(error) => {
            let error = store_failed(&error);
            return errors::page(&web, &visitor, error.status(), error.message());
        }
    };
    let allowed = match web.hub().named_servers_of(&view.user).await {
        Ok(allowed) => allowed,
        Err(error) => {
            let error = store_failed(&error);
            return errors::page(&web, &visitor, error.status(), error.message());
        }
    };
    let limit = allowed.limit();
    let page = HomePage {
        xsrf: visitor.xsrf(&web),
        server,
        space: space.and_then(|space| SpaceLine::new(&space)),
        new_server: (allowed != NamedServers::Off).then(|| NewServerForm {
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

async fn default_card(web: &Web, view: &UserView, asks: bool) -> ServerCard {
    let known = view
        .servers
        .iter()
        .find(|view| view.server.server.is_default());
    if let Some(known) = known {
        return card(web, known, asks).await;
    }
    let server = ServerRef::new(view.user.name.clone(), ServerName::default_server());
    let now = web.hub().snapshot(&server);
    let never_started = ServerView {
        server,
        row: None,
        now,
    };
    card(web, &never_started, asks).await
}

/// What the profile of a server is called, as far as the server has one.
pub(crate) fn profile_of(web: &Web, view: &ServerView) -> Option<String> {
    let options = view.row.as_ref()?.user_options.as_ref();
    let profile = web.hub().settings().profiles.named_in(options)?;
    Some(profile.title.clone())
}

async fn card(web: &Web, view: &ServerView, asks: bool) -> ServerCard {
    let usage = web.hub().server_usage(&view.server).await;
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
        asks,
        profile: profile_of(web, view),
        python: web.hub().server_python(server).map(PythonLine::from),
        memory: usage.and_then(|usage| Meter::of_memory(&usage)),
        notices: web
            .hub()
            .server_notices(server)
            .iter()
            .map(ServerNews::from)
            .collect(),
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
