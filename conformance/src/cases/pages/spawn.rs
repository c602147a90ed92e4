//! Pages that start servers, and wait for them; user-redirect.

use serde_json::json;

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;

pub(super) fn add(list: &mut List) {
    list.area("spawn pages");
    spawning(list);
    pending(list);
    user_redirect(list);
}

fn spawning(list: &mut List) {
    list.case(
        "/hub/spawn starts the default server and leads to its progress",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let answer = browser.open("/hub/spawn").send()?;
            answer.leads_to(302, &format!("/hub/spawn-pending/{ada}"))?;
            case.wait_until("it is ready", || {
                Ok(case
                    .admin()
                    .get(format!("users/{ada}/server"))
                    .quiet()
                    .expect(200)?
                    .json()?["ready"]
                    == true)
            })?;
            browser
                .open("/hub/spawn")
                .send()?
                .leads_to(302, &format!("/user/{ada}/"))?;
            browser
                .open(format!("/hub/spawn/{ada}?next=%2Fhub%2Fhome"))
                .send()?
                .leads_to(302, "/hub/home")?;
            case.stop(&ada, "")
        },
    );
    list.case("/hub/spawn/NAME/SERVER starts that one", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let answer = browser.open(format!("/hub/spawn/{ada}/lab")).send()?;
        answer.leads_to(302, &format!("/hub/spawn-pending/{ada}/lab"))?;
        case.wait_until("it is ready", || {
            Ok(case
                .admin()
                .get(format!("users/{ada}/servers/lab"))
                .quiet()
                .expect(200)?
                .json()?["ready"]
                == true)
        })?;
        case.stop(&ada, "lab")
    });
    list.case("next goes along to the progress page", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let next = format!("%2Fuser%2F{ada}%2Ftree");
        let answer = browser
            .open(format!("/hub/spawn/{ada}?next={next}"))
            .send()?;
        answer.leads_to(302, &format!("/hub/spawn-pending/{ada}?next={next}"))?;
        case.wait_until("it is ready", || {
            Ok(case
                .admin()
                .get(format!("users/{ada}/server"))
                .quiet()
                .expect(200)?
                .json()?["ready"]
                == true)
        })?;
        browser
            .open(format!("/hub/spawn-pending/{ada}?next={next}"))
            .send()?
            .leads_to(302, &format!("/user/{ada}/tree"))?;
        case.stop(&ada, "")
    });
    for (query, options) in [
        ("a=1", json!({"a": ["1"]})),
        ("a=1&a=2&b=x", json!({"a": ["1", "2"], "b": ["x"]})),
        ("opt-a=1&b=2", json!({"a": ["1"]})),
    ] {
        list.case(
            format!("/hub/spawn?{query} makes options of it"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                browser
                    .open(format!("/hub/spawn/{ada}?{query}"))
                    .send()?
                    .leads_to_path(302, &format!("/hub/spawn-pending/{ada}"))?;
                case.wait_until("it is ready", || {
                    Ok(case
                        .admin()
                        .get(format!("users/{ada}/server"))
                        .quiet()
                        .expect(200)?
                        .json()?["ready"]
                        == true)
                })?;
                let body = case.admin().read(format!("users/{ada}/server"))?;
                same!(body["user_options"], options, "user_options");
                case.stop(&ada, "")
            },
        );
    }
    list.case("an option without a name is 422", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?
            .open(format!("/hub/spawn/{ada}?opt-=1"))
            .expect(422)?
            .page()?;
        Ok(())
    });
    for name in ["Lab", "1lab", "la_b"] {
        list.case(
            format!("/hub/spawn of a server called {name} is 400"),
            move |case| {
                let ada = case.user("ada")?;
                case.browser_of(&ada)?
                    .open(format!("/hub/spawn/{ada}/{name}"))
                    .expect(400)?
                    .page()?;
                Ok(())
            },
        );
    }
    list.case("/hub/spawn of another's server is 404", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let browser = case.browser_of(&ada)?;
        browser
            .open(format!("/hub/spawn/{bob}"))
            .expect(404)?
            .page()?;
        browser
            .open(format!("/hub/spawn-pending/{bob}"))
            .expect(404)?
            .page()?;
        Ok(())
    });
    list.case(
        "an administrator starts another's server by its page",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(fixture::ADMIN_USER)?;
            browser
                .open(format!("/hub/spawn/{ada}"))
                .send()?
                .leads_to(302, &format!("/hub/spawn-pending/{ada}"))?;
            case.wait_until("it is ready", || {
                Ok(case
                    .admin()
                    .get(format!("users/{ada}/server"))
                    .quiet()
                    .expect(200)?
                    .json()?["ready"]
                    == true)
            })?;
            case.stop(&ada, "")
        },
    );
    list.case(
        "the form starts a server with its fields as options",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let xsrf: String = form_urlencoded::byte_serialize(browser.xsrf().as_bytes()).collect();
            let request = browser
                .submit(format!("/hub/spawn/{ada}?_xsrf={xsrf}"), &[])
                .form(&[("size", "big"), ("size", "small")]);
            request
                .send()?
                .leads_to_path(302, &format!("/hub/spawn-pending/{ada}"))?;
            case.wait_until("it is ready", || {
                Ok(case
                    .admin()
                    .get(format!("users/{ada}/server"))
                    .quiet()
                    .expect(200)?
                    .json()?["ready"]
                    == true)
            })?;
            let body = case.admin().read(format!("users/{ada}/server"))?;
            same!(
                body["user_options"],
                json!({"size": ["big", "small"]}),
                "user_options"
            );
            case.stop(&ada, "")
        },
    );
    list.case("the form without an XSRF token is 403", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser
            .submit(format!("/hub/spawn/{ada}"), &[])
            .form(&[("size", "big")])
            .expect(403)?;
        Ok(())
    });
}

