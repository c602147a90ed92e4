//! Services: those of the configuration, and those that the API makes; routes of the proxy.

use serde_json::json;

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::has_keys;

pub(super) fn add(list: &mut List) {
    list.area("services");
    reading(list);
    making(list);
    removing(list);
    behind_the_proxy(list);
    list.area("proxy");
    proxy(list);
}

const KEYS: &[&str] = &[
    "kind", "name", "admin", "roles", "url", "prefix", "command", "pid", "info", "display",
];

fn reading(list: &mut List) {
    list.case("GET services is an object by name", |case| {
        let body = case.admin().read("services")?;
        for name in [
            fixture::ADMIN_SERVICE,
            fixture::OUTSIDER,
            fixture::WATCHER,
            fixture::APP,
            fixture::WEB,
        ] {
            has_keys(&body[name], KEYS)?;
            same!(body[name]["name"], json!(name), "name");
        }
        Ok(())
    });
    list.case("GET services/S shows an external service", |case| {
        let body = case.admin().read("services/app")?;
        has_keys(&body, KEYS)?;
        ensure!(
            body["kind"] == "service" && body["name"] == "app" && body["admin"] == false,
            "model {body}"
        );
        ensure!(
            body["command"] == json!([]) && body["pid"] == 0,
            "model {body}"
        );
        same!(body["info"], json!({"about": "cases"}), "info");
        ensure!(
            body["display"] == true && body["prefix"] == "",
            "model {body}"
        );
        Ok(())
    });
    list.case(
        "GET services/S shows where a service behind the proxy is",
        |case| {
            let body = case.admin().read("services/web")?;
            same!(
                body["prefix"],
                json!(format!("{}/services/web/", case.target.base)),
                "prefix"
            );
            ensure!(
                body["url"]
                    .as_str()
                    .is_some_and(|url| url.starts_with("http://127.0.0.1:")),
                "url {}",
                body["url"]
            );
            Ok(())
        },
    );
    list.case("display can be off", |case| {
        let body = case.admin().read("services/trusted")?;
        ensure!(body["display"] == false, "model {body}");
        Ok(())
    });
    list.case("the roles of a service are named", |case| {
        let body = case.admin().read("services/watcher")?;
        same!(body["roles"], json!(["watcher"]), "roles");
        let body = case.admin().read("services/conformance")?;
        same!(body["roles"], json!(["admin"]), "roles");
        Ok(())
    });
    list.case(
        "a service with the role admin is one of administrators to itself only",
        |case| {
            let admin = case.admin();
            let others = admin.read("services")?;
            same!(others["conformance"]["admin"], json!(false), "in the list");
            let other = admin.read("services/conformance")?;
            same!(other["admin"], json!(false), "of one");
            same!(admin.read("user")?["admin"], json!(true), "of itself");
            Ok(())
        },
    );
    list.refused("GET of a service that does not exist is 404", 404, |case| {
        Ok(case.admin().get("services/none"))
    });
    list.refused("GET services needs list:services", 403, |case| {
        Ok(case.with(fixture::WATCHER_TOKEN).get("services"))
    });
    list.refused("GET services is 403 for nobody", 403, |case| {
        Ok(case.anonymous().get("services"))
    });
    for service in ["app", fixture::OUTSIDER, "none"] {
        list.refused(
            format!("GET services/{service} is 403 without a scope, also for itself"),
            403,
            move |case| {
                Ok(case
                    .with(fixture::OUTSIDER_TOKEN)
                    .get(format!("services/{service}")))
            },
        );
    }
    list.refused(
        "GET services/S of another than the filter's is 404",
        404,
        |case| {
            let token = case.scoped(&["read:services!service=app"])?;
            Ok(case.with(&token).get("services/web"))
        },
    );
    list.case("list:services!service= lists that one", |case| {
        let token = case.scoped(&["list:services!service=app"])?;
        let body = case.with(&token).read("services")?;
        has_keys(&body, &["app"])?;
        has_keys(&body["app"], &["kind", "name", "admin"])
    });
    for (scope, keys) in [
        ("read:services:name", &["kind", "name", "admin"][..]),
        ("read:roles:services", &["kind", "name", "admin", "roles"]),
        (
            "read:services",
            &[
                "kind", "name", "admin", "url", "prefix", "command", "pid", "info", "display",
            ],
        ),
    ] {
        list.case(
            format!("{scope} shows these keys of a service"),
            move |case| {
                let token = case.scoped(&[&format!("{scope}!service=app")])?;
                let body = case.with(&token).read("services/app")?;
                has_keys(&body, keys)
            },
        );
    }
}

