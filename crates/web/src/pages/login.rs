//! `/hub/login` and `/hub/logout`.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lyceum_core::seams::{Attempt, ClosedAccount};
use lyceum_core::{Secret, random};
use lyceum_hub::login::{Browser, NewLogin};
use lyceum_hub::{LoginError, Session};

use super::{errors, next};
use crate::caller::{MaybeCaller, check_xsrf, found};
use crate::client::header_text;
use crate::cookies::{self, Attributes, Keep};
use crate::forms::Form;
use crate::render::{LoginPage, LoginProblem};
use crate::visit::Visitor;
use crate::{Web, maintenance};

/// Shows the form, or goes on if somebody is logged in already.
pub(crate) async fn form(
    State(web): State<Web>,
    MaybeCaller(caller): MaybeCaller,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    if let Some(caller) = caller {
        let place = next::safe(&web, &parts, None)
            .unwrap_or_else(|| next::default_place(&web, &parts, Some(&caller.session)));
        let mut response = found(&place);
        Visitor::of(&web, &parts, Some(&caller.session)).set_cookies(&web, response.headers_mut());
        return response;
    }
    let visitor = Visitor::anonymous(&web, &parts);
    let username = next::query(&parts, "username").unwrap_or_default();
    let mut response = show(
        &web,
        &visitor,
        &parts,
        StatusCode::OK,
        shortened(&username),
        None,
    );
    if cookies::first(&parts.headers, cookies::LOGIN).is_some() {
        // It is expired, ended or forged.
        cookies::clear(response.headers_mut(), cookies::LOGIN, &web.hub_url());
    }
    response
}

/// Takes the form.
pub(crate) async fn submit(State(web): State<Web>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::anonymous(&web, &parts);
    let form = match Form::read(body).await {
        Ok(form) => form,
        Err(error) => return errors::page(&web, &visitor, error.status(), error.message()),
    };
    let username = form.get("username").unwrap_or_default().trim().to_owned();
    if let Err(error) = check_login_xsrf(&web, &parts, &form).await {
        tracing::info!(reason = %error, "a login form came without a valid XSRF token; it is shown again");
        return show(
            &web,
            &visitor,
            &parts,
            StatusCode::FORBIDDEN,
            shortened(&username),
            Some(LoginProblem::StaleForm),
        );
    }
    let attempt = Attempt {
        username: username.clone(),
        password: Secret::from(form.get("password").unwrap_or_default()),
        client_addr: visitor.client.addr_text(),
    };
    let browser = Browser {
        addr: visitor.client.addr_text(),
        user_agent: header_text(&parts.headers, &header::USER_AGENT)
            .unwrap_or_default()
            .chars()
            .take(256)
            .collect(),
    };
    match web.hub().log_in(attempt, &browser).await {
        Ok(login) => {
            let is_admin = login.session.user.admin;
            let Some(refusal) = maintenance::refuse_login(&web, &parts, is_admin) else {
                return logged_in(&web, visitor, &parts, &form, login);
            };
            if let Err(error) = web.hub().log_out(&login.session).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not end a login during maintenance; its cookie was given to nobody"
                );
            }
            refusal
        }
        Err(error) => {
            let mut wait = None;
            let (status, problem) = match &error {
                LoginError::Credentials => (StatusCode::FORBIDDEN, LoginProblem::Credentials),
                LoginError::Name(_) => (StatusCode::FORBIDDEN, LoginProblem::Name),
                LoginError::Closed(ClosedAccount::PasswordExpired) => {
                    (StatusCode::FORBIDDEN, LoginProblem::PasswordExpired)
                }
                LoginError::Closed(ClosedAccount::NotUsable) => {
                    (StatusCode::FORBIDDEN, LoginProblem::AccountClosed)
                }
                LoginError::NotAdmitted => (StatusCode::FORBIDDEN, LoginProblem::NotAllowed),
                LoginError::Slowed { seconds, .. } => {
                    wait = Some(*seconds);
                    (StatusCode::TOO_MANY_REQUESTS, LoginProblem::TooMany)
                }
                LoginError::Unavailable(_) | LoginError::TooSlow => {
                    (StatusCode::SERVICE_UNAVAILABLE, LoginProblem::Unavailable)
                }
                LoginError::Store(source) => {
                    tracing::error!(
                        error = source as &dyn std::error::Error,
                        "a login failed because of the database"
                    );
                    (StatusCode::SERVICE_UNAVAILABLE, LoginProblem::Unavailable)
                }
            };
            let page = LoginPage {
                wait_seconds: wait.unwrap_or_default(),
                ..page(&web, &visitor, &parts, shortened(&username), Some(problem))
            };
            let mut response = visitor.page(&web, status, &page);
            if let Some(seconds) = wait {
                let value = HeaderValue::from(seconds);
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
    }
}

