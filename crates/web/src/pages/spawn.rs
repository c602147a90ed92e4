//! `/hub/spawn/…`: starts a server, by link or by form, and leads to the page that shows its progress.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use lyceum_core::lifecycle::{Cause, Refusal};
use lyceum_core::{ServerName, ServerRef, escape};
use lyceum_hub::display_name;
use lyceum_hub::permit::ManageServer;
use lyceum_hub::profiles;
use lyceum_hub::{
    FormReading, HubError, OptionsForm, ProfileChoice, ServerPermit, StartError, StartInput,
};
use serde_json::{Map, Value};

use super::token::sentence;
use super::{errors, next};
use crate::api::server_bodies::checked_options;
use crate::caller::{PageCaller, check_xsrf, found, store_failed};
use crate::error::status_of_failure;
use crate::forms::{MAX_FIELDS, too_many_fields};
use crate::render::{ProfileOption, SpawnPage};
use crate::server_path::ServerPath;
use crate::uploads::{Filled, interpret, push};
use crate::visit::Visitor;
use crate::{ApiError, Web};

/// How long the page waits for an early error before it shows the progress.
const EARLY: Duration = Duration::from_secs(1);

pub(crate) async fn own(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let name = caller.session.user.name.to_string();
    by_link(&web, &caller, &name, "", request).await
}

pub(crate) async fn link(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    by_link(&web, &caller, &path.user, &path.server, request).await
}

pub(crate) async fn own_form(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let name = caller.session.user.name.to_string();
    by_form(&web, &caller, &name, "", request).await
}

pub(crate) async fn form(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    by_form(&web, &caller, &path.user, &path.server, request).await
}

async fn by_link(
    web: &Web,
    caller: &PageCaller,
    user: &str,
    server: &str,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(web, &parts, Some(&caller.session));
    let permit = match permit(web, caller, &visitor, user, server).await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    let mut spawn = Spawn {
        web,
        caller,
        visitor: &visitor,
        parts: &parts,
        permit: &permit,
        choice: ProfileChoice::default(),
    };
    // A name that cannot be one is told before anything is asked.
    if let Err(error) = web.hub().may_start(&permit).await {
        return spawn.refused(&error);
    }
    let state = web.hub().see(&permit).state;
    if state.is_ready() {
        let url = permit.server().url_path(&web.hub().settings().base_url);
        return found(&next::safe(web, &parts, None).unwrap_or(url));
    }
    if state.is_active() {
        return found(&spawn.pending_url());
    }
    let display_name = match spawn.display_name() {
        Ok(name) => name,
        Err(response) => return *response,
    };
    if let Err(response) = spawn.find_choice().await {
        return *response;
    }
    match query_options(&parts, reading(web)) {
        Ok(None) if spawn.asks() => spawn.form_page(StatusCode::OK, None),
        Ok(user_options) => {
            spawn.prefer(user_options.as_ref());
            let input = StartInput {
                user_options,
                display_name,
            };
            spawn.start(input).await
        }
        Err(error) => errors::page(web, &visitor, error.status(), error.message()),
    }
}

async fn by_form(
    web: &Web,
    caller: &PageCaller,
    user: &str,
    server: &str,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(web, &parts, Some(&caller.session));
    let filled = match checked_form(web, caller, &visitor, &parts, body).await {
        Ok(filled) => filled,
        Err(response) => return *response,
    };
    let permit = match permit(web, caller, &visitor, user, server).await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    let mut spawn = Spawn {
        web,
        caller,
        visitor: &visitor,
        parts: &parts,
        permit: &permit,
        choice: ProfileChoice::default(),
    };
    let state = web.hub().see(&permit).state;
    if state.is_ready() {
        // Two windows, two clicks: the second one gets what the first one started.
        return found(&permit.server().url_path(&web.hub().settings().base_url));
    }
    if state.is_active() {
        return found(&spawn.pending_url());
    }
    let display_name = match spawn.display_name() {
        Ok(name) => name,
        Err(response) => return *response,
    };
    if let Err(response) = spawn.find_choice().await {
        return *response;
    }
    let options = filled
        .options(reading(web))
        .map(checked_options)
        .transpose();
    match options {
        Ok(user_options) => {
            spawn.prefer(user_options.as_ref());
            let input = StartInput {
                user_options,
                display_name,
            };
            spawn.start(input).await
        }
        Err(error) => {
            let text = error.message().unwrap_or_default().to_owned();
            spawn.ask_again(error.status(), &text)
        }
    }
}

/// Reads a form of ours, and checks that it is; the error is the answer.
pub(crate) async fn checked_form(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    parts: &Parts,
    body: Body,
) -> Result<Filled, Box<Response>> {
    let filled = Filled::read(parts, body)
        .await
        .map_err(|error| Box::new(errors::page(web, visitor, error.status(), error.message())))?;
    check_xsrf(web, parts, Some(&caller.session), filled.get("_xsrf")).map_err(|error| {
        tracing::info!(reason = %error, "refused a form without a valid XSRF token");
        let text = Some(errors::STALE_FORM);
        Box::new(errors::page(web, visitor, StatusCode::FORBIDDEN, text))
    })?;
    Ok(filled)
}

