//! Servers: the default one and named ones, before, while and after they run.

use serde_json::{Value, json};

use crate::case::{Case, server_path};
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::{List, Profile};
use crate::response::{has_keys, is_time, texts};

pub(super) fn add(list: &mut List) {
    list.area("servers");
    models(list);
    starting(list);
    stopping(list);
    environment(list);
    permissions(list);
    list.area("named servers");
    creating(list);
    changing(list);
    removing(list);
    names(list);
    list.area("slow servers");
    list.needs(Profile::Brisk);
    slow(list);
    list.area("limits");
    limits(list);
}

const KEYS: &[&str] = &[
    "name", "display_name", "full_name", "last_activity", "started", "pending", "ready", "stopped", "url",
    "full_url", "progress_url", "full_progress_url", "user_options", "state",
];

fn model_of(case: &Case<'_>, user: &str, server: &str) -> Result<Value, Failure> {
    case.admin().read(server_path(user, server))
}

fn models(list: &mut List) {
    list.case("a default server that never ran has a model that says so", |case| {
        let ada = case.user("ada")?;
        let body = model_of(case, &ada, "")?;
        has_keys(&body, KEYS)?;
        ensure!(body["stopped"] == true && body["ready"] == false && body["pending"].is_null(), "model {body}");
        ensure!(body["started"].is_null() && body["full_name"] == format!("{ada}/"), "model {body}");
        ensure!(body["name"] == "" && body["full_url"].is_null(), "model {body}");
        Ok(())
    });
    list.case("a running server's model says where it is", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let body = model_of(case, &ada, "")?;
        let base = &case.target.base;
        ensure!(body["ready"] == true && body["stopped"] == false && body["pending"].is_null(), "model {body}");
        same!(body["url"], json!(format!("{base}/user/{ada}/")), "url");
        same!(body["progress_url"], json!(format!("{base}/hub/api/users/{ada}/server/progress")), "progress_url");
        ensure!(body["state"]["pid"].as_u64().is_some_and(|pid| pid > 0), "state {}", body["state"]);
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
    list.case("the user's model has running servers and the default one's URL", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.start(&ada, "lab")?;
        let body = case.admin().read(format!("users/{ada}"))?;
        same!(body["server"], json!(format!("{}/user/{ada}/", case.target.base)), "server");
        has_keys(&body["servers"], &["", "lab"])?;
        has_keys(&body["servers"]["lab"], KEYS)?;
        case.stop(&ada, "")?;
        let body = case.admin().read(format!("users/{ada}"))?;
        ensure!(body["server"].is_null(), "server {}", body["server"]);
        has_keys(&body["servers"], &["lab"])?;
        case.stop(&ada, "lab")
    });
    list.case("state is for admin:server_state alone", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let body = case.with(fixture::WATCHER_TOKEN).read(format!("users/{ada}/server"))?;
        ensure!(body.get("state").is_none(), "model {body}");
        let token = case.scoped(&["admin:server_state", "read:servers"])?;
        let body = case.with(&token).read(format!("users/{ada}/server"))?;
        ensure!(body["state"].is_object(), "model {body}");
        case.stop(&ada, "")
    });
    list.refused("GET of a named server that does not exist is 404", 404, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().get(format!("users/{ada}/servers/none")))
    });
    list.refused("GET of a server of nobody is 404", 404, |case| {
        Ok(case.admin().get(format!("users/{}/server", case.name("nobody"))))
    });
    list.case("servers/ with an empty name is the default server", |case| {
        let ada = case.user("ada")?;
        let body = case.admin().read(format!("users/{ada}/servers/"))?;
        ensure!(body["name"] == "", "model {body}");
        Ok(())
    });
}

