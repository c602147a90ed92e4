//! Users: one, many, their fields, names and administrators.

use serde_json::{Value, json};

use crate::case::Case;
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time, names};

pub(super) fn add(list: &mut List) {
    list.area("users");
    reading(list);
    making_one(list);
    making_many(list);
    changing(list);
    removing(list);
    difficult_names(list);
    list.area("user lists");
    listing(list);
    paging(list);
}

/// Everything that a model of a user can have, for whoever may see all.
const ALL_KEYS: &[&str] = &[
    "kind", "name", "admin", "roles", "groups", "server", "pending", "created", "last_activity", "servers",
    "user_info", "auth_state",
];

fn reading(list: &mut List) {
    list.case("GET users/NAME shows an administrator everything", |case| {
        let ada = case.user("ada")?;
        let body = case.admin().read(format!("users/{ada}"))?;
        has_keys(&body, ALL_KEYS)?;
        ensure!(body["kind"] == "user" && body["name"] == ada && body["admin"] == false, "model {body}");
        ensure!(body["server"].is_null() && body["pending"].is_null(), "model {body}");
        ensure!(body["servers"] == json!({}) && body["groups"] == json!([]), "model {body}");
        ensure!(body["auth_state"].is_null() && body["last_activity"].is_null(), "model {body}");
        same!(body["roles"], json!(["user"]), "roles");
        is_time(&body["created"])
    });
    list.case("GET users/NAME of an administrator names both roles", |case| {
        let ada = case.name("ada");
        case.admin().tell(format!("users/{ada}"), &json!({"admin": true}))?.is(201)?;
        let body = case.admin().read(format!("users/{ada}"))?;
        ensure!(body["admin"] == true, "admin {}", body["admin"]);
        let mut roles = crate::response::texts(&body["roles"]);
        roles.sort();
        same!(roles, ["admin", "user"], "roles");
        Ok(())
    });
    list.refused("GET of a user who does not exist is 404", 404, |case| {
        Ok(case.admin().get(format!("users/{}", case.name("nobody"))))
    });
    list.case("GET users/NAME is for the user themself", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let body = case.with(&token).read(format!("users/{ada}"))?;
        ensure!(body["name"] == ada && body.get("auth_state").is_none(), "model {body}");
        Ok(())
    });
    list.refused("GET of another user is 404 for a user, who may not even know", 404, |case| {
        let (_, token) = case.user_with_token("ada")?;
        let bob = case.user("bob")?;
        Ok(case.with(&token).get(format!("users/{bob}")))
    });
    list.refused("GET of a user is 403 for a service without a role", 403, |case| {
        let ada = case.user("ada")?;
        Ok(case.with(fixture::OUTSIDER_TOKEN).get(format!("users/{ada}")))
    });
    list.refused("GET of a user is 403 for nobody", 403, |case| Ok(case.anonymous().get("users/ada")));
    list.case("a user's last activity is there after a request with their token", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.with(&token).get("user").expect(200)?;
        let body = case.admin().read(format!("users/{ada}"))?;
        is_time(&body["last_activity"])
    });
}