fn reading(web: &Web) -> FormReading {
    let form = web.hub().settings().servers.options_form.as_ref();
    form.map(|form| form.reading).unwrap_or_default()
}

/// Checks that the caller may start this server; a name that no server can have is a mistake of its own.
async fn permit(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    user: &str,
    server: &str,
) -> Result<ServerPermit<ManageServer>, Box<Response>> {
    if let Err(error) = ServerName::parse(server) {
        manage(web, caller, visitor, user, "").await?;
        let status = StatusCode::BAD_REQUEST;
        return Err(Box::new(errors::page(
            web,
            visitor,
            status,
            Some(&error.to_string()),
        )));
    }
    manage(web, caller, visitor, user, server).await
}

/// Checks that the caller may start and stop this server; the error is the answer.
pub(crate) async fn manage(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    user: &str,
    server: &str,
) -> Result<ServerPermit<ManageServer>, Box<Response>> {
    web.hub()
        .permit_server(&caller.principal, user, server)
        .await
        .map_err(|error| {
            Box::new(match error {
                HubError::Denied(lyceum_hub::Denied::NotFound) => {
                    errors::page(web, visitor, StatusCode::NOT_FOUND, None)
                }
                HubError::Denied(lyceum_hub::Denied::Forbidden) => {
                    errors::page(web, visitor, StatusCode::FORBIDDEN, None)
                }
                HubError::Store(error) => {
                    let error = store_failed(&error);
                    errors::page(web, visitor, error.status(), error.message())
                }
            })
        })
}

/// A start by page: who asks for what.
struct Spawn<'a> {
    web: &'a Web,
    caller: &'a PageCaller,
    visitor: &'a Visitor,
    parts: &'a Parts,
    permit: &'a ServerPermit<ManageServer>,
    /// Which profiles there are to choose among, and which one is chosen at first.
    choice: ProfileChoice,
}

