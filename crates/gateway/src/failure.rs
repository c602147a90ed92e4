//! Requests that cannot be served: why, and the page that says so.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};

use crate::body::Body;
use crate::head::{Field, find, with_request};
use crate::pages::{self, ErrorContext, ErrorReason};
use crate::plan::Plan;
use crate::request_id::{self, RequestId};
use crate::serve::Core;
use crate::table::Entry;

/// Fields of a head that was written here, at most.
const MOST_FIELDS: usize = 4096;

/// A request that cannot be served, with what its error page needs.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: ErrorReason,
    /// The route, if one was found.
    pub(crate) entry: Option<Arc<Entry>>,
    id: RequestId,
    path_and_query: String,
    wants_json: bool,
    languages: String,
    cookies: String,
    /// What is said of it, if not the usual.
    pub(crate) message: Option<String>,
    /// After how many seconds it is worth another try.
    pub(crate) retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn of(
        reason: ErrorReason,
        target: &str,
        fields: &[Field<'_>],
        id: RequestId,
    ) -> Self {
        let text = |name: &str| {
            find(fields, name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .unwrap_or_default()
        };
        Self {
            reason,
            entry: None,
            id,
            wants_json: pages::wants_json(target, find(fields, "accept").unwrap_or_default()),
            path_and_query: target.to_owned(),
            languages: text("accept-language"),
            cookies: text("cookie"),
            message: None,
            retry_after: None,
        }
    }

    /// For a request of which nothing is known.
    pub(crate) fn unknown(reason: ErrorReason) -> Self {
        Self::of(reason, "", &[], RequestId::new())
    }

    /// For a request that was to go to an upstream.
    pub(crate) fn of_plan(reason: ErrorReason, plan: &Plan) -> Self {
        let found = with_request(&plan.head.0, MOST_FIELDS, |head| {
            let target = plan.original.as_deref().unwrap_or(head.target);
            Self::of(reason, target, head.fields, plan.id)
        });
        let mut failure = found.unwrap_or_else(|_| Self::unknown(reason));
        failure.entry = Some(Arc::clone(&plan.entry));
        failure
    }

    /// For a request that was to go to the hub.
    pub(crate) fn of_request<B>(reason: ErrorReason, request: &Request<B>, id: RequestId) -> Self {
        let text = |name: &str| {
            request
                .headers()
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default()
        };
        let target = request.uri().to_string();
        Self {
            reason,
            entry: None,
            id,
            wants_json: pages::wants_json(&target, text("accept").as_bytes()),
            path_and_query: target,
            languages: text("accept-language"),
            cookies: text("cookie"),
            message: None,
            retry_after: None,
        }
    }

    /// The same with another reason.
    pub(crate) fn because(self, reason: ErrorReason) -> Self {
        Self { reason, ..self }
    }

    fn context(self) -> ErrorContext {
        ErrorContext {
            reason: self.reason,
            route: self.entry.map(|entry| entry.route.spec.clone()),
            path_and_query: self.path_and_query,
            wants_json: self.wants_json,
            languages: self.languages,
            cookies: self.cookies,
            request_id: self.id.to_string(),
            message: self.message,
            retry_after: self.retry_after,
        }
    }
}

/// Makes the answer with an error page.
pub(crate) async fn fail(core: &Core, failure: Failure) -> Response<Body> {
    let id = failure.id;
    let reason = failure.reason;
    let status = reason.status();
    let retry_after = failure.retry_after;
    let context = failure.context();
    // Programs get our JSON, and broken requests no work.
    let worth_a_page = status.is_server_error()
        || matches!(
            reason,
            ErrorReason::ContentTooLarge
                | ErrorReason::Forbidden
                | ErrorReason::NoCertificate
                | ErrorReason::NotFound
        );
    let for_all = core.parts.options.error_pages_for_all;
    let rendered = if !for_all && (context.wants_json || !worth_a_page) {
        None
    } else {
        core.hub.render(context.clone()).await
    };
    let page = rendered.unwrap_or_else(|| pages::plain(&context));
    let mut response = own(status, page.body, id);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, page.content_type);
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Whether nobody knows, after an error, what the next bytes of the client mean.
pub(crate) fn ends_connection(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::BadRequest
            | ErrorReason::RequestTimeout
            | ErrorReason::MethodNotAllowed
            | ErrorReason::HeadTooLarge
            | ErrorReason::TargetTooLong
            | ErrorReason::ContentTooLarge
    )
}

/// An answer of the gateway's own.
pub(crate) fn own(status: StatusCode, body: Bytes, id: RequestId) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    if let Some(id) = id.header_value() {
        response.headers_mut().insert(request_id::HEADER, id);
    }
    response
}
