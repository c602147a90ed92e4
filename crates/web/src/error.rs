//! The one place with status codes: errors as JSON for the API, as pages for people.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use lyceum_core::lifecycle::{Cause, Failure};
use serde_json::json;

/// An error of the REST API: `{"status": …, "message": …}`, as JupyterHub writes it.
///
/// The message is `null` where nothing better is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: Option<String>,
    retry_after: Option<u64>,
}

impl ApiError {
    /// An error without a message.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            message: None,
            retry_after: None,
        }
    }

    /// The request is wrong in itself.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::with(StatusCode::BAD_REQUEST, message)
    }

    /// An error with a message for the person who made the request.
    pub fn with(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: Some(message.into()),
            retry_after: None,
        }
    }

    /// Not permitted, or nobody is logged in: JupyterHub answers 403 to both.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN)
    }

    /// It does not exist, or the caller may not know.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    /// Says after how many seconds another try makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message, if there is one.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// The status of a start that failed: what the rules refuse is not permitted, what the machine lacks is our fault.
pub(crate) fn status_of_failure(failure: &Failure) -> StatusCode {
    match failure.cause {
        Cause::NotAllowed => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"status": self.status.as_u16(), "message": self.message}).to_string();
        let mut response = (
            self.status,
            [(header::CONTENT_TYPE, "application/json")],
            body,
        )
            .into_response();
        if let Some(seconds) = self.retry_after
            && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
        {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}
