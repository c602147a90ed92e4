//! The hub itself: version, info, health, metrics, methods, errors, shutdown.

use std::net::TcpStream;

use serde_json::json;

use crate::case::text_of;
use crate::failure::ensure;
use crate::fixture;
use crate::list::{List, Profile};
use crate::response::{has_keys, is_time, texts};

pub(super) fn add(list: &mut List) {
    list.area("hub");
    root(list);
    whoami(list);
    info(list);
    metrics(list);
    methods(list);
    list.area("shutdown");
    shutdown(list);
}

fn root(list: &mut List) {
    for path in ["/hub/api", "/hub/api/"] {
        list.case(
            format!("GET {path} tells the version to everybody"),
            move |case| {
                let answer = case
                    .anonymous()
                    .get(path)
                    .expect(200)?
                    .has_type("application/json")?
                    .has_header("Access-Control-Allow-Origin", "*")?;
                let body = answer.json()?;
                has_keys(&body, &["version"])?;
                let version = body["version"].as_str().unwrap_or_default();
                let parts: Vec<&str> = version.split('.').collect();
                ensure!(
                    parts.len() == 3 && parts.first() == Some(&"6"),
                    "version {version}"
                );
                Ok(())
            },
        );
    }
    for (path, status) in [
        ("/hub/api", 200),
        ("/hub/api/user", 403),
        ("/hub/api/nowhere", 404),
        ("/hub/login", 200),
        ("/hub/nowhere", 404),
        ("/hub/home", 302),
        ("/hub/health", 200),
    ] {
        list.case(
            format!("GET {path} ({status}) carries the version header"),
            move |case| {
                let answer = case.anonymous().get(path).expect(status)?;
                let version = answer.header("X-JupyterHub-Version").unwrap_or_default();
                ensure!(version.starts_with("6."), "version header {version:?}");
                Ok(())
            },
        );
    }
    for path in ["/hub/health", "/hub/api/health"] {
        list.case(
            format!("GET {path} is empty and needs nobody"),
            move |case| {
                case.anonymous().get(path).expect(200)?.empty()?;
                Ok(())
            },
        );
        list.case(format!("HEAD {path} is allowed"), move |case| {
            case.anonymous()
                .request("HEAD", path)
                .expect(200)?
                .empty()?;
            Ok(())
        });
    }
}

