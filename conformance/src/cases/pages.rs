//! Pages and where they lead: home, spawn, servers that do not run, tokens, administration, errors, static files.

mod spawn;
mod stopped;

use serde_json::json;

use crate::failure::ensure;
use crate::fixture;
use crate::list::List;

pub(super) fn add(list: &mut List) {
    list.area("pages");
    redirects(list);
    logins(list);
    plain_pages(list);
    errors(list);
    files(list);
    spawn::add(list);
    stopped::add(list);
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
        list.case(
            format!("GET {path} leads to {target} ({status})"),
            move |case| {
                case.anonymous()
                    .get(path)
                    .send()?
                    .leads_to(status, target)?;
                Ok(())
            },
        );
    }
    list.case("POST to a path without a server is 403", |case| {
        case.anonymous()
            .post("/user/nobody-at-all/x")
            .send()?
            .either(
                &[403, 405],
                "a page without a token, or a method that nothing there has",
            )?;
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
        list.case(
            format!("GET {path} without a login leads to it"),
            move |case| {
                let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
                case.browser()
                    .open(path)
                    .send()?
                    .leads_to(302, &format!("/hub/login?next={next}"))?;
                Ok(())
            },
        );
    }
    for path in ["/hub/home", "/hub/token", "/hub/admin", "/hub/spawn"] {
        list.case(format!("a token is no login for {path}"), move |case| {
            case.admin()
                .get(path)
                .send()?
                .leads_to_path(302, "/hub/login")?;
            Ok(())
        });
    }
}

fn plain_pages(list: &mut List) {
    for path in ["/hub/home", "/hub/token"] {
        list.case(
            format!("{path} is a page for who is logged in"),
            move |case| {
                let ada = case.user("ada")?;
                let browser = case.browser_of(&ada)?;
                browser.open(path).expect(200)?.page()?.contains(&ada)?;
                Ok(())
            },
        );
    }
    list.case(
        "the home page of an administrator leads to the administration",
        |case| {
            case.browser_of(fixture::ADMIN_USER)?
                .open("/hub/home")
                .expect(200)?
                .contains("/hub/admin")?;
            Ok(())
        },
    );
    list.case("the administration is for administrators", |case| {
        case.browser_of(fixture::ADMIN_USER)?
            .open("/hub/admin")
            .expect(200)?
            .page()?;
        Ok(())
    });
    list.case("the administration is 403 for others", |case| {
        let ada = case.user("ada")?;
        case.browser_of(&ada)?
            .open("/hub/admin")
            .expect(403)?
            .page()?;
        Ok(())
    });
    list.case("the token page lists tokens by their notes", |case| {
        let ada = case.user("ada")?;
        case.admin()
            .tell(
                format!("users/{ada}/tokens"),
                &json!({"note": "n0te-of-a-token"}),
            )?
            .is(201)?;
        case.browser_of(&ada)?
            .open("/hub/token")
            .expect(200)?
            .contains("n0te-of-a-token")?;
        Ok(())
    });
    list.case("a note on the token page stays text", |case| {
        let ada = case.user("ada")?;
        case.admin()
            .tell(
                format!("users/{ada}/tokens"),
                &json!({"note": "<script>alert(7)</script>"}),
            )?
            .is(201)?;
        let page = case.browser_of(&ada)?.open("/hub/token").expect(200)?;
        ensure!(
            !page.text().contains("<script>alert(7)"),
            "the page runs it"
        );
        Ok(())
    });
    list.case(
        "/hub/ leads to the user's server when it runs, else to its start",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser.open("/hub/").send()?.leads_to(302, "/hub/spawn")?;
            browser
                .open("/hub/?next=%2Fhub%2Fhome")
                .send()?
                .leads_to(302, "/hub/home")?;
            case.start(&ada, "")?;
            browser
                .open("/hub/")
                .send()?
                .leads_to(302, &format!("/user/{ada}/"))?;
            case.stop(&ada, "")
        },
    );
    for path in ["/hub/login", "/hub/nowhere", "/hub/error/503?url=%2Fx"] {
        list.case(format!("{path} may not stand in a frame"), move |case| {
            let answer = case.browser().open(path).send()?;
            let policy = answer.header("Content-Security-Policy").unwrap_or_default();
            ensure!(
                policy.contains("frame-ancestors 'none'"),
                "policy {policy:?}"
            );
            Ok(())
        });
    }
    list.case(
        "answers of the API may not stand in a frame, nor load anything",
        |case| {
            let answer = case.admin().get("user").expect(200)?;
            let policy = answer.header("Content-Security-Policy").unwrap_or_default();
            for part in ["frame-ancestors 'none'", "default-src 'none'"] {
                ensure!(policy.contains(part), "policy {policy:?}");
            }
            Ok(())
        },
    );
}

fn errors(list: &mut List) {
    for path in [
        "/hub/nowhere",
        "/hub/home/more",
        "/hub/spawn/a/b/c",
        "/hub/services/none/x",
    ] {
        list.case(format!("GET {path} is a 404 page"), move |case| {
            case.browser().open(path).expect(404)?.page()?;
            Ok(())
        });
    }
    for code in [404, 503, 500] {
        list.case(
            format!("/hub/error/{code} is a page for the proxy"),
            move |case| {
                let answer = case
                    .anonymous()
                    .get(format!("/hub/error/{code}?url=%2Fuser%2Fada%2F"))
                    .send()?;
                answer
                    .either(&[200, code], "the proxy puts the code in place")?
                    .page()?
                    .contains(&code.to_string())?;
                Ok(())
            },
        );
    }
    list.case("a URL on the error page stays text", |case| {
        let page = case
            .anonymous()
            .get("/hub/error/503?url=%3Cscript%3Ealert(3)%3C/script%3E")
            .send()?;
        ensure!(
            !page.text().contains("<script>alert(3)"),
            "the page runs it"
        );
        Ok(())
    });
    for (method, path) in [
        ("PUT", "/hub/home"),
        ("DELETE", "/hub/login"),
        ("PUT", "/hub/token"),
    ] {
        list.case(format!("{method} {path} is refused"), move |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let answer = browser
                .request(method, path)
                .header("X-XSRFToken", browser.xsrf())
                .send()?;
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
            .filter(|text| {
                text.starts_with("/hub/static/") && (text.contains(".css") || text.contains(".js"))
            })
            .collect();
        ensure!(!files.is_empty(), "the page has no files");
        for file in files {
            let answer = case.anonymous().get(file).expect(200)?;
            let kind = answer.header("Content-Type").unwrap_or_default();
            ensure!(
                kind.contains("css") || kind.contains("javascript"),
                "{file} is {kind}"
            );
        }
        Ok(())
    });
    list.case("no path leads out of the static files", |case| {
        for path in [
            "=/hub/static/..%2f..%2fetc%2fpasswd",
            "=/hub/static/%2e%2e/%2e%2e/etc/passwd",
            "=/hub/static//etc/passwd",
        ] {
            let answer = case.anonymous().get(path).send()?;
            ensure!(
                !answer.text().contains("root:"),
                "{path} shows a file of the machine"
            );
            answer.either(
                &[302, 403, 404],
                "a proxy may resolve it before the hub sees it",
            )?;
        }
        Ok(())
    });
}
