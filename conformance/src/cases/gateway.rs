//! What the proxy does with what passes through it, and bodies and paths that hurt.

use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{ensure, same};
use crate::list::List;

pub(super) fn add(list: &mut List) {
    list.area("gateway");
    forwarding(list);
    bodies(list);
    paths(list);
}

fn forwarding(list: &mut List) {
    for (name, value, wanted) in [
        ("Accept", "text/x-odd; q=0.1", "text/x-odd; q=0.1"),
        ("X-Custom", "a  b", "a  b"),
        ("Cookie", "a=b; c=\"d e\"", "a=b; c=\"d e\""),
        ("Authorization", "token abcdefgh", "token abcdefgh"),
        ("Range", "bytes=0-1", "bytes=0-1"),
        ("User-Agent", "", ""),
    ] {
        list.case(
            format!("a server gets the header {name} ({value:?}) as sent"),
            move |case| {
                let told = case
                    .anonymous()
                    .get("/services/web/x")
                    .header(name, value)
                    .expect(200)?
                    .json()?;
                let found = told["headers"][name.to_ascii_lowercase()]
                    .as_str()
                    .unwrap_or_default();
                same!(found, wanted, "{name}");
                Ok(())
            },
        );
    }
    list.case("a server gets the host of the client", |case| {
        let told = case
            .anonymous()
            .get("/services/web/x")
            .header("Host", "other.example:1234")
            .expect(200)?
            .json()?;
        same!(told["headers"]["host"], json!("other.example:1234"), "Host");
        Ok(())
    });
    for path in [
        "/services/web/a%20b",
        "/services/web/a%2Fb",
        "/services/web/%C3%A9",
        "/services/web/a;b=c",
        "/services/web/?a=%20&b",
        "/services/web/a+b?c+d",
    ] {
        list.case(
            format!("a server gets the path {path} as sent"),
            move |case| {
                let told = case.anonymous().get(path).expect(200)?.json()?;
                same!(told["path"], json!(path), "path");
                Ok(())
            },
        );
    }
    list.case(
        "the longest prefix of whole segments finds the server",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            case.start(&ada, "lab")?;
            let prefix = |path: String| {
                let told = case.anonymous().get(path).expect(200)?.json()?;
                Ok::<Value, crate::failure::Failure>(
                    told["environment"]["JUPYTERHUB_SERVICE_PREFIX"].clone(),
                )
            };
            same!(
                prefix(format!("/user/{ada}/environment"))?,
                json!(format!("/user/{ada}/")),
                "prefix"
            );
            same!(
                prefix(format!("/user/{ada}/lab/environment"))?,
                json!(format!("/user/{ada}/lab/")),
                "prefix"
            );
            same!(
                prefix(format!("/user/{ada}/labor/environment"))?,
                json!(format!("/user/{ada}/")),
                "prefix"
            );
            case.anonymous()
                .get(format!("/user/{ada}x/environment"))
                .expect(302)?;
            case.stop(&ada, "")?;
            case.stop(&ada, "lab")
        },
    );
    list.case("a server's process that has gone is a 503 page", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        // It may be gone before its last answer is out.
        let _ = case
            .anonymous()
            .get(format!("/user/{ada}/leave"))
            .quiet()
            .send();
        let path = format!("/user/{ada}/x");
        let second = Duration::from_secs(1);
        case.wait_until("its path is answered otherwise", || {
            // A connection that it has taken, but not answered, may take a while to be given up.
            let answer = case.anonymous().get(&path).quiet().within(second).send();
            Ok(answer.is_ok_and(|answer| answer.status() != 200))
        })?;
        let answer = case.anonymous().get(&path).send()?;
        answer.either(&[503, 302], "the hub may have noticed the end already")?;
        Ok(())
    });
    list.case("GET /_chp_healthz tells that the proxy is well", |case| {
        let body = case.anonymous().get("=/_chp_healthz").expect(200)?.json()?;
        same!(body, json!({"status": "OK"}), "body");
        Ok(())
    });
    list.case("HEAD of a server has the length, and no body", |case| {
        let answer = case
            .anonymous()
            .request("HEAD", "/services/web/x")
            .expect(200)?
            .empty()?;
        ensure!(answer.header("Content-Length").is_some(), "no length");
        Ok(())
    });
}

