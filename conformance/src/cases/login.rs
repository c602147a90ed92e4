//! Logging in and out: the form, its cookies, where it leads.

mod plain;

use crate::failure::{ensure, same};
use crate::list::List;

pub(super) fn add(list: &mut List) {
    list.area("login");
    form(list);
    cookies(list);
    next(list);
    logout(list);
    plain::add(list);
}

fn form(list: &mut List) {
    list.case("the login page is a form with its XSRF token", |case| {
        let browser = case.browser();
        let page = browser.open("/hub/login").expect(200)?.page()?;
        for name in ["username", "password", "_xsrf"] {
            ensure!(
                page.text().contains(&format!("name=\"{name}\"")),
                "there is no field {name}"
            );
        }
        Ok(())
    });
    list.case("?username= fills the field in", |case| {
        case.browser()
            .open("/hub/login?username=pr3filled")
            .expect(200)?
            .contains("pr3filled")?;
        Ok(())
    });
    list.case("text in ?username= and ?next= stays text", |case| {
        let text = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
        let page = case
            .browser()
            .open(format!("/hub/login?username={text}&next=/{text}"))
            .expect(200)?;
        ensure!(
            !page.text().contains("<script>alert(1)"),
            "the page runs it"
        );
        Ok(())
    });
    list.case("a login that works leads on, and makes the user", |case| {
        let ada = case.name("ada");
        let browser = case.browser();
        browser.log_in(&ada)?;
        case.admin().get(format!("users/{ada}")).expect(200)?;
        let body = browser.fetch("GET", "user").expect(200)?.json()?;
        ensure!(body["name"] == ada, "model {body}");
        Ok(())
    });
    list.case(
        "the name is made small and its spaces are cut off",
        |case| {
            let ada = case.name("ada");
            let browser = case.browser();
            browser.log_in(&format!("  {} ", ada.to_uppercase()))?;
            let body = browser.fetch("GET", "user").expect(200)?.json()?;
            ensure!(body["name"] == ada, "model {body}");
            Ok(())
        },
    );
    for (name, user) in [
        ("an empty name", ""),
        ("a name with a slash", "a/b"),
        ("a name of dots", ".."),
        ("escaped dots", "%2e%2e"),
    ] {
        list.case(
            format!("a login with {name} is 403 and the form again"),
            move |case| {
                let browser = case.browser();
                browser.open("/hub/login").expect(200)?;
                let fields = [("username", user), ("password", "pw")];
                let page = browser.submit("/hub/login", &fields).expect(403)?.page()?;
                ensure!(
                    page.text().contains("name=\"password\""),
                    "there is no form"
                );
                ensure!(
                    browser.jar.find("jupyterhub-hub-login").is_none(),
                    "logged in all the same"
                );
                Ok(())
            },
        );
    }
    list.case(
        "a login without the XSRF token is 403 and the form again",
        |case| {
            let browser = case.browser();
            browser.open("/hub/login").expect(200)?;
            let form = [
                ("username", case.name("ada")),
                ("password", "pw".to_owned()),
            ];
            let form: Vec<(&str, &str)> = form
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let page = browser
                .submit("/hub/login", &[])
                .form(&form)
                .expect(403)?
                .page()?;
            ensure!(
                page.text().contains("name=\"password\""),
                "there is no form"
            );
            Ok(())
        },
    );
    list.case("a login with a forged XSRF token is 403", |case| {
        let browser = case.browser();
        browser.open("/hub/login").expect(200)?;
        let ada = case.name("ada");
        let form = [
            ("username", ada.as_str()),
            ("password", "pw"),
            ("_xsrf", "2|deadbeef|forged"),
        ];
        browser.submit("/hub/login", &[]).form(&form).expect(403)?;
        case.admin().get(format!("users/{ada}")).refused(404)?;
        Ok(())
    });
    list.case("a login without cookies is 403", |case| {
        let form = [("username", "ada"), ("password", "pw")];
        case.browser().submit("/hub/login", &form).expect(403)?;
        Ok(())
    });
    list.case("who is logged in is led on by the login page", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser.open("/hub/login").expect(302)?;
        browser
            .open("/hub/login?next=%2Fhub%2Ftoken")
            .send()?
            .leads_to(302, "/hub/token")?;
        Ok(())
    });
    list.case("a login takes the place of another one", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let browser = case.browser_of(&ada)?;
        let form = [("username", bob.as_str()), ("password", "pw")];
        browser.submit("/hub/login", &form).expect(302)?;
        browser.open("/hub/home").expect(200)?;
        let body = browser.fetch("GET", "user").expect(200)?.json()?;
        ensure!(body["name"] == bob, "model {body}");
        Ok(())
    });
}

