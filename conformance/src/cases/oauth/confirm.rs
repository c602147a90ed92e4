//! The page that asks, and its form.

use serde_json::Value;

use super::{AUTHORIZE, ask, code_of, exchange, visitor};
use crate::browser::Browser;
use crate::case::{Case, text_of};
use crate::failure::{Failure, ensure};
use crate::fixture::{APP_CLIENT, APP_REDIRECT, APP_TOKEN};
use crate::list::List;
use crate::response::texts;

pub(super) fn add(list: &mut List) {
    confirming(list);
}

fn confirming(list: &mut List) {
    list.case("the form that is sent gives a code", |case| {
        let (_, browser) = visitor(case)?;
        confirm(case, &browser, &["read:users!user"])?;
        Ok(())
    });
    list.case("the form without scopes still tells who it is", |case| {
        let (ada, browser) = visitor(case)?;
        let code = confirm(case, &browser, &[])?;
        let body = app_token(case, &code)?;
        let token = text_of(&body, "access_token")?;
        let own = case.with(&token).read("user")?;
        ensure!(own["name"] == ada, "model {own}");
        let scopes = texts(&own["scopes"]);
        ensure!(
            scopes
                .iter()
                .any(|scope| scope == "access:services!service=app"),
            "scopes {scopes:?}"
        );
        ensure!(
            !scopes.iter().any(|scope| scope.starts_with("custom:")),
            "scopes {scopes:?}"
        );
        Ok(())
    });
    list.case("the form without its XSRF token is 403", |case| {
        let (_, browser) = visitor(case)?;
        let path = authorize_path();
        let request = browser
            .submit(path, &[])
            .form(&[("scopes", "read:users!user")]);
        request.header("Sec-Fetch-Site", "cross-site").expect(403)?;
        Ok(())
    });
    list.case(
        "who has agreed once is not asked again for the same",
        |case| {
            let (_, browser) = visitor(case)?;
            let asked = scopes_of(
                &ask(&browser, APP_CLIENT, APP_REDIRECT, &[])
                    .expect(200)?
                    .text(),
            );
            ensure!(!asked.is_empty(), "the page asks for nothing");
            let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            let code = confirm(case, &browser, &asked)?;
            app_token(case, &code)?;
            let again = ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).send()?;
            code_of(case, &again, APP_REDIRECT)?;
            Ok(())
        },
    );
    list.case("who has agreed to less is asked again", |case| {
        let (_, browser) = visitor(case)?;
        let code = confirm(case, &browser, &[])?;
        app_token(case, &code)?;
        ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).expect(200)?;
        Ok(())
    });
    for (name, scope, granted, missing) in [
        (
            "one scope",
            "custom:lab:read",
            "custom:lab:read",
            "custom:lab:write",
        ),
        (
            "identify and a scope",
            "identify custom:lab:read",
            "custom:lab:read",
            "custom:lab:write",
        ),
    ] {
        list.case(
            format!("a client that asks for {name} gets no other"),
            move |case| {
                let (_, browser) = visitor(case)?;
                let page = ask(&browser, APP_CLIENT, APP_REDIRECT, &[("scope", scope)])
                    .expect(200)?
                    .text();
                let asked = scopes_of(&page);
                ensure!(
                    asked.iter().any(|scope| scope == granted),
                    "asked for {asked:?}"
                );
                ensure!(
                    !asked.iter().any(|scope| scope == missing),
                    "asked for {asked:?}"
                );
                Ok(())
            },
        );
    }
}

fn authorize_path() -> String {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", APP_CLIENT)
        .append_pair("redirect_uri", APP_REDIRECT)
        .append_pair("response_type", "code")
        .append_pair("state", "st4te")
        .finish();
    format!("{AUTHORIZE}?{query}")
}

/// Sends the form of the page, and gives the code.
pub(super) fn confirm(
    case: &Case<'_>,
    browser: &Browser<'_>,
    scopes: &[&str],
) -> Result<String, Failure> {
    let fields: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scopes", *scope)).collect();
    let answer = browser.submit(authorize_path(), &fields).send()?;
    code_of(case, &answer, APP_REDIRECT)
}

/// The scopes in the page's hidden fields, in whatever order their attributes stand.
fn scopes_of(page: &str) -> Vec<String> {
    page.split("<input")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
        .filter(|tag| tag.contains("name=\"scopes\""))
        .filter_map(|tag| {
            tag.split("value=\"")
                .nth(1)?
                .split('"')
                .next()
                .map(str::to_owned)
        })
        .collect()
}

/// Exchanges a code of the service `app`.
pub(super) fn app_token(case: &Case<'_>, code: &str) -> Result<Value, Failure> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", APP_CLIENT),
        ("client_secret", APP_TOKEN),
        ("redirect_uri", APP_REDIRECT),
        ("code", code),
    ];
    let body = exchange(case, &fields).expect(200)?.json()?;
    case.secret(&text_of(&body, "access_token")?);
    Ok(body)
}
