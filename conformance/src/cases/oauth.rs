//! OAuth2: the authorize page, its redirects and errors, codes and tokens, PKCE.

mod confirm;
mod servers;
mod tokens;

use crate::browser::Browser;
use crate::case::Case;
use crate::failure::{Failure, ensure, same};
use crate::fixture::{
    self, APP_CLIENT, APP_REDIRECT, TRUSTED_CLIENT, TRUSTED_REDIRECT, TRUSTED_TOKEN,
};
use crate::list::List;
use crate::request::Request;
use crate::response::Response;

pub(super) fn add(list: &mut List) {
    list.area("oauth pages");
    pages(list);
    errors_on_pages(list);
    errors_to_the_client(list);
    confirm::add(list);
    tokens::add(list);
    servers::add(list);
}

const AUTHORIZE: &str = "/hub/api/oauth2/authorize";
const TOKEN: &str = "/hub/api/oauth2/token";

/// A new user who may use the services, and a browser of theirs.
fn visitor<'c>(case: &'c Case<'c>) -> Result<(String, Browser<'c>), Failure> {
    let ada = case.user("ada")?;
    case.join(fixture::APP_USERS, &[&ada])?;
    let browser = case.browser_of(&ada)?;
    Ok((ada, browser))
}

fn ask<'b>(
    browser: &'b Browser<'_>,
    client: &str,
    redirect: &str,
    more: &[(&str, &str)],
) -> Request<'b> {
    let mut request = browser
        .open(AUTHORIZE)
        .query("client_id", client)
        .query("redirect_uri", redirect)
        .query("response_type", "code")
        .query("state", "st4te");
    for (name, value) in more {
        request = request.query(name, value);
    }
    request
}

/// A parameter of a target's query.
fn parameter(target: &str, name: &str) -> Option<String> {
    let query = target.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Wants a redirect with a code, and gives the code.
fn code_of(case: &Case<'_>, answer: &Response, redirect: &str) -> Result<String, Failure> {
    let target = answer.redirect(302)?;
    ensure!(
        target.starts_with(&format!("{redirect}?")),
        "leads to {target}"
    );
    same!(
        parameter(&target, "state").as_deref(),
        Some("st4te"),
        "state"
    );
    let code = parameter(&target, "code").ok_or_else(|| answer.wrong("there is no code"))?;
    case.secret(&code);
    Ok(code)
}

/// A code of the service that asks nothing.
fn trusted_code(case: &Case<'_>, more: &[(&str, &str)]) -> Result<String, Failure> {
    let (_, browser) = visitor(case)?;
    let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, more).send()?;
    code_of(case, &answer, TRUSTED_REDIRECT)
}

fn exchange<'c>(case: &'c Case<'c>, fields: &[(&str, &str)]) -> Request<'c> {
    case.anonymous().post(TOKEN).form(fields)
}

/// The form of a correct exchange.
fn correct(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("client_id", TRUSTED_CLIENT),
        ("client_secret", TRUSTED_TOKEN),
        ("redirect_uri", TRUSTED_REDIRECT),
        ("code", code),
    ]
}

fn pages(list: &mut List) {
    list.case("authorize without a login leads to it, and back", |case| {
        let browser = case.browser();
        let target = ask(&browser, APP_CLIENT, APP_REDIRECT, &[])
            .send()?
            .redirect(302)?;
        let base = &case.target.base;
        ensure!(
            target.starts_with(&format!("{base}/hub/login?next=")),
            "leads to {target}"
        );
        let next = parameter(&target, "next").unwrap_or_default();
        ensure!(
            next.starts_with(&format!("{base}{AUTHORIZE}?client_id={APP_CLIENT}")),
            "next is {next}"
        );
        Ok(())
    });
    list.case("a token is no login for authorize", |case| {
        let (_, token) = case.user_with_token("ada")?;
        let request = case
            .with(&token)
            .get(AUTHORIZE)
            .query("client_id", APP_CLIENT);
        request
            .send()?
            .leads_to_path(302, &format!("{}/hub/login", case.target.base))?;
        Ok(())
    });
    list.case("authorize shows a page that asks", |case| {
        let (_, browser) = visitor(case)?;
        let page = ask(&browser, APP_CLIENT, APP_REDIRECT, &[])
            .expect(200)?
            .page()?;
        let text = page.contains("app")?.text();
        for name in ["_xsrf", "scopes"] {
            ensure!(
                text.contains(&format!("name=\"{name}\"")),
                "there is no field {name}"
            );
        }
        Ok(())
    });
    list.case(
        "the page's fields are the scopes that are granted",
        |case| {
            let (ada, browser) = visitor(case)?;
            let text = ask(&browser, APP_CLIENT, APP_REDIRECT, &[])
                .expect(200)?
                .text();
            // The group gives them `custom:lab:write`, and with it its subscope.
            for scope in ["read:users", "custom:lab:write"] {
                ensure!(
                    text.contains(&format!("value=\"{scope}")),
                    "{scope} is not asked for ({ada})"
                );
            }
            Ok(())
        },
    );
    list.case("a service that is trusted asks nothing", |case| {
        trusted_code(case, &[])?;
        Ok(())
    });
    list.case("a code is 30 letters and digits", |case| {
        let code = trusted_code(case, &[])?;
        ensure!(
            code.len() == 30 && code.chars().all(|letter| letter.is_ascii_alphanumeric()),
            "code {code}"
        );
        Ok(())
    });
    list.case(
        "authorize sets the session's cookie if it is missing",
        |case| {
            let (_, browser) = visitor(case)?;
            browser.jar.drop_cookie("jupyterhub-session-id");
            let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
            answer.cookie("jupyterhub-session-id")?;
            Ok(())
        },
    );
}

