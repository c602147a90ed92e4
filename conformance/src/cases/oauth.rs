//! OAuth2: the authorize page, its redirects and errors, codes and tokens, PKCE.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::browser::Browser;
use crate::case::{Case, text_of};
use crate::failure::{Done, Failure, ensure, same};
use crate::fixture::{self, APP_CLIENT, APP_REDIRECT, APP_TOKEN, TRUSTED_CLIENT, TRUSTED_REDIRECT, TRUSTED_TOKEN};
use crate::list::List;
use crate::request::Request;
use crate::response::{Response, has_keys, texts};

pub(super) fn add(list: &mut List) {
    list.area("oauth pages");
    pages(list);
    errors_on_pages(list);
    errors_to_the_client(list);
    confirming(list);
    list.area("oauth tokens");
    exchanging(list);
    token_errors(list);
    pkce(list);
    whose_tokens(list);
    list.area("oauth servers");
    servers(list);
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

fn ask<'b>(browser: &'b Browser<'_>, client: &str, redirect: &str, more: &[(&str, &str)]) -> Request<'b> {
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
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Wants a redirect with a code, and gives the code.
fn code_of(case: &Case<'_>, answer: &Response, redirect: &str) -> Result<String, Failure> {
    let target = answer.redirect(302)?;
    ensure!(target.starts_with(&format!("{redirect}?")), "leads to {target}");
    same!(parameter(&target, "state").as_deref(), Some("st4te"), "state");
    let code = parameter(&target, "code").ok_or_else(|| answer.wrong("there is no code"))?;
    case.word(&code, "<code>");
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
        let target = ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).send()?.redirect(302)?;
        let base = &case.target.base;
        ensure!(target.starts_with(&format!("{base}/hub/login?next=")), "leads to {target}");
        let next = parameter(&target, "next").unwrap_or_default();
        ensure!(next.starts_with(&format!("{base}{AUTHORIZE}?client_id={APP_CLIENT}")), "next is {next}");
        Ok(())
    });
    list.case("a token is no login for authorize", |case| {
        let (_, token) = case.user_with_token("ada")?;
        let request = case.with(&token).get(AUTHORIZE).query("client_id", APP_CLIENT);
        request.send()?.leads_to_path(302, &format!("{}/hub/login", case.target.base))?;
        Ok(())
    });
    list.case("authorize shows a page that asks", |case| {
        let (_, browser) = visitor(case)?;
        let page = ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).expect(200)?.is_page()?;
        let text = page.contains("app")?.text();
        for name in ["_xsrf", "scopes"] {
            ensure!(text.contains(&format!("name=\"{name}\"")), "there is no field {name}");
        }
        Ok(())
    });
    list.case("the page's fields are the scopes that are granted", |case| {
        let (ada, browser) = visitor(case)?;
        let text = ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).expect(200)?.text();
        // The group gives them `custom:lab:write`, and with it its subscope.
        for scope in ["read:users", "custom:lab:write"] {
            ensure!(text.contains(&format!("value=\"{scope}")), "{scope} is not asked for ({ada})");
        }
        Ok(())
    });
    list.case("a service that is trusted asks nothing", |case| {
        trusted_code(case, &[])?;
        Ok(())
    });
    list.case("a code is 30 letters and digits", |case| {
        let code = trusted_code(case, &[])?;
        ensure!(code.len() == 30 && code.chars().all(|letter| letter.is_ascii_alphanumeric()), "code {code}");
        Ok(())
    });
    list.case("authorize sets the session's cookie if it is missing", |case| {
        let (_, browser) = visitor(case)?;
        browser.jar.drop_cookie("jupyterhub-session-id");
        let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
        answer.cookie("jupyterhub-session-id")?;
        Ok(())
    });
}

