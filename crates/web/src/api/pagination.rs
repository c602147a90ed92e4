//! Long lists come in pages: what part a request asks for, and the answer that says where the next one is.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header;
use http::request::Parts;
use lyceum_hub::Page;
use serde::Serialize;
use serde_json::{Value, json};

use super::models;
use crate::caller;
use crate::client::{Client, header_text};
use crate::{ApiError, Web};

/// Who accepts this gets a list wrapped, with where its next page is (JupyterHub `PAGINATION_MEDIA_TYPE`).
const MEDIA_TYPE: &str = "application/jupyterhub-pagination+json";

/// What a request for a list says of pages. Not looked into before it is clear what the caller may see.
#[derive(Debug)]
pub(crate) struct PageAsked {
    /// Scheme, host and path, as the client asked for them.
    url: String,
    query: Vec<(String, String)>,
    wrapped: bool,
}

/// The part of a list that is asked for, and how it is to be given.
#[derive(Debug)]
pub(crate) struct Paging {
    asked: PageAsked,
    page: Page,
}

impl PageAsked {
    /// The value of a parameter of the query; the last one, if it is there several times (Tornado `get_argument`).
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rfind(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
    }

    /// Finds out which part of the list is wanted. Who does not know of pages gets as much as there may be.
    pub(crate) fn paging(self, web: &Web) -> Result<Paging, ApiError> {
        let settings = web.hub().settings();
        let longest = u64::from(settings.api_page_max_limit).max(1);
        let usual = if self.wrapped {
            u64::from(settings.api_page_default_limit)
        } else {
            longest
        };
        let number = |name| self.parameter(name).map(magnitude).transpose();
        let page = Page {
            offset: number("offset")?.unwrap_or(0),
            limit: number("limit")?.unwrap_or(usual).clamp(1, longest),
        };
        Ok(Paging { asked: self, page })
    }

    /// The address of another page of the same list.
    fn url_of(&self, page: Page) -> String {
        let others = self
            .query
            .iter()
            .filter(|(key, _)| key != "offset" && key != "limit");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(others)
            .append_pair("offset", &page.offset.to_string())
            .append_pair("limit", &page.limit.to_string())
            .finish();
        format!("{}?{query}", self.url)
    }
}

impl Paging {
    /// The part that is wanted.
    pub(crate) fn page(&self) -> Page {
        self.page
    }

    /// Gives this part: wrapped if the client knows of pages, else as it is. `total` counts the whole list.
    pub(crate) fn answer(&self, items: impl Serialize, total: u64) -> Response {
        if self.asked.wrapped {
            self.answer_wrapped(items, total)
        } else {
            models::answer(&items)
        }
    }

    /// Gives this part wrapped, with where the next one is.
    pub(crate) fn answer_wrapped(&self, items: impl Serialize, total: u64) -> Response {
        let Page { offset, limit } = self.page;
        let next = Page {
            offset: offset.saturating_add(limit),
            limit,
        };
        let next = (next.offset < total).then(
            || json!({"offset": next.offset, "limit": limit, "url": self.asked.url_of(next)}),
        );
        models::answer(&Wrapped {
            pagination: json!({"offset": offset, "limit": limit, "total": total, "next": next}),
            items,
        })
    }
}

/// A page of a list, for clients that know of pages.
#[derive(Serialize)]
struct Wrapped<T> {
    #[serde(rename = "_pagination")]
    pagination: Value,
    items: T,
}

impl<S: Send + Sync> FromRequestParts<S> for PageAsked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let client = Client::of(parts);
        let path = caller::target(parts).split('?').next().unwrap_or("/");
        // Without a host, a path is all that can be said.
        let url = if client.host.is_empty() {
            path.to_owned()
        } else {
            format!("{}{path}", client.origin())
        };
        let query = parts.uri.query().unwrap_or_default();
        let accept = header_text(&parts.headers, &header::ACCEPT).unwrap_or_default();
        Ok(Self {
            url,
            query: form_urlencoded::parse(query.as_bytes())
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
            wrapped: accept
                .split(',')
                .any(|kind| kind.trim().eq_ignore_ascii_case(MEDIA_TYPE)),
        })
    }
}

/// Reads a whole number and drops its sign, as JupyterHub does; what is too large for us is as large as can be.
fn magnitude(text: &str) -> Result<u64, ApiError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(ApiError::bad_request(
            "`offset` and `limit` must be whole numbers",
        ));
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_do_not_count_and_no_number_is_too_large() {
        for (text, expected) in [
            ("0", 0),
            ("-5", 5),
            ("+5", 5),
            ("99999999999999999999999", u64::MAX),
        ] {
            assert_eq!(magnitude(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "--1", "1.5", "1e3", "0x10", "ten", "١"] {
            assert!(magnitude(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_next_page_is_asked_for_with_all_that_was_asked_before() {
        let asked = PageAsked {
            url: "https://hub.example/hub/api/users".to_owned(),
            query: [
                ("state", "ready"),
                ("offset", "1"),
                ("name_filter", "a b&c"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
            wrapped: true,
        };
        let page = Page {
            offset: 50,
            limit: 25,
        };
        assert_eq!(
            asked.url_of(page),
            "https://hub.example/hub/api/users?state=ready&name_filter=a+b%26c&offset=50&limit=25"
        );
    }
}
