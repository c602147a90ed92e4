//! Pages and where they lead: home, spawn, servers that do not run, tokens, administration, errors, static files.

use serde_json::json;

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::has_keys;

pub(super) fn add(list: &mut List) {
    list.area("pages");
    redirects(list);
    logins(list);
    plain_pages(list);
    errors(list);
    files(list);
    list.area("spawn pages");
    spawning(list);
    pending(list);
    user_redirect(list);
    list.area("stopped servers");
    stopped(list);
}

fn redirects(list: &mut List) {
    for (path, target, status) in [
        ("/", "/hub/", 302),
        ("/x", "/hub/x", 302),
        ("/user/ada/y?q=1", "/hub/user/ada/y?q=1", 302),
        ("/user/ada/", "/hub/user/ada/", 302),
        ("/user/ada", "/user/ada/", 301),
        ("/services/none", "/services/none/", 301),
        ("/services/none/x", "/hub/services/none/x", 302),
        ("/user-redirect/a/b?c", "/hub/user-redirect/a/b?c", 302),
        ("/hub", "/hub/", 301),
        ("/user/a%20b/c%2Fd", "/hub/user/a%20b/c%2Fd", 302),
    ] {
        list.case(format!("GET {path} leads to {target} ({status})"), move |case| {
            case.anonymous().get(path).send()?.leads_to(status, target)?;
            Ok(())
        });
    }
    list.case("POST to a path without a server is 403", |case| {
        case.anonymous()
            .post("/user/nobody-at-all/x")
            .send()?
            .either(&[403, 405], "a page without a token, or a method that nothing there has")?;
        Ok(())
    });
}

fn logins(list: &mut List) {
    for path in [
        "/hub/",
        "/hub/home",
        "/hub/token",
        "/hub/admin",
        "/hub/spawn",
        "/hub/spawn/ada",
        "/hub/spawn/ada/lab",
        "/hub/spawn-pending/ada",
        "/hub/spawn-pending/ada/lab",
        "/hub/user-redirect/a?b=c",
        "/hub/user/ada/",
        "/hub/user/ada/x?y=z",
        "/hub/user/ada/api/contents",
    ] {
        list.case(format!("GET {path} without a login leads to it"), move |case| {
            let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
            case.browser().open(path).send()?.leads_to(302, &format!("/hub/login?next={next}"))?;
            Ok(())
        });
    }
    for path in ["/hub/home", "/hub/token", "/hub/admin", "/hub/spawn"] {
        list.case(format!("a token is no login for {path}"), move |case| {
            case.admin().get(path).send()?.leads_to_path(302, "/hub/login")?;
            Ok(())
        });
    }
}

fn plain_pages(list: &mut List) {
    for path in ["/hub/home", "/hub/token"] {
        list.case(format!("{path} is a page for who is logged in"), move |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser.open(path).expect(200)?.is_page()?.contains(&ada)?;
            Ok(())
        });
    }
    list.case("the home page of an administrator leads to the administration", |case| {
        case.browser_of(fixture::ADMIN_USER)?.open("/hub/home").expect(200)?.contains("/hub/admin")?;
        Ok(())
    });
    list.case("the administration is for administrators", |case| {
        case.browser_of(fixture::ADMIN_USER)?.open("/hub/admin").expect(200)?.is_page()?;
        Ok(())
    });
    list.case("the administration is 403 for others", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?.open("/hub/admin").expect(403)?.is_page()?;
        Ok(())
    });
    list.case("the token page lists tokens by their notes", |case| {
        let ada = case.user("ada")?;
        case.admin().tell(format!("users/{ada}/tokens"), &json!({"note": "n0te-of-a-token"}))?.is(201)?;
        case.browser_of(&ada)?.open("/hub/token").expect(200)?.contains("n0te-of-a-token")?;
        Ok(())
    });
    list.case("a note on the token page stays text", |case| {
        let ada = case.user("ada")?;
        case.admin().tell(format!("users/{ada}/tokens"), &json!({"note": "<script>alert(7)</script>"}))?.is(201)?;
        let page = case.browser_of(&ada)?.open("/hub/token").expect(200)?;
        ensure!(!page.text().contains("<script>alert(7)"), "the page runs it");
        Ok(())
    });
    list.case("/hub/ leads to the user's server when it runs, else to its start", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser.open("/hub/").send()?.leads_to(302, "/hub/spawn")?;
        browser.open("/hub/?next=%2Fhub%2Fhome").send()?.leads_to(302, "/hub/home")?;
        case.start(&ada, "")?;
        browser.open("/hub/").send()?.leads_to(302, &format!("/user/{ada}/"))?;
        case.stop(&ada, "")
    });
    for path in ["/hub/login", "/hub/nowhere", "/hub/error/503?url=%2Fx"] {
        list.case(format!("{path} may not stand in a frame"), move |case| {
            let answer = case.browser().open(path).send()?;
            let policy = answer.header("Content-Security-Policy").unwrap_or_default();
            ensure!(policy.contains("frame-ancestors 'none'"), "policy {policy:?}");
            Ok(())
        });
    }
    list.case("answers of the API may not stand in a frame, nor load anything", |case| {
        let answer = case.admin().get("user").expect(200)?;
        let policy = answer.header("Content-Security-Policy").unwrap_or_default();
        for part in ["frame-ancestors 'none'", "default-src 'none'"] {
            ensure!(policy.contains(part), "policy {policy:?}");
        }
        Ok(())
    });
}