fn whoami(list: &mut List) {
    list.case(
        "GET user tells a user's token who it is and what it may",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            let body = case.with(&token).read("user")?;
            has_keys(
                &body,
                &[
                    "kind",
                    "name",
                    "admin",
                    "roles",
                    "groups",
                    "server",
                    "pending",
                    "created",
                    "last_activity",
                    "servers",
                    "user_info",
                    "token_id",
                    "session_id",
                    "scopes",
                ],
            )?;
            ensure!(
                body["kind"] == "user" && body["name"] == ada,
                "model {body}"
            );
            ensure!(body["session_id"].is_null(), "an API token has no session");
            ensure!(
                body["token_id"]
                    .as_str()
                    .is_some_and(|id| id.starts_with('a')),
                "token_id {}",
                body["token_id"]
            );
            ensure!(body["servers"] == json!({}), "servers {}", body["servers"]);
            is_time(&body["created"])
        },
    );
    list.case(
        "the scopes of a plain user are those of self, sorted",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            let body = case.with(&token).read("user")?;
            let wanted: Vec<String> = [
                "access:servers",
                "delete:servers",
                "read:servers",
                "read:shares",
                "read:tokens",
                "read:users",
                "read:users:activity",
                "read:users:groups",
                "read:users:name",
                "read:users:shares",
                "servers",
                "start:servers",
                "tokens",
                "users:activity",
                "users:shares",
            ]
            .iter()
            .map(|scope| format!("{scope}!user={ada}"))
            .collect();
            let found: Vec<String> = body["scopes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|scope| scope.as_str().map(str::to_owned))
                .collect();
            ensure!(found == wanted, "scopes {found:?}");
            Ok(())
        },
    );
    list.case("GET user tells a service who it is", |case| {
        let body = case.with(fixture::WATCHER_TOKEN).read("user")?;
        ensure!(
            body["kind"] == "service" && body["name"] == fixture::WATCHER,
            "model {body}"
        );
        ensure!(body["admin"] == false, "admin {}", body["admin"]);
        let scopes = texts(&body["scopes"]);
        for scope in [
            "list:users",
            "read:servers",
            "delete:servers",
            "read:users:activity",
        ] {
            ensure!(
                scopes.iter().any(|found| found == scope),
                "{scope} is not in {scopes:?}"
            );
        }
        Ok(())
    });
    list.case("a service without roles still reads its own name", |case| {
        let body = case.with(fixture::OUTSIDER_TOKEN).read("user")?;
        has_keys(
            &body,
            &["kind", "name", "admin", "token_id", "session_id", "scopes"],
        )?;
        ensure!(body["name"] == fixture::OUTSIDER, "name {}", body["name"]);
        Ok(())
    });
    list.case(
        "GET user of a token without scopes has the identifying keys alone",
        |case| {
            let ada = case.user("ada")?;
            let token = case.token_of(&ada, Some(&[]))?;
            let body = case.with(&token).read("user")?;
            has_keys(
                &body,
                &[
                    "kind",
                    "name",
                    "admin",
                    "user_info",
                    "groups",
                    "token_id",
                    "session_id",
                    "scopes",
                ],
            )
        },
    );
    list.case(
        "GET user of a browser has no token, and a null session",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            let body = browser.fetch("GET", "user").expect(200)?.json()?;
            ensure!(body["name"] == ada, "name {}", body["name"]);
            ensure!(
                body["token_id"].is_null() && body["session_id"].is_null(),
                "model {body}"
            );
            Ok(())
        },
    );
    for (name, header) in [
        ("the scheme token", "token {}"),
        ("the scheme Bearer", "Bearer {}"),
        ("the scheme BEARER", "BEARER {}"),
        ("the scheme Token", "Token {}"),
    ] {
        list.case(format!("{name} is taken"), move |case| {
            let header = header.replace("{}", &case.target.admin_token);
            case.anonymous()
                .get("user")
                .header("Authorization", header)
                .expect(200)?;
            Ok(())
        });
    }
    for (name, header) in [
        ("no header", ""),
        ("an unknown token", "token 0123456789abcdef0123456789abcdef"),
        ("an empty token", "token "),
        (
            "a token of 65 characters",
            "token aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        ("the scheme Basic", "Basic YTpi"),
        ("no scheme", "0123456789abcdef"),
        ("two tokens", "token abcdefgh ijklmnop"),
    ] {
        list.refused(
            format!("GET user with {name} is 403, never 401"),
            403,
            move |case| Ok(case.anonymous().get("user").header("Authorization", header)),
        );
    }
    list.case("a bad token does not spoil a good login", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let body = browser
            .fetch("GET", "user")
            .header("Authorization", "token 0123456789abcdef0123456789abcdef")
            .expect(200)?
            .json()?;
        ensure!(body["name"] == ada, "name {}", body["name"]);
        Ok(())
    });
    list.case("a token wins over a login", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let header = format!("token {}", fixture::WATCHER_TOKEN);
        let body = browser
            .fetch("GET", "user")
            .header("Authorization", header)
            .expect(200)?
            .json()?;
        ensure!(body["name"] == fixture::WATCHER, "name {}", body["name"]);
        Ok(())
    });
    list.refused("a token in the query is not looked at", 403, |case| {
        Ok(case
            .anonymous()
            .get("user")
            .query("token", fixture::WATCHER_TOKEN))
    });
}

fn info(list: &mut List) {
    list.case("GET info tells what the hub is made of", |case| {
        let body = case.admin().read("info")?;
        has_keys(
            &body,
            &[
                "version",
                "python",
                "sys_executable",
                "spawner",
                "authenticator",
            ],
        )?;
        has_keys(&body["spawner"], &["class", "version"])?;
        has_keys(&body["authenticator"], &["class", "version"])
    });
    list.refused("GET info needs read:hub", 403, |case| {
        Ok(case.with(fixture::WATCHER_TOKEN).get("info"))
    });
    list.refused("GET info needs somebody", 403, |case| {
        Ok(case.anonymous().get("info"))
    });
    list.case("GET info is for who has read:hub", |case| {
        let token = case.scoped(&["read:hub"])?;
        case.with(&token).get("info").expect(200)?;
        Ok(())
    });
}

/// Metrics that dashboards read.
const METRICS: &[&str] = &[
    "jupyterhub_running_servers",
    "jupyterhub_total_users",
    "jupyterhub_active_users",
    "jupyterhub_server_spawn_duration_seconds",
    "jupyterhub_server_stop_seconds",
    "jupyterhub_server_poll_duration_seconds",
    "jupyterhub_proxy_add_duration_seconds",
    "jupyterhub_proxy_delete_duration_seconds",
    "jupyterhub_proxy_poll_duration_seconds",
    "jupyterhub_check_routes_duration_seconds",
    "jupyterhub_hub_startup_duration_seconds",
    "jupyterhub_init_spawners_duration_seconds",
    "jupyterhub_login_duration_seconds",
    "jupyterhub_logout_duration_seconds",
    "jupyterhub_request_duration_seconds",
];

