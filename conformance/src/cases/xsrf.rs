//! XSRF tokens, Fetch metadata, CORS, media types: what a browser may be made to do by another site.

use crate::failure::ensure;
use crate::list::List;

pub(super) fn add(list: &mut List) {
    list.area("xsrf");
    api(list);
    tokens(list);
    media_types(list);
    multipart(list);
    cors(list);
}

fn api(list: &mut List) {
    // Method, mode, site, whether an XSRF token is needed.
    let rows = [
        ("GET", "", "", false),
        ("GET", "navigate", "none", false),
        ("GET", "navigate", "same-origin", false),
        ("GET", "navigate", "cross-site", false),
        ("GET", "no-cors", "same-origin", false),
        ("GET", "no-cors", "cross-site", true),
        ("GET", "no-cors", "same-site", true),
        ("GET", "cors", "same-origin", true),
        ("GET", "cors", "same-site", true),
        ("GET", "cors", "cross-site", true),
        ("GET", "same-origin", "same-origin", true),
        ("POST", "", "", true),
        ("POST", "cors", "same-origin", true),
        ("POST", "navigate", "same-origin", true),
        ("POST", "no-cors", "same-origin", true),
        ("DELETE", "", "", true),
        ("DELETE", "cors", "same-origin", true),
        ("PATCH", "cors", "same-origin", true),
        ("PUT", "cors", "same-origin", true),
    ];
    for (method, mode, site, is_needed) in rows {
        let shown = if is_needed { "needs" } else { "does not need" };
        list.case(
            format!(
                "{method} by cookie with mode {mode:?} from site {site:?} {shown} an XSRF token"
            ),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                let path = match method {
                    "POST" => format!("users/{ada}/activity"),
                    "DELETE" => format!("users/{ada}/server"),
                    "PATCH" | "PUT" => format!("users/{ada}/servers/lab"),
                    _ => "user".to_owned(),
                };
                let request = || {
                    let request = browser
                        .request(method, &path)
                        .header("Sec-Fetch-Mode", mode)
                        .header("Sec-Fetch-Site", site);
                    if method == "POST" {
                        request.body(
                            "application/json",
                            r#"{"last_activity": "2020-01-01T00:00:00Z"}"#,
                        )
                    } else {
                        request
                    }
                };
                let without = request().send()?;
                ensure!(
                    (without.status() == 403) == is_needed,
                    "without a token: {}",
                    without.status()
                );
                let with = request().header("X-XSRFToken", browser.xsrf()).send()?;
                ensure!(with.status() != 403, "with the token: {}", with.status());
                Ok(())
            },
        );
    }
}

