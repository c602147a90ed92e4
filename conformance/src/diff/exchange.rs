//! Compares two answers.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::shape::{Words, places};
use crate::response::SetCookie;
use crate::wire::Answer;

/// A difference that is meant: see `docs/compatibility.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    OwnHeaders,
    AllowHeaders,
    Caching,
    Policy,
    Charset,
    SameSite,
    LoginAge,
    SessionCookie,
    Description,
    Message,
    Surroundings,
    OwnModel,
    State,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnHeaders => "headers that only one of them has on every answer (request id, referrer policy, server), or that help proxies and people (allow, x-accel-buffering)",
            Self::AllowHeaders => "Access-Control-Allow-Headers beyond answers to OPTIONS",
            Self::Caching => "ETag and Cache-Control",
            Self::Policy => "content security policy of pages",
            Self::Charset => "the charset of HTML, and types of empty answers",
            Self::SameSite => "SameSite of cookies",
            Self::LoginAge => "how the end of the login cookie is written",
            Self::SessionCookie => "when session and XSRF cookies are set again",
            Self::Description => "error_description beside an OAuth error",
            Self::Message => "which errors of the API have a message, and which null",
            Self::Surroundings => "what else servers find in their environment and headers",
            Self::State => "what the spawner keeps of a server (state)",
            Self::OwnModel => "url, info and display in a service's model of itself",
        })
    }
}

/// What comparing found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) differences: Vec<String>,
    pub(super) known: BTreeSet<Known>,
}

/// Compares our answer with JupyterHub's.
pub(super) fn compare(
    ours: &Answer,
    theirs: &Answer,
    our_words: &Words,
    their_words: &Words,
) -> Found {
    let mut found = Found::default();
    if ours.status != theirs.status {
        found
            .differences
            .push(format!("status: {} | {}", ours.status, theirs.status));
    }
    let location = |answer: &Answer, words: &Words| {
        answer
            .header("location")
            .map(|target| meant(&words.general(target)))
    };
    let (left, right) = (location(ours, our_words), location(theirs, their_words));
    if left != right {
        let without = |target: &Option<String>| {
            target
                .as_ref()
                .map(|target| target.replace("&error_description=*", ""))
        };
        if without(&left) == without(&right) {
            found.known.insert(Known::Description);
        } else {
            found
                .differences
                .push(format!("Location: {left:?} | {right:?}"));
        }
    }
    // Headers and bodies of different statuses have little in common.
    if ours.status == theirs.status {
        headers(ours, theirs, &mut found);
        cookies(ours, theirs, &mut found);
        bodies(ours, theirs, our_words, their_words, &mut found);
    }
    found
}

/// A target with its query as it is meant.
fn meant(target: &str) -> String {
    match target.split_once('?') {
        Some((path, query)) => {
            let pairs: Vec<String> = form_urlencoded::parse(query.as_bytes())
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{path}?{}", pairs.join("&"))
        }
        None => target.to_owned(),
    }
}

/// Headers that say nothing about the contract.
const CONNECTION: &[&str] = &[
    "date",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "set-cookie",
    "location",
    "vary",
    "accept-ranges",
    "last-modified",
];

fn headers(ours: &Answer, theirs: &Answer, found: &mut Found) {
    let names: BTreeSet<String> = [ours, theirs]
        .iter()
        .flat_map(|answer| &answer.headers)
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| !CONNECTION.contains(&name.as_str()))
        .collect();
    for name in names {
        let (left, right) = (ours.header(&name), theirs.header(&name));
        if left == right {
            continue;
        }
        let known = match name.as_str() {
            "x-request-id"
            | "x-content-type-options"
            | "referrer-policy"
            | "server"
            | "allow"
            | "x-accel-buffering" => Some(Known::OwnHeaders),
            "access-control-allow-headers" if left.is_none() => Some(Known::AllowHeaders),
            "etag" | "cache-control" | "pragma"
                if ours.status != 200 || theirs.header("cache-control").is_none() =>
            {
                Some(Known::Caching)
            }
            "etag" => Some(Known::Caching),
            "content-security-policy" => Some(Known::Policy),
            "content-type" => charset(ours, left, right),
            // Two hubs of one contract may be of different versions.
            "x-jupyterhub-version" if major(left) == major(right) => continue,
            "retry-after" if left.is_some() && right.is_some() => continue,
            _ => None,
        };
        match known {
            Some(known) => drop(found.known.insert(known)),
            None => found
                .differences
                .push(format!("header {name}: {left:?} | {right:?}")),
        }
    }
}

