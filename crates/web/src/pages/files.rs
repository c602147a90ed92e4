//! The hub's own static files and the logo.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{errors, next};
use crate::client::header_text;
use crate::visit::Visitor;
use crate::{Web, render};

/// Ten years: a file that is asked for with its version never changes.
const FOR_EVER: &str = "max-age=315360000";

/// `/hub/static/…`.
pub(crate) async fn asset(
    State(web): State<Web>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let Some(asset) = render::asset(&path) else {
        return errors::page(
            &web,
            &Visitor::of(&web, &parts, None),
            StatusCode::NOT_FOUND,
            None,
        );
    };
    let versioned = next::query(&parts, "v").is_some_and(|version| version == asset.hash);
    let cache = if versioned { FOR_EVER } else { "no-cache" };
    file(
        &parts.headers,
        asset.bytes.clone(),
        asset.content_type,
        &asset.hash,
        Some(cache),
    )
}

/// `/hub/logo`.
pub(crate) async fn logo(State(web): State<Web>, headers: HeaderMap) -> Response {
    if let Some((bytes, content_type)) = &web.settings().logo {
        return file(&headers, bytes.clone(), content_type, web.logo_hash(), None);
    }
    match render::asset("logo.svg") {
        Some(asset) => file(
            &headers,
            asset.bytes.clone(),
            asset.content_type,
            &asset.hash,
            None,
        ),
        None => errors::plain(StatusCode::NOT_FOUND),
    }
}

/// `/favicon.ico`: browsers ask for it on pages that name no icon of their own.
pub(crate) async fn favicon(headers: HeaderMap) -> Response {
    match render::asset("favicon.svg") {
        Some(asset) => file(
            &headers,
            asset.bytes.clone(),
            asset.content_type,
            &asset.hash,
            Some("max-age=86400"),
        ),
        None => errors::plain(StatusCode::NOT_FOUND),
    }
}

/// `/robots.txt`: there is nothing here for search engines.
pub(crate) async fn robots() -> Response {
    const TEXT: &str = "User-agent: *\nDisallow: /\n";
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        TEXT,
    )
        .into_response()
}

/// A proof for an authority that nobody here knows: an authority that is sent on would look for it behind a login.
pub(crate) async fn no_challenge() -> Response {
    errors::plain(StatusCode::NOT_FOUND)
}

fn file(
    request: &HeaderMap,
    bytes: bytes::Bytes,
    content_type: &'static str,
    hash: &str,
    cache: Option<&'static str>,
) -> Response {
    let tag = format!("\"{hash}\"");
    let known = header_text(request, &header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',')
            .any(|known| known.trim().trim_start_matches("W/") == tag)
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (
            StatusCode::OK,
            [(header::CONTENT_TYPE, content_type)],
            bytes,
        )
            .into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if let Some(cache) = cache {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    }
    response
}