fn making_one(list: &mut List) {
    list.case("POST users/NAME makes a user", |case| {
        let ada = case.name("ada");
        let answer = case.admin().post(format!("users/{ada}")).expect(201)?.has_type("application/json")?;
        let body = answer.json()?;
        ensure!(body["name"] == ada && body["admin"] == false && body["kind"] == "user", "model {body}");
        case.admin().get(format!("users/{ada}")).expect(200)?;
        Ok(())
    });
    list.case("POST users/NAME makes an administrator", |case| {
        let ada = case.name("ada");
        let body = case.admin().tell(format!("users/{ada}"), &json!({"admin": true}))?.is(201)?.json()?;
        ensure!(body["admin"] == true, "model {body}");
        Ok(())
    });
    list.refused("POST of a user who exists is 409", 409, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().post(format!("users/{ada}")))
    });
    for (name, body) in [
        ("an unknown key", json!({"color": "red"})),
        ("admin that is a text", json!({"admin": "yes"})),
        ("admin that is a number", json!({"admin": 1})),
        ("a list as body", json!(["admin"])),
        ("a text as body", json!("admin")),
        ("a number as body", json!(7)),
    ] {
        list.case(format!("POST users/NAME with {name} is 400 and makes nobody"), move |case| {
            let ada = case.name("ada");
            case.admin().post(format!("users/{ada}")).json(&body).refused(400)?;
            case.admin().get(format!("users/{ada}")).refused(404)?;
            Ok(())
        });
    }
    list.refused("POST users/NAME with a body that is no JSON is 400", 400, |case| {
        Ok(case.admin().post(format!("users/{}", case.name("ada"))).body("application/json", "{admin"))
    });
    list.refused("POST users/NAME with a body that is not UTF-8 is 400", 400, |case| {
        Ok(case.admin().post(format!("users/{}", case.name("ada"))).body("application/json", [0xff, 0xfe]))
    });
    list.case("the type of a body sent with a token is not looked at", |case| {
        let ada = case.name("ada");
        let request = case.admin().post(format!("users/{ada}"));
        let body = request.body("text/plain", r#"{"admin": true}"#).expect(201)?.json()?;
        ensure!(body["admin"] == true, "model {body}");
        Ok(())
    });
    list.refused("POST users/NAME needs admin:users", 403, |case| {
        Ok(case.with(fixture::WATCHER_TOKEN).post(format!("users/{}", case.name("ada"))))
    });
    list.refused("POST users/NAME is 403 for nobody", 403, |case| {
        Ok(case.anonymous().post(format!("users/{}", case.name("ada"))))
    });
}

fn making_many(list: &mut List) {
    list.case("POST users makes several", |case| {
        let both = [case.name("ada"), case.name("bob")];
        let body = case.admin().tell("users", &json!({"usernames": both}))?.is(201)?.json()?;
        same!(names(&body), both, "names");
        Ok(())
    });
    list.case("POST users makes administrators", |case| {
        let ada = case.name("ada");
        let body = case.admin().tell("users", &json!({"usernames": [ada], "admin": true}))?.is(201)?.json()?;
        ensure!(body[0]["admin"] == true, "model {body}");
        Ok(())
    });
    list.case("POST users skips those who exist", |case| {
        let ada = case.user("ada")?;
        let bob = case.name("bob");
        let body = case.admin().tell("users", &json!({"usernames": [ada, bob]}))?.is(201)?.json()?;
        same!(names(&body), [bob], "names");
        Ok(())
    });
    list.refused("POST users with none but those who exist is 409", 409, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().post("users").json(&json!({"usernames": [ada]})))
    });
    for (name, body) in [
        ("no names", json!({})),
        ("an empty list", json!({"usernames": []})),
        ("a body that is a list", json!(["ada"])),
    ] {
        list.refused(format!("POST users with {name} is 400"), 400, move |case| {
            Ok(case.admin().post("users").json(&body))
        });
    }
    list.differs(
        "POST users with a number among the names is refused",
        [500, 400],
        "a 500 is never right for what a client sends",
        |case| Ok(case.admin().post("users").json(&json!({"usernames": [7]}))),
    );
    list.differs(
        "POST users with a text for the list is refused, or taken letter by letter",
        [201, 400],
        "a text is no list",
        |case| {
            let letters: String = ["k", "q"].concat();
            case.admin().delete("users/k").quiet().send()?;
            Ok(case.admin().post("users").json(&json!({"usernames": letters})))
        },
    );
    list.refused("POST users without a body is 400", 400, |case| Ok(case.admin().post("users")));
    list.case("POST users with one bad name makes nobody", |case| {
        let ada = case.name("ada");
        case.admin().post("users").json(&json!({"usernames": [ada, "with/slash"]})).refused(400)?;
        case.admin().get(format!("users/{ada}")).refused(404)?;
        Ok(())
    });
    list.case("names in POST users are made small", |case| {
        let ada = case.name("ada");
        let body = case.admin().tell("users", &json!({"usernames": [ada.to_uppercase()]}))?.is(201)?.json()?;
        same!(names(&body), [ada], "names");
        Ok(())
    });
    list.refused("an administrator by scopes alone may not make administrators", 403, |case| {
        let body = json!({"usernames": [case.name("ada")], "admin": true});
        Ok(case.with(fixture::TUTOR_TOKEN).post("users").json(&body))
    });
    list.refused("POST users needs admin:users", 403, |case| {
        let body = json!({"usernames": [case.name("ada")]});
        Ok(case.with(fixture::WATCHER_TOKEN).post("users").json(&body))
    });
}