impl Spawn<'_> {
    /// Finds out what there is to choose; the error is the answer.
    async fn find_choice(&mut self) -> Result<(), Box<Response>> {
        match self.web.hub().profile_choice(self.permit).await {
            Ok(choice) => {
                self.choice = choice;
                Ok(())
            }
            Err(error) => {
                let error = store_failed(&error);
                let (status, text) = (error.status(), error.message());
                Err(Box::new(errors::page(self.web, self.visitor, status, text)))
            }
        }
    }

    /// Whether there is anything to ask.
    fn asks(&self) -> bool {
        self.form().is_some() || self.choice.is_one()
    }

    /// If the form is shown again, it begins with the profile that was chosen now.
    fn prefer(&mut self, options: Option<&Map<String, Value>>) {
        let chosen = match options.and_then(|options| options.get(profiles::OPTION)) {
            Some(Value::Array(list)) => list.first().and_then(Value::as_str),
            other => other.and_then(Value::as_str),
        };
        let offered = |name: &&str| self.choice.all.iter().any(|one| one.name == *name);
        if let Some(name) = chosen.filter(offered) {
            self.choice.chosen = Some(name.to_owned());
        }
    }

    async fn start(&mut self, input: StartInput) -> Response {
        match self.web.hub().request_start(self.permit, input).await {
            Ok(()) => {
                let early = self.web.hub().await_start_for(self.permit, EARLY).await;
                match early {
                    // What was chosen may be why: it can be changed at once.
                    Err(failure) if self.asks() => {
                        let text = format!("{} {}", failure.message, failure.hint);
                        // A profile that was refused just now is not chosen again.
                        if failure.cause == Cause::NotAllowed
                            && let Err(response) = self.find_choice().await
                        {
                            return *response;
                        }
                        self.ask_again(status_of_failure(&failure), &text)
                    }
                    // The page that follows shows an early error, too.
                    _ => found(&self.pending_url()),
                }
            }
            Err(StartError::Refused(
                Refusal::AlreadyRunning
                | Refusal::AlreadyStarting
                | Refusal::Stopping
                | Refusal::Checking,
            )) => found(&self.pending_url()),
            Err(error) => self.refused(&error),
        }
    }

    fn form(&self) -> Option<&OptionsForm> {
        self.web.hub().settings().servers.options_form.as_ref()
    }

    /// Says why there is no start; above the form, if there is one.
    fn refused(&self, error: &StartError) -> Response {
        let status = match error {
            StartError::Refused(refusal) if refusal.is_of_hub() => StatusCode::SERVICE_UNAVAILABLE,
            StartError::Name(_)
            | StartError::NamedServersOff
            | StartError::TooManyNamed(_)
            | StartError::Profile(_)
            | StartError::Refused(_) => StatusCode::BAD_REQUEST,
            StartError::Busy(_) | StartError::Full | StartError::NoMemory => {
                StatusCode::TOO_MANY_REQUESTS
            }
            StartError::Failed(failure) => status_of_failure(failure),
            StartError::Store(source) => {
                let error = store_failed(source);
                return errors::page(self.web, self.visitor, error.status(), error.message());
            }
        };
        let text = error.to_string();
        let may_help = matches!(
            error,
            StartError::Busy(_) | StartError::Full | StartError::NoMemory | StartError::Profile(_)
        );
        let mut response = if may_help {
            self.ask_again(status, &sentence(&text))
        } else {
            errors::page(self.web, self.visitor, status, Some(&text))
        };
        if let StartError::Busy(seconds) = error
            && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
        {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }

    /// Shows the form again, or an error where there is none.
    fn ask_again(&self, status: StatusCode, text: &str) -> Response {
        if self.asks() {
            self.form_page(status, Some(text.to_owned()))
        } else {
            errors::page(self.web, self.visitor, status, Some(text))
        }
    }

    fn form_page(&self, status: StatusCode, problem: Option<String>) -> Response {
        let chosen = self.choice.chosen.as_deref();
        let offered = self.choice.all.iter().filter(|_| self.choice.is_one());
        let page = SpawnPage {
            subject: subject(self.caller, self.permit.server()),
            action: self.action(),
            xsrf: self.visitor.xsrf(self.web),
            profiles: offered
                .map(|profile| ProfileOption::new(profile, chosen))
                .collect(),
            fields: self
                .form()
                .map(|form| form.html.clone())
                .unwrap_or_default(),
            problem,
        };
        self.visitor.page(self.web, status, &page)
    }

    /// Where the form is posted to: here, with what is not of the form.
    fn action(&self) -> String {
        let base = &self.web.hub().settings().base_url;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for key in ["next", "display_name"] {
            if let Some(value) = next::query(self.parts, key) {
                query.append_pair(key, &value);
            }
        }
        let (path, query) = (self.permit.server().hub_path(base, "spawn"), query.finish());
        if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        }
    }

    /// The name that people shall see of a new server; the default one has none.
    fn display_name(&self) -> Result<Option<String>, Box<Response>> {
        let name = next::query(self.parts, "display_name")
            .filter(|name| !name.is_empty() && !self.permit.server().server.is_default());
        name.map(|name| display_name::display_name(&name))
            .transpose()
            .map_err(|error| {
                let (status, text) = (StatusCode::BAD_REQUEST, error.to_string());
                Box::new(errors::page(self.web, self.visitor, status, Some(&text)))
            })
    }

    /// The page of the progress, with the options of the link as in JupyterHub; it leads on to `next`.
    fn pending_url(&self) -> String {
        let base = &self.web.hub().settings().base_url;
        let url = self.permit.server().hub_path(base, "spawn-pending");
        let query = self.parts.uri.query().unwrap_or_default();
        let mut kept: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .filter(|pair| {
                let key = pair.split('=').next().unwrap_or_default();
                !matches!(key, "next" | "display_name" | "_xsrf")
            })
            .map(str::to_owned)
            .collect();
        if let Some(next) = next::safe(self.web, self.parts, None) {
            kept.push(format!("next={}", escape::query_value(&next)));
        }
        if kept.is_empty() {
            url
        } else {
            format!("{url}?{}", kept.join("&"))
        }
    }
}

/// Options in the query of a link: those that begin with `opt-` if there are any, else all but the hub's own.
fn query_options(
    parts: &Parts,
    reading: FormReading,
) -> Result<Option<Map<String, Value>>, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .take(MAX_FIELDS + 1)
        .collect();
    if pairs.len() > MAX_FIELDS {
        return Err(too_many_fields());
    }
    let marked = pairs.iter().any(|(key, _)| key.starts_with("opt-"));
    let mut options = Map::new();
    for (key, value) in &pairs {
        let key = match key.strip_prefix("opt-") {
            Some("") => {
                return Err(ApiError::with(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "`opt-` is the beginning of an option's name, and lacks the name",
                ));
            }
            Some(key) => key,
            None if !marked
                && !matches!(&**key, "next" | "display_name" | "_xsrf" | "redirects") =>
            {
                key.as_ref()
            }
            None => continue,
        };
        push(&mut options, key, Value::String(value.to_string()));
    }
    interpret(&mut options, reading);
    let options = (!options.is_empty()).then_some(options);
    options.map(checked_options).transpose()
}

/// Names a server of somebody, for pages about it.
pub(crate) fn subject(caller: &PageCaller, server: &ServerRef) -> Option<String> {
    let own = server.user == caller.session.user.name;
    match (own, server.server.is_default()) {
        (true, true) => None,
        (false, true) => Some(server.user.to_string()),
        (_, false) => Some(server.to_string()),
    }
}