/// A browser that is logged in already has tokens of its login; both kinds are right for this form.
async fn check_login_xsrf(
    web: &Web,
    parts: &Parts,
    form: &Form,
) -> Result<(), lyceum_core::xsrf::XsrfError> {
    let token = form.get("_xsrf");
    let anonymous = check_xsrf(web, parts, None, token);
    if anonymous.is_ok() {
        return anonymous;
    }
    let Some(secret) = cookies::first(&parts.headers, cookies::LOGIN) else {
        return anonymous;
    };
    match web.hub().session(&Secret::new(secret)).await {
        Ok(Some(session)) => check_xsrf(web, parts, Some(&session), token),
        _ => anonymous,
    }
}

fn logged_in(web: &Web, visitor: Visitor, parts: &Parts, form: &Form, login: NewLogin) -> Response {
    let session = login.session;
    let session_id = session.public_id.clone();
    let form_next = form.get("next").filter(|next| !next.is_empty());
    let place = next::safe(web, parts, form_next)
        .unwrap_or_else(|| next::default_place(web, parts, Some(&session)));
    let mut response = found(&place);
    let attributes = Attributes {
        path: &web.hub_url(),
        secure: visitor.secure(web),
        http_only: true,
        lax: true,
        keep: Keep::For(web.hub().settings().cookie_max_age),
    };
    cookies::set(
        response.headers_mut(),
        cookies::LOGIN,
        login.secret.expose(),
        attributes,
    );
    // A new session id, so that one that somebody planted before the login is worth nothing.
    visitor
        .with_session(Some(session), session_id)
        .set_cookies(web, response.headers_mut());
    response
}

/// Logs out: the login, and all sessions of servers and services that came from it.
pub(crate) async fn log_out(
    State(web): State<Web>,
    MaybeCaller(caller): MaybeCaller,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let begun = Instant::now();
    let session = caller.map(|caller| caller.session);
    if let Some(session) = &session
        && let Err(error) = web.hub().log_out(session).await
    {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "could not log somebody out"
        );
        let visitor = Visitor::of(&web, &parts, Some(session));
        return errors::page(&web, &visitor, StatusCode::INTERNAL_SERVER_ERROR, None);
    }
    web.hub().metrics().logout(begun.elapsed());
    let mut response = found(&format!("{}login", web.hub_url()));
    if session.is_some() {
        clear_cookies(&web, response.headers_mut());
        let visitor =
            Visitor::of(&web, &parts, None).with_session(None::<Session>, random::hex(16));
        visitor.set_cookies(&web, response.headers_mut());
    }
    response
}

fn clear_cookies(web: &Web, headers: &mut HeaderMap) {
    let base = web.hub().settings().base_url.as_str();
    cookies::clear(headers, cookies::LOGIN, &web.hub_url());
    cookies::clear(headers, cookies::OLD_SERVICES, &format!("{base}services"));
}

fn show(
    web: &Web,
    visitor: &Visitor,
    parts: &Parts,
    status: StatusCode,
    username: String,
    problem: Option<LoginProblem>,
) -> Response {
    let page = page(web, visitor, parts, username, problem);
    visitor.page(web, status, &page)
}

fn page(
    web: &Web,
    visitor: &Visitor,
    parts: &Parts,
    username: String,
    problem: Option<LoginProblem>,
) -> LoginPage {
    let next = next::safe(web, parts, None).unwrap_or_default();
    let action = format!("{}login", web.hub_url());
    let action = if next.is_empty() {
        next::with_query(&action, parts)
    } else {
        format!("{action}?next={}", lyceum_core::escape::query_value(&next))
    };
    LoginPage {
        action,
        next,
        xsrf: visitor.xsrf(web),
        username,
        problem,
        wait_seconds: 0,
    }
}

/// What is shown again of a name that was typed: enough to recognize it.
fn shortened(username: &str) -> String {
    username.chars().take(255).collect()
}