fn starting(list: &mut List) {
    for (what, path) in [("server", "server"), ("servers/NAME", "servers/lab"), ("servers/ (empty name)", "servers/")] {
        list.case(format!("POST {what} starts it: 201, empty"), move |case| {
            let ada = case.user("ada")?;
            let answer = case.admin().post(format!("users/{ada}/{path}")).expect(201)?;
            answer.is_empty()?;
            let body = case.admin().read(format!("users/{ada}/{path}"))?;
            ensure!(body["ready"] == true, "model {body}");
            case.admin().delete(format!("users/{ada}/{path}")).expect(204)?;
            Ok(())
        });
    }
    list.case("the answer to a start is text/plain", |case| {
        let ada = case.user("ada")?;
        case.admin().post(format!("users/{ada}/server")).expect(201)?.has_type("text/plain")?;
        case.stop(&ada, "")
    });
    list.refused("POST of a server that runs is 400", 400, |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        Ok(case.admin().post(format!("users/{ada}/server")))
    });
    list.refused("POST of a server of nobody is 404", 404, |case| {
        Ok(case.admin().post(format!("users/{}/server", case.name("nobody"))))
    });
    list.case("user_options are kept, and replaced by other ones", |case| {
        let ada = case.user("ada")?;
        for (body, wanted) in [
            (json!({"user_options": {"a": 1}}), json!({"a": 1})),
            (json!({"user_options": null}), json!({"a": 1})),
            (json!({"user_options": {"b": [2]}}), json!({"b": [2]})),
            (json!({"user_options": {}}), json!({})),
        ] {
            case.admin().tell(format!("users/{ada}/server"), &body)?.is(201)?;
            same!(model_of(case, &ada, "")?["user_options"], wanted, "user_options after {body}");
            case.stop(&ada, "")?;
            same!(model_of(case, &ada, "")?["user_options"], wanted, "user_options after the stop");
        }
        Ok(())
    });
    list.case("a body without the known keys is the user_options", |case| {
        let ada = case.user("ada")?;
        case.admin().tell(format!("users/{ada}/server"), &json!({"image": "big"}))?.is(201)?;
        same!(model_of(case, &ada, "")?["user_options"], json!({"image": "big"}), "user_options");
        case.stop(&ada, "")
    });
    list.case("an empty list counts as no body", |case| {
        let ada = case.user("ada")?;
        case.admin().tell(format!("users/{ada}/server"), &json!([]))?.is(201)?;
        case.stop(&ada, "")
    });
    list.case("display_name is kept", |case| {
        let ada = case.user("ada")?;
        let body = json!({"display_name": "My Lab"});
        case.admin().tell(format!("users/{ada}/servers/lab"), &body)?.is(201)?;
        same!(model_of(case, &ada, "lab")?["display_name"], json!("My Lab"), "display_name");
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
        list.refused(format!("POST server with {name} is 400"), 400, move |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().post(format!("users/{ada}/servers/lab")).json(&body))
        });
    }
    list.refused("POST server with a body that is no JSON is 400", 400, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().post(format!("users/{ada}/server")).body("application/json", "{"))
    });
    list.case("a started server answers below its prefix, and is asked with its whole path", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let path = format!("/user/{ada}/a%20b/c?d=%2F");
        let told = case.anonymous().get(&path).expect(200)?.json()?;
        same!(told["path"], json!(format!("{}{path}", case.target.base)), "path");
        same!(told["headers"]["host"], json!(case.target.host), "Host");
        case.stop(&ada, "")
    });
}

