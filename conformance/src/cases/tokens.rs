//! API tokens: making, reading, taking away, what they may do.

use serde_json::{Value, json};

use crate::case::{Case, now, text_of};
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time, texts};

pub(super) fn add(list: &mut List) {
    list.area("tokens");
    making(list);
    refusals(list);
    reading(list);
    removing(list);
    by_password(list);
    deprecated(list);
}

const KEYS: &[&str] = &[
    "user",
    "id",
    "kind",
    "roles",
    "scopes",
    "created",
    "last_activity",
    "expires_at",
    "note",
    "session_id",
    "oauth_client",
];

/// Makes a token with a body, and gives its model.
fn made(case: &Case<'_>, user: &str, body: &Value) -> Result<Value, Failure> {
    let model = case
        .admin()
        .tell(format!("users/{user}/tokens"), body)?
        .is(201)?
        .json()?;
    case.secret(&text_of(&model, "token")?);
    Ok(model)
}

fn making(list: &mut List) {
    list.case("POST tokens gives the secret and the model", |case| {
        let ada = case.user("ada")?;
        let body = made(case, &ada, &json!({"note": "for a test"}))?;
        let mut keys = KEYS.to_vec();
        keys.push("token");
        has_keys(&body, &keys)?;
        ensure!(
            body["user"] == ada && body["kind"] == "api_token" && body["note"] == "for a test",
            "model {body}"
        );
        ensure!(
            body["roles"] == json!([]) && body["expires_at"].is_null(),
            "model {body}"
        );
        ensure!(
            body["session_id"].is_null() && body["oauth_client"] == "JupyterHub",
            "model {body}"
        );
        let id = text_of(&body, "id")?;
        ensure!(
            id.strip_prefix('a')
                .is_some_and(|rest| rest.parse::<u64>().is_ok()),
            "id {id}"
        );
        let token = text_of(&body, "token")?;
        ensure!(
            (30..=64).contains(&token.len()),
            "a token of {} characters",
            token.len()
        );
        is_time(&body["created"])
    });
    list.case(
        "POST tokens without a body makes a token that may all",
        |case| {
            let ada = case.user("ada")?;
            let answer = case
                .admin()
                .post(format!("users/{ada}/tokens"))
                .expect(201)?;
            let token = text_of(&answer.json()?, "token")?;
            let body = case.with(&token).read("user")?;
            ensure!(
                texts(&body["scopes"]).contains(&format!("servers!user={ada}")),
                "scopes {}",
                body["scopes"]
            );
            Ok(())
        },
    );
    list.case("a user makes tokens for themself", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let body = case
            .with(&token)
            .tell(format!("users/{ada}/tokens"), &json!({}))?
            .is(201)?
            .json()?;
        case.with(&text_of(&body, "token")?)
            .get("user")
            .expect(200)?;
        Ok(())
    });
    list.case("a token without a note is told so", |case| {
        let ada = case.user("ada")?;
        let body = made(case, &ada, &json!({}))?;
        ensure!(
            body["note"].as_str().is_some_and(|note| !note.is_empty()),
            "note {}",
            body["note"]
        );
        Ok(())
    });
    list.case("expires_in becomes expires_at", |case| {
        let ada = case.user("ada")?;
        let body = made(case, &ada, &json!({"expires_in": 3600}))?;
        is_time(&body["expires_at"])?;
        let time: jiff::Timestamp = text_of(&body, "expires_at")?
            .parse()
            .map_err(|_| Failure::new("no time"))?;
        let seconds = time.as_second() - now().as_second();
        ensure!((3500..=3610).contains(&seconds), "expires in {seconds} s");
        Ok(())
    });
    list.case("a token is dead when its time is over", |case| {
        let ada = case.user("ada")?;
        let body = made(case, &ada, &json!({"expires_in": 1}))?;
        let (token, id) = (text_of(&body, "token")?, text_of(&body, "id")?);
        case.wait_until("the token has expired", || {
            Ok(case.with(&token).get("user").quiet().send()?.status() == 403)
        })?;
        let left = case.admin().read(format!("users/{ada}/tokens"))?;
        same!(left["api_tokens"], json!([]), "tokens");
        case.admin()
            .get(format!("users/{ada}/tokens/{id}"))
            .refused(404)?;
        Ok(())
    });
    list.case("expires_in null means for ever", |case| {
        let ada = case.user("ada")?;
        let body = made(case, &ada, &json!({"expires_in": null}))?;
        ensure!(body["expires_at"].is_null(), "model {body}");
        Ok(())
    });
    for scope in [
        "read:users!user",
        "servers!user",
        "read:users:name!user",
        "access:servers!user",
    ] {
        list.case(
            format!("a token with {scope} may that, and what it implies"),
            move |case| {
                let ada = case.user("ada")?;
                let token = case.token_of(&ada, Some(&[scope]))?;
                let scopes = texts(&case.with(&token).read("user")?["scopes"]);
                let wanted = scope.replace("!user", &format!("!user={ada}"));
                ensure!(scopes.contains(&wanted), "{wanted} is not in {scopes:?}");
                ensure!(
                    !scopes.contains(&format!("tokens!user={ada}")),
                    "scopes {scopes:?}"
                );
                Ok(())
            },
        );
    }
    list.case("the role token means all that the owner may", |case| {
        let ada = case.user("ada")?;
        let body = made(case, &ada, &json!({"roles": ["token"]}))?;
        let body = case.with(&text_of(&body, "token")?).read("user")?;
        ensure!(
            texts(&body["scopes"]).contains(&format!("servers!user={ada}")),
            "scopes {}",
            body["scopes"]
        );
        Ok(())
    });
    list.case("inherit as a scope means all that the owner may", |case| {
        let ada = case.user("ada")?;
        let token = case.token_of(&ada, Some(&["inherit"]))?;
        let body = case.with(&token).read("user")?;
        ensure!(
            texts(&body["scopes"]).contains(&format!("servers!user={ada}")),
            "scopes {}",
            body["scopes"]
        );
        Ok(())
    });
    list.case(
        "a token with the role server reports activity alone",
        |case| {
            let ada = case.user("ada")?;
            let body = made(case, &ada, &json!({"roles": ["server"]}))?;
            let scopes = texts(&case.with(&text_of(&body, "token")?).read("user")?["scopes"]);
            ensure!(
                scopes.contains(&format!("users:activity!user={ada}")),
                "scopes {scopes:?}"
            );
            ensure!(
                !scopes.contains(&format!("servers!user={ada}")),
                "scopes {scopes:?}"
            );
            Ok(())
        },
    );
    list.case("scopes of a token shrink with those of its owner", |case| {
        let ada = case.user("ada")?;
        case.join(fixture::GRADERS, &[&ada])?;
        let token = case.token_of(&ada, Some(&["list:users"]))?;
        case.with(&token).get("users").expect(200)?;
        let path = format!("groups/{}/users", fixture::GRADERS);
        case.admin()
            .delete(path)
            .json(&json!({"users": [ada]}))
            .expect(200)?;
        case.with(&token).get("users").refused(403)?;
        Ok(())
    });
}

