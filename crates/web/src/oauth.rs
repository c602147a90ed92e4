//! The OAuth2 endpoints: `authorize` is a page, `token` an API call of servers and services.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use lyceum_core::oauth::{AuthorizeParams, TokenError, TokenRequest, TokenResponse};
use lyceum_core::scope::RawScope;
use lyceum_hub::oauth::{Answer, Authorization, AuthorizeFailure, Consent, ExchangeFailure};

use crate::Web;
use crate::api::endpoints::{Endpoints, Rule};
use crate::caller::{PageCaller, check_xsrf, found, store_failed, target};
use crate::forms::Form;
use crate::gate::no_entry;
use crate::pages::errors;
use crate::render::{ConfirmPage, ScopeLine};
use crate::visit::Visitor;

/// What servers and services call; `authorize` is a page.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default().post(
        "/oauth2/token",
        Rule::Other("an OAuth client with its secret and a code"),
        token,
    )
}

/// `GET …/oauth2/authorize`.
pub(crate) async fn authorize(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    answer(&web, &caller, &visitor, &parts, Answer::NotAsked).await
}

/// `POST …/oauth2/authorize`: what the user has said on the confirm page.
pub(crate) async fn confirm(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    let form = match Form::read(body).await {
        Ok(form) => form,
        Err(error) => return errors::page(&web, &visitor, error.status(), error.message()),
    };
    if let Err(error) = check_xsrf(&web, &parts, Some(&caller.session), form.get("_xsrf")) {
        tracing::info!(reason = %error, "refused a consent without a valid XSRF token");
        return errors::page(
            &web,
            &visitor,
            StatusCode::FORBIDDEN,
            Some(errors::STALE_FORM),
        );
    }
    if form.get("refuse").is_some() {
        return answer(&web, &caller, &visitor, &parts, Answer::Refused).await;
    }
    let scopes: Vec<String> = form.all("scopes").map(str::to_owned).collect();
    answer(&web, &caller, &visitor, &parts, Answer::Granted(&scopes)).await
}

async fn answer(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    parts: &Parts,
    answer: Answer<'_>,
) -> Response {
    let query = parts.uri.query().unwrap_or_default();
    let params = AuthorizeParams::from_pairs(form_urlencoded::parse(query.as_bytes()).into_owned());
    let session = &caller.session;
    let client_id = params.client_id().unwrap_or_default().to_owned();
    let result = web
        .hub()
        .authorize(
            &session.user,
            &session.public_id,
            &caller.principal,
            params,
            answer,
        )
        .await;
    match result {
        Ok(Authorization::Redirect(location)) => {
            let mut response = found(&location);
            // The server that the browser comes to reads the session id from its cookie.
            visitor.set_cookies(web, response.headers_mut());
            response
        }
        Ok(Authorization::Confirm(consent)) => show(web, visitor, parts, &consent),
        Err(AuthorizeFailure::Page(error)) => errors::page(
            web,
            visitor,
            StatusCode::BAD_REQUEST,
            Some(&error.to_string()),
        ),
        Err(AuthorizeFailure::MayNot) => {
            match web.hub().settings().find_site_of_client(&client_id) {
                Some(site) => no_entry(web, visitor, site, session.user.name.as_str()),
                None => errors::page(web, visitor, StatusCode::FORBIDDEN, None),
            }
        }
        Err(error @ AuthorizeFailure::Orphan) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an OAuth client belongs to nothing"
            );
            let text = "The server or service that asks does not exist any more.";
            errors::page(web, visitor, StatusCode::BAD_REQUEST, Some(text))
        }
        Err(AuthorizeFailure::Store(error)) => {
            let error = store_failed(&error);
            errors::page(web, visitor, error.status(), error.message())
        }
    }
}

fn show(web: &Web, visitor: &Visitor, parts: &Parts, consent: &Consent) -> Response {
    let viewer = visitor
        .session
        .as_ref()
        .map(|session| session.user.name.to_string())
        .unwrap_or_default();
    let catalogue = web.hub().catalogue();
    let line = |scope: &RawScope| {
        let words = catalogue.description(&scope.name);
        let words = (!words.is_empty()).then(|| words.to_owned());
        ScopeLine::new(&scope.to_string(), &viewer, words)
    };
    let destination = match consent.redirect_uri.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default().to_owned(),
        None => visitor.client.host.clone(),
    };
    let page = ConfirmPage {
        action: target(parts).to_owned(),
        xsrf: visitor.xsrf(web),
        client: consent.client.clone(),
        destination,
        scopes: consent.offer.fields.iter().map(line).collect(),
    };
    visitor.page(web, StatusCode::OK, &page)
}

/// `POST …/oauth2/token`.
pub(crate) async fn token(State(web): State<Web>, request: Request) -> Response {
    let Ok(form) = Form::read(request.into_body()).await else {
        return refused(TokenError::InvalidRequest("the body is not a form"));
    };
    let parsed = TokenRequest::parse(form.pairs().map(|(key, value)| (key, value.to_owned())));
    let request = match parsed {
        Ok(request) => request,
        Err(error) => return refused(error),
    };
    match web.hub().exchange(&request).await {
        Ok(answer) => with_headers(
            StatusCode::OK,
            serde_json::to_string(&answer).unwrap_or_default(),
        ),
        Err(ExchangeFailure::Refused(error)) => {
            tracing::info!(client = ?shortened(&request.client_id), reason = %error, "refused to issue an OAuth token");
            refused(error)
        }
        Err(ExchangeFailure::Store(error)) => store_failed(&error).into_response(),
    }
}

/// Enough of an id that anybody may have sent, for the log.
fn shortened(id: &str) -> &str {
    id.char_indices()
        .nth(128)
        .and_then(|(end, _)| id.get(..end))
        .unwrap_or(id)
}

fn refused(error: TokenError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = with_headers(status, error.body().to_string());
    if let Some((name, value)) = error.header() {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

fn with_headers(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    for (name, value) in TokenResponse::HEADERS {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}