fn stopping(list: &mut List) {
    list.case("DELETE server stops it: 204, empty", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.admin().delete(format!("users/{ada}/server")).expect(204)?.is_empty()?;
        let body = model_of(case, &ada, "")?;
        ensure!(body["stopped"] == true && body["started"].is_null(), "model {body}");
        Ok(())
    });
    list.case("DELETE of a server that does not run is 204", |case| {
        let ada = case.user("ada")?;
        case.admin().delete(format!("users/{ada}/server")).expect(204)?;
        Ok(())
    });
    list.refused("DELETE of a named server that does not exist is 404", 404, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().delete(format!("users/{ada}/servers/none")))
    });
    list.refused("DELETE of a server of nobody is 404", 404, |case| {
        Ok(case.admin().delete(format!("users/{}/server", case.name("nobody"))))
    });
    list.refused("the default server cannot be removed", 400, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().delete(format!("users/{ada}/server")).json(&json!({"remove": true})))
    });
    list.case("a server's tokens end with it", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let told = case.anonymous().get(format!("/user/{ada}/environment")).expect(200)?.json()?;
        let token = crate::case::text_of(&told["environment"], "JUPYTERHUB_API_TOKEN")?;
        case.word(&token, "<token>");
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

fn environment(list: &mut List) {
    // What a server finds in its environment; `{}` stands for the user's name.
    const VARIABLES: &[(&str, &str)] = &[
        ("JUPYTERHUB_USER", "{}"),
        ("JUPYTERHUB_SERVER_NAME", "lab"),
        ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-{}-lab"),
        ("JUPYTERHUB_BASE_URL", "/"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/{}/lab/"),
        ("JUPYTERHUB_OAUTH_CALLBACK_URL", "/user/{}/lab/oauth_callback"),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", r#"["access:servers!server={}/lab", "access:servers!user={}"]"#),
        ("JUPYTERHUB_OAUTH_SCOPES", r#"["access:servers!server={}/lab", "access:servers!user={}"]"#),
        ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]"),
        ("JUPYTERHUB_HOST", ""),
        ("JUPYTERHUB_PUBLIC_URL", ""),
        ("JUPYTERHUB_PUBLIC_HUB_URL", ""),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0"),
    ];
    for (name, wanted) in VARIABLES {
        list.case(format!("a server finds {name} in its environment"), move |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "lab")?;
            let told = case.anonymous().get(format!("/user/{ada}/lab/environment")).expect(200)?.json()?;
            let found = &told["environment"][*name];
            let wanted = wanted.replace("{}", &ada);
            // Lists are compared as lists: spaces within JSON mean nothing.
            let text = found.as_str().unwrap_or("(absent)");
            let equal = match (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&wanted)) {
                (Ok(found), Ok(wanted)) => found == wanted,
                _ => text == wanted,
            };
            ensure!(equal, "{name} is {text:?} instead of {wanted:?}");
            case.stop(&ada, "lab")
        });
    }
    list.case("a server finds the addresses of the API, and a token for it", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let told = case.anonymous().get(format!("/user/{ada}/environment")).expect(200)?.json()?;
        let found = &told["environment"];
        let api = crate::case::text_of(found, "JUPYTERHUB_API_URL")?;
        ensure!(api.starts_with("http://") && api.ends_with("/hub/api"), "API URL {api}");
        same!(found["JUPYTERHUB_ACTIVITY_URL"], json!(format!("{api}/users/{ada}/activity")), "activity URL");
        let url = crate::case::text_of(found, "JUPYTERHUB_SERVICE_URL")?;
        ensure!(url.starts_with("http://127.0.0.1:") && url.ends_with(&format!("/user/{ada}/")), "URL {url}");
        same!(found["JPY_API_TOKEN"], found["JUPYTERHUB_API_TOKEN"], "the token's old name");
        let token = crate::case::text_of(found, "JUPYTERHUB_API_TOKEN")?;
        case.word(&token, "<token>");
        let scopes = texts(&case.with(&token).read("user")?["scopes"]);
        let wanted = [
            format!("access:servers!server={ada}/"),
            format!("read:users:activity!user={ada}"),
            format!("read:users:groups!user={ada}"),
            format!("read:users:name!user={ada}"),
            format!("users:activity!user={ada}"),
        ];
        same!(scopes, wanted, "the token's scopes");
        case.stop(&ada, "")
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
        list.refused(format!("{method} {path} is 403 without a scope"), 403, move |case| {
            Ok(case.with(fixture::OUTSIDER_TOKEN).request(method, path))
        });
        list.refused(format!("{method} {path} is 404 for another user"), 404, move |case| {
            let (_, token) = case.user_with_token("ada")?;
            Ok(case.with(&token).request(method, path))
        });
        list.refused(format!("{method} {path} is 403 for nobody"), 403, move |case| {
            Ok(case.anonymous().request(method, path))
        });
    }
    list.case("a user starts and stops their own server", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.with(&token).post(format!("users/{ada}/server")).expect(201)?;
        case.with(&token).delete(format!("users/{ada}/server")).expect(204)?;
        Ok(())
    });
    list.case("start:servers!server= starts that server alone", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&[&format!("start:servers!server={ada}/lab")])?;
        let holder = case.with(&token);
        holder.post(format!("users/{ada}/servers/lab")).expect(201)?;
        holder.post(format!("users/{ada}/servers/other")).refused(404)?;
        holder.delete(format!("users/{ada}/servers/lab")).send()?.either(&[403, 404], "no delete:servers")?;
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