fn refusals(list: &mut List) {
    for (name, body) in [
        ("an unknown scope", json!({"scopes": ["read:planets"]})),
        ("an unknown role", json!({"roles": ["planet"]})),
        (
            "scopes and roles",
            json!({"scopes": ["read:users!user"], "roles": ["token"]}),
        ),
        (
            "a scope that the owner has not",
            json!({"scopes": ["admin:users"]}),
        ),
        (
            "a scope of somebody else's",
            json!({"scopes": ["read:users!user=boss"]}),
        ),
        ("a role that the owner has not", json!({"roles": ["admin"]})),
        ("expires_in 0", json!({"expires_in": 0})),
        ("expires_in below 0", json!({"expires_in": -5})),
        ("expires_in that is a text", json!({"expires_in": "1h"})),
        ("expires_in that is a fraction", json!({"expires_in": 1.5})),
    ] {
        list.refused(
            format!("POST tokens with {name} is 400"),
            400,
            move |case| {
                let ada = case.user("ada")?;
                Ok(case.admin().post(format!("users/{ada}/tokens")).json(&body))
            },
        );
    }
    list.refused("POST tokens for an unknown user is 403", 403, |case| {
        Ok(case
            .admin()
            .post(format!("users/{}/tokens", case.name("nobody"))))
    });
    list.refused("POST tokens for somebody else is 403", 403, |case| {
        let (_, token) = case.user_with_token("ada")?;
        let bob = case.user("bob")?;
        Ok(case.with(&token).post(format!("users/{bob}/tokens")))
    });
    list.refused(
        "POST tokens by a service without a role is 403",
        403,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .with(fixture::OUTSIDER_TOKEN)
                .post(format!("users/{ada}/tokens")))
        },
    );
    list.refused("POST tokens by nobody without auth is 403", 403, |case| {
        let ada = case.user("ada")?;
        Ok(case.anonymous().post(format!("users/{ada}/tokens")))
    });
    list.refused("a token cannot make one that may more", 403, |case| {
        let ada = case.user("ada")?;
        let token = case.token_of(&ada, Some(&["read:users!user"]))?;
        Ok(case.with(&token).post(format!("users/{ada}/tokens")))
    });
    list.differs(
        "a token with tokens alone makes no token that may more",
        [201, 400],
        "JupyterHub checks against the owner, not against the token that asks",
        |case| {
            let ada = case.user("ada")?;
            let token = case.token_of(&ada, Some(&["tokens!user"]))?;
            Ok(case
                .with(&token)
                .post(format!("users/{ada}/tokens"))
                .json(&json!({"scopes": ["servers!user"]})))
        },
    );
}