fn pending(list: &mut List) {
    list.case(
        "spawn-pending of a server that does not run starts nothing",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser
                .open(format!("/hub/spawn-pending/{ada}"))
                .expect(200)?
                .page()?
                .contains(&format!("/hub/spawn/{ada}"))?;
            let body = case.admin().read(format!("users/{ada}/server"))?;
            ensure!(body["stopped"] == true, "model {body}");
            Ok(())
        },
    );
    list.case(
        "spawn-pending of a server that does not exist is 404",
        |case| {
            let ada = case.user("ada")?;
            case.browser_of(&ada)?
                .open(format!("/hub/spawn-pending/{ada}/none"))
                .expect(404)?
                .page()?;
            Ok(())
        },
    );
    list.case("spawn-pending of a running server leads to it", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.start(&ada, "")?;
        browser
            .open(format!("/hub/spawn-pending/{ada}"))
            .send()?
            .leads_to(302, &format!("/user/{ada}/"))?;
        case.stop(&ada, "")
    });
}

fn user_redirect(list: &mut List) {
    for (path, inner) in [
        ("tree/x", "tree/x"),
        ("tree/x?a=b", "tree/x?a=b"),
        ("", ""),
        ("lab/tree/n.ipynb", "lab/tree/n.ipynb"),
    ] {
        list.case(
            format!("user-redirect/{path} leads to one's own server by its start"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                let target = browser
                    .open(format!("/hub/user-redirect/{path}"))
                    .send()?
                    .redirect(302)?;
                let (start, query) = target.split_once('?').unwrap_or((&target, ""));
                same!(start, format!("/hub/spawn/{ada}"), "target");
                let next = form_urlencoded::parse(query.as_bytes())
                    .find(|(name, _)| name == "next")
                    .map(|(_, next)| next.into_owned());
                same!(
                    next.unwrap_or_default(),
                    format!("/user/{ada}/{inner}"),
                    "next"
                );
                Ok(())
            },
        );
    }
}