fn changing(list: &mut List) {
    list.case("PATCH users/NAME renames", |case| {
        let (ada, eve) = (case.user("ada")?, case.name("eve"));
        let body = case.admin().patch(format!("users/{ada}")).json(&json!({"name": eve})).expect(200)?.json()?;
        ensure!(body["name"] == eve, "model {body}");
        case.admin().get(format!("users/{ada}")).refused(404)?;
        case.admin().get(format!("users/{eve}")).expect(200)?;
        Ok(())
    });
    list.case("a new name is made small", |case| {
        let (ada, eve) = (case.user("ada")?, case.name("eve"));
        let change = json!({"name": eve.to_uppercase()});
        let body = case.admin().patch(format!("users/{ada}")).json(&change).expect(200)?.json()?;
        ensure!(body["name"] == eve, "model {body}");
        Ok(())
    });
    list.case("a renamed user keeps tokens and groups", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let group = case.group("team", &[&ada])?;
        let eve = case.name("eve");
        case.admin().patch(format!("users/{ada}")).json(&json!({"name": eve})).expect(200)?;
        let body = case.with(&token).read("user")?;
        ensure!(body["name"] == eve && body["groups"] == json!([group]), "model {body}");
        Ok(())
    });
    list.refused("PATCH to a name that is taken is 400", 400, |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        Ok(case.admin().patch(format!("users/{ada}")).json(&json!({"name": bob})))
    });
    list.case("PATCH makes an administrator, and no longer", |case| {
        let ada = case.user("ada")?;
        for admin in [true, false] {
            let change = json!({"admin": admin});
            let body = case.admin().patch(format!("users/{ada}")).json(&change).expect(200)?.json()?;
            ensure!(body["admin"] == admin, "model {body}");
            let body = case.admin().read(format!("users/{ada}"))?;
            ensure!(body["admin"] == admin, "model {body}");
        }
        Ok(())
    });
    for (name, body) in [
        ("an unknown key", json!({"color": "red"})),
        ("a name with a slash", json!({"name": "a/b"})),
        ("an empty name", json!({"name": ""})),
        ("a name of dots", json!({"name": ".."})),
        ("a name with spaces around it", json!({"name": " ada "})),
        ("admin that is a text", json!({"admin": "yes"})),
        ("a list as body", json!([])),
    ] {
        list.refused(format!("PATCH users/NAME with {name} is 400"), 400, move |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().patch(format!("users/{ada}")).json(&body))
        });
    }
    list.refused("PATCH of a user who does not exist is 404", 404, |case| {
        Ok(case.admin().patch(format!("users/{}", case.name("nobody"))).json(&json!({"admin": true})))
    });
    list.refused("who is administrator by scopes alone may not make administrators", 403, |case| {
        let ada = case.user("ada")?;
        case.join(fixture::STUDENTS, &[&ada])?;
        Ok(case.with(fixture::TUTOR_TOKEN).patch(format!("users/{ada}")).json(&json!({"admin": true})))
    });
    list.refused("PATCH of oneself needs admin:users", 404, |case| {
        // A user's token reads its owner, so the user exists for it; but for the wanted scope it has no object.
        let (ada, token) = case.user_with_token("ada")?;
        let bob = case.user("bob")?;
        case.with(&token).patch(format!("users/{ada}")).json(&json!({"admin": true})).send()?.is_error(403)?;
        let narrow = case.scoped(&[&format!("admin:users!user={ada}")])?;
        Ok(case.with(&narrow).patch(format!("users/{bob}")).json(&json!({"name": "x"})))
    });
}

