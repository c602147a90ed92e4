//! `/hub/api/share-codes`: codes that can be exchanged for shares, on the page `/hub/accept-share`.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use lyceum_core::clock::iso_format;
use lyceum_core::ids::ShareCodeId;
use lyceum_core::{Secret, escape};
use lyceum_hub::Paged;
use lyceum_hub::permit::{ListShares, ManageShares, ReadShares};
use lyceum_hub::share_codes::{DeleteCodes, ShareCodeView};
use lyceum_hub::shares::{ShareError, with_filter};
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoints, Rule};
use super::models;
use super::pagination::{PageAsked, Paging};
use super::shares::{object, scopes, server_model};
use crate::caller::ApiCaller;
use crate::forms::Json;
use crate::server_path::ServerPath;
use crate::{ApiError, Web};

/// How long a code works, in seconds, unless something else is asked for: a day.
const USUAL_LIFETIME: u64 = 24 * 60 * 60;
/// A minute.
const SHORTEST_LIFETIME: u64 = 60;
/// A year.
const LONGEST_LIFETIME: u64 = 365 * 24 * 60 * 60;

pub(crate) fn endpoints() -> Endpoints {
    // The default server, and one with a name. Without the slash, there is no server: that is for the list only.
    ["/share-codes/{user}/", "/share-codes/{user}/{server}"]
        .into_iter()
        .fold(Endpoints::default(), |endpoints, path| {
            endpoints
                .get(path, Rule::of::<ReadShares>(), of_server)
                .post(path, Rule::of::<ManageShares>(), create)
                .delete(path, Rule::of::<ManageShares>(), delete)
        })
        .get("/share-codes/{user}", Rule::of::<ListShares>(), of_owner)
}

async fn of_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_server::<ReadShares>(&caller, &path.user, &path.server)
        .await?;
    let paging = asked.paging(&web)?;
    let found = web.hub().codes_of_server(&permit, paging.page()).await?;
    Ok(list(&web, &paging, &found))
}

async fn of_owner(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(user): Path<String>,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<ListShares>(&caller, &user).await?;
    let paging = asked.paging(&web)?;
    let found = web.hub().codes_of_owner(&permit, paging.page()).await?;
    Ok(list(&web, &paging, &found))
}

async fn create(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_server::<ManageShares>(&caller, &path.user, &path.server)
        .await?;
    let body = object(body.parse()?, &["scopes", "expires_in"])?;
    let scopes = scopes(&body)?;
    let lifetime = match body.get("expires_in") {
        None => Duration::from_secs(USUAL_LIFETIME),
        Some(value) => lifetime(value)?,
    };
    let (view, code) = web
        .hub()
        .create_share_code(&caller, &permit, &scopes, lifetime)
        .await?;
    let mut model = model(&web, &view);
    let accept_url = format!(
        "{}accept-share?code={}",
        web.hub_url(),
        escape::query_value(code.expose())
    );
    let public = web.hub().settings().public_url.as_deref();
    let full = public.map(|public| format!("{}{accept_url}", public.trim_end_matches('/')));
    model.insert("code".to_owned(), json!(code.expose()));
    model.insert("accept_url".to_owned(), json!(accept_url));
    model.insert("full_accept_url".to_owned(), json!(full));
    Ok(models::answer(&Value::Object(model)))
}

async fn delete(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_server::<ManageShares>(&caller, &path.user, &path.server)
        .await?;
    let which = which(&query.unwrap_or_default())?;
    web.hub().delete_share_codes(&permit, &which).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reads which codes are to be deleted: `code` comes before `id`. One that is there, but names none, is a mistake:
/// it must not delete all.
fn which(query: &str) -> Result<DeleteCodes, ShareError> {
    let value = |name: &str| {
        let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let found = fields.iter().rfind(|(key, _)| key == name);
        found.map(|(_, value)| value.trim().to_owned())
    };
    if let Some(code) = value("code") {
        return Ok(DeleteCodes::Code(Secret::new(code)));
    }
    let Some(id) = value("id") else {
        return Ok(DeleteCodes::All);
    };
    id.strip_prefix("sc_")
        .filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map(|id| DeleteCodes::Id(ShareCodeId(id)))
        .ok_or(ShareError::NoShare)
}

/// Reads how long a code is to work: whole seconds, also written as a text, as JupyterHub takes them.
fn lifetime(value: &Value) -> Result<Duration, ApiError> {
    let seconds = match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    seconds
        .filter(|seconds| (SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            ApiError::bad_request(format!(
                "`expires_in` must be a number of seconds, from {SHORTEST_LIFETIME} to {LONGEST_LIFETIME}"
            ))
        })
}

/// Takes `60.0` for 60.
fn whole(number: f64) -> Option<u64> {
    let duration = Duration::try_from_secs_f64(number).ok()?;
    (duration.subsec_nanos() == 0).then_some(duration.as_secs())
}

fn list(web: &Web, paging: &Paging, found: &Paged<ShareCodeView>) -> Response {
    let items = found
        .items
        .iter()
        .map(|code| Value::Object(model(web, code)));
    paging.answer_wrapped(Value::Array(items.collect()), found.total)
}

/// Writes a code, but not the code itself (JupyterHub `_ShareAPIHandler.share_code_model`).
fn model(web: &Web, view: &ShareCodeView) -> Map<String, Value> {
    let code = &view.code;
    let model = json!({
        "server": server_model(web, &code.server, view.ready),
        "scopes": with_filter(&code.scopes, &code.server),
        "id": format!("sc_{}", code.id),
        "created_at": iso_format(code.created),
        "expires_at": models::time(code.expires_at),
        "exchange_count": code.exchange_count,
        "last_exchanged_at": models::time(code.last_exchanged_at),
    });
    match model {
        Value::Object(model) => model,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_whole_number_of_seconds_from_a_minute_to_a_year() {
        for (value, seconds) in [
            (json!(60), 60),
            (json!(60.0), 60),
            (json!("60"), 60),
            (json!(" 3600 "), 3600),
            (json!(31_536_000), 31_536_000),
        ] {
            assert_eq!(
                lifetime(&value),
                Ok(Duration::from_secs(seconds)),
                "{value}"
            );
        }
        for value in [
            json!(59),
            json!(-60),
            json!(60.5),
            json!(31_536_001),
            json!(1e300),
            json!(""),
            json!("an hour"),
            json!(true),
            json!(null),
            json!([60]),
        ] {
            assert!(lifetime(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_query_that_names_no_code_does_not_delete_all() {
        assert!(matches!(which(""), Ok(DeleteCodes::All)));
        assert!(matches!(which("x=1"), Ok(DeleteCodes::All)));
        assert!(matches!(
            which("id=sc_7"),
            Ok(DeleteCodes::Id(ShareCodeId(7)))
        ));
        assert!(matches!(which("id=sc_7&code=x"), Ok(DeleteCodes::Code(_))));
        assert!(matches!(which("code="), Ok(DeleteCodes::Code(_))));
        for query in [
            "id=",
            "id=7",
            "id=sc_",
            "id=sc_7x",
            "id=sc_-7",
            "id=sc_99999999999999999999",
        ] {
            assert!(which(query).is_err(), "{query}");
        }
    }
}