fn errors(list: &mut List) {
    for path in ["/hub/nowhere", "/hub/home/more", "/hub/spawn/a/b/c", "/hub/services/none/x"] {
        list.case(format!("GET {path} is a 404 page"), move |case| {
            case.browser().open(path).expect(404)?.is_page()?;
            Ok(())
        });
    }
    for code in [404, 503, 500] {
        list.case(format!("/hub/error/{code} is a page for the proxy"), move |case| {
            let answer = case.anonymous().get(format!("/hub/error/{code}?url=%2Fuser%2Fada%2F")).send()?;
            answer.either(&[200, code], "the proxy puts the code in place")?.is_page()?.contains(&code.to_string())?;
            Ok(())
        });
    }
    list.case("a URL on the error page stays text", |case| {
        let page = case.anonymous().get("/hub/error/503?url=%3Cscript%3Ealert(3)%3C/script%3E").send()?;
        ensure!(!page.text().contains("<script>alert(3)"), "the page runs it");
        Ok(())
    });
    for (method, path) in [("PUT", "/hub/home"), ("DELETE", "/hub/login"), ("PUT", "/hub/token")] {
        list.case(format!("{method} {path} is refused"), move |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let answer = browser.request(method, path).header("X-XSRFToken", browser.xsrf()).send()?;
            answer.either(&[405, 403], "JupyterHub looks at the XSRF token first")?;
            Ok(())
        });
    }
}

fn files(list: &mut List) {
    list.case("the logo is a picture for everybody", |case| {
        for method in ["GET", "HEAD"] {
            let answer = case.anonymous().request(method, "/hub/logo").expect(200)?;
            let kind = answer.header("Content-Type").unwrap_or_default();
            ensure!(kind.starts_with("image/"), "{method}: type {kind}");
        }
        Ok(())
    });
    list.case("a static file that does not exist is 404", |case| {
        case.anonymous().get("/hub/static/none.js").expect(404)?;
        Ok(())
    });
    list.case("files of pages are there, and may be kept", |case| {
        let page = case.browser().open("/hub/login").expect(200)?.text();
        let files: Vec<&str> = page
            .split(['"', '\''])
            .filter(|text| text.starts_with("/hub/static/") && (text.contains(".css") || text.contains(".js")))
            .collect();
        ensure!(!files.is_empty(), "the page has no files");
        for file in files {
            let answer = case.anonymous().get(file).expect(200)?;
            let kind = answer.header("Content-Type").unwrap_or_default();
            ensure!(kind.contains("css") || kind.contains("javascript"), "{file} is {kind}");
        }
        Ok(())
    });
    list.case("no path leads out of the static files", |case| {
        for path in ["=/hub/static/..%2f..%2fetc%2fpasswd", "=/hub/static/%2e%2e/%2e%2e/etc/passwd", "=/hub/static//etc/passwd"] {
            let answer = case.anonymous().get(path).send()?;
            ensure!(!answer.text().contains("root:"), "{path} shows a file of the machine");
            answer.either(&[302, 403, 404], "a proxy may resolve it before the hub sees it")?;
        }
        Ok(())
    });
}