fn making(list: &mut List) {
    list.case(
        "POST services/S makes a service, which has its token at once",
        |case| {
            let name = case.name("svc");
            let token = format!("token-of-{name}-0123456789");
            let body = json!({"api_token": token, "info": {"a": 1}, "display": false});
            let body = case
                .admin()
                .tell(format!("services/{name}"), &body)?
                .is(201)?
                .json()?;
            has_keys(&body, KEYS)?;
            ensure!(
                body["name"] == name && body["info"] == json!({"a": 1}) && body["display"] == false,
                "model {body}"
            );
            let own = case.with(&token).read("user")?;
            ensure!(
                own["name"] == name && own["kind"] == "service",
                "model {own}"
            );
            case.admin().get(format!("services/{name}")).expect(200)?;
            case.admin()
                .delete(format!("services/{name}"))
                .expect(200)?;
            case.with(&token).get("user").refused(403)?;
            Ok(())
        },
    );
    list.refused("POST of a service that exists is 409", 409, |case| {
        Ok(case
            .admin()
            .post("services/app")
            .json(&json!({"display": true})))
    });
    list.refused("POST of a service with a command is 400", 400, |case| {
        Ok(case
            .admin()
            .post(format!("services/{}", case.name("svc")))
            .json(&json!({"command": ["sleep", "1"]})))
    });
    list.refused("POST of a service without a body is 400", 400, |case| {
        Ok(case.admin().post(format!("services/{}", case.name("svc"))))
    });
    for (name, body) in [
        ("an empty object", json!({})),
        ("a list", json!([1])),
        ("an unknown key", json!({"color": "red"})),
        ("info that is a text", json!({"info": "x"})),
        ("display that is a text", json!({"display": "x"})),
        (
            "a client id that does not begin with service-",
            json!({"oauth_client_id": "app2", "oauth_redirect_uri": "/x"}),
        ),
        ("an empty client id", json!({"oauth_client_id": ""})),
    ] {
        list.refused(
            format!("POST services/S with {name} is 400"),
            400,
            move |case| {
                Ok(case
                    .admin()
                    .post(format!("services/{}", case.name("svc")))
                    .json(&body))
            },
        );
    }
    for (name, body) in [
        (
            "a token of seven characters",
            json!({"api_token": "seven77"}),
        ),
        (
            "an unknown scope",
            json!({"oauth_client_allowed_scopes": ["read:planets"]}),
        ),
    ] {
        list.differs(
            format!("POST services/S with {name} is refused"),
            [500, 400],
            "a 500 is never right for what a client sends",
            move |case| {
                Ok(case
                    .admin()
                    .post(format!("services/{}", case.name("svc")))
                    .json(&body))
            },
        );
    }
    list.refused("POST services/S needs admin:services", 403, |case| {
        let body = json!({"display": true});
        Ok(case
            .with(fixture::WATCHER_TOKEN)
            .post(format!("services/{}", case.name("svc")))
            .json(&body))
    });
    list.refused(
        "who may only make services makes none that is administrator",
        400,
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.join(fixture::SERVICE_MAKERS, &[&ada])?;
            Ok(case
                .with(&token)
                .post(format!("services/{}", case.name("svc")))
                .json(&json!({"admin": true})))
        },
    );
    list.case(
        "who may only make services makes one without rights",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.join(fixture::SERVICE_MAKERS, &[&ada])?;
            let path = format!("services/{}", case.name("svc"));
            case.with(&token)
                .tell(&path, &json!({"display": true}))?
                .is(201)?;
            case.with(&token).delete(&path).expect(200)?;
            Ok(())
        },
    );
    list.differs(
        "a token for admin:services makes no administrator, unless its owner is one",
        [201, 400],
        "JupyterHub checks against the token's owner",
        |case| {
            let token = case.scoped(&["admin:services"])?;
            let body = json!({"admin": true});
            Ok(case
                .with(&token)
                .post(format!("services/{}", case.name("svc")))
                .json(&body))
        },
    );
    for name in ["..", "%252e%252e", "%20svc", "svc%20"] {
        list.case(
            format!("POST of a service called {name} is refused"),
            move |case| {
                let answer = case
                    .admin()
                    .tell(format!("services/{name}"), &json!({"display": true}))?;
                answer.either(
                    &[400, 404, 405],
                    "what a proxy resolves never reaches the hub as a name",
                )?;
                Ok(())
            },
        );
    }
    list.case(
        "an added service with a redirect URI is an OAuth client",
        |case| {
            let name = case.name("svc");
            let body = json!({
                "api_token": format!("token-of-{name}-0123456789"),
                "oauth_client_id": format!("service-{name}"),
                "oauth_redirect_uri": "http://127.0.0.1:9/back",
            });
            case.admin()
                .tell(format!("services/{name}"), &body)?
                .is(201)?;
            let browser = case.browser_of(fixture::ADMIN_USER)?;
            let page = browser
                .open("/hub/api/oauth2/authorize")
                .query("client_id", &format!("service-{name}"))
                .query("redirect_uri", "http://127.0.0.1:9/back")
                .query("response_type", "code");
            page.expect(200)?.page()?;
            case.admin()
                .delete(format!("services/{name}"))
                .expect(200)?;
            Ok(())
        },
    );
}