fn errors_on_pages(list: &mut List) {
    for (name, client, redirect) in [
        ("an unknown client", "service-none", APP_REDIRECT),
        ("the client of API tokens", "jupyterhub", APP_REDIRECT),
        ("another redirect URI", APP_CLIENT, "http://127.0.0.1:9/app/other"),
        ("a longer redirect URI", APP_CLIENT, "http://127.0.0.1:9/app/oauth_callback/more"),
        ("another port", APP_CLIENT, "http://127.0.0.1:10/app/oauth_callback"),
        ("another scheme", APP_CLIENT, "https://127.0.0.1:9/app/oauth_callback"),
        ("a redirect URI with a query", APP_CLIENT, "http://127.0.0.1:9/app/oauth_callback?a=b"),
        ("a redirect URI with a fragment", APP_CLIENT, "http://127.0.0.1:9/app/oauth_callback#a"),
        ("another's redirect URI", APP_CLIENT, TRUSTED_REDIRECT),
    ] {
        list.case(format!("authorize with {name} is a 400 page"), move |case| {
            let (_, browser) = visitor(case)?;
            ask(&browser, client, redirect, &[]).expect(400)?.is_page()?.lacks_header("Location")?;
            Ok(())
        });
    }
    list.case("authorize without a client is a 400 page", |case| {
        let (_, browser) = visitor(case)?;
        browser.open(AUTHORIZE).query("response_type", "code").expect(400)?.is_page()?;
        Ok(())
    });
    list.case("authorize without a redirect URI takes the registered one", |case| {
        let (_, browser) = visitor(case)?;
        let request = browser
            .open(AUTHORIZE)
            .query("client_id", TRUSTED_CLIENT)
            .query("response_type", "code")
            .query("state", "st4te");
        code_of(case, &request.send()?, TRUSTED_REDIRECT)?;
        Ok(())
    });
    list.case("authorize of a service that one may not use is a 403 page", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).expect(403)?.is_page()?;
        ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).expect(403)?.is_page()?;
        Ok(())
    });
}

fn errors_to_the_client(list: &mut List) {
    for (name, changes, error) in [
        ("an unknown scope", &[("scope", "read:planets")][..], "invalid_scope"),
        ("a scope that the client may not have", &[("scope", "admin:users")], "invalid_scope"),
        ("a custom scope that the client may not have", &[("scope", "custom:unused")], "invalid_scope"),
        ("an unknown challenge method", &[("code_challenge", "abc"), ("code_challenge_method", "S1")], "invalid_request"),
    ] {
        list.case(format!("authorize with {name} tells the client {error}"), move |case| {
            let (_, browser) = visitor(case)?;
            let target = ask(&browser, APP_CLIENT, APP_REDIRECT, changes).send()?.redirect(302)?;
            ensure!(target.starts_with(&format!("{APP_REDIRECT}?")), "leads to {target}");
            same!(parameter(&target, "error").as_deref(), Some(error), "error");
            same!(parameter(&target, "state").as_deref(), Some("st4te"), "state");
            ensure!(parameter(&target, "code").is_none(), "leads to {target}");
            Ok(())
        });
    }
    for kind in ["token", "id_token", "x"] {
        list.case(format!("authorize for the response type {kind} tells the client so"), move |case| {
            let (_, browser) = visitor(case)?;
            let request = browser
                .open(AUTHORIZE)
                .query("client_id", APP_CLIENT)
                .query("redirect_uri", APP_REDIRECT)
                .query("response_type", kind)
                .query("state", "st4te");
            let target = request.send()?.redirect(302)?;
            same!(parameter(&target, "error").as_deref(), Some("unsupported_response_type"), "error");
            Ok(())
        });
    }
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
        ensure!(scopes.iter().any(|scope| scope == "access:services!service=app"), "scopes {scopes:?}");
        ensure!(!scopes.iter().any(|scope| scope.starts_with("custom:")), "scopes {scopes:?}");
        Ok(())
    });
    list.case("the form without its XSRF token is 403", |case| {
        let (_, browser) = visitor(case)?;
        let path = authorize_path();
        let request = browser.submit(path, &[]).form(&[("scopes", "read:users!user")]);
        request.header("Sec-Fetch-Site", "cross-site").expect(403)?;
        Ok(())
    });
    list.case("who has agreed once is not asked again for the same", |case| {
        let (_, browser) = visitor(case)?;
        let scopes = &["scopes"];
        let asked = scopes_of(&ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).expect(200)?.text());
        ensure!(!asked.is_empty(), "{scopes:?} are missing");
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let code = confirm(case, &browser, &asked)?;
        app_token(case, &code)?;
        let again = ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).send()?;
        code_of(case, &again, APP_REDIRECT)?;
        Ok(())
    });
    list.case("who has agreed to less is asked again", |case| {
        let (_, browser) = visitor(case)?;
        let code = confirm(case, &browser, &[])?;
        app_token(case, &code)?;
        ask(&browser, APP_CLIENT, APP_REDIRECT, &[]).expect(200)?;
        Ok(())
    });
    for (name, scope, granted, missing) in [
        ("one scope", "custom:lab:read", "custom:lab:read", "custom:lab:write"),
        ("identify and a scope", "identify custom:lab:read", "custom:lab:read", "custom:lab:write"),
    ] {
        list.case(format!("a client that asks for {name} gets no other"), move |case| {
            let (_, browser) = visitor(case)?;
            let page = ask(&browser, APP_CLIENT, APP_REDIRECT, &[("scope", scope)]).expect(200)?.text();
            let asked = scopes_of(&page);
            ensure!(asked.iter().any(|scope| scope == granted), "asked for {asked:?}");
            ensure!(!asked.iter().any(|scope| scope == missing), "asked for {asked:?}");
            Ok(())
        });
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
fn confirm(case: &Case<'_>, browser: &Browser<'_>, scopes: &[&str]) -> Result<String, Failure> {
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
        .filter_map(|tag| tag.split("value=\"").nth(1)?.split('"').next().map(str::to_owned))
        .collect()
}

fn app_token(case: &Case<'_>, code: &str) -> Result<Value, Failure> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", APP_CLIENT),
        ("client_secret", APP_TOKEN),
        ("redirect_uri", APP_REDIRECT),
        ("code", code),
    ];
    let body = exchange(case, &fields).expect(200)?.json()?;
    case.word(&text_of(&body, "access_token")?, "<token>");
    Ok(body)
}