fn spawning(list: &mut List) {
    list.case("/hub/spawn starts the default server and leads to its progress", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let answer = browser.open("/hub/spawn").send()?;
        answer.leads_to(302, &format!("/hub/spawn-pending/{ada}"))?;
        case.wait_until("it is ready", || Ok(case.admin().get(format!("users/{ada}/server")).quiet().expect(200)?.json()?["ready"] == true))?;
        browser.open("/hub/spawn").send()?.leads_to(302, &format!("/user/{ada}/"))?;
        browser.open(format!("/hub/spawn/{ada}?next=%2Fhub%2Fhome")).send()?.leads_to(302, "/hub/home")?;
        case.stop(&ada, "")
    });
    list.case("/hub/spawn/NAME/SERVER starts that one", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let answer = browser.open(format!("/hub/spawn/{ada}/lab")).send()?;
        answer.leads_to(302, &format!("/hub/spawn-pending/{ada}/lab"))?;
        case.wait_until("it is ready", || Ok(case.admin().get(format!("users/{ada}/servers/lab")).quiet().expect(200)?.json()?["ready"] == true))?;
        case.stop(&ada, "lab")
    });
    list.case("next goes along to the progress page", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let next = format!("%2Fuser%2F{ada}%2Ftree");
        let answer = browser.open(format!("/hub/spawn/{ada}?next={next}")).send()?;
        answer.leads_to(302, &format!("/hub/spawn-pending/{ada}?next={next}"))?;
        case.wait_until("it is ready", || Ok(case.admin().get(format!("users/{ada}/server")).quiet().expect(200)?.json()?["ready"] == true))?;
        browser.open(format!("/hub/spawn-pending/{ada}?next={next}")).send()?.leads_to(302, &format!("/user/{ada}/tree"))?;
        case.stop(&ada, "")
    });
    for (query, options) in [
        ("a=1", json!({"a": ["1"]})),
        ("a=1&a=2&b=x", json!({"a": ["1", "2"], "b": ["x"]})),
        ("opt-a=1&b=2", json!({"a": ["1"]})),
    ] {
        list.case(format!("/hub/spawn?{query} makes options of it"), move |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser.open(format!("/hub/spawn/{ada}?{query}")).send()?.leads_to_path(302, &format!("/hub/spawn-pending/{ada}"))?;
            case.wait_until("it is ready", || Ok(case.admin().get(format!("users/{ada}/server")).quiet().expect(200)?.json()?["ready"] == true))?;
            let body = case.admin().read(format!("users/{ada}/server"))?;
            same!(body["user_options"], options, "user_options");
            case.stop(&ada, "")
        });
    }
    list.case("an option without a name is 422", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?.open(format!("/hub/spawn/{ada}?opt-=1")).expect(422)?.is_page()?;
        Ok(())
    });
    for name in ["Lab", "1lab", "la_b"] {
        list.case(format!("/hub/spawn of a server called {name} is 400"), move |case| {
            let ada = case.user("ada")?;
            case.browser_of(&ada)?.open(format!("/hub/spawn/{ada}/{name}")).expect(400)?.is_page()?;
            Ok(())
        });
    }
    list.case("/hub/spawn of another's server is 404", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let browser = case.browser_of(&ada)?;
        browser.open(format!("/hub/spawn/{bob}")).expect(404)?.is_page()?;
        browser.open(format!("/hub/spawn-pending/{bob}")).expect(404)?.is_page()?;
        Ok(())
    });
    list.case("an administrator starts another's server by its page", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(fixture::ADMIN_USER)?;
        browser.open(format!("/hub/spawn/{ada}")).send()?.leads_to(302, &format!("/hub/spawn-pending/{ada}"))?;
        case.wait_until("it is ready", || Ok(case.admin().get(format!("users/{ada}/server")).quiet().expect(200)?.json()?["ready"] == true))?;
        case.stop(&ada, "")
    });
    list.case("the form starts a server with its fields as options", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let xsrf: String = form_urlencoded::byte_serialize(browser.xsrf().as_bytes()).collect();
        let request = browser.submit(format!("/hub/spawn/{ada}?_xsrf={xsrf}"), &[]).form(&[("size", "big"), ("size", "small")]);
        request.send()?.leads_to_path(302, &format!("/hub/spawn-pending/{ada}"))?;
        case.wait_until("it is ready", || Ok(case.admin().get(format!("users/{ada}/server")).quiet().expect(200)?.json()?["ready"] == true))?;
        let body = case.admin().read(format!("users/{ada}/server"))?;
        same!(body["user_options"], json!({"size": ["big", "small"]}), "user_options");
        case.stop(&ada, "")
    });
    list.case("the form without an XSRF token is 403", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser.submit(format!("/hub/spawn/{ada}"), &[]).form(&[("size", "big")]).expect(403)?;
        Ok(())
    });
}

fn pending(list: &mut List) {
    list.case("spawn-pending of a server that does not run starts nothing", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        browser.open(format!("/hub/spawn-pending/{ada}")).expect(200)?.is_page()?.contains(&format!("/hub/spawn/{ada}"))?;
        let body = case.admin().read(format!("users/{ada}/server"))?;
        ensure!(body["stopped"] == true, "model {body}");
        Ok(())
    });
    list.case("spawn-pending of a server that does not exist is 404", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?.open(format!("/hub/spawn-pending/{ada}/none")).expect(404)?.is_page()?;
        Ok(())
    });
    list.case("spawn-pending of a running server leads to it", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.start(&ada, "")?;
        browser.open(format!("/hub/spawn-pending/{ada}")).send()?.leads_to(302, &format!("/user/{ada}/"))?;
        case.stop(&ada, "")
    });
}

