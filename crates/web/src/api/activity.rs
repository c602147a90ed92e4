//! `POST /hub/api/users/NAME/activity`: single-user servers report when they were used.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_core::Timestamp;
use lyceum_hub::permit::ReportActivity;
use serde_json::{Value, json};

use super::endpoints::{Endpoints, Rule};
use super::models;
use crate::caller::ApiCaller;
use crate::forms::Json;
use crate::{ApiError, Web};

/// Clocks differ a little; beyond this, a time is a mistake.
const AHEAD: Duration = Duration::from_mins(59);

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default().post(
        "/users/{user}/activity",
        Rule::of::<ReportActivity>(),
        report,
    )
}

pub(crate) async fn report(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_user::<ReportActivity>(&caller, &name)
        .await?;
    let Some(Value::Object(body)) = body.parse()? else {
        return Err(ApiError::bad_request(
            "the body must be a JSON object with `last_activity`, `servers`, or both",
        ));
    };
    let latest = web.hub().now().checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    let user_at = match body.get("last_activity") {
        None | Some(Value::Null) => None,
        Some(value) => Some((permit.user().id, read_time(value, latest)?)),
    };
    let mut names = Vec::new();
    let mut times = Vec::new();
    match body.get("servers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(servers)) => {
            for (server, entry) in servers {
                let at = entry.get("last_activity").ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "`last_activity` of server `{server}` is missing"
                    ))
                })?;
                names.push(server.as_str());
                times.push(read_time(at, latest)?);
            }
        }
        Some(_) => {
            return Err(ApiError::bad_request(
                "`servers` must be an object, from names to times",
            ));
        }
    }
    if user_at.is_none() && names.is_empty() {
        return Err(ApiError::bad_request(
            "at least one of `last_activity` and `servers` is needed",
        ));
    }
    let ids = web.hub().server_ids(permit.user(), &names).await?;
    let ids = ids
        .ok_or_else(|| ApiError::bad_request("there is no such server among those of this user"))?;
    let servers: Vec<_> = ids.into_iter().zip(times).collect();
    web.hub()
        .activity()
        .report(user_at, &servers)
        .await
        .map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an activity report waits for the database"
            );
            ApiError::with(
                StatusCode::SERVICE_UNAVAILABLE,
                "the activity could not be written yet",
            )
            .retry_after(10)
        })?;
    let mut response = models::answer(&json!(null));
    *response.body_mut() = axum::body::Body::empty();
    Ok(response)
}

/// Reads an ISO time; without a zone it is UTC.
fn read_time(value: &Value, latest: Timestamp) -> Result<Timestamp, ApiError> {
    let wrong = || ApiError::bad_request("a time must be a text such as 2026-11-23T15:12:30Z");
    let text = value.as_str().ok_or_else(wrong)?.trim();
    let at = text
        .parse::<Timestamp>()
        .or_else(|_| {
            let civil = text.parse::<jiff::civil::DateTime>()?;
            jiff::tz::TimeZone::UTC.to_timestamp(civil)
        })
        .map_err(|_| wrong())?;
    if at > latest {
        return Err(ApiError::bad_request(
            "a time is too far in the future; is a clock wrong?",
        ));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let expected: Timestamp = "2026-11-23T15:12:30Z".parse().unwrap();
        for text in [
            "2026-11-23T15:12:30Z",
            "2026-11-23T15:12:30",
            "2026-11-23T16:12:30+01:00",
            "2026-11-23T15:12:30.000000Z",
        ] {
            assert_eq!(
                read_time(&json!(text), Timestamp::MAX).unwrap(),
                expected,
                "{text}"
            );
        }
        for wrong in [json!("yesterday"), json!(12), json!(null), json!("")] {
            assert!(read_time(&wrong, Timestamp::MAX).is_err(), "{wrong}");
        }
        assert!(read_time(&json!("2026-11-23T15:12:31Z"), expected).is_err());
    }
}