fn exchanging(list: &mut List) {
    list.case("a code is exchanged for a token", |case| {
        let code = trusted_code(case, &[])?;
        let answer = exchange(case, &correct(&code))
            .expect(200)?
            .has_type("application/json")?
            .has_header("Cache-Control", "no-store")?
            .has_header("Pragma", "no-cache")?;
        let body = answer.json()?;
        has_keys(&body, &["access_token", "expires_in", "token_type", "scope"])?;
        ensure!(body["token_type"] == "Bearer", "token_type {}", body["token_type"]);
        let seconds = body["expires_in"].as_i64().unwrap_or(0);
        ensure!((1_209_590..=1_209_600).contains(&seconds), "expires_in {seconds}");
        let token = text_of(&body, "access_token")?;
        case.word(&token, "<token>");
        ensure!(body["scope"].is_string(), "scope {}", body["scope"]);
        let own = case.with(&token).read("user")?;
        ensure!(own["kind"] == "user" && own["session_id"].is_string(), "model {own}");
        Ok(())
    });
    list.case("the token's session is the browser's", |case| {
        let (_, browser) = visitor(case)?;
        let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
        let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
        let body = exchange(case, &correct(&code)).expect(200)?.json()?;
        let own = case.with(&text_of(&body, "access_token")?).read("user")?;
        let session = browser.jar.find("jupyterhub-session-id").map(|cookie| cookie.value);
        same!(own["session_id"].as_str(), session.as_deref(), "session");
        Ok(())
    });
    list.case("a code works once", |case| {
        let code = trusted_code(case, &[])?;
        exchange(case, &correct(&code)).expect(200)?;
        let body = exchange(case, &correct(&code)).expect(400)?.json()?;
        same!(body["error"], json!("invalid_grant"), "error");
        Ok(())
    });
    list.case("a token holds the scopes of the form, as far as the user has them", |case| {
        let (ada, browser) = visitor(case)?;
        let code = confirm(case, &browser, &["custom:lab:read"])?;
        let body = app_token(case, &code)?;
        let scope = text_of(&body, "scope")?;
        ensure!(scope.split(' ').any(|scope| scope == "custom:lab:read"), "scope {scope}");
        let scopes = texts(&case.with(&text_of(&body, "access_token")?).read("user")?["scopes"]);
        let wanted = [
            "access:services!service=app".to_owned(),
            "custom:lab:read".to_owned(),
            format!("read:users:groups!user={ada}"),
            format!("read:users:name!user={ada}"),
        ];
        same!(scopes, wanted, "scopes");
        Ok(())
    });
    list.case("a token of a service is listed with its description", |case| {
        let (ada, browser) = visitor(case)?;
        let code = confirm(case, &browser, &[])?;
        app_token(case, &code)?;
        let tokens = case.admin().read(format!("users/{ada}/tokens"))?;
        let token = &tokens["api_tokens"][0];
        same!(token["oauth_client"], json!("JupyterHub service app"), "oauth_client");
        ensure!(token["session_id"].is_string() && token["expires_at"].is_string(), "token {token}");
        Ok(())
    });
    list.case("taking away a token of a service takes all of them", |case| {
        let (ada, browser) = visitor(case)?;
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
            let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
            tokens.push(text_of(&exchange(case, &correct(&code)).expect(200)?.json()?, "access_token")?);
        }
        let first = tokens.first().cloned().unwrap_or_default();
        let id = text_of(&case.with(&first).read("user")?, "token_id")?;
        case.admin().delete(format!("users/{ada}/tokens/{id}")).expect(204)?;
        for token in &tokens {
            case.with(token).get("user").refused(403)?;
        }
        Ok(())
    });
}