fn tokens(list: &mut List) {
    for (name, header) in [
        ("X-XSRFToken", true),
        ("X-CSRFToken", true),
        ("X-XSRF-Token", false),
    ] {
        list.case(
            format!(
                "the header {name} {}",
                if header {
                    "is taken"
                } else {
                    "is not looked at"
                }
            ),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                let request = browser
                    .fetch("GET", "user")
                    .header("X-XSRFToken", "")
                    .header(name, browser.xsrf());
                request.expect(if header { 200 } else { 403 })?;
                Ok(())
            },
        );
    }
    list.case("the parameter _xsrf is taken", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser
            .fetch("GET", "user")
            .header("X-XSRFToken", "")
            .query("_xsrf", &browser.xsrf())
            .expect(200)?;
        Ok(())
    });
    list.case("a token of another user is refused", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let (browser, other) = (case.browser_of(&ada)?, case.browser_of(&bob)?);
        browser
            .fetch("GET", "user")
            .header("X-XSRFToken", other.xsrf())
            .expect(403)?;
        Ok(())
    });
    list.case(
        "a token of another user is refused with its cookie, too",
        |case| {
            let (ada, bob) = (case.user("ada")?, case.user("bob")?);
            let (browser, other) = (case.browser_of(&ada)?, case.browser_of(&bob)?);
            browser.jar.put("_xsrf", &other.xsrf(), "/hub/");
            browser
                .fetch("GET", "user")
                .header("X-XSRFToken", other.xsrf())
                .expect(403)?;
            Ok(())
        },
    );
    list.case(
        "a token of another session of the same user is refused",
        |case| {
            let ada = case.user("ada")?;
            let (browser, other) = (case.browser_of(&ada)?, case.browser_of(&ada)?);
            browser.jar.put("_xsrf", &other.xsrf(), "/hub/");
            browser
                .fetch("GET", "user")
                .header("X-XSRFToken", other.xsrf())
                .expect(403)?;
            Ok(())
        },
    );
    for (name, value) in [
        ("nonsense", "nonsense"),
        (
            "a forged one",
            "MnwxOjB8MTA6MTcwMDAwMDAwMHw1Ol94c3JmfDQ6YWJjZHxhYmM",
        ),
    ] {
        list.case(
            format!("a token that is {name} is refused, also as a pair"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                browser
                    .fetch("GET", "user")
                    .header("X-XSRFToken", value)
                    .expect(403)?;
                browser.jar.put("_xsrf", value, "/hub/");
                browser
                    .fetch("GET", "user")
                    .header("X-XSRFToken", value)
                    .expect(403)?;
                Ok(())
            },
        );
    }
    list.case("requests with an API token need none", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let request = case.with(&token).post(format!("users/{ada}/activity"));
        request
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Site", "cross-site")
            .header("Origin", "http://evil.example")
            .body(
                "application/json",
                r#"{"last_activity": "2020-01-01T00:00:00Z"}"#,
            )
            .expect(200)?;
        Ok(())
    });
    list.case(
        "a script of another site learns nothing about a login",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let ask = |browser: &crate::browser::Browser<'_>| {
                let request = browser
                    .request("GET", "user")
                    .header("Sec-Fetch-Mode", "cors")
                    .header("Sec-Fetch-Site", "cross-site");
                Ok::<_, crate::failure::Failure>(
                    request
                        .header("Origin", "http://evil.example")
                        .send()?
                        .status(),
                )
            };
            let (with, without) = (ask(&browser)?, ask(&case.browser())?);
            ensure!(
                with == without && with == 403,
                "with a login {with}, without {without}"
            );
            Ok(())
        },
    );
    list.case("the XSRF cookie is not set for scripts' requests", |case| {
        let answer = case
            .browser()
            .request("GET", "/hub/login")
            .header("Sec-Fetch-Mode", "cors")
            .expect(200)?;
        ensure!(answer.cookie("_xsrf").is_err(), "it is set");
        Ok(())
    });
    list.case(
        "the XSRF cookie is set for clients that tell no mode",
        |case| {
            case.browser()
                .request("GET", "/hub/login")
                .expect(200)?
                .cookie("_xsrf")?;
            Ok(())
        },
    );
}

fn media_types(list: &mut List) {
    for (media_type, is_fine) in [
        ("application/json", true),
        ("application/json; charset=utf-8", true),
        ("APPLICATION/JSON", true),
        ("", true),
        ("text/plain", false),
        ("application/x-www-form-urlencoded", false),
    ] {
        let shown = if is_fine { "is taken" } else { "is 403" };
        list.case(
            format!("a POST by cookie of the type {media_type:?} {shown}"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                let request = browser.fetch("POST", format!("users/{ada}/activity"));
                let body = r#"{"last_activity": "2020-01-01T00:00:00Z"}"#;
                request
                    .body(media_type, body)
                    .expect(if is_fine { 200 } else { 403 })?;
                Ok(())
            },
        );
    }
}

fn multipart(list: &mut List) {
    list.case("a POST by cookie of a form with files is 403", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n";
        let request = browser.fetch("POST", format!("users/{ada}/activity"));
        request
            .body("multipart/form-data; boundary=x", body)
            .expect(403)?;
        Ok(())
    });
}

fn cors(list: &mut List) {
    for path in [
        "users",
        "users/ada",
        "groups",
        "user",
        "proxy",
        "services/app",
        "shares/ada/lab",
        "info",
    ] {
        list.case(
            format!("OPTIONS {path} is 200, empty, for everybody"),
            move |case| {
                let answer = case
                    .anonymous()
                    .request("OPTIONS", path)
                    .header("Origin", "http://other.example")
                    .header("Access-Control-Request-Method", "POST")
                    .expect(200)?
                    .empty()?;
                answer
                    .has_header(
                        "Access-Control-Allow-Headers",
                        "accept, content-type, authorization",
                    )?
                    .has_header("Content-Type", "application/json")?
                    .lacks_header("Allow")?
                    .lacks_header("Access-Control-Allow-Origin")?;
                Ok(())
            },
        );
    }
    list.case(
        "a wrong method is refused without a list of right ones",
        |case| {
            let answer = case.admin().request("PATCH", "info").expect(405)?;
            answer.lacks_header("Allow")?;
            Ok(())
        },
    );
    list.case("the API allows no other origin", |case| {
        let answer = case
            .admin()
            .get("user")
            .header("Origin", "http://other.example")
            .expect(200)?;
        answer
            .lacks_header("Access-Control-Allow-Origin")?
            .lacks_header("Access-Control-Allow-Credentials")?;
        Ok(())
    });
}