fn creating(list: &mut List) {
    list.case("PUT servers/NAME makes a server without starting it", |case| {
        let ada = case.user("ada")?;
        let body = json!({"display_name": "My Lab", "user_options": {"a": 1}});
        let body = case.admin().put(format!("users/{ada}/servers/lab")).json(&body).expect(201)?.json()?;
        has_keys(&body, KEYS)?;
        ensure!(body["name"] == "lab" && body["display_name"] == "My Lab" && body["stopped"] == true, "model {body}");
        same!(body["user_options"], json!({"a": 1}), "user_options");
        Ok(())
    });
    list.case("PUT without a body takes the name for display", |case| {
        let ada = case.user("ada")?;
        let body = case.admin().put(format!("users/{ada}/servers/lab")).expect(201)?.json()?;
        same!(body["display_name"], json!("lab"), "display_name");
        Ok(())
    });
    list.case("PUT with an empty display_name takes the name for display", |case| {
        let ada = case.user("ada")?;
        let body = json!({"display_name": ""});
        let body = case.admin().put(format!("users/{ada}/servers/lab")).json(&body).expect(201)?.json()?;
        same!(body["display_name"], json!("lab"), "display_name");
        Ok(())
    });
    list.refused("PUT of a server that exists is 409", 409, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        Ok(case.admin().put(format!("users/{ada}/servers/lab")))
    });
    list.refused("PUT of the default server is 409", 409, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().put(format!("users/{ada}/server")))
    });
    for (name, body) in [
        ("user_options that are a list", json!({"user_options": [1]})),
        ("display_name that is a number", json!({"display_name": 5})),
        ("a display_name of 256 characters", json!({"display_name": "x".repeat(256)})),
        ("a display_name with two spaces", json!({"display_name": "a  b"})),
        ("a display_name with a tab", json!({"display_name": "a\tb"})),
    ] {
        list.case(format!("PUT servers/NAME with {name} is 400"), move |case| {
            let ada = case.user("ada")?;
            case.admin().put(format!("users/{ada}/servers/lab")).json(&body).refused(400)?;
            case.admin().get(format!("users/{ada}/servers/lab")).refused(404)?;
            Ok(())
        });
    }
    list.case("a stopped named server is started by POST and keeps its options", |case| {
        let ada = case.user("ada")?;
        let body = json!({"display_name": "My Lab", "user_options": {"a": 1}});
        case.admin().put(format!("users/{ada}/servers/lab")).json(&body).expect(201)?;
        case.start(&ada, "lab")?;
        let model = model_of(case, &ada, "lab")?;
        same!(model["user_options"], json!({"a": 1}), "user_options");
        same!(model["display_name"], json!("My Lab"), "display_name");
        case.stop(&ada, "lab")
    });
}

