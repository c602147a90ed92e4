//! Servers: the default one and named ones, before, while and after they run.

mod environment;
mod limits;
mod named;
mod slow;

use serde_json::{Value, json};

use crate::case::{Case, server_path};
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time};

pub(super) fn add(list: &mut List) {
    list.area("servers");
    models(list);
    starting(list);
    stopping(list);
    permissions(list);
    environment::add(list);
    named::add(list);
    slow::add(list);
    limits::add(list);
}

const KEYS: &[&str] = &[
    "name",
    "display_name",
    "full_name",
    "last_activity",
    "started",
    "pending",
    "ready",
    "stopped",
    "url",
    "full_url",
    "progress_url",
    "full_progress_url",
    "user_options",
    "state",
];

fn model_of(case: &Case<'_>, user: &str, server: &str) -> Result<Value, Failure> {
    case.admin().read(server_path(user, server))
}

fn models(list: &mut List) {
    list.case(
        "a default server that never ran has a model that says so",
        |case| {
            let ada = case.user("ada")?;
            let body = model_of(case, &ada, "")?;
            has_keys(&body, KEYS)?;
            ensure!(
                body["stopped"] == true && body["ready"] == false && body["pending"].is_null(),
                "model {body}"
            );
            ensure!(
                body["started"].is_null() && body["full_name"] == format!("{ada}/"),
                "model {body}"
            );
            ensure!(
                body["name"] == "" && body["full_url"].is_null(),
                "model {body}"
            );
            Ok(())
        },
    );
    list.case("a running server's model says where it is", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let body = model_of(case, &ada, "")?;
        let base = &case.target.base;
        ensure!(
            body["ready"] == true && body["stopped"] == false && body["pending"].is_null(),
            "model {body}"
        );
        same!(body["url"], json!(format!("{base}/user/{ada}/")), "url");
        same!(
            body["progress_url"],
            json!(format!("{base}/hub/api/users/{ada}/server/progress")),
            "progress_url"
        );
        ensure!(
            body["state"]["pid"].as_u64().is_some_and(|pid| pid > 0),
            "state {}",
            body["state"]
        );
        is_time(&body["started"])?;
        is_time(&body["last_activity"])?;
        case.stop(&ada, "")
    });
    list.case("a running named server's model says where it is", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        let body = model_of(case, &ada, "lab")?;
        let base = &case.target.base;
        same!(body["name"], json!("lab"), "name");
        same!(body["full_name"], json!(format!("{ada}/lab")), "full_name");
        same!(body["url"], json!(format!("{base}/user/{ada}/lab/")), "url");
        let progress = format!("{base}/hub/api/users/{ada}/servers/lab/progress");
        same!(body["progress_url"], json!(progress), "progress_url");
        case.stop(&ada, "lab")
    });
    list.case(
        "the user's model has running servers and the default one's URL",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            case.start(&ada, "lab")?;
            let body = case.admin().read(format!("users/{ada}"))?;
            same!(
                body["server"],
                json!(format!("{}/user/{ada}/", case.target.base)),
                "server"
            );
            has_keys(&body["servers"], &["", "lab"])?;
            has_keys(&body["servers"]["lab"], KEYS)?;
            case.stop(&ada, "")?;
            let body = case.admin().read(format!("users/{ada}"))?;
            ensure!(body["server"].is_null(), "server {}", body["server"]);
            has_keys(&body["servers"], &["lab"])?;
            case.stop(&ada, "lab")
        },
    );
    list.case("state is for admin:server_state alone", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let body = case
            .with(fixture::WATCHER_TOKEN)
            .read(format!("users/{ada}/server"))?;
        ensure!(body.get("state").is_none(), "model {body}");
        let token = case.scoped(&["admin:server_state", "read:servers"])?;
        let body = case.with(&token).read(format!("users/{ada}/server"))?;
        ensure!(body["state"].is_object(), "model {body}");
        case.stop(&ada, "")
    });
    list.refused(
        "GET of a named server that does not exist is 404",
        404,
        |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().get(format!("users/{ada}/servers/none")))
        },
    );
    list.refused("GET of a server of nobody is 404", 404, |case| {
        Ok(case
            .admin()
            .get(format!("users/{}/server", case.name("nobody"))))
    });
    list.case(
        "servers/ with an empty name is the default server",
        |case| {
            let ada = case.user("ada")?;
            let body = case.admin().read(format!("users/{ada}/servers/"))?;
            ensure!(body["name"] == "", "model {body}");
            Ok(())
        },
    );
}