fn removing(list: &mut List) {
    list.case("DELETE users/NAME removes a user and their tokens", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.admin().delete(format!("users/{ada}")).expect(204)?.is_empty()?;
        case.admin().get(format!("users/{ada}")).refused(404)?;
        case.with(&token).get("user").refused(403)?;
        Ok(())
    });
    list.case("DELETE users/NAME stops the user's server", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.admin().delete(format!("users/{ada}")).expect(204)?;
        let routes = case.admin().read("proxy?limit=200")?;
        ensure!(routes.get(format!("/user/{ada}/")).is_none(), "the route is still there");
        Ok(())
    });
    list.case("DELETE users/NAME takes the user out of groups", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[&ada])?;
        case.admin().delete(format!("users/{ada}")).expect(204)?;
        let body = case.admin().read(format!("groups/{group}"))?;
        same!(body["users"], json!([]), "members");
        Ok(())
    });
    list.refused("DELETE of a user who does not exist is 404", 404, |case| {
        Ok(case.admin().delete(format!("users/{}", case.name("nobody"))))
    });
    list.refused("DELETE of oneself is 400", 400, |case| {
        let ada = case.name("ada");
        case.admin().tell(format!("users/{ada}"), &json!({"admin": true}))?.is(201)?;
        let token = case.token_of(&ada, None)?;
        Ok(case.with(&token).delete(format!("users/{ada}")))
    });
    list.refused("DELETE users/NAME needs delete:users", 403, |case| {
        let ada = case.user("ada")?;
        Ok(case.with(fixture::WATCHER_TOKEN).delete(format!("users/{ada}")))
    });
    list.case("delete:users alone is enough to remove", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&[&format!("delete:users!user={ada}")])?;
        case.with(&token).delete(format!("users/{ada}")).expect(204)?;
        Ok(())
    });
}

