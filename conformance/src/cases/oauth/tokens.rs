//! The token endpoint: codes for tokens, mistakes, PKCE, how long tokens live.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::confirm::{app_token, confirm};
use super::{TOKEN, ask, code_of, correct, exchange, trusted_code, visitor};
use crate::case::text_of;
use crate::failure::{Done, ensure, same};
use crate::fixture::{
    self, APP_CLIENT, APP_TOKEN, TRUSTED_CLIENT, TRUSTED_REDIRECT, TRUSTED_TOKEN,
};
use crate::list::List;
use crate::response::{Response, has_keys, texts};

pub(super) fn add(list: &mut List) {
    list.area("oauth tokens");
    exchanging(list);
    token_errors(list);
    pkce(list);
    whose_tokens(list);
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
        has_keys(
            &body,
            &["access_token", "expires_in", "token_type", "scope"],
        )?;
        ensure!(
            body["token_type"] == "Bearer",
            "token_type {}",
            body["token_type"]
        );
        let seconds = body["expires_in"].as_i64().unwrap_or(0);
        ensure!(
            (1_209_590..=1_209_600).contains(&seconds),
            "expires_in {seconds}"
        );
        let token = text_of(&body, "access_token")?;
        case.secret(&token);
        ensure!(body["scope"].is_string(), "scope {}", body["scope"]);
        let own = case.with(&token).read("user")?;
        ensure!(
            own["kind"] == "user" && own["session_id"].is_string(),
            "model {own}"
        );
        Ok(())
    });
    list.case("the token's session is the browser's", |case| {
        let (_, browser) = visitor(case)?;
        let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
        let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
        let body = exchange(case, &correct(&code)).expect(200)?.json()?;
        let own = case.with(&text_of(&body, "access_token")?).read("user")?;
        let session = browser
            .jar
            .find("jupyterhub-session-id")
            .map(|cookie| cookie.value);
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
    list.case(
        "a token holds the scopes of the form, as far as the user has them",
        |case| {
            let (ada, browser) = visitor(case)?;
            let code = confirm(case, &browser, &["custom:lab:read"])?;
            let body = app_token(case, &code)?;
            let scope = text_of(&body, "scope")?;
            ensure!(
                scope.split(' ').any(|scope| scope == "custom:lab:read"),
                "scope {scope}"
            );
            let scopes =
                texts(&case.with(&text_of(&body, "access_token")?).read("user")?["scopes"]);
            let wanted = [
                "access:services!service=app".to_owned(),
                "custom:lab:read".to_owned(),
                format!("read:users:groups!user={ada}"),
                format!("read:users:name!user={ada}"),
            ];
            same!(scopes, wanted, "scopes");
            Ok(())
        },
    );
    list.case(
        "a token of a service is listed with its description",
        |case| {
            let (ada, browser) = visitor(case)?;
            let code = confirm(case, &browser, &[])?;
            app_token(case, &code)?;
            let tokens = case.admin().read(format!("users/{ada}/tokens"))?;
            let token = &tokens["api_tokens"][0];
            same!(
                token["oauth_client"],
                json!("JupyterHub service app"),
                "oauth_client"
            );
            ensure!(
                token["session_id"].is_string() && token["expires_at"].is_string(),
                "token {token}"
            );
            Ok(())
        },
    );
    list.case(
        "taking away a token of a service takes all of them",
        |case| {
            let (ada, browser) = visitor(case)?;
            let mut tokens = Vec::new();
            for _ in 0..2 {
                let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
                let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
                tokens.push(text_of(
                    &exchange(case, &correct(&code)).expect(200)?.json()?,
                    "access_token",
                )?);
            }
            let first = tokens.first().cloned().unwrap_or_default();
            let id = text_of(&case.with(&first).read("user")?, "token_id")?;
            case.admin()
                .delete(format!("users/{ada}/tokens/{id}"))
                .expect(204)?;
            for token in &tokens {
                case.with(token).get("user").refused(403)?;
            }
            Ok(())
        },
    );
}

/// What the token endpoint says of a mistake.
fn error(answer: &Response, status: u16, error: &str) -> Done {
    same!(answer.status(), status, "status");
    same!(answer.json()?["error"], json!(error), "error");
    Ok(())
}

fn token_errors(list: &mut List) {
    for (name, key, value, status, wanted) in [
        (
            "an unknown client",
            "client_id",
            "service-none",
            401,
            "invalid_client",
        ),
        (
            "a wrong secret",
            "client_secret",
            "wrong-secret-0123",
            401,
            "invalid_client",
        ),
        (
            "an empty secret",
            "client_secret",
            "",
            401,
            "invalid_client",
        ),
        (
            "the client of API tokens",
            "client_id",
            "jupyterhub",
            401,
            "invalid_client",
        ),
        (
            "a wrong code",
            "code",
            "0123456789012345678901234567ab",
            400,
            "invalid_grant",
        ),
        (
            "another redirect URI",
            "redirect_uri",
            "/services/trusted/other",
            400,
            "invalid_request",
        ),
        (
            "the grant type password",
            "grant_type",
            "password",
            400,
            "unsupported_grant_type",
        ),
        (
            "the grant type client_credentials",
            "grant_type",
            "client_credentials",
            400,
            "unsupported_grant_type",
        ),
        (
            "an unknown grant type",
            "grant_type",
            "x",
            400,
            "unsupported_grant_type",
        ),
    ] {
        list.case(
            format!("an exchange with {name} is {wanted}"),
            move |case| {
                let code = trusted_code(case, &[])?;
                let mut fields = correct(&code);
                for field in &mut fields {
                    if field.0 == key {
                        field.1 = value;
                    }
                }
                error(&exchange(case, &fields).send()?, status, wanted)
            },
        );
    }
    for (missing, status, wanted) in [
        ("client_id", 401, "invalid_client"),
        ("client_secret", 401, "invalid_client"),
        ("code", 400, "invalid_request"),
        ("grant_type", 400, "unsupported_grant_type"),
    ] {
        list.case(
            format!("an exchange without {missing} is {wanted}"),
            move |case| {
                let code = trusted_code(case, &[])?;
                let fields: Vec<_> = correct(&code)
                    .into_iter()
                    .filter(|(name, _)| *name != missing)
                    .collect();
                error(&exchange(case, &fields).send()?, status, wanted)
            },
        );
    }
    list.differs(
        "an exchange may leave out redirect_uri, unless the hub is as strict as RFC 6749",
        [200, 400],
        "RFC 6749 §4.1.3 requires it where the first request had it",
        |case| {
            let code = trusted_code(case, &[])?;
            let fields: Vec<_> = correct(&code)
                .into_iter()
                .filter(|(name, _)| *name != "redirect_uri")
                .collect();
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
        let fields: Vec<_> = correct(&code)
            .into_iter()
            .filter(|(name, _)| *name != "client_secret")
            .collect();
        let answer = exchange(case, &fields).expect(401)?;
        let header = answer.header("WWW-Authenticate").unwrap_or_default();
        ensure!(
            header.starts_with("Bearer") && header.contains("error=\"invalid_client\""),
            "header {header:?}"
        );
        Ok(())
    });
    list.case("credentials in the header are not looked at", |case| {
        let code = trusted_code(case, &[])?;
        let fields: Vec<_> = correct(&code)
            .into_iter()
            .filter(|(name, _)| !name.starts_with("client_"))
            .collect();
        let basic = base64::engine::general_purpose::STANDARD
            .encode(format!("{TRUSTED_CLIENT}:{TRUSTED_TOKEN}"));
        let answer = exchange(case, &fields)
            .header("Authorization", format!("Basic {basic}"))
            .send()?;
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
    list.case(
        "an exchange that failed leaves the code as it was",
        |case| {
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
        },
    );
    for method in ["GET", "PUT", "DELETE"] {
        list.refused(
            format!("{method} of the token endpoint is 405"),
            405,
            move |case| Ok(case.admin().request(method, TOKEN)),
        );
    }
}

fn pkce(list: &mut List) {
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    fn challenge() -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
    }
    for (name, method, verifier, wanted) in [
        ("S256 and the right verifier", "S256", Some(VERIFIER), None),
        (
            "S256 and a wrong verifier",
            "S256",
            Some("a-wrong-verifier-0123456789-0123456789-0123456"),
            Some("invalid_grant"),
        ),
        (
            "S256 and no verifier",
            "S256",
            None,
            Some("invalid_request"),
        ),
        (
            "plain and the right verifier",
            "plain",
            Some(VERIFIER),
            None,
        ),
        (
            "plain and a wrong verifier",
            "plain",
            Some("a-wrong-verifier-0123456789-0123456789-0123456"),
            Some("invalid_grant"),
        ),
        ("no method and the right verifier", "", Some(VERIFIER), None),
    ] {
        list.case(
            format!("PKCE with {name} {}", wanted.unwrap_or("works")),
            move |case| {
                let hashed = challenge();
                let challenge = if method == "S256" {
                    hashed.as_str()
                } else {
                    VERIFIER
                };
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
            },
        );
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
    list.case(
        "a logout ends the tokens of its session, and no others",
        |case| {
            let (ada, browser) = visitor(case)?;
            let own = case.token_of(&ada, None)?;
            let other = case.browser_of(&ada)?;
            let mut tokens = Vec::new();
            for browser in [&browser, &other] {
                let answer = ask(browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
                let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
                tokens.push(text_of(
                    &exchange(case, &correct(&code)).expect(200)?.json()?,
                    "access_token",
                )?);
            }
            browser
                .open("/hub/logout")
                .send()?
                .either(&[200, 302], "to the login page, or a page of its own")?;
            for (token, status) in tokens.iter().zip([403, 200]) {
                case.with(token).get("user").expect(status)?;
            }
            case.with(&own).get("user").expect(200)?;
            Ok(())
        },
    );
    list.case(
        "a logout without the login's cookie ends no token of the session",
        |case| {
            let (_, browser) = visitor(case)?;
            let answer = ask(&browser, TRUSTED_CLIENT, TRUSTED_REDIRECT, &[]).send()?;
            let code = code_of(case, &answer, TRUSTED_REDIRECT)?;
            let body = exchange(case, &correct(&code)).expect(200)?.json()?;
            let token = text_of(&body, "access_token")?;
            browser.jar.drop_cookie("jupyterhub-hub-login");
            browser.open("/hub/logout").expect(302)?;
            case.with(&token).get("user").expect(200)?;
            Ok(())
        },
    );
    list.case(
        "a token of a service dies with the right to use it",
        |case| {
            let (ada, browser) = visitor(case)?;
            let code = confirm(case, &browser, &["custom:lab:read"])?;
            let token = text_of(&app_token(case, &code)?, "access_token")?;
            let path = format!("groups/{}/users", fixture::APP_USERS);
            case.admin()
                .delete(path)
                .json(&json!({"users": [ada]}))
                .expect(200)?;
            let scopes = texts(&case.with(&token).read("user")?["scopes"]);
            let left = [
                format!("read:users:groups!user={ada}"),
                format!("read:users:name!user={ada}"),
            ];
            same!(scopes, left, "scopes");
            Ok(())
        },
    );
}
