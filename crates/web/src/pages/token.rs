//! `/hub/token`: the user's own tokens and the applications they let in; made and revoked with plain forms.
//!
//! The text of a new token is in the answer to the form that asked for it, and nowhere else: not in a URL, and, as
//! that answer is not stored, not in the browser's cache.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use lyceum_core::scope::{Catalogue, RawScope};
use lyceum_hub::permit::{ManageTokens, ReadTokens};
use lyceum_hub::tokens::{TokenError, TokenRights, TokenView, TokenWish};
use lyceum_hub::{Action, Denied, HubError, StoreError, UserPermit};

use super::errors;
use crate::api::tokens::token_id;
use crate::caller::{PageCaller, check_xsrf, found, store_failed};
use crate::forms::Form;
use crate::render::{
    ApplicationLine, Lifetime, LifetimeKind, MadeToken, ScopeLine, TokenLine, TokenPage,
};
use crate::visit::Visitor;
use crate::{ApiError, Web};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// The lifetimes that are offered, as JupyterHub offers them.
const LIFETIMES: [(u64, LifetimeKind); 5] = [
    (HOUR, LifetimeKind::Hour),
    (DAY, LifetimeKind::Day),
    (7 * DAY, LifetimeKind::Week),
    (30 * DAY, LifetimeKind::Month),
    (365 * DAY, LifetimeKind::Year),
];

/// Shows tokens and applications.
pub(crate) async fn show(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let desk = Desk::of(&web, &caller, &parts);
    desk.show(StatusCode::OK, Asked::default(), None, None)
        .await
}

/// Makes a token, and shows it.
pub(crate) async fn create(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let desk = Desk::of(&web, &caller, &parts);
    let form = match desk.form(&parts, body).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    let permit = match desk.permit::<ManageTokens>().await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    let asked = Asked::read(&form);
    let Some(wish) = asked.wish() else {
        let text = "The lifetime must be a number of seconds.".to_owned();
        return desk
            .show(StatusCode::BAD_REQUEST, asked, None, Some(text))
            .await;
    };
    let made = web.hub().create_token(&permit, &caller.principal, wish);
    match made.await {
        Ok(made) => {
            let token = &made.view.token;
            let made = MadeToken {
                secret: made.secret.expose().clone(),
                note: token.note.clone(),
                expires: token.expires_at,
            };
            desk.show(StatusCode::OK, Asked::default(), Some(made), None)
                .await
        }
        Err(TokenError::Store(error)) => desk.failed(&error),
        Err(error) => {
            let text = sentence(&error.to_string());
            desk.show(StatusCode::BAD_REQUEST, asked, None, Some(text))
                .await
        }
    }
}

/// Revokes a token, or all of an application, and shows what is left.
pub(crate) async fn revoke(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let desk = Desk::of(&web, &caller, &parts);
    let form = match desk.form(&parts, body).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    let permit = match desk.permit::<ManageTokens>().await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    // One that is gone already is revoked, too: two clicks, two windows.
    if let Some(id) = form.get("id").and_then(token_id)
        && let Err(error) = web.hub().revoke_token(&permit, id).await
    {
        return desk.failed(&error);
    }
    found(&format!("{}token", web.hub_url()))
}

/// What was filled in.
#[derive(Debug, Default)]
struct Asked {
    note: String,
    scopes: String,
    lifetime: Option<String>,
}

impl Asked {
    fn read(form: &Form) -> Self {
        let text = |name| form.get(name).unwrap_or_default().trim().to_owned();
        Self {
            note: text("note"),
            scopes: text("scopes"),
            lifetime: Some(text("lifetime")),
        }
    }

    /// What is asked for; `None` if the lifetime is none of ours.
    fn wish(&self) -> Option<TokenWish> {
        let lifetime = match self.lifetime.as_deref().unwrap_or_default() {
            "" => None,
            seconds => Some(Duration::from_secs(seconds.parse().ok()?)),
        };
        let scopes: Vec<String> = self.scopes.split_whitespace().map(str::to_owned).collect();
        let note = if self.note.is_empty() {
            "Requested via token page".to_owned()
        } else {
            self.note.clone()
        };
        Some(TokenWish {
            note,
            lifetime,
            rights: match scopes.as_slice() {
                [] => TokenRights::Default,
                _ => TokenRights::Scopes(scopes),
            },
        })
    }
}