/// What the token endpoint says of a mistake.
fn error(answer: &Response, status: u16, error: &str) -> Done {
    same!(answer.status(), status, "status");
    same!(answer.json()?["error"], json!(error), "error");
    Ok(())
}

fn token_errors(list: &mut List) {
    for (name, key, value, status, wanted) in [
        ("an unknown client", "client_id", "service-none", 401, "invalid_client"),
        ("a wrong secret", "client_secret", "wrong-secret-0123", 401, "invalid_client"),
        ("an empty secret", "client_secret", "", 401, "invalid_client"),
        ("the client of API tokens", "client_id", "jupyterhub", 401, "invalid_client"),
        ("a wrong code", "code", "0123456789012345678901234567ab", 400, "invalid_grant"),
        ("another redirect URI", "redirect_uri", "/services/trusted/other", 400, "invalid_request"),
        ("the grant type password", "grant_type", "password", 400, "unsupported_grant_type"),
        ("the grant type client_credentials", "grant_type", "client_credentials", 400, "unsupported_grant_type"),
        ("an unknown grant type", "grant_type", "x", 400, "unsupported_grant_type"),
    ] {
        list.case(format!("an exchange with {name} is {wanted}"), move |case| {
            let code = trusted_code(case, &[])?;
            let mut fields = correct(&code);
            for field in &mut fields {
                if field.0 == key {
                    field.1 = value;
                }
            }
            error(&exchange(case, &fields).send()?, status, wanted)
        });
    }
    for (missing, status, wanted) in [
        ("client_id", 401, "invalid_client"),
        ("client_secret", 401, "invalid_client"),
        ("code", 400, "invalid_request"),
        ("grant_type", 400, "unsupported_grant_type"),
    ] {
        list.case(format!("an exchange without {missing} is {wanted}"), move |case| {
            let code = trusted_code(case, &[])?;
            let fields: Vec<_> = correct(&code).into_iter().filter(|(name, _)| *name != missing).collect();
            error(&exchange(case, &fields).send()?, status, wanted)
        });
    }
    list.differs(
        "an exchange may leave out redirect_uri, unless the hub is as strict as RFC 6749",
        [200, 400],
        "RFC 6749 §4.1.3 requires it where the first request had it",
        |case| {
            let code = trusted_code(case, &[])?;
            let fields: Vec<_> = correct(&code).into_iter().filter(|(name, _)| *name != "redirect_uri").collect();
            Ok(exchange(case, &fields))
        },
    );
    list.case("refresh tokens are not for this client", |case| {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", TRUSTED_CLIENT),
            ("client_secret", TRUSTED_TOKEN),
            ("refresh_token", "x"),
        ];
        error(&exchange(case, &fields).send()?, 400, "unauthorized_client")
    });
    list.case("a bad client is told so by a header as well", |case| {
        let code = trusted_code(case, &[])?;
        let fields: Vec<_> = correct(&code).into_iter().filter(|(name, _)| *name != "client_secret").collect();
        let answer = exchange(case, &fields).expect(401)?;
        let header = answer.header("WWW-Authenticate").unwrap_or_default();
        ensure!(header.starts_with("Bearer") && header.contains("error=\"invalid_client\""), "header {header:?}");
        Ok(())
    });
    list.case("credentials in the header are not looked at", |case| {
        let code = trusted_code(case, &[])?;
        let fields: Vec<_> = correct(&code).into_iter().filter(|(name, _)| !name.starts_with("client_")).collect();
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{TRUSTED_CLIENT}:{TRUSTED_TOKEN}"));
        let answer = exchange(case, &fields).header("Authorization", format!("Basic {basic}")).send()?;
        error(&answer, 401, "invalid_client")
    });
    list.case("a code of another client is invalid_grant", |case| {
        let code = trusted_code(case, &[])?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", APP_CLIENT),
            ("client_secret", APP_TOKEN),
            ("redirect_uri", TRUSTED_REDIRECT),
            ("code", &code),
        ];
        error(&exchange(case, &fields).send()?, 400, "invalid_grant")
    });
    list.case("an exchange that failed leaves the code as it was", |case| {
        let code = trusted_code(case, &[])?;
        let mut fields = correct(&code);
        for field in &mut fields {
            if field.0 == "client_secret" {
                field.1 = "wrong-secret-0123";
            }
        }
        exchange(case, &fields).expect(401)?;
        exchange(case, &correct(&code)).expect(200)?;
        Ok(())
    });
    for method in ["GET", "PUT", "DELETE"] {
        list.refused(format!("{method} of the token endpoint is 405"), 405, move |case| {
            Ok(case.admin().request(method, TOKEN))
        });
    }
}