fn major(version: Option<&str>) -> Option<&str> {
    version?.split('.').next()
}

fn charset(ours: &Answer, left: Option<&str>, right: Option<&str>) -> Option<Known> {
    let kind = |value: Option<&str>| {
        value
            .and_then(|value| value.split(';').next())
            .map(|kind| kind.trim().to_ascii_lowercase())
    };
    (kind(left) == kind(right) || ours.body.is_empty()).then_some(Known::Charset)
}

fn cookies(ours: &Answer, theirs: &Answer, found: &mut Found) {
    let read = |answer: &Answer| -> Vec<SetCookie> {
        answer
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            .map(|(_, value)| SetCookie::parse(value))
            .collect()
    };
    let (left, right) = (read(ours), read(theirs));
    let names: BTreeSet<&str> = left
        .iter()
        .chain(&right)
        .map(|cookie| cookie.name.as_str())
        .collect();
    for name in names {
        let find =
            |cookies: &[SetCookie]| cookies.iter().find(|cookie| cookie.name == name).cloned();
        match (find(&left), find(&right)) {
            (Some(left), Some(right)) => attributes(&left, &right, found),
            (left, right) => {
                if matches!(name, "_xsrf" | "jupyterhub-session-id") {
                    found.known.insert(Known::SessionCookie);
                } else {
                    let shown = |cookie: &Option<SetCookie>| {
                        cookie.as_ref().map_or("not set", |cookie| {
                            if cookie.deletes() { "deleted" } else { "set" }
                        })
                    };
                    found.differences.push(format!(
                        "cookie {name}: {} | {}",
                        shown(&left),
                        shown(&right)
                    ));
                }
            }
        }
    }
}

fn attributes(left: &SetCookie, right: &SetCookie, found: &mut Found) {
    if left.deletes() != right.deletes() {
        found.known.insert(Known::SessionCookie);
        return;
    }
    let mut read = |cookie: &SetCookie| -> Vec<String> {
        let mut kept = Vec::new();
        for attribute in &cookie.attributes {
            let name = attribute.split('=').next().unwrap_or_default();
            match name {
                "samesite" => drop(found.known.insert(Known::SameSite)),
                "expires" | "max-age"
                    if cookie.name == "jupyterhub-hub-login" || cookie.deletes() =>
                {
                    found.known.insert(Known::LoginAge);
                }
                _ => kept.push(attribute.clone()),
            }
        }
        kept
    };
    let (ours, theirs) = (read(left), read(right));
    if ours != theirs {
        found
            .differences
            .push(format!("cookie {}: {ours:?} | {theirs:?}", left.name));
    }
}

fn bodies(
    ours: &Answer,
    theirs: &Answer,
    our_words: &Words,
    their_words: &Words,
    found: &mut Found,
) {
    let read = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).ok();
    match (read(ours), read(theirs)) {
        (Some(left), Some(right)) => {
            let (left, right) = (places(&left, our_words), places(&right, their_words));
            let all: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for place in all {
                let (left, right) = (left.get(place), right.get(place));
                if left == right {
                    continue;
                }
                let known = match place.as_str() {
                    ".message" => Some(Known::Message),
                    ".error_description" => Some(Known::Description),
                    ".info" | ".display" | ".url" => Some(Known::OwnModel),
                    place if place.split('.').any(|key| key == "state") => Some(Known::State),
                    place
                        if place.starts_with(".environment.") || place.starts_with(".headers.") =>
                    {
                        Some(Known::Surroundings)
                    }
                    _ => None,
                };
                if let Some(known) = known {
                    found.known.insert(known);
                    continue;
                }
                let shown = |kinds: Option<&BTreeSet<&'static str>>| match kinds {
                    Some(kinds) => kinds.iter().copied().collect::<Vec<_>>().join(" or "),
                    None => "absent".to_owned(),
                };
                found
                    .differences
                    .push(format!("JSON {place}: {} | {}", shown(left), shown(right)));
            }
        }
        (None, None) if ours.body.is_empty() == theirs.body.is_empty() => {}
        (left, right) => {
            let shown = |answer: &Answer, json: &Option<Value>| {
                if json.is_some() {
                    "JSON"
                } else if answer.body.is_empty() {
                    "empty"
                } else {
                    "another text"
                }
            };
            found.differences.push(format!(
                "body: {} | {}",
                shown(ours, &left),
                shown(theirs, &right)
            ));
        }
    }
}