fn removing(list: &mut List) {
    list.case("DELETE services/S is 200 and empty", |case| {
        let name = case.name("svc");
        case.admin()
            .tell(format!("services/{name}"), &json!({"display": true}))?
            .is(201)?;
        case.admin()
            .delete(format!("services/{name}"))
            .expect(200)?
            .empty()?;
        case.admin().get(format!("services/{name}")).refused(404)?;
        Ok(())
    });
    list.refused(
        "DELETE of a service of the configuration is 405",
        405,
        |case| Ok(case.admin().delete("services/app")),
    );
    list.refused(
        "DELETE of a service that does not exist is 404",
        404,
        |case| Ok(case.admin().delete("services/none")),
    );
    list.refused("DELETE services/S needs admin:services", 403, |case| {
        Ok(case.with(fixture::WATCHER_TOKEN).delete("services/app"))
    });
}

fn behind_the_proxy(list: &mut List) {
    list.case(
        "a service with a URL answers below /services/NAME/",
        |case| {
            let told = case
                .anonymous()
                .get("/services/web/some/path?x=%2F")
                .expect(200)?
                .json()?;
            same!(
                told["path"],
                json!(format!("{}/services/web/some/path?x=%2F", case.target.base)),
                "path"
            );
            Ok(())
        },
    );
    list.case("a body reaches the service as it was sent", |case| {
        let told = case
            .anonymous()
            .post("/services/web/")
            .body("text/plain", vec![b'x'; 100_000])
            .expect(200)?
            .json()?;
        same!(told["length"], json!(100_000), "length");
        Ok(())
    });
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS"] {
        list.case(format!("{method} reaches a service"), move |case| {
            let told = case
                .anonymous()
                .request(method, "/services/web/x")
                .expect(200)?
                .json()?;
            same!(told["method"], json!(method), "method");
            Ok(())
        });
    }
    list.case("a service is told who asked, and how", |case| {
        let told = case.anonymous().get("/services/web/").expect(200)?.json()?;
        let headers = &told["headers"];
        same!(
            headers["x-forwarded-for"],
            json!("127.0.0.1"),
            "X-Forwarded-For"
        );
        same!(
            headers["x-forwarded-proto"],
            json!("http"),
            "X-Forwarded-Proto"
        );
        same!(
            headers["x-forwarded-host"],
            json!(case.target.host),
            "X-Forwarded-Host"
        );
        same!(headers["host"], json!(case.target.host), "Host");
        Ok(())
    });
    list.case("the hub's login cookie stays with the hub", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let told = browser.open("/services/web/").expect(200)?.json()?;
        let cookies = told["headers"]["cookie"].as_str().unwrap_or_default();
        ensure!(
            !cookies.contains("jupyterhub-hub-login"),
            "the service got {cookies}"
        );
        ensure!(
            cookies.contains("jupyterhub-session-id"),
            "the service got {cookies}"
        );
        Ok(())
    });
    list.case("an unknown service's path is a 404 page", |case| {
        let answer = case.browser().follow("/services/none/x")?;
        answer.is(404)?.page()?;
        Ok(())
    });
}