fn user_redirect(list: &mut List) {
    for (path, inner) in [("tree/x", "tree/x"), ("tree/x?a=b", "tree/x?a=b"), ("", ""), ("lab/tree/n.ipynb", "lab/tree/n.ipynb")] {
        list.case(format!("user-redirect/{path} leads to one's own server by its start"), move |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let target = browser.open(format!("/hub/user-redirect/{path}")).send()?.redirect(302)?;
            let (start, query) = target.split_once('?').unwrap_or((&target, ""));
            same!(start, format!("/hub/spawn/{ada}"), "target");
            let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next").map(|(_, next)| next.into_owned());
            same!(next.unwrap_or_default(), format!("/user/{ada}/{inner}"), "next");
            Ok(())
        });
    }
}

fn stopped(list: &mut List) {
    list.case("a stopped server's page is 424 and says how to start it", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let page = browser.open(format!("/hub/user/{ada}/tree")).expect(424)?.is_page()?;
        page.contains(&format!("/hub/spawn/{ada}?next=%2Fhub%2Fuser%2F{ada}%2Ftree"))?;
        Ok(())
    });
    for (name, path, accept) in [
        ("that wants JSON", "x", "application/json"),
        ("that wants JSON more than a page", "x", "text/html;q=0.5, application/json"),
        ("to an API", "api/contents", "text/html"),
        ("to an API of an extension", "ext/api/x", "*/*"),
    ] {
        list.case(format!("a request {name} of a stopped server is 424 in JSON"), move |case| {
            let (ada, token) = case.user_with_token("ada")?;
            let answer = case.with(&token).get(format!("/hub/user/{ada}/{path}")).header("Accept", accept).expect(424)?;
            let body = answer.has_type("application/json")?.json()?;
            has_keys(&body, &["message"])?;
            ensure!(body["message"].as_str().is_some_and(|text| text.contains(&format!("/hub/spawn/{ada}"))), "{body}");
            Ok(())
        });
    }
    for (accept, is_json) in [("text/html", false), ("*/*", false), ("", false), ("application/json, text/html", true), ("text/html, application/json;q=0.9", false), ("application/*", false)] {
        list.case(format!("Accept {accept:?} gives {}", if is_json { "JSON" } else { "a page" }), move |case| {
            let (ada, token) = case.user_with_token("ada")?;
            let answer = case.with(&token).get(format!("/hub/user/{ada}/x")).header("Accept", accept).expect(424)?;
            answer.has_type(if is_json { "application/json" } else { "text/html" })?;
            Ok(())
        });
    }
    list.case("another's stopped server is 404", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        case.browser_of(&ada)?.open(format!("/hub/user/{bob}/tree")).expect(404)?.is_page()?;
        Ok(())
    });
    list.case("a user who does not exist is 404", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?.open("/hub/user/nobody-at-all/tree").expect(404)?.is_page()?;
        Ok(())
    });
    list.case("a stopped named server's page leads to its start", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let page = case.browser_of(&ada)?.open(format!("/hub/user/{ada}/lab/tree")).expect(424)?;
        page.contains(&format!("/hub/spawn/{ada}/lab?next="))?;
        Ok(())
    });
    list.case("an administrator sees that another's server does not run", |case| {
        let ada = case.user("ada")?;
        case.browser_of(fixture::ADMIN_USER)?.open(format!("/hub/user/{ada}/tree")).expect(424)?;
        Ok(())
    });
    for method in ["POST", "PATCH", "DELETE"] {
        list.case(format!("{method} to a stopped server is 424 in JSON"), move |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.with(&token).request(method, format!("/hub/user/{ada}/api/x")).expect(424)?.has_type("application/json")?;
            Ok(())
        });
        list.case(format!("{method} to a stopped server by cookie needs the XSRF token"), move |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser.request(method, format!("/hub/user/{ada}/api/x")).expect(403)?;
            browser.request(method, format!("/hub/user/{ada}/api/x")).header("X-XSRFToken", browser.xsrf()).expect(424)?;
            Ok(())
        });
    }
    list.case("a running server's hub path leads back, and counts", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.start(&ada, "")?;
        let path = format!("/hub/user/{ada}/tree?x=y");
        browser.open(&path).send()?.leads_to(302, &format!("/user/{ada}/tree?x=y&redirects=1"))?;
        let again = browser.open(format!("{path}&redirects=1")).send()?;
        again.leads_to(302, &format!("/user/{ada}/tree?x=y&redirects=2"))?;
        browser.open(format!("{path}&redirects=4")).expect(500)?.is_page()?;
        case.stop(&ada, "")
    });
    list.case("a look at a stopped server is no activity of it", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?.open(format!("/hub/user/{ada}/tree")).expect(424)?;
        let body = case.admin().read(format!("users/{ada}/server"))?;
        ensure!(body["last_activity"].is_null(), "model {body}");
        Ok(())
    });
}
