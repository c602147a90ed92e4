//! `/hub/language/CODE`: remembers the language that somebody chose, and goes back.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;

use super::{errors, next};
use crate::Web;
use crate::caller::found;
use crate::cookies::{self, Attributes, Keep};
use crate::render::Language;
use crate::visit::Visitor;

const A_YEAR: Keep = Keep::For(Duration::from_hours(365 * 24));

pub(crate) async fn choose(
    State(web): State<Web>,
    Path(code): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, None);
    let Some(language) = Language::find(&code) else {
        return errors::page(&web, &visitor, StatusCode::NOT_FOUND, None);
    };
    let place = next::safe(&web, &parts, None).unwrap_or_else(|| web.hub_url());
    let mut response = found(&place);
    let attributes = Attributes {
        // The gateway's own pages, such as that of a server that does not answer, are outside of the hub's path.
        path: &web.hub().settings().base_url,
        secure: visitor.secure(&web),
        http_only: true,
        lax: true,
        keep: A_YEAR,
    };
    cookies::set(
        response.headers_mut(),
        cookies::LANGUAGE,
        language.code(),
        attributes,
    );
    response
}