fn proxy(list: &mut List) {
    list.case("GET proxy shows the routes", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.start(&ada, "lab")?;
        let body = case.admin().read("proxy?limit=200")?;
        let base = &case.target.base;
        for (server, spec) in [
            ("", format!("{base}/user/{ada}/")),
            ("lab", format!("{base}/user/{ada}/lab/")),
        ] {
            let route = &body[&spec];
            ensure!(route["routespec"] == spec, "{spec} is not in {body}");
            let target = route["target"].as_str().unwrap_or_default();
            ensure!(target.starts_with("http"), "target {target}");
            ensure!(
                route["data"]["user"] == ada && route["data"]["server_name"] == server,
                "route {route}"
            );
        }
        ensure!(
            body[&format!("{base}/services/web/")]["data"]["service"] == "web",
            "no route of the service"
        );
        case.stop(&ada, "")?;
        let body = case.admin().read("proxy?limit=200")?;
        ensure!(
            body.get(format!("{base}/user/{ada}/")).is_none(),
            "the route is still there"
        );
        case.stop(&ada, "lab")
    });
    list.case("GET proxy has the hub's own route", |case| {
        let body = case.admin().read("proxy?limit=200")?;
        let route = &body[&format!("{}/", case.target.base)];
        ensure!(route["data"]["hub"] == true, "routes {body}");
        Ok(())
    });
    list.case("GET proxy in pages is an object too", |case| {
        let answer = case
            .admin()
            .get("proxy")
            .header("Accept", "application/jupyterhub-pagination+json")
            .expect(200)?;
        let body = answer.json()?;
        has_keys(&body, &["items", "_pagination"])?;
        ensure!(body["items"].is_object(), "items {}", body["items"]);
        Ok(())
    });
    list.case("POST proxy checks the routes: 200, empty", |case| {
        case.admin().post("proxy").expect(200)?.empty()?;
        Ok(())
    });
    for (name, body) in [
        ("nothing", ""),
        ("a list", "[]"),
        ("a text", "\"x\""),
        ("no JSON", "{"),
    ] {
        list.refused(
            format!("PATCH proxy with {name} is 400"),
            400,
            move |case| {
                let request = case.admin().patch("proxy");
                Ok(if body.is_empty() {
                    request
                } else {
                    request.body("application/json", body)
                })
            },
        );
    }
    for method in ["GET", "POST", "PATCH"] {
        list.refused(
            format!("{method} proxy needs the scope proxy"),
            403,
            move |case| Ok(case.with(fixture::WATCHER_TOKEN).request(method, "proxy")),
        );
    }
}