/// Who looks at the page, and what it takes to answer them.
struct Desk<'a> {
    web: &'a Web,
    caller: &'a PageCaller,
    visitor: Visitor,
}

impl<'a> Desk<'a> {
    fn of(web: &'a Web, caller: &'a PageCaller, parts: &Parts) -> Self {
        Self {
            web,
            caller,
            visitor: Visitor::of(web, parts, Some(&caller.session)),
        }
    }

    /// Reads a form that came from one of our pages.
    async fn form(&self, parts: &Parts, body: axum::body::Body) -> Result<Form, Box<Response>> {
        let form = Form::read(body)
            .await
            .map_err(|error| Box::new(self.error(&error)))?;
        match check_xsrf(
            self.web,
            parts,
            Some(&self.caller.session),
            form.get("_xsrf"),
        ) {
            Ok(()) => Ok(form),
            Err(error) => {
                tracing::info!(reason = %error, "refused a form without a valid XSRF token");
                let text = Some(errors::STALE_FORM);
                Err(Box::new(errors::page(
                    self.web,
                    &self.visitor,
                    StatusCode::FORBIDDEN,
                    text,
                )))
            }
        }
    }

    async fn permit<A: Action>(&self) -> Result<UserPermit<A>, Box<Response>> {
        let name = self.caller.session.user.name.as_str();
        let permit = self
            .web
            .hub()
            .permit_user::<A>(&self.caller.principal, name);
        permit
            .await
            .map_err(|error| Box::new(self.error(&error.into())))
    }

    /// Makes the page.
    async fn show(
        &self,
        status: StatusCode,
        asked: Asked,
        made: Option<MadeToken>,
        problem: Option<String>,
    ) -> Response {
        let hub = self.web.hub();
        let permit = match self.permit::<ReadTokens>().await {
            Ok(permit) => permit,
            Err(response) => return *response,
        };
        let views = match hub.tokens_of(&permit).await {
            Ok(views) => views,
            Err(error) => return self.failed(&error),
        };
        let name = self.caller.session.user.name.as_str();
        let managed = hub.permit_user::<ManageTokens>(&self.caller.principal, name);
        let may_manage = match managed.await {
            Ok(_) => true,
            Err(HubError::Denied(Denied::Forbidden | Denied::NotFound)) => false,
            Err(error) => return self.error(&error.into()),
        };
        let lines = |raw: &[RawScope]| lines(hub.catalogue(), name, raw);
        let available = self.caller.principal.scopes().to_raw();
        let available: Vec<RawScope> = available.into_iter().collect();
        let (of_clients, own): (Vec<_>, Vec<_>) =
            views.into_iter().rev().partition(TokenView::is_of_client);
        let url = self.web.hub_url();
        let page = TokenPage {
            xsrf: self.visitor.xsrf(self.web),
            create_action: format!("{url}token"),
            revoke_action: format!("{url}token/revoke"),
            made,
            problem,
            may_manage,
            note: asked.note,
            scopes: asked.scopes,
            lifetimes: lifetimes(
                hub.settings().token_lifetime_limit,
                asked.lifetime.as_deref(),
            ),
            available: lines(&available),
            tokens: own
                .iter()
                .map(|view| TokenLine {
                    id: format!("a{}", view.token.id),
                    note: view.token.note.clone(),
                    created: view.token.created,
                    last_activity: view.token.last_activity,
                    expires: view.token.expires_at,
                    may_all: view.may_all(),
                    scopes: lines(&hub.catalogue().parse_stored(&view.token.scopes)),
                })
                .collect(),
            applications: applications(hub.catalogue(), name, &of_clients),
        };
        self.visitor.page(self.web, status, &page)
    }

    fn failed(&self, error: &StoreError) -> Response {
        self.error(&store_failed(error))
    }

    fn error(&self, error: &ApiError) -> Response {
        errors::page(self.web, &self.visitor, error.status(), error.message())
    }
}

fn lines(catalogue: &Catalogue, viewer: &str, scopes: &[RawScope]) -> Vec<ScopeLine> {
    scopes
        .iter()
        .map(|scope| {
            let words = match catalogue.description(&scope.name) {
                "" => None,
                words => Some(words.to_owned()),
            };
            ScopeLine::new(&scope.to_string(), viewer, words)
        })
        .collect()
}

