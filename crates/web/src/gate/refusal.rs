//! What people and programs are told who may not come to a service.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use lyceum_core::service::{ServiceSpec, Visitors};
use lyceum_hub::Principal;

use super::Visit;
use crate::render::{NoEntryPage, NoEntryReason};
use crate::visit::Visitor;
use crate::{ApiError, Web};

/// The page for somebody who is logged in and may not come to a service. Other pages of the hub lead here, too.
pub(crate) fn no_entry(web: &Web, visitor: &Visitor, site: &ServiceSpec, user: &str) -> Response {
    let groups = match &site.visitors {
        Some(Visitors::Some(chosen)) => chosen.groups.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let page = NoEntryPage {
        service: site.name.to_string(),
        reason: NoEntryReason::NotAllowed {
            user: user.to_owned(),
            groups,
        },
        request_id: visitor.request_id.clone(),
    };
    visitor.page(web, StatusCode::FORBIDDEN, &page)
}

impl Visit<'_> {
    /// Somebody who may not come, although a login brought them here: it was taken from them meanwhile.
    pub(super) fn refuse(&self, principal: &Principal) -> Response {
        tracing::info!(service.name = %self.site.name, user.name = principal.name(),
            "{} may not open the service {}", principal.name(), self.site.name);
        if !self.wants_html() || self.upgrade {
            return ApiError::with(StatusCode::FORBIDDEN, "you may not use this service")
                .into_response();
        }
        let visitor = self.visitor();
        no_entry(self.web, &visitor, self.site, principal.name())
    }

    /// The browser came from the hub with something that is not good any more.
    pub(super) fn stale(&self) -> Response {
        let page = NoEntryPage {
            service: self.site.name.to_string(),
            reason: NoEntryReason::Stale {
                retry_url: self.site.prefix(self.base()),
            },
            request_id: None,
        };
        self.visitor().page(self.web, StatusCode::FORBIDDEN, &page)
    }

    /// The browser, as far as pages are concerned. The cookies of the hub do not come here, so none of them is set.
    fn visitor(&self) -> Visitor {
        let parts: &Parts = &self.parts;
        Visitor::of(self.web, parts, None).without_cookies()
    }
}

/// A program, or a script of a page whose login has ended.
pub(super) fn not_logged_in() -> Response {
    let text = "log in with a browser, or send `Authorization: token …`";
    let mut response = ApiError::with(StatusCode::UNAUTHORIZED, text).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::WWW_AUTHENTICATE,
        http::HeaderValue::from_static("Bearer"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    response
}