fn difficult_names(list: &mut List) {
    for (stem, escaped) in [
        ("a@b.cz", "a@b.cz"),
        ("user+tag", "user%2Btag"),
        ("üml", "%C3%BCml"),
        ("with space", "with%20space"),
        ("per%cent", "per%25cent"),
        ("quo'te", "quo%27te"),
        ("semi;colon", "semi%3Bcolon"),
        ("a_b.c~d", "a_b.c~d"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("<b>", "%3Cb%3E"),
    ] {
        list.case(format!("a user may be called {stem}"), move |case| {
            let name = case.name(stem);
            let path = name.replacen(stem, escaped, 1);
            case.word(&path, "<escaped>");
            let body = case.admin().post(format!("users/{path}")).expect(201)?.json()?;
            ensure!(body["name"] == name, "name {}", body["name"]);
            case.start(&path, "")?;
            let model = case.admin().read(format!("users/{path}/server"))?;
            same!(model["url"], json!(format!("{}/user/{path}/", case.target.base)), "url");
            same!(model["full_name"], json!(format!("{name}/")), "full_name");
            case.anonymous().get(format!("/user/{path}/api")).expect(200)?;
            case.stop(&path, "")?;
            let token = case.token_of(&path, None)?;
            let body = case.with(&token).read("user")?;
            ensure!(body["name"] == name, "name {}", body["name"]);
            case.admin().delete(format!("users/{path}")).expect(204)?;
            Ok(())
        });
    }
    for (name, path) in [
        ("..", "=/hub/api/users/%2e%2e%2f"),
        ("a slash", "users/a%2Fb"),
        ("%252e%252e", "users/%252e%252e"),
        ("...", "users/..."),
        ("a space before it", "users/%20ada"),
        ("a space behind it", "users/ada%20"),
    ] {
        list.case(format!("nobody can be called {name}"), move |case| {
            case.admin()
                .post(path)
                .send()?
                .either(&[400, 404], "what a proxy resolves never reaches the hub as a name")?;
            Ok(())
        });
    }
    list.case("a name of 255 characters works", |case| {
        let short = case.name("long");
        let name = format!("{short}{}", "x".repeat(255 - short.len()));
        case.admin().post(format!("users/{name}")).expect(201)?;
        let body = case.admin().read(format!("users/{name}"))?;
        ensure!(body["name"] == name, "name {}", body["name"]);
        case.admin().delete(format!("users/{name}")).expect(204)?;
        Ok(())
    });
}

/// Makes three users with a common begin that nobody else's name has.
fn three(case: &Case<'_>) -> Result<(String, [String; 3]), Failure> {
    let stem = case.name("trio");
    let users = ["a", "b", "c"].map(|letter| format!("{stem}-{letter}"));
    case.admin().tell("users", &json!({"usernames": users}))?.is(201)?;
    Ok((stem, users))
}

fn listing(list: &mut List) {
    list.case("GET users is a list of models", |case| {
        let (stem, users) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={stem}"))?;
        same!(names(&body), users, "names");
        for model in body.as_array().into_iter().flatten() {
            has_keys(model, ALL_KEYS)?;
        }
        Ok(())
    });
    list.case("name_filter looks for a part, large or small", |case| {
        let (stem, users) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={}", stem.to_uppercase()))?;
        same!(names(&body), users, "names");
        let body = case.admin().read(format!("users?name_filter={}-B", stem.trim_start_matches("tr")))?;
        same!(names(&body), users.get(1..2).unwrap_or_default(), "names");
        Ok(())
    });
    for (sort, order) in [("name", "abc"), ("-name", "cba"), ("id", "abc"), ("-id", "cba")] {
        list.case(format!("GET users?sort={sort} is in this order"), move |case| {
            let (stem, _) = three(case)?;
            let body = case.admin().read(format!("users?name_filter={stem}&sort={sort}"))?;
            let found: String = names(&body).iter().filter_map(|name| name.chars().last()).collect();
            same!(found, order, "order");
            Ok(())
        });
    }
    for (sort, order) in [("last_activity", "bca"), ("-last_activity", "acb")] {
        list.case(format!("GET users?sort={sort} puts who was never there {}", if sort.starts_with('-') { "last" } else { "first" }), move |case| {
            let (stem, [a, _, c]) = three(case)?;
            // `b` stays without activity; `a` is later than `c`.
            for (name, time) in [(&c, "2020-01-01T00:00:00Z"), (&a, "2021-01-01T00:00:00Z")] {
                let body = json!({"last_activity": time});
                case.admin().tell(format!("users/{name}/activity"), &body)?.is(200)?;
            }
            let body = case.admin().read(format!("users?name_filter={stem}&sort={sort}"))?;
            let found: String = names(&body).iter().filter_map(|name| name.chars().last()).collect();
            same!(found, order, "order");
            Ok(())
        });
    }
    for query in ["sort=color", "sort=--name", "state=asleep", "limit=x", "offset=x", "limit=1.5"] {
        list.refused(format!("GET users?{query} is 400"), 400, move |case| {
            Ok(case.admin().get(format!("users?{query}")))
        });
    }
    list.case("GET users?state= tells active, ready and inactive apart", |case| {
        let (stem, [a, b, c]) = three(case)?;
        case.start(&a, "")?;
        case.stopped_server(&b, "lab")?;
        for (state, wanted) in [("active", vec![&a]), ("ready", vec![&a]), ("inactive", vec![&b, &c])] {
            let body = case.admin().read(format!("users?name_filter={stem}&state={state}"))?;
            same!(names(&body).iter().collect::<Vec<_>>(), wanted, "{state}");
        }
        case.stop(&a, "")
    });
    list.case("GET users shows stopped servers when asked", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        for (query, shown) in [
            ("", false),
            ("&include_stopped_servers", true),
            ("&include_stopped_servers=1", true),
            ("&include_stopped_servers=0", false),
            ("&include_stopped_servers=false", false),
        ] {
            let body = case.admin().read(format!("users?name_filter={ada}{query}"))?;
            same!(body[0]["servers"].get("lab").is_some(), shown, "shown for {query:?}");
        }
        Ok(())
    });
    list.refused("GET users needs list:users", 403, |case| Ok(case.with(fixture::OUTSIDER_TOKEN).get("users")));
    list.refused("GET users is 403 for nobody", 403, |case| Ok(case.anonymous().get("users")));
    list.refused("GET users is 403 for a plain user", 403, |case| {
        let (_, token) = case.user_with_token("ada")?;
        Ok(case.with(&token).get("users"))
    });
    list.case("GET users with list:users!user= lists that one", |case| {
        let (_, [a, _, _]) = three(case)?;
        let token = case.scoped(&[&format!("list:users!user={a}")])?;
        let body = case.with(&token).read("users")?;
        same!(names(&body), [a], "names");
        Ok(())
    });
    list.case("GET users with list:users!group= lists its members", |case| {
        let (_, [a, b, _]) = three(case)?;
        let group = case.group("team", &[&a, &b])?;
        let token = case.scoped(&[&format!("list:users!group={group}")])?;
        let body = case.with(&token).read("users")?;
        same!(names(&body), [a, b], "names");
        Ok(())
    });
    list.refused("GET users with list:users!server= is 403", 403, |case| {
        let token = case.scoped(&["list:users!server=boss/"])?;
        Ok(case.with(&token).get("users"))
    });
    list.case("the models of GET users hold what the scopes allow", |case| {
        let (stem, _) = three(case)?;
        let body = case.with(fixture::WATCHER_TOKEN).read(format!("users?name_filter={stem}"))?;
        for model in body.as_array().into_iter().flatten() {
            has_keys(model, &["kind", "name", "admin", "user_info", "last_activity", "servers"])?;
        }
        same!(body.as_array().map_or(0, Vec::len), 3, "users");
        Ok(())
    });
}