fn metrics(list: &mut List) {
    for path in ["/hub/metrics", "/hub/api/metrics"] {
        list.case(
            format!("GET {path} with read:metrics is Prometheus's text"),
            move |case| {
                let token = case.scoped(&["read:metrics"])?;
                case.with(&token)
                    .get(path)
                    .expect(200)?
                    .has_type("text/plain")?
                    .contains("# TYPE ")?;
                Ok(())
            },
        );
        list.case(
            format!("GET {path} without read:metrics is 403"),
            move |case| {
                case.with(fixture::WATCHER_TOKEN).get(path).expect(403)?;
                case.anonymous().get(path).expect(403)?;
                Ok(())
            },
        );
    }
    for metric in METRICS {
        list.case(format!("the metric {metric} is there"), move |case| {
            let text = case
                .admin()
                .get("/hub/metrics")
                .expect(200)?
                .contains(&format!("# TYPE {metric} "))?
                .text();
            let has = text.lines().any(|line| line.starts_with(metric));
            ensure!(has, "{metric} has no sample");
            Ok(())
        });
    }
    list.case("active users are counted for three periods", |case| {
        let mut text = case.admin().get("/hub/metrics").expect(200)?;
        for period in ["24h", "7d", "30d"] {
            text = text.contains(&format!("jupyterhub_active_users{{period=\"{period}\"}}"))?;
        }
        Ok(())
    });
}

fn methods(list: &mut List) {
    for (method, path) in [
        ("HEAD", "user"),
        ("HEAD", "users"),
        ("POST", "user"),
        ("PUT", "users"),
        ("DELETE", "users"),
        ("PATCH", "users"),
        ("PUT", "groups"),
        ("POST", "info"),
        ("GET", "shutdown"),
        ("POST", "services"),
        ("DELETE", "proxy"),
    ] {
        list.case(format!("{method} {path} is 405"), move |case| {
            let answer = case.admin().request(method, path).expect(405)?;
            if method != "HEAD" {
                answer.error_body(405)?;
            }
            Ok(())
        });
    }
    for path in [
        "nowhere",
        "users/ada/nowhere",
        "users/",
        "oauth2",
        "nowhere/at/all",
    ] {
        list.refused(format!("GET {path} is 404 in JSON"), 404, move |case| {
            Ok(case.admin().get(path))
        });
        list.refused(
            format!("GET {path} is 404 in JSON for nobody as well"),
            404,
            move |case| Ok(case.anonymous().get(path)),
        );
    }
    list.refused("POST of an unknown path with a token is 404", 404, |case| {
        Ok(case.admin().post("nowhere"))
    });
}

fn shutdown(list: &mut List) {
    for (name, body) in [
        ("proxy is no boolean", json!({"proxy": "yes"})),
        ("servers is no boolean", json!({"servers": "yes"})),
        ("proxy is null", json!({"proxy": null})),
    ] {
        list.refused(
            format!("POST shutdown is 400 if {name}"),
            400,
            move |case| Ok(case.admin().post("shutdown").json(&body)),
        );
    }
    list.refused("POST shutdown needs the scope shutdown", 403, |case| {
        Ok(case.with(fixture::WATCHER_TOKEN).post("shutdown"))
    });
    list.refused(
        "POST shutdown with a body that is no JSON is 400",
        400,
        |case| Ok(case.admin().post("shutdown").body("application/json", "{")),
    );
    list.needs(Profile::Last);
    list.case(
        "POST shutdown ends the hub, and its servers if asked",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            let told = case
                .anonymous()
                .get(format!("/user/{ada}/environment"))
                .expect(200)?
                .json()?;
            let url = text_of(&told["environment"], "JUPYTERHUB_SERVICE_URL")?;
            let server = url.split('/').nth(2).unwrap_or_default();
            ensure!(
                TcpStream::connect(server).is_ok(),
                "nobody listens at {server}"
            );
            let answer = case
                .admin()
                .tell("shutdown", &json!({"proxy": true, "servers": true}))?
                .is(202)?;
            ensure!(
                answer.json()?["message"].is_string(),
                "no message: {}",
                answer.text()
            );
            case.wait_until("nobody answers", || {
                Ok(case.anonymous().get("").quiet().send().is_err())
            })?;
            case.wait_until("the user's server has ended", || {
                Ok(TcpStream::connect(server).is_err())
            })
        },
    );
}