fn reading(list: &mut List) {
    list.case("GET tokens lists them without their secrets", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        made(case, &ada, &json!({"note": "second"}))?;
        let body = case.with(&token).read(format!("users/{ada}/tokens"))?;
        has_keys(&body, &["api_tokens"])?;
        let tokens = body["api_tokens"].as_array().cloned().unwrap_or_default();
        same!(tokens.len(), 2, "tokens");
        for token in &tokens {
            has_keys(token, KEYS)?;
        }
        Ok(())
    });
    list.case("GET tokens/ID shows one", |case| {
        let ada = case.user("ada")?;
        let id = text_of(&made(case, &ada, &json!({"note": "mine"}))?, "id")?;
        let body = case.admin().read(format!("users/{ada}/tokens/{id}"))?;
        has_keys(&body, KEYS)?;
        ensure!(body["id"] == id && body["note"] == "mine", "model {body}");
        Ok(())
    });
    list.case("a token's last activity is that of its requests", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.with(&token).get("user").expect(200)?;
        let id = text_of(&case.with(&token).read("user")?, "token_id")?;
        case.wait_until("the token has a last activity", || {
            let body = case
                .admin()
                .get(format!("users/{ada}/tokens/{id}"))
                .quiet()
                .expect(200)?
                .json()?;
            Ok(is_time(&body["last_activity"]).is_ok())
        })
    });
    for id in ["a0", "a999999999", "o1", "1", "x", "a", "a-1", "a1x"] {
        list.refused(format!("GET tokens/{id} is 404"), 404, move |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().get(format!("users/{ada}/tokens/{id}")))
        });
    }
    list.differs(
        "GET tokens/ID beyond 64 bits is refused",
        [500, 404],
        "there is no such token, and a 500 is never right for what a client sends",
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .admin()
                .get(format!("users/{ada}/tokens/a99999999999999999999999999")))
        },
    );
    list.refused("GET of somebody else's token is 404", 404, |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let id = text_of(&made(case, &ada, &json!({}))?, "id")?;
        Ok(case.admin().get(format!("users/{bob}/tokens/{id}")))
    });
    list.refused(
        "GET tokens of another user is 404 for a user",
        404,
        |case| {
            let (_, token) = case.user_with_token("ada")?;
            let bob = case.user("bob")?;
            Ok(case.with(&token).get(format!("users/{bob}/tokens")))
        },
    );
    list.refused("GET tokens of nobody is 404", 404, |case| {
        Ok(case
            .admin()
            .get(format!("users/{}/tokens", case.name("nobody"))))
    });
    list.refused("GET tokens needs read:tokens", 403, |case| {
        let ada = case.user("ada")?;
        Ok(case
            .with(fixture::WATCHER_TOKEN)
            .get(format!("users/{ada}/tokens")))
    });
    list.refused("GET tokens is 403 for nobody", 403, |case| {
        Ok(case.anonymous().get("users/boss/tokens"))
    });
}