fn errors_on_pages(list: &mut List) {
    for (name, client, redirect) in [
        ("an unknown client", "service-none", APP_REDIRECT),
        ("the client of API tokens", "jupyterhub", APP_REDIRECT),
        (
            "another redirect URI",
            APP_CLIENT,
            "http://127.0.0.1:9/app/other",
        ),
        (
            "a longer redirect URI",
            APP_CLIENT,
            "http://127.0.0.1:9/app/oauth_callback/more",
        ),
        (
            "another port",
            APP_CLIENT,
            "http://127.0.0.1:10/app/oauth_callback",
        ),
        (
            "another scheme",
            APP_CLIENT,
            "https://127.0.0.1:9/app/oauth_callback",
        ),
        (
            "a redirect URI with a query",
            APP_CLIENT,
            "http://127.0.0.1:9/app/oauth_callback?a=b",
        ),
        (
            "a redirect URI with a fragment",
            APP_CLIENT,
            "http://127.0.0.1:9/app/oauth_callback#a",
        ),
        ("another's redirect URI", APP_CLIENT, TRUSTED_REDIRECT),
    ] {
        list.case(
            format!("authorize with {name} is a 400 page"),
            move |case| {
                let (_, browser) = visitor(case)?;
                ask(&browser, client, redirect, &[])
                    .expect(400)?
                    .page()?
                    .lacks_header("Location")?;
                Ok(())
            },
        );
    }
    list.case("authorize without a client is a 400 page", |case| {
        let (_, browser) = visitor(case)?;
        browser
            .open(AUTHORIZE)
            .query("response_type", "code")
            .expect(400)?
            .page()?;
        Ok(())
    });
    list.case(
        "authorize without a redirect URI takes the registered one",
        |case| {
            let (_, browser) = visitor(case)?;
            let request = browser
                .open(AUTHORIZE)
                .query("client_id", TRUSTED_CLIENT)
                .query("response_type", "code")
                .query("state", "st4te");
            code_of(case, &request.send()?, TRUSTED_REDIRECT)?;
            Ok(())
        },
    );
    list.case(
        "authorize of a service that one may not use is a 403 page",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            ask(&browser, APP_CLIENT, APP_REDIRECT, &[])
                .expect(403)?
                .page()?;
            ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[])
                .expect(403)?
                .page()?;
            Ok(())
        },
    );
}

fn errors_to_the_client(list: &mut List) {
    for (name, changes, error) in [
        (
            "an unknown scope",
            &[("scope", "read:planets")][..],
            "invalid_scope",
        ),
        (
            "a scope that the client may not have",
            &[("scope", "admin:users")],
            "invalid_scope",
        ),
        (
            "a custom scope that the client may not have",
            &[("scope", "custom:unused")],
            "invalid_scope",
        ),
        (
            "an unknown challenge method",
            &[("code_challenge", "abc"), ("code_challenge_method", "S1")],
            "invalid_request",
        ),
    ] {
        list.case(
            format!("authorize with {name} tells the client {error}"),
            move |case| {
                let (_, browser) = visitor(case)?;
                let target = ask(&browser, APP_CLIENT, APP_REDIRECT, changes)
                    .send()?
                    .redirect(302)?;
                ensure!(
                    target.starts_with(&format!("{APP_REDIRECT}?")),
                    "leads to {target}"
                );
                same!(parameter(&target, "error").as_deref(), Some(error), "error");
                same!(
                    parameter(&target, "state").as_deref(),
                    Some("st4te"),
                    "state"
                );
                ensure!(parameter(&target, "code").is_none(), "leads to {target}");
                Ok(())
            },
        );
    }
    for kind in ["token", "id_token", "x"] {
        list.case(
            format!("authorize for the response type {kind} tells the client so"),
            move |case| {
                let (_, browser) = visitor(case)?;
                let request = browser
                    .open(AUTHORIZE)
                    .query("client_id", APP_CLIENT)
                    .query("redirect_uri", APP_REDIRECT)
                    .query("response_type", kind)
                    .query("state", "st4te");
                let target = request.send()?.redirect(302)?;
                same!(
                    parameter(&target, "error").as_deref(),
                    Some("unsupported_response_type"),
                    "error"
                );
                Ok(())
            },
        );
    }
}