fn starting(list: &mut List) {
    for (what, path) in [
        ("server", "server"),
        ("servers/NAME", "servers/lab"),
        ("servers/ (empty name)", "servers/"),
    ] {
        list.case(format!("POST {what} starts it: 201, empty"), move |case| {
            let ada = case.user("ada")?;
            let answer = case
                .admin()
                .post(format!("users/{ada}/{path}"))
                .expect(201)?;
            answer.empty()?;
            let body = case.admin().read(format!("users/{ada}/{path}"))?;
            ensure!(body["ready"] == true, "model {body}");
            case.admin()
                .delete(format!("users/{ada}/{path}"))
                .expect(204)?;
            Ok(())
        });
    }
    list.case("the answer to a start is text/plain", |case| {
        let ada = case.user("ada")?;
        case.admin()
            .post(format!("users/{ada}/server"))
            .expect(201)?
            .has_type("text/plain")?;
        case.stop(&ada, "")
    });
    list.refused("POST of a server that runs is 400", 400, |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        Ok(case.admin().post(format!("users/{ada}/server")))
    });
    list.refused("POST of a server of nobody is 404", 404, |case| {
        Ok(case
            .admin()
            .post(format!("users/{}/server", case.name("nobody"))))
    });
    list.case(
        "user_options are kept, and replaced by other ones",
        |case| {
            let ada = case.user("ada")?;
            for (body, wanted) in [
                (json!({"user_options": {"a": 1}}), json!({"a": 1})),
                (json!({"user_options": null}), json!({"a": 1})),
                (json!({"user_options": {"b": [2]}}), json!({"b": [2]})),
                (json!({"user_options": {}}), json!({})),
            ] {
                case.admin()
                    .tell(format!("users/{ada}/server"), &body)?
                    .is(201)?;
                same!(
                    model_of(case, &ada, "")?["user_options"],
                    wanted,
                    "user_options after {body}"
                );
                case.stop(&ada, "")?;
                same!(
                    model_of(case, &ada, "")?["user_options"],
                    wanted,
                    "user_options after the stop"
                );
            }
            Ok(())
        },
    );
    list.case(
        "a body without the known keys is the user_options",
        |case| {
            let ada = case.user("ada")?;
            case.admin()
                .tell(format!("users/{ada}/server"), &json!({"image": "big"}))?
                .is(201)?;
            same!(
                model_of(case, &ada, "")?["user_options"],
                json!({"image": "big"}),
                "user_options"
            );
            case.stop(&ada, "")
        },
    );
    list.case("an empty list counts as no body", |case| {
        let ada = case.user("ada")?;
        case.admin()
            .tell(format!("users/{ada}/server"), &json!([]))?
            .is(201)?;
        case.stop(&ada, "")
    });
    list.case("display_name is kept", |case| {
        let ada = case.user("ada")?;
        let body = json!({"display_name": "My Lab"});
        case.admin()
            .tell(format!("users/{ada}/servers/lab"), &body)?
            .is(201)?;
        same!(
            model_of(case, &ada, "lab")?["display_name"],
            json!("My Lab"),
            "display_name"
        );
        case.stop(&ada, "lab")
    });
    for (name, body) in [
        ("a list", json!([1])),
        ("a text", json!("x")),
        ("a number", json!(5)),
        ("user_options that are a list", json!({"user_options": [1]})),
        ("user_options that are a text", json!({"user_options": "x"})),
        ("display_name that is a number", json!({"display_name": 5})),
    ] {
        list.refused(
            format!("POST server with {name} is 400"),
            400,
            move |case| {
                let ada = case.user("ada")?;
                Ok(case
                    .admin()
                    .post(format!("users/{ada}/servers/lab"))
                    .json(&body))
            },
        );
    }
    list.refused(
        "POST server with a body that is no JSON is 400",
        400,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .admin()
                .post(format!("users/{ada}/server"))
                .body("application/json", "{"))
        },
    );
    list.case(
        "a started server answers below its prefix, and is asked with its whole path",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            let path = format!("/user/{ada}/a%20b/c?d=%2F");
            let told = case.anonymous().get(&path).expect(200)?.json()?;
            same!(
                told["path"],
                json!(format!("{}{path}", case.target.base)),
                "path"
            );
            same!(told["headers"]["host"], json!(case.target.host), "Host");
            case.stop(&ada, "")
        },
    );
}