fn changing(list: &mut List) {
    list.case("PATCH servers/NAME changes options and the shown name", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        let change = json!({"display_name": "New", "user_options": {"b": 2}});
        let body = case.admin().patch(&path).json(&change).expect(200)?.json()?;
        has_keys(&body, KEYS)?;
        ensure!(body["display_name"] == "New" && body["user_options"] == json!({"b": 2}), "model {body}");
        Ok(())
    });
    list.case("PATCH with a name renames", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        let body = case.admin().patch(&path).json(&json!({"name": "desk"})).expect(200)?.json()?;
        same!(body["name"], json!("desk"), "name");
        case.admin().get(&path).refused(404)?;
        case.admin().get(format!("users/{ada}/servers/desk")).expect(200)?;
        Ok(())
    });
    list.refused("PATCH to a name that is taken is 409", 409, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        case.stopped_server(&ada, "desk")?;
        Ok(case.admin().patch(format!("users/{ada}/servers/lab")).json(&json!({"name": "desk"})))
    });
    for (name, body) in [
        ("nothing", json!({})),
        ("a bad name", json!({"name": "Not Good"})),
        ("user_options that are a list", json!({"user_options": [1]})),
    ] {
        list.refused(format!("PATCH servers/NAME with {name} is 400"), 400, move |case| {
            let ada = case.user("ada")?;
            case.stopped_server(&ada, "lab")?;
            Ok(case.admin().patch(format!("users/{ada}/servers/lab")).json(&body))
        });
    }
    for (name, body) in [("an unknown key", json!({"color": "red"})), ("a list", json!([1])), ("a number as name", json!({"name": 5}))] {
        list.differs(
            format!("PATCH servers/NAME with {name} is refused"),
            [500, 400],
            "a 500 is never right for what a client sends",
            move |case| {
                let ada = case.user("ada")?;
                case.stopped_server(&ada, "lab")?;
                Ok(case.admin().patch(format!("users/{ada}/servers/lab")).json(&body))
            },
        );
    }
    list.refused("PATCH of a running server is 400", 400, |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        Ok(case.admin().patch(format!("users/{ada}/servers/lab")).json(&json!({"name": "desk"})))
    });
    list.refused("PATCH of a server that does not exist is 404", 404, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().patch(format!("users/{ada}/servers/none")).json(&json!({"name": "desk"})))
    });
}

fn removing(list: &mut List) {
    list.case("DELETE with remove takes a stopped server away", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        case.admin().delete(&path).json(&json!({"remove": true})).expect(204)?;
        case.admin().get(&path).refused(404)?;
        Ok(())
    });
    list.case("DELETE with remove stops a running server first", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        case.admin().delete(&path).json(&json!({"remove": true})).expect(204)?;
        case.admin().get(&path).refused(404)?;
        Ok(())
    });
    list.case("DELETE without remove keeps the record", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        case.admin().delete(format!("users/{ada}/servers/lab")).json(&json!({"remove": false})).expect(204)?;
        let body = model_of(case, &ada, "lab")?;
        ensure!(body["stopped"] == true, "model {body}");
        Ok(())
    });
}

fn names(list: &mut List) {
    for name in ["a", "lab", "lab2", "my-lab", "a1-b2-c3", "abcdefghijklmnopqrstuvwxyz1234"] {
        list.case(format!("a server may be called {name}"), move |case| {
            let ada = case.user("ada")?;
            case.admin().put(format!("users/{ada}/servers/{name}")).expect(201)?;
            Ok(())
        });
    }
    for name in [
        "Lab", "1lab", "-lab", "lab-", "la--b", "la_b", "la.b", "l%20b", "l%C3%A1b", "l%40b", "%2e%2e%2e", "..%2Fx",
        "abcdefghijklmnopqrstuvwxyz12345",
    ] {
        for method in ["PUT", "POST"] {
            list.case(format!("{method} of a server called {name} is refused"), move |case| {
                let ada = case.user("ada")?;
                let answer = case.admin().request(method, format!("users/{ada}/servers/{name}")).send()?;
                answer.either(&[400, 404], "a name with a slash is a path of nothing")?;
                Ok(())
            });
        }
    }
}