/// Puts the tokens of OAuth clients together, one line for each client; they come the last used first.
fn applications(catalogue: &Catalogue, viewer: &str, views: &[TokenView]) -> Vec<ApplicationLine> {
    let mut order: Vec<&str> = Vec::new();
    let mut by_client: BTreeMap<&str, Vec<&TokenView>> = BTreeMap::new();
    for view in views {
        let client = view.token.client_id.as_deref().unwrap_or_default();
        let group = by_client.entry(client).or_default();
        if group.is_empty() {
            order.push(client);
        }
        group.push(view);
    }
    order
        .into_iter()
        .filter_map(|client| {
            let group = by_client.get(client)?;
            let newest = group.first()?;
            let mut scopes: Vec<RawScope> = group
                .iter()
                .flat_map(|view| catalogue.parse_stored(&view.token.scopes))
                .collect();
            scopes.sort_unstable();
            scopes.dedup();
            Some(ApplicationLine {
                id: format!("a{}", newest.token.id),
                name: newest.client.clone(),
                created: group.iter().map(|view| view.token.created).min()?,
                last_activity: group
                    .iter()
                    .filter_map(|view| view.token.last_activity)
                    .max(),
                scopes: lines(catalogue, viewer, &scopes),
            })
        })
        .collect()
}

/// The lifetimes that are within the limit, and the limit itself; a month is chosen if nothing else was.
fn lifetimes(limit: Option<Duration>, asked: Option<&str>) -> Vec<Lifetime> {
    let limit = limit.map(|limit| limit.as_secs());
    let within = LIFETIMES
        .into_iter()
        .filter(|(seconds, _)| limit.is_none_or(|limit| *seconds <= limit));
    let mut all: Vec<Lifetime> = within
        .map(|(seconds, kind)| Lifetime {
            value: seconds.to_string(),
            kind,
            count: String::new(),
            chosen: false,
        })
        .collect();
    let most = match limit {
        None => Some((LifetimeKind::Never, 0)),
        Some(limit) if LIFETIMES.iter().any(|(seconds, _)| *seconds == limit) => None,
        Some(limit) if limit < 3 * DAY => Some((LifetimeKind::MostHours, limit.div_ceil(HOUR))),
        Some(limit) => Some((LifetimeKind::MostDays, limit / DAY)),
    };
    all.extend(most.map(|(kind, count)| Lifetime {
        value: String::new(),
        kind,
        count: count.to_string(),
        chosen: false,
    }));
    let month = LIFETIMES
        .iter()
        .find(|(_, kind)| *kind == LifetimeKind::Month)
        .map(|(seconds, _)| seconds.to_string())
        .unwrap_or_default();
    let wanted = asked.unwrap_or(&month);
    let at = all.iter().position(|lifetime| lifetime.value == wanted);
    let at = at.unwrap_or_else(|| all.len().saturating_sub(1));
    if let Some(lifetime) = all.get_mut(at) {
        lifetime.chosen = true;
    }
    all
}

/// Makes a sentence for people of an error's text.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let mut sentence: String = first.into_iter().flatten().chain(letters).collect();
    sentence.push('.');
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit: Option<u64>, asked: Option<&str>, expected: &[&str]) {
        let shown: Vec<String> = lifetimes(limit.map(Duration::from_secs), asked)
            .iter()
            .map(|lifetime| {
                let mark = if lifetime.chosen { "*" } else { "" };
                format!(
                    "{mark}{}:{:?}{}",
                    lifetime.value, lifetime.kind, lifetime.count
                )
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn lifetimes_end_at_the_limit() {
        check(
            None,
            None,
            &[
                "3600:Hour",
                "86400:Day",
                "604800:Week",
                "*2592000:Month",
                "31536000:Year",
                ":Never0",
            ],
        );
        check(Some(60), None, &["*:MostHours1"]);
        check(Some(3600), None, &["*3600:Hour"]);
        check(Some(7200), Some("3600"), &["*3600:Hour", ":MostHours2"]);
        check(
            Some(10 * DAY),
            Some("12"),
            &["3600:Hour", "86400:Day", "604800:Week", "*:MostDays10"],
        );
    }
}