fn removing(list: &mut List) {
    list.case("DELETE tokens/ID ends the token", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let id = text_of(&case.with(&token).read("user")?, "token_id")?;
        case.admin()
            .delete(format!("users/{ada}/tokens/{id}"))
            .expect(204)?
            .empty()?;
        case.with(&token).get("user").refused(403)?;
        case.admin()
            .get(format!("users/{ada}/tokens/{id}"))
            .refused(404)?;
        Ok(())
    });
    list.case("a token may end itself", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let id = text_of(&case.with(&token).read("user")?, "token_id")?;
        case.with(&token)
            .delete(format!("users/{ada}/tokens/{id}"))
            .expect(204)?;
        case.with(&token).get("user").refused(403)?;
        Ok(())
    });
    for id in ["a0", "x", "a999999999"] {
        list.refused(format!("DELETE tokens/{id} is 404"), 404, move |case| {
            let ada = case.user("ada")?;
            Ok(case.admin().delete(format!("users/{ada}/tokens/{id}")))
        });
    }
    list.refused("DELETE of somebody else's token is 404", 404, |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let id = text_of(&made(case, &ada, &json!({}))?, "id")?;
        Ok(case.admin().delete(format!("users/{bob}/tokens/{id}")))
    });
    list.refused(
        "DELETE tokens/ID needs tokens, read:tokens is not enough",
        403,
        |case| {
            let ada = case.user("ada")?;
            let id = text_of(&made(case, &ada, &json!({}))?, "id")?;
            let token = case.scoped(&["read:tokens"])?;
            Ok(case.with(&token).delete(format!("users/{ada}/tokens/{id}")))
        },
    );
}

fn by_password(list: &mut List) {
    list.case("POST tokens with auth logs an existing user in", |case| {
        let ada = case.user("ada")?;
        let body = json!({"auth": {"username": ada, "password": "pw"}, "note": "script"});
        let body = case
            .anonymous()
            .tell(format!("users/{ada}/tokens"), &body)?
            .is(201)?
            .json()?;
        ensure!(body["note"] == "script", "model {body}");
        case.with(&text_of(&body, "token")?)
            .get("user")
            .expect(200)?;
        Ok(())
    });
    list.case("POST tokens with auth makes nobody", |case| {
        let ada = case.name("ada");
        let body = json!({"auth": {"username": ada, "password": "pw"}});
        case.anonymous()
            .post(format!("users/{ada}/tokens"))
            .json(&body)
            .refused(403)?;
        case.admin().get(format!("users/{ada}")).refused(404)?;
        Ok(())
    });
    list.refused(
        "POST tokens with the auth of another user is 403",
        403,
        |case| {
            let (ada, bob) = (case.user("ada")?, case.user("bob")?);
            let body = json!({"auth": {"username": bob, "password": "pw"}});
            Ok(case
                .anonymous()
                .post(format!("users/{ada}/tokens"))
                .json(&body))
        },
    );
}

fn deprecated(list: &mut List) {
    list.case(
        "GET authorizations/token/TOKEN gives the owner's model",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            let body = case.admin().read(format!("authorizations/token/{token}"))?;
            ensure!(body["name"] == ada, "model {body}");
            Ok(())
        },
    );
    list.refused(
        "GET authorizations/token of an unknown token is 404",
        404,
        |case| Ok(case.admin().get("authorizations/token/0123456789abcdef")),
    );
    list.refused("GET authorizations/token is 403 for nobody", 403, |case| {
        let (_, token) = case.user_with_token("ada")?;
        Ok(case
            .anonymous()
            .get(format!("authorizations/token/{token}")))
    });
    list.refused("POST authorizations/token is 404", 404, |case| {
        Ok(case
            .admin()
            .post("authorizations/token")
            .json(&json!({"username": "a", "password": "b"})))
    });
    list.refused("GET authorizations/gobbledygook is 404", 404, |case| {
        Ok(case.admin().get("authorizations/gobbledygook"))
    });
}