fn stopping(list: &mut List) {
    list.case("DELETE server stops it: 204, empty", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.admin()
            .delete(format!("users/{ada}/server"))
            .expect(204)?
            .empty()?;
        let body = model_of(case, &ada, "")?;
        ensure!(
            body["stopped"] == true && body["started"].is_null(),
            "model {body}"
        );
        Ok(())
    });
    list.case("DELETE of a server that does not run is 204", |case| {
        let ada = case.user("ada")?;
        case.admin()
            .delete(format!("users/{ada}/server"))
            .expect(204)?;
        Ok(())
    });
    list.refused(
        "DELETE of a named server that does not exist is 404",
        404,
        |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().delete(format!("users/{ada}/servers/none")))
        },
    );
    list.refused("DELETE of a server of nobody is 404", 404, |case| {
        Ok(case
            .admin()
            .delete(format!("users/{}/server", case.name("nobody"))))
    });
    list.refused("the default server cannot be removed", 400, |case| {
        let ada = case.user("ada")?;
        Ok(case
            .admin()
            .delete(format!("users/{ada}/server"))
            .json(&json!({"remove": true})))
    });
    list.case("a server's tokens end with it", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let told = case
            .anonymous()
            .get(format!("/user/{ada}/environment"))
            .expect(200)?
            .json()?;
        let token = crate::case::text_of(&told["environment"], "JUPYTERHUB_API_TOKEN")?;
        case.secret(&token);
        case.with(&token).get("user").expect(200)?;
        case.stop(&ada, "")?;
        case.with(&token).get("user").refused(403)?;
        Ok(())
    });
    list.case("a stopped server's path leads to the hub again", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.stop(&ada, "")?;
        case.anonymous().get(format!("/user/{ada}/x")).expect(302)?;
        Ok(())
    });
}

fn permissions(list: &mut List) {
    for (method, path) in [
        ("GET", "users/boss/server"),
        ("POST", "users/boss/server"),
        ("DELETE", "users/boss/server"),
        ("PUT", "users/boss/servers/lab"),
        ("PATCH", "users/boss/servers/lab"),
        ("GET", "users/boss/server/progress"),
    ] {
        list.refused(
            format!("{method} {path} is 403 without a scope"),
            403,
            move |case| Ok(case.with(fixture::OUTSIDER_TOKEN).request(method, path)),
        );
        list.refused(
            format!("{method} {path} is 404 for another user"),
            404,
            move |case| {
                let (_, token) = case.user_with_token("ada")?;
                Ok(case.with(&token).request(method, path))
            },
        );
        list.refused(
            format!("{method} {path} is 403 for nobody"),
            403,
            move |case| Ok(case.anonymous().request(method, path)),
        );
    }
    list.case("a user starts and stops their own server", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.with(&token)
            .post(format!("users/{ada}/server"))
            .expect(201)?;
        case.with(&token)
            .delete(format!("users/{ada}/server"))
            .expect(204)?;
        Ok(())
    });
    list.case("start:servers!server= starts that server alone", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&[&format!("start:servers!server={ada}/lab")])?;
        let holder = case.with(&token);
        holder
            .post(format!("users/{ada}/servers/lab"))
            .expect(201)?;
        holder
            .post(format!("users/{ada}/servers/other"))
            .refused(404)?;
        holder
            .delete(format!("users/{ada}/servers/lab"))
            .send()?
            .either(&[403, 404], "no delete:servers")?;
        case.stop(&ada, "lab")
    });
    list.case("servers!group= starts servers of members alone", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        case.join(fixture::STUDENTS, &[&ada])?;
        let tutor = case.with(fixture::TUTOR_TOKEN);
        tutor.post(format!("users/{ada}/server")).expect(201)?;
        tutor.post(format!("users/{bob}/server")).refused(404)?;
        tutor.delete(format!("users/{ada}/server")).expect(204)?;
        Ok(())
    });
}