/// Events of a progress stream.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn slow(list: &mut List) {
    list.case("a start that takes longer is 202, and the server pending", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/slow");
        case.admin().post(&path).expect(202)?.is_empty()?.has_type("text/plain")?;
        let body = model_of(case, &ada, "slow")?;
        ensure!(body["pending"] == "spawn" && body["ready"] == false && body["stopped"] == false, "model {body}");
        case.admin().post(&path).expect(202)?;
        let user = case.admin().read(format!("users/{ada}"))?;
        ensure!(user["servers"]["slow"]["pending"] == "spawn", "user {user}");
        ensure!(user["server"].is_null(), "user {user}");
        case.wait_until("it is ready", || Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true))?;
        case.admin().delete(&path).send()?.either(&[202, 204], "depends on the machine")?;
        Ok(())
    });
    list.case("progress begins at 0 and ends at 100 with the URL", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/slow");
        case.admin().post(&path).expect(202)?;
        let answer = case
            .admin()
            .get(format!("{path}/progress"))
            .expect(200)?
            .has_type("text/event-stream")?
            .has_header("Cache-Control", "no-cache")?;
        let events = events(&answer.text());
        let (first, last) = (events.first().cloned().unwrap_or_default(), events.last().cloned().unwrap_or_default());
        ensure!(first["progress"] == 0 && first["message"].is_string(), "first event {first}");
        ensure!(last["progress"] == 100 && last["ready"] == true, "last event {last}");
        same!(last["url"], json!(format!("{}/user/{ada}/slow/", case.target.base)), "url");
        ensure!(last["message"].is_string() && last["html_message"].is_string(), "last event {last}");
        for event in events.iter().rev().skip(1) {
            ensure!(event.get("ready").is_none() && event.get("failed").is_none(), "event {event}");
        }
        case.stop(&ada, "slow")
    });
    list.case("the stream begins with empty lines, so that it arrives at once", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/slow");
        case.admin().post(&path).expect(202)?;
        let answer = case.admin().get(format!("{path}/progress")).send_until(Some(&|body| body.len() > 20))?;
        ensure!(answer.text().starts_with("\n\n"), "begins {:?}", answer.text());
        case.admin().delete(&path).send()?.either(&[202, 204], "depends on the machine")?;
        Ok(())
    });
    list.case("progress of a ready server is its end alone", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let answer = case.admin().get(format!("users/{ada}/server/progress")).expect(200)?;
        let events = events(&answer.text());
        same!(events.len(), 1, "events");
        let last = events.first().cloned().unwrap_or_default();
        ensure!(last["progress"] == 100 && last["ready"] == true, "event {last}");
        case.stop(&ada, "")
    });
    list.refused("progress of a default server that never ran is 404", 404, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().get(format!("users/{ada}/server/progress")))
    });
    list.refused("progress of a stopped named server is 400", 400, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        Ok(case.admin().get(format!("users/{ada}/servers/lab/progress")))
    });
    list.refused("progress of a server that does not exist is 404", 404, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().get(format!("users/{ada}/servers/none/progress")))
    });
    list.case("DELETE ends a start that is under way", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/slow");
        case.admin().post(&path).expect(202)?;
        case.admin().delete(&path).send()?.either(&[202, 204], "depends on the machine")?;
        case.wait_until("it has stopped", || {
            Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
        })
    });
    list.case("a stop that takes longer is 202, and the server pending", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/stubborn");
        case.start(&ada, "stubborn")?;
        case.admin().delete(&path).expect(202)?.is_empty()?;
        let body = model_of(case, &ada, "stubborn")?;
        ensure!(body["pending"] == "stop" && body["ready"] == false && body["stopped"] == false, "model {body}");
        case.admin().post(&path).refused(400)?;
        case.admin().delete(&path).expect(202)?;
        case.wait_until("it has stopped", || {
            Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
        })
    });
    list.case("a user whose default server is stopping cannot be removed", |case| {
        let ada = case.user("stubborn")?;
        case.start(&ada, "")?;
        case.admin().delete(format!("users/{ada}/server")).expect(202)?;
        case.admin().delete(format!("users/{ada}")).refused(400)?;
        case.wait_until("it has stopped", || Ok(model_of(case, &ada, "")?["stopped"] == true))?;
        case.admin().delete(format!("users/{ada}")).expect(204)?;
        Ok(())
    });
    list.case("a server that dies at its start fails, and says so", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/servers/dies");
        case.admin().post(&path).send()?.either(&[202, 500], "JupyterHub notices the end later, Lyceum at once")?;
        case.wait_until("the start has failed", || {
            Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
        })?;
        let answer = case.admin().get(format!("{path}/progress")).expect(200)?;
        let events = events(&answer.text());
        let last = events.last().cloned().unwrap_or_default();
        ensure!(last["failed"] == true && last["progress"] == 100 && last.get("ready").is_none(), "event {last}");
        Ok(())
    });
    list.case("spawn-pending of a pending server is a page, and leads to it when it is ready", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.admin().post(format!("users/{ada}/servers/slow")).expect(202)?;
        let page = format!("/hub/spawn-pending/{ada}/slow");
        browser.open(&page).expect(200)?.is_page()?;
        browser.open(format!("/hub/spawn/{ada}/slow")).send()?.leads_to_path(302, &format!("{}{page}", case.target.base))?;
        let path = format!("users/{ada}/servers/slow");
        case.wait_until("it is ready", || Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true))?;
        browser.open(&page).send()?.leads_to(302, &format!("{}/user/{ada}/slow/", case.target.base))?;
        case.stop(&ada, "slow")
    });
    list.case("a pending server's path leads to spawn-pending", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        case.admin().post(format!("users/{ada}/servers/slow")).expect(202)?;
        let answer = browser.open(format!("/hub/user/{ada}/slow/tree")).send()?;
        answer.leads_to_path(303, &format!("{}/hub/spawn-pending/{ada}/slow", case.target.base))?;
        case.admin().delete(format!("users/{ada}/servers/slow")).send()?.either(&[202, 204], "depends on the machine")?;
        Ok(())
    });
    list.case("spawn-pending of a failed start is 500 and a page", |case| {
        let ada = case.user("ada")?;
        let browser = case.browser_of(&ada)?;
        let path = format!("users/{ada}/servers/dies");
        case.admin().post(&path).send()?.either(&[202, 500], "JupyterHub notices the end later, Lyceum at once")?;
        case.wait_until("the start has failed", || {
            Ok(case.admin().get(&path).quiet().expect(200)?.json()?["stopped"] == true)
        })?;
        browser.open(format!("/hub/spawn-pending/{ada}/dies")).expect(500)?.is_page()?;
        Ok(())
    });
}

