//! What a server that does not run answers: pages, JSON, redirects.

use crate::failure::ensure;
use crate::fixture;
use crate::list::List;
use crate::response::has_keys;

pub(super) fn add(list: &mut List) {
    list.area("stopped servers");
    stopped(list);
}

fn stopped(list: &mut List) {
    list.case(
        "a stopped server's page is 424 and says how to start it",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let page = browser
                .open(format!("/hub/user/{ada}/tree"))
                .expect(424)?
                .page()?;
            page.contains(&format!("/hub/spawn/{ada}?next="))?;
            Ok(())
        },
    );
    for (name, path, accept) in [
        ("that wants JSON", "x", "application/json"),
        (
            "that wants JSON more than a page",
            "x",
            "text/html;q=0.5, application/json",
        ),
        ("to an API", "api/contents", "text/html"),
        ("to an API of an extension", "ext/api/x", "*/*"),
    ] {
        list.case(
            format!("a request {name} of a stopped server is 424 in JSON"),
            move |case| {
                let (ada, token) = case.user_with_token("ada")?;
                let answer = case
                    .with(&token)
                    .get(format!("/hub/user/{ada}/{path}"))
                    .header("Accept", accept)
                    .expect(424)?;
                let body = answer.has_type("application/json")?.json()?;
                has_keys(&body, &["message"])?;
                ensure!(
                    body["message"]
                        .as_str()
                        .is_some_and(|text| text.contains(&format!("/hub/spawn/{ada}"))),
                    "{body}"
                );
                Ok(())
            },
        );
    }
    for (accept, is_json) in [
        ("text/html", false),
        ("*/*", false),
        ("", false),
        ("application/json, text/html", true),
        ("text/html, application/json;q=0.9", false),
        ("application/*", false),
    ] {
        list.case(
            format!(
                "Accept {accept:?} gives {}",
                if is_json { "JSON" } else { "a page" }
            ),
            move |case| {
                let (ada, token) = case.user_with_token("ada")?;
                let answer = case
                    .with(&token)
                    .get(format!("/hub/user/{ada}/x"))
                    .header("Accept", accept)
                    .expect(424)?;
                answer.has_type(if is_json {
                    "application/json"
                } else {
                    "text/html"
                })?;
                Ok(())
            },
        );
    }
    list.case("another's stopped server is 404", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        case.browser_of(&ada)?
            .open(format!("/hub/user/{bob}/tree"))
            .expect(404)?
            .page()?;
        Ok(())
    });
    list.case("a user who does not exist is 404", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?
            .open("/hub/user/nobody-at-all/tree")
            .expect(404)?
            .page()?;
        Ok(())
    });
    list.case("a stopped named server's page leads to its start", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let page = case
            .browser_of(&ada)?
            .open(format!("/hub/user/{ada}/lab/tree"))
            .expect(424)?;
        page.contains(&format!("/hub/spawn/{ada}/lab?next="))?;
        Ok(())
    });
    list.case(
        "an administrator sees that another's server does not run",
        |case| {
            let ada = case.user("ada")?;
            case.browser_of(fixture::ADMIN_USER)?
                .open(format!("/hub/user/{ada}/tree"))
                .expect(424)?;
            Ok(())
        },
    );
    for method in ["POST", "PATCH", "DELETE"] {
        list.case(
            format!("{method} to a stopped server is 424 in JSON"),
            move |case| {
                let (ada, token) = case.user_with_token("ada")?;
                case.with(&token)
                    .request(method, format!("/hub/user/{ada}/api/x"))
                    .expect(424)?
                    .has_type("application/json")?;
                Ok(())
            },
        );
        list.case(
            format!("{method} to a stopped server by cookie needs the XSRF token"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                browser
                    .request(method, format!("/hub/user/{ada}/api/x"))
                    .expect(403)?;
                browser
                    .request(method, format!("/hub/user/{ada}/api/x"))
                    .header("X-XSRFToken", browser.xsrf())
                    .expect(424)?;
                Ok(())
            },
        );
    }
    list.case(
        "a running server's hub path leads back, and counts",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            case.start(&ada, "")?;
            let path = format!("/hub/user/{ada}/tree?x=y");
            browser
                .open(&path)
                .send()?
                .leads_to(302, &format!("/user/{ada}/tree?x=y&redirects=1"))?;
            let again = browser.open(format!("{path}&redirects=1")).send()?;
            again.leads_to(302, &format!("/user/{ada}/tree?x=y&redirects=2"))?;
            browser
                .open(format!("{path}&redirects=4"))
                .expect(500)?
                .page()?;
            case.stop(&ada, "")
        },
    );
    list.case("a look at a stopped server is no activity of it", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?
            .open(format!("/hub/user/{ada}/tree"))
            .expect(424)?;
        let body = case.admin().read(format!("users/{ada}/server"))?;
        ensure!(body["last_activity"].is_null(), "model {body}");
        Ok(())
    });
}