fn cookies(list: &mut List) {
    list.case(
        "the anonymous XSRF cookie: path, an hour, readable by scripts",
        |case| {
            let answer = case.browser().open("/hub/login").expect(200)?;
            let cookie = answer.cookie("_xsrf")?;
            same!(
                cookie.attribute("path"),
                Some(format!("{}/hub/", case.target.base).as_str()),
                "path"
            );
            same!(cookie.attribute("max-age"), Some("3600"), "Max-Age");
            ensure!(!cookie.has("httponly"), "HttpOnly");
            Ok(())
        },
    );
    list.case(
        "the login cookie: path of the hub, HttpOnly, not Secure on http",
        |case| {
            let browser = case.browser();
            let answer = browser.log_in(&case.name("ada"))?;
            let cookie = answer.cookie("jupyterhub-hub-login")?;
            same!(
                cookie.attribute("path"),
                Some(format!("{}/hub/", case.target.base).as_str()),
                "path"
            );
            ensure!(
                cookie.has("httponly") && !cookie.has("secure"),
                "attributes {:?}",
                cookie.attributes
            );
            ensure!(
                cookie.attribute("expires").is_some() || cookie.attribute("max-age").is_some(),
                "attributes {:?}",
                cookie.attributes
            );
            ensure!(
                cookie.attribute("domain").is_none(),
                "attributes {:?}",
                cookie.attributes
            );
            Ok(())
        },
    );
    list.case("the session's cookie: path of all, HttpOnly, 32 digits, for as long as the browser is open", |case| {
        let browser = case.browser();
        let answer = browser.log_in(&case.name("ada"))?;
        let cookie = answer.cookie("jupyterhub-session-id")?;
        same!(cookie.attribute("path"), Some(format!("{}/", case.target.base).as_str()), "path");
        ensure!(cookie.has("httponly") && !cookie.has("secure"), "attributes {:?}", cookie.attributes);
        ensure!(
            cookie.attribute("expires").is_none() && cookie.attribute("max-age").is_none(),
            "attributes {:?}",
            cookie.attributes
        );
        let is_hex = cookie.value.len() == 32 && cookie.value.chars().all(|digit| digit.is_ascii_hexdigit());
        ensure!(is_hex, "value {}", cookie.value);
        Ok(())
    });
    list.case("the XSRF token changes with the login", |case| {
        let browser = case.browser();
        browser.open("/hub/login").expect(200)?;
        let before = browser.xsrf();
        browser.log_in(&case.name("ada"))?;
        let after = browser.xsrf();
        ensure!(before != after, "it is still {before}");
        browser
            .fetch("GET", "user")
            .header("X-XSRFToken", before)
            .expect(403)?;
        Ok(())
    });
    list.case(
        "the XSRF cookie of a login lasts as long as the browser is open",
        |case| {
            let browser = case.browser();
            let login = browser.log_in(&case.name("ada"))?;
            let cookie = match login.cookie("_xsrf") {
                Ok(cookie) => cookie,
                // It may come with the next page instead.
                Err(_) => browser
                    .jar
                    .find("_xsrf")
                    .unwrap_or_else(|| crate::response::SetCookie::parse("x=; Max-Age=1")),
            };
            ensure!(
                cookie.attribute("max-age").is_none() && !cookie.has("httponly"),
                "attributes {:?}",
                cookie.attributes
            );
            Ok(())
        },
    );
    list.case(
        "a client cannot make cookies Secure by a header that proxies set",
        |case| {
            let browser = case.browser();
            browser.open("/hub/login").expect(200)?;
            let ada = case.name("ada");
            let form = [("username", ada.as_str()), ("password", "pw")];
            let answer = browser
                .submit("/hub/login", &form)
                .header("X-Forwarded-Proto", "https")
                .send()?;
            // A proxy in front appends its own "http", which counts; the client's word does not.
            let cookie = answer.is(302)?.cookie("jupyterhub-hub-login")?;
            ensure!(!cookie.has("secure"), "a client's own header has an effect");
            Ok(())
        },
    );
    for (name, value) in [
        ("nonsense", "nonsense"),
        ("an empty value", ""),
        (
            "a forged signature",
            "2|1:0|10:1700000000|20:jupyterhub-hub-login|4:YWJj|0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ),
    ] {
        list.case(
            format!("a login cookie with {name} is no login"),
            move |case| {
                let browser = case.browser();
                browser.jar.put("jupyterhub-hub-login", value, "/hub/");
                browser
                    .open("/hub/home")
                    .send()?
                    .leads_to_path(302, "/hub/login")?;
                browser.request("GET", "user").refused(403)?;
                Ok(())
            },
        );
    }
}

fn next(list: &mut List) {
    let rows = [
        ("/hub/token", "/hub/token"),
        ("/hub/token?a=b%20c&d", "/hub/token?a=b%20c&d"),
        ("/user/x/lab?path=a/b#c", "/user/x/lab?path=a/b#c"),
        ("/services/web/", "/services/web/"),
        ("http://HOST/hub/token", "/hub/token"),
        ("//HOST/hub/token", "/hub/token"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("http://evil.example/x", ""),
        ("https://evil.example/x", ""),
        ("//evil.example/x", ""),
        ("///evil.example/x", ""),
        ("////evil.example/x", ""),
        ("\\\\evil.example/x", ""),
        ("http:evil.example", ""),
        ("javascript:alert(1)", ""),
        ("evil.example", ""),
        ("hub/token", ""),
        ("@evil.example", ""),
        ("http://HOST@evil.example/x", ""),
        ("http://evil.example\\@HOST/x", ""),
        ("", ""),
    ];
    for (given, wanted) in rows {
        let shown = if wanted.is_empty() {
            "is not followed"
        } else {
            "is followed"
        };
        list.case(format!("next={given:?} {shown}"), move |case| {
            let ada = case.user("ada")?;
            let given = given.replace("HOST", &case.target.host);
            // At the form…
            let browser = case.browser();
            browser.open("/hub/login").expect(200)?;
            let query: String = form_urlencoded::byte_serialize(given.as_bytes()).collect();
            let form = [("username", ada.as_str()), ("password", "pw")];
            let first = browser
                .submit(format!("/hub/login?next={query}"), &form)
                .send()?
                .redirect(302)?;
            // …and for who is logged in already.
            let second = browser
                .open(format!("/hub/login?next={query}"))
                .send()?
                .redirect(302)?;
            for found in [first, second] {
                if wanted.is_empty() {
                    let is_default = found.starts_with("/hub/spawn") || found == "/hub/home";
                    ensure!(is_default, "leads to {found}");
                } else {
                    same!(found, wanted, "target");
                }
            }
            Ok(())
        });
    }
    for header in ["Host", "X-Forwarded-Host"] {
        list.case(
            format!("a forged {header} leads nobody to another host"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                for next in [
                    "http://other.example/hub/token",
                    "//other.example/hub/token",
                ] {
                    let target = browser
                        .open("/hub/login")
                        .query("next", next)
                        .header(header, "other.example")
                        .send()?
                        .redirect(302)?;
                    // Whatever the hub takes for its own host, it leads to a path.
                    ensure!(target.starts_with("/hub/"), "{next} leads to {target}");
                }
                Ok(())
            },
        );
    }
    list.case("with another Host the former one is another host", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let target = browser
            .open("/hub/login")
            .query("next", &format!("http://{}/hub/token", case.target.host))
            .header("Host", "other.example")
            .send()?
            .redirect(302)?;
        same!(target.split('?').next(), Some("/hub/spawn"), "target");
        Ok(())
    });
    list.case("a login without next leads to the user's server", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser();
        browser.log_in(&ada)?.leads_to(302, "/hub/spawn")?;
        case.start(&ada, "")?;
        browser
            .open("/hub/")
            .send()?
            .leads_to(302, &format!("/user/{ada}/"))?;
        case.stop(&ada, "")
    });
    list.case("the query of a login without next goes along", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser
            .open("/hub/login?color=red")
            .send()?
            .leads_to(302, "/hub/spawn?color=red")?;
        Ok(())
    });
}

fn logout(list: &mut List) {
    list.case(
        "a logout leads to the login page and clears the cookies",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let answer = browser
                .open("/hub/logout")
                .send()?
                .leads_to_path(302, "/hub/login")?;
            let cleared = answer
                .cookies()
                .into_iter()
                .any(|cookie| cookie.name == "jupyterhub-hub-login" && cookie.deletes());
            ensure!(cleared, "cookies {:?}", answer.cookies());
            browser
                .open("/hub/home")
                .send()?
                .leads_to_path(302, "/hub/login")?;
            Ok(())
        },
    );
    list.case("after a logout the next login works", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser.open("/hub/logout").expect(302)?;
        browser.log_in(&ada)?;
        Ok(())
    });
    list.case("a logout of nobody leads to the login page", |case| {
        case.browser()
            .open("/hub/logout")
            .send()?
            .leads_to_path(302, "/hub/login")?;
        Ok(())
    });
    list.case("a logout leaves servers running", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.start(&ada, "")?;
        browser.open("/hub/logout").expect(302)?;
        let body = case.admin().read(format!("users/{ada}/server"))?;
        ensure!(body["ready"] == true, "model {body}");
        case.stop(&ada, "")
    });
}