fn pkce(list: &mut List) {
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    fn challenge() -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
    }
    for (name, method, verifier, wanted) in [
        ("S256 and the right verifier", "S256", Some(VERIFIER), None),
        ("S256 and a wrong verifier", "S256", Some("a-wrong-verifier-0123456789-0123456789-0123456"), Some("invalid_grant")),
        ("S256 and no verifier", "S256", None, Some("invalid_request")),
        ("plain and the right verifier", "plain", Some(VERIFIER), None),
        ("plain and a wrong verifier", "plain", Some("a-wrong-verifier-0123456789-0123456789-0123456"), Some("invalid_grant")),
        ("no method and the right verifier", "", Some(VERIFIER), None),
    ] {
        list.case(format!("PKCE with {name} {}", wanted.unwrap_or("works")), move |case| {
            let hashed = challenge();
            let challenge = if method == "S256" { hashed.as_str() } else { VERIFIER };
            let mut more = vec![("code_challenge", challenge)];
            if !method.is_empty() {
                more.push(("code_challenge_method", method));
            }
            let code = trusted_code(case, &more)?;
            let mut fields = correct(&code);
            fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
            let answer = exchange(case, &fields).send()?;
            match wanted {
                None => answer.is(200).map(drop),
                Some(wanted) => error(&answer, 400, wanted),
            }
        });
    }
    list.case("a verifier without a challenge is ignored", |case| {
        let code = trusted_code(case, &[])?;
        let mut fields = correct(&code);
        fields.push(("code_verifier", VERIFIER));
        exchange(case, &fields).expect(200)?;
        Ok(())
    });
}