/// What a client sends to have pages with their ends.
const PAGES: &str = "application/jupyterhub-pagination+json";

fn paging(list: &mut List) {
    list.case("limit and offset cut a bare list", |case| {
        let (stem, [_, b, c]) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={stem}&offset=1"))?;
        same!(names(&body), [b.clone(), c], "names");
        let body = case.admin().read(format!("users?name_filter={stem}&offset=1&limit=1"))?;
        same!(names(&body), [b], "names");
        Ok(())
    });
    list.case("negative numbers count as positive", |case| {
        let (stem, [_, b, _]) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={stem}&offset=-1&limit=-1"))?;
        same!(names(&body), [b], "names");
        Ok(())
    });
    list.case("limit=0 counts as 1", |case| {
        let (stem, [a, _, _]) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={stem}&limit=0"))?;
        same!(names(&body), [a], "names");
        Ok(())
    });
    list.case("a wrapped page tells where the next one is", |case| {
        let (stem, [a, b, c]) = three(case)?;
        let request = |path: String| case.admin().get(path).header("Accept", PAGES);
        let answer = request(format!("users?name_filter={stem}&limit=2")).expect(200)?.has_type("application/json")?;
        let body = answer.json()?;
        has_keys(&body, &["items", "_pagination"])?;
        same!(names(&body["items"]), [a, b], "names");
        let page = &body["_pagination"];
        has_keys(page, &["offset", "limit", "total", "next"])?;
        ensure!(page["offset"] == 0 && page["limit"] == 2 && page["total"] == 3, "page {page}");
        has_keys(&page["next"], &["offset", "limit", "url"])?;
        ensure!(page["next"]["offset"] == 2 && page["next"]["limit"] == 2, "next {}", page["next"]);
        let url = page["next"]["url"].as_str().unwrap_or_default();
        let path = url.strip_prefix(&format!("http://{}", case.target.host));
        ensure!(path.is_some(), "next.url {url} is not at this host");
        let body = request(format!("={}", path.unwrap_or_default())).expect(200)?.json()?;
        same!(names(&body["items"]), [c], "names");
        ensure!(body["_pagination"]["next"].is_null(), "page {}", body["_pagination"]);
        Ok(())
    });
    list.case("a wrapped page has 50 items by default", |case| {
        let answer = case.admin().get("users").header("Accept", PAGES).expect(200)?;
        same!(answer.json()?["_pagination"]["limit"], Value::from(50), "limit");
        Ok(())
    });
    list.case("a page has at most 200 items", |case| {
        let answer = case.admin().get("users?limit=1000").header("Accept", PAGES).expect(200)?;
        same!(answer.json()?["_pagination"]["limit"], Value::from(200), "limit");
        Ok(())
    });
    for (accept, is_wrapped) in [
        ("application/json", false),
        ("application/json, application/jupyterhub-pagination+json", true),
        ("APPLICATION/JUPYTERHUB-PAGINATION+JSON", true),
        ("application/jupyterhub-pagination+json;q=0.9", false),
        ("*/*", false),
    ] {
        list.case(format!("Accept: {accept} {} a page", if is_wrapped { "wraps" } else { "does not wrap" }), move |case| {
            let answer = case.admin().get("users?limit=1").header("Accept", accept).expect(200)?;
            same!(answer.json()?.is_object(), is_wrapped, "wrapped");
            Ok(())
        });
    }
    list.case("an offset beyond the end gives nothing", |case| {
        let (stem, _) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={stem}&offset=100"))?;
        same!(body, json!([]), "users");
        Ok(())
    });
    list.case("the next page keeps the other parameters", |case| {
        let (stem, _) = three(case)?;
        let path = format!("users?name_filter={stem}&limit=1&sort=-name");
        let body = case.admin().get(path).header("Accept", PAGES).expect(200)?.json()?;
        let url = body["_pagination"]["next"]["url"].as_str().unwrap_or_default();
        ensure!(url.contains(&format!("name_filter={stem}")) && url.contains("sort=-name"), "next.url {url}");
        Ok(())
    });
}