fn bodies(list: &mut List) {
    for size in [0, 1, 65_536, 5_000_000] {
        list.case(
            format!("a body of {size} bytes reaches a server whole"),
            move |case| {
                let request = case
                    .anonymous()
                    .post("/services/web/x")
                    .body("application/octet-stream", vec![b'z'; size]);
                same!(
                    request.expect(200)?.json()?["length"],
                    json!(size),
                    "length"
                );
                Ok(())
            },
        );
    }
    list.case("a large body of the API is taken", |case| {
        let ada = case.user("ada")?;
        let options = json!({"user_options": {"text": "x".repeat(100_000)}});
        case.admin()
            .put(format!("users/{ada}/servers/lab"))
            .json(&options)
            .expect(201)?;
        let body = case.admin().read(format!("users/{ada}/servers/lab"))?;
        same!(
            body["user_options"]["text"].as_str().map_or(0, str::len),
            100_000,
            "length"
        );
        Ok(())
    });
    list.case("two hundred names in one request are taken", |case| {
        let stem = case.name("many");
        let users: Vec<String> = (0..200).map(|number| format!("{stem}-{number}")).collect();
        let body = case
            .admin()
            .tell("users", &json!({"usernames": users}))?
            .is(201)?
            .json()?;
        same!(body.as_array().map_or(0, Vec::len), 200, "users");
        let page = case
            .admin()
            .get(format!("users?name_filter={stem}-"))
            .header("Accept", "application/jupyterhub-pagination+json")
            .expect(200)?
            .json()?;
        same!(page["_pagination"]["total"], json!(200), "total");
        same!(page["items"].as_array().map_or(0, Vec::len), 50, "items");
        Ok(())
    });
    for (name, body) in [
        ("a lone brace", "{"),
        ("two objects", "{} {}"),
        ("a comma too many", "{\"users\": [\"ada\",]}"),
        ("single quotes", "{'users': []}"),
        ("a word", "users"),
        ("a byte order mark", "\u{feff}{}"),
    ] {
        list.refused(format!("a body that is {name} is 400"), 400, move |case| {
            Ok(case.admin().post("groups").body("application/json", body))
        });
    }
    list.case("a body deeper than any reader goes is refused", |case| {
        let depth = 100_000;
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let answer = case
            .admin()
            .post("groups")
            .body("application/json", body)
            .send()?;
        answer.error_body(400)?;
        Ok(())
    });
    list.case("spaces around a body are nothing", |case| {
        let group = case.name("team");
        let body = format!(" \n{{\"groups\": [\"{group}\"]}}\n ");
        case.admin()
            .post("groups")
            .body("application/json", body)
            .expect(201)?;
        Ok(())
    });
}

fn paths(list: &mut List) {
    list.case("a name in a path is decoded once", |case| {
        let name = case.name("per%41cent");
        let path = name.replace('%', "%25");
        let body = case
            .admin()
            .post(format!("users/{path}"))
            .expect(201)?
            .json()?;
        ensure!(
            body["name"]
                .as_str()
                .is_some_and(|found| found.eq_ignore_ascii_case(&name)),
            "name {}",
            body["name"]
        );
        Ok(())
    });
    list.case("a very long path is no server error", |case| {
        let answer = case
            .admin()
            .get(format!("users/{}", "x".repeat(6000)))
            .send()?;
        answer.either(&[404, 414], "either says that there is nothing")?;
        Ok(())
    });
    list.case("an unknown method is refused", |case| {
        let answer = case.anonymous().request("BREW", "/hub/api/users").send()?;
        answer.either(
            &[400, 405, 501, 403],
            "a proxy may know fewer methods than the hub",
        )?;
        Ok(())
    });
}