fn limits(list: &mut List) {
    list.needs(Profile::Limited);
    list.case("one server too many is 429, without Retry-After", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        case.start(&ada, "")?;
        case.admin().post(format!("users/{bob}/server")).refused(429)?.lacks_header("Retry-After")?;
        let body = model_of(case, &bob, "")?;
        ensure!(body["stopped"] == true, "model {body}");
        case.stop(&ada, "")?;
        case.start(&bob, "")?;
        case.stop(&bob, "")
    });
    list.case("one named server too many is 400", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        for method in ["PUT", "POST"] {
            case.admin().request(method, format!("users/{ada}/servers/desk")).refused(400)?;
        }
        case.start(&ada, "lab")?;
        case.stop(&ada, "lab")
    });
    list.case("the default server does not count among the named ones", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        case.start(&ada, "")?;
        case.stop(&ada, "")
    });
    list.needs(Profile::Narrow);
    list.case("too many starts at a time are 429 with Retry-After", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        case.admin().post(format!("users/{ada}/servers/slow")).expect(202)?;
        let answer = case.admin().post(format!("users/{bob}/server")).refused(429)?;
        let seconds: u32 = answer.header("Retry-After").and_then(|text| text.parse().ok()).unwrap_or(0);
        ensure!((30..=60).contains(&seconds), "Retry-After {:?}", answer.header("Retry-After"));
        let path = format!("users/{ada}/servers/slow");
        case.wait_until("it is ready", || Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true))?;
        case.start(&bob, "")?;
        case.stop(&bob, "")?;
        case.stop(&ada, "slow")
    });
    list.case("a page that cannot start a server for that reason is 429 too", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let browser = case.browser_of(&bob)?;
        case.admin().post(format!("users/{ada}/servers/slow")).expect(202)?;
        let answer = browser.open(format!("/hub/spawn/{bob}")).expect(429)?.is_page()?;
        ensure!(answer.header("Retry-After").is_some(), "no Retry-After");
        let path = format!("users/{ada}/servers/slow");
        case.wait_until("it is ready", || Ok(case.admin().get(&path).quiet().expect(200)?.json()?["ready"] == true))?;
        case.stop(&ada, "slow")
    });
}
