//! A hub with other settings: PKCE for all, a form of options, a named server by default, open metrics, short pages
//! and short tokens.

use serde_json::json;

use crate::browser::Browser;
use crate::case::{Case, text_of};
use crate::failure::{Failure, ensure, same};
use crate::fixture::{self, TRUSTED_CLIENT, TRUSTED_REDIRECT};
use crate::list::{List, Profile};
use crate::response::Response;

pub(super) fn add(list: &mut List) {
    list.area("other settings");
    list.needs(Profile::Strict);
    pkce(list);
    form(list);
    names_and_metrics(list);
    pages(list);
    tokens(list);
}

fn authorize(case: &Case<'_>, more: &[(&str, &str)]) -> Result<Response, Failure> {
    let ada = case.user("ada")?;
    case.join(fixture::APP_USERS, &[&ada])?;
    let browser: Browser<'_> = case.browser_of(&ada)?;
    let mut request = browser
        .open("/hub/api/oauth2/authorize")
        .query("client_id", TRUSTED_CLIENT)
        .query("redirect_uri", TRUSTED_REDIRECT)
        .query("response_type", "code");
    for (name, value) in more {
        request = request.query(name, value);
    }
    request.send()
}

fn pkce(list: &mut List) {
    list.case(
        "a client without a challenge is told invalid_request",
        |case| {
            let target = authorize(case, &[])?.redirect(302)?;
            ensure!(target.starts_with(TRUSTED_REDIRECT), "leads to {target}");
            ensure!(
                target.contains("error=invalid_request"),
                "leads to {target}"
            );
            ensure!(!target.contains("code="), "leads to {target}");
            Ok(())
        },
    );
    list.case("a client with a challenge gets its code", |case| {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let more = [
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ];
        let target = authorize(case, &more)?.redirect(302)?;
        ensure!(
            target.starts_with(&format!("{TRUSTED_REDIRECT}?code=")),
            "leads to {target}"
        );
        Ok(())
    });
}

fn form(list: &mut List) {
    list.case(
        "/hub/spawn shows the form of options, and starts nothing",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser
                .open(format!("/hub/spawn/{ada}"))
                .expect(200)?
                .page()?
                .contains("name=\"size\"")?;
            let body = case.admin().read(format!("users/{ada}/server"))?;
            ensure!(body["stopped"] == true, "model {body}");
            Ok(())
        },
    );
    list.case("what is chosen in the form becomes the options", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let xsrf: String = form_urlencoded::byte_serialize(browser.xsrf().as_bytes()).collect();
        let path = format!("/hub/spawn/{ada}?_xsrf={xsrf}");
        let request = browser.submit(path, &[]).form(&[("size", "big")]);
        request
            .send()?
            .leads_to_path(302, &format!("/hub/spawn-pending/{ada}"))?;
        case.wait_until("it is ready", || {
            let model = case
                .admin()
                .get(format!("users/{ada}/server"))
                .quiet()
                .expect(200)?
                .json()?;
            Ok(model["ready"] == true)
        })?;
        let body = case.admin().read(format!("users/{ada}/server"))?;
        same!(
            body["user_options"],
            json!({"size": ["big"]}),
            "user_options"
        );
        case.stop(&ada, "")
    });
    list.case(
        "options in the query start the server without the form",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let answer = browser
                .open(format!("/hub/spawn/{ada}?opt-size=big"))
                .send()?;
            answer.leads_to_path(302, &format!("/hub/spawn-pending/{ada}"))?;
            case.wait_until("it is ready", || {
                let model = case
                    .admin()
                    .get(format!("users/{ada}/server"))
                    .quiet()
                    .expect(200)?
                    .json()?;
                Ok(model["ready"] == true)
            })?;
            case.stop(&ada, "")
        },
    );
    list.case("the API starts a server without the form", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.stop(&ada, "")
    });
}

fn names_and_metrics(list: &mut List) {
    list.case(
        "user-redirect leads to the named server of the settings",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let target = browser
                .open("/hub/user-redirect/tree/x")
                .send()?
                .redirect(302)?;
            same!(
                target.split('?').next(),
                Some(format!("/hub/spawn/{ada}/lab").as_str()),
                "target"
            );
            let next: String =
                form_urlencoded::byte_serialize(format!("/user/{ada}/lab/tree/x").as_bytes())
                    .collect();
            let plain = format!("/user/{ada}/lab/tree/x");
            ensure!(
                target.contains(&next) || target.contains(&plain),
                "leads to {target}"
            );
            Ok(())
        },
    );
    list.case("metrics are for everybody if the settings say so", |case| {
        case.anonymous()
            .get("/hub/metrics")
            .expect(200)?
            .has_type("text/plain")?;
        Ok(())
    });
}

fn pages(list: &mut List) {
    list.case("pages are as long as the settings say", |case| {
        let stem = case.name("many");
        let users: Vec<String> = (0..7).map(|number| format!("{stem}-{number}")).collect();
        let count = |path: String, accept: &str| {
            let body = case
                .admin()
                .get(path)
                .header("Accept", accept)
                .expect(200)?
                .json()?;
            let items = if body.is_object() {
                body["items"].clone()
            } else {
                body
            };
            Ok::<_, Failure>(items.as_array().map_or(0, Vec::len))
        };
        case.admin()
            .tell("users", &json!({"usernames": users}))?
            .is(201)?;
        let wrapped = "application/jupyterhub-pagination+json";
        same!(
            count(format!("users?name_filter={stem}"), wrapped)?,
            3,
            "a page without a wish"
        );
        same!(
            count(format!("users?name_filter={stem}&limit=9"), wrapped)?,
            5,
            "a page with a large wish"
        );
        same!(
            count(format!("users?name_filter={stem}"), "*/*")?,
            5,
            "a bare list"
        );
        Ok(())
    });
}

fn tokens(list: &mut List) {
    list.case(
        "a token without an end gets the longest life that is allowed",
        |case| {
            let ada = case.user("ada")?;
            let body = case
                .admin()
                .tell(format!("users/{ada}/tokens"), &json!({}))?
                .is(201)?
                .json()?;
            let seconds = |key: &str| {
                let time = text_of(&body, key)?.parse::<jiff::Timestamp>();
                Ok::<_, Failure>(time.map_or(0, jiff::Timestamp::as_second))
            };
            let life = seconds("expires_at")? - seconds("created")?;
            ensure!((3590..=3610).contains(&life), "lives {life} s");
            Ok(())
        },
    );
    list.refused(
        "a token with a longer life than is allowed is 400",
        400,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .admin()
                .post(format!("users/{ada}/tokens"))
                .json(&json!({"expires_in": 3601})))
        },
    );
}