fn whose_tokens(list: &mut List) {
    list.case("a logout ends the tokens of its session, and no others", |case| {
        let (ada, browser) = visitor(case)?;
        let own = case.token_of(&ada, None)?;
        let other = case.browser_of(&ada)?;
        let mut tokens = Vec::new();
        for browser in [&browser, &other] {
            let answer = ask(browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
            let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
            tokens.push(text_of(&exchange(case, &correct(&code)).expect(200)?.json()?, "access_token")?);
        }
        browser.open("/hub/logout").send()?.either(&[200, 302], "to the login page, or a page of its own")?;
        for (token, status) in tokens.iter().zip([403, 200]) {
            case.with(token).get("user").expect(status)?;
        }
        case.with(&own).get("user").expect(200)?;
        Ok(())
    });
    list.case("a token of a service dies with the right to use it", |case| {
        let (ada, browser) = visitor(case)?;
        let code = confirm(case, &browser, &["custom:lab:read"])?;
        let token = text_of(&app_token(case, &code)?, "access_token")?;
        let path = format!("groups/{}/users", fixture::APP_USERS);
        case.admin().delete(path).json(&json!({"users": [ada]})).expect(200)?;
        let scopes = texts(&case.with(&token).read("user")?["scopes"]);
        let left = [format!("read:users:groups!user={ada}"), format!("read:users:name!user={ada}")];
        same!(scopes, left, "scopes");
        Ok(())
    });
}

fn servers(list: &mut List) {
    list.case("a server logs its owner in without asking", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        let told = case.anonymous().get(format!("/user/{ada}/lab/environment")).expect(200)?.json()?;
        let found = |name: &str| text_of(&told["environment"], name);
        let (client, secret, redirect) = (
            found("JUPYTERHUB_CLIENT_ID")?,
            found("JUPYTERHUB_API_TOKEN")?,
            found("JUPYTERHUB_OAUTH_CALLBACK_URL")?,
        );
        let browser = case.browser_of(&ada)?;
        let answer = ask(&browser, &client, &redirect, &[]).send()?;
        let code = code_of(case, &answer, &redirect)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", client.as_str()),
            ("client_secret", secret.as_str()),
            ("redirect_uri", redirect.as_str()),
            ("code", code.as_str()),
        ];
        let body = exchange(case, &fields).expect(200)?.json()?;
        let token = text_of(&body, "access_token")?;
        let own = case.with(&token).read("user")?;
        let scopes = texts(&own["scopes"]);
        ensure!(own["name"] == ada, "model {own}");
        ensure!(scopes.contains(&format!("access:servers!server={ada}/lab")), "scopes {scopes:?}");
        case.stop(&ada, "lab")?;
        // The client goes with the server, and its tokens with the client.
        case.with(&token).get("user").refused(403)?;
        ask(&browser, &client, &redirect, &[]).expect(400)?;
        Ok(())
    });
    for (stem, id) in [("a@b.cz", "a%40b.cz"), ("üml", "%C3%BCml"), ("a~b", "a~b"), ("a+b", "a%2Bb"), ("a b", "a%20b")] {
        list.case(format!("the client id of a server of {stem} is escaped"), move |case| {
            let name = case.name(stem);
            let path = name.replacen(stem, id, 1);
            case.word(&path, "<escaped>");
            case.admin().post(format!("users/{path}")).expect(201)?;
            case.start(&path, "")?;
            let told = case.anonymous().get(format!("/user/{path}/environment")).expect(200)?.json()?;
            same!(told["environment"]["JUPYTERHUB_CLIENT_ID"], json!(format!("jupyterhub-user-{path}")), "client id");
            case.stop(&path, "")
        });
    }
    list.case("an administrator is asked before entering another's server", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let browser = case.browser_of(fixture::ADMIN_USER)?;
        let redirect = format!("{}/user/{ada}/oauth_callback", case.target.base);
        ask(&browser, &format!("jupyterhub-user-{ada}"), &redirect, &[]).expect(200)?.is_page()?;
        case.stop(&ada, "")
    });
}
