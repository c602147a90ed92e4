//! Bodies of requests: forms and JSON, read strictly and with a limit.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use crate::ApiError;

/// The largest JSON document that is read into memory.
const LARGE: usize = 1024 * 1024;
/// The largest document with options, which are stored.
const OPTIONS: usize = 256 * 1024;
/// The largest form. Forms come from people who are not logged in, too.
const SMALL: usize = 64 * 1024;
/// How many fields a form, or a set of options, may have.
pub(crate) const MAX_FIELDS: usize = 1000;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_mins(1);

/// The fields of a form, in their order.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form that people fill in, or that a program makes, from a body.
    pub(crate) async fn read(body: Body) -> Result<Self, ApiError> {
        let bytes = read(body, SMALL).await?;
        if percent_encoding::percent_decode(&bytes)
            .decode_utf8()
            .is_err()
        {
            return Err(ApiError::bad_request("the form is not UTF-8 text"));
        }
        let mut fields = form_urlencoded::parse(&bytes);
        let form = fields
            .by_ref()
            .take(MAX_FIELDS)
            .map(|(key, value)| (key.into(), value.into()));
        let form = Self(form.collect());
        match fields.next() {
            None => Ok(form),
            Some(_) => Err(too_many_fields()),
        }
    }

    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a field.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All fields.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// The body of an API request. It is looked into only after it is clear what the caller may do.
#[derive(Debug)]
pub(crate) struct Json(bytes::Bytes);

impl Json {
    /// The body as it came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads it; `None` if there is no body at all.
    pub(crate) fn parse(&self) -> Result<Option<Value>, ApiError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&self.0)
            .map(Some)
            .map_err(|_| ApiError::bad_request("Invalid JSON in body of request"))
    }
}

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read(request.into_body(), LARGE).await.map(Self)
    }
}

/// The body of an API request that carries options, which are stored: it must be small.
#[derive(Debug)]
pub(crate) struct OptionsJson(Json);

impl OptionsJson {
    /// Reads it; `None` if there is no body at all.
    pub(crate) fn parse(&self) -> Result<Option<Value>, ApiError> {
        self.0.parse()
    }
}

impl<S: Send + Sync> FromRequest<S> for OptionsJson {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        read(request.into_body(), OPTIONS)
            .await
            .map(|bytes| Self(Json(bytes)))
    }
}

/// More fields than anybody needs.
pub(crate) fn too_many_fields() -> ApiError {
    ApiError::with(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("there are more than {MAX_FIELDS} fields in the request"),
    )
}

/// Reads a body as it is, up to the size of the largest JSON document.
pub(crate) async fn read_large(body: Body) -> Result<bytes::Bytes, ApiError> {
    read(body, LARGE).await
}

/// Reads a small body as it is.
pub(crate) async fn read_small(body: Body) -> Result<bytes::Bytes, ApiError> {
    read(body, SMALL).await
}

async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, ApiError> {
    read_within(PATIENCE, body, limit).await
}

async fn read_within(
    patience: Duration,
    body: Body,
    limit: usize,
) -> Result<bytes::Bytes, ApiError> {
    let collected = tokio::time::timeout(patience, Limited::new(body, limit).collect())
        .await
        .map_err(|_| {
            ApiError::with(
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request did not arrive in time",
            )
        })?;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                ApiError::with(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!(
                        "the body of the request is larger than {} KiB",
                        limit / 1024
                    ),
                )
            } else {
                ApiError::bad_request("the body of the request broke off")
            }
        })
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let endless = Body::from_stream(tokio_stream::pending::<Result<Bytes, io::Error>>());
        let answer = read_within(Duration::from_millis(10), endless, SMALL).await;
        let status = answer.map_err(|error| error.status());
        assert_eq!(status, Err(StatusCode::REQUEST_TIMEOUT));
    }

    #[tokio::test]
    async fn a_form_has_up_to_so_many_fields() {
        let read = |count: usize| Form::read(Body::from("a&".repeat(count)));
        let fields = read(MAX_FIELDS).await.map(|form| form.pairs().count());
        assert_eq!(fields, Ok(MAX_FIELDS));
        let status = read(MAX_FIELDS + 1).await.map_err(|error| error.status());
        assert_eq!(status.err(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = |length: usize| read(Body::from(vec![b'x'; length]), SMALL);
        assert_eq!(read(SMALL).await.map(|body| body.len()), Ok(SMALL));
        let status = read(SMALL + 1).await.map_err(|error| error.status());
        assert_eq!(status, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
