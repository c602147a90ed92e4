//! Shares, share codes, and the page that accepts them.

use serde_json::{Value, json};

use crate::case::{Case, text_of};
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time, texts};

pub(super) fn add(list: &mut List) {
    list.area("shares");
    granting(list);
    refusals(list);
    revoking(list);
    received(list);
    access(list);
    list.area("share codes");
    codes(list);
    accepting(list);
}

const KEYS: &[&str] = &["server", "scopes", "user", "group", "kind", "created_at"];

/// A user who may share, their token, and a stopped server `lab` of theirs.
fn owner(case: &Case<'_>) -> Result<(String, String), Failure> {
    let (ada, token) = case.user_with_token("ada")?;
    case.join(fixture::SHARERS, &[&ada])?;
    case.stopped_server(&ada, "lab")?;
    Ok((ada, token))
}

fn granting(list: &mut List) {
    list.case("POST shares grants access: 200", |case| {
        let (ada, token) = owner(case)?;
        let bob = case.user("bob")?;
        let body = case.with(&token).tell(format!("shares/{ada}/lab"), &json!({"user": bob}))?.is(200)?.json()?;
        has_keys(&body, KEYS)?;
        has_keys(&body["server"], &["user", "name", "url", "full_url", "ready"])?;
        ensure!(body["server"]["name"] == "lab" && body["server"]["user"] == json!({"name": ada}), "share {body}");
        ensure!(body["server"]["ready"] == false, "share {body}");
        same!(body["server"]["url"], json!(format!("{}/user/{ada}/lab/", case.target.base)), "url");
        same!(body["scopes"], json!([format!("access:servers!server={ada}/lab")]), "scopes");
        ensure!(body["user"] == json!({"name": bob}) && body["group"].is_null() && body["kind"] == "user", "share {body}");
        is_time(&body["created_at"])
    });
    list.case("POST shares grants to a group", |case| {
        let (ada, token) = owner(case)?;
        let group = case.group("team", &[])?;
        let body = case.with(&token).tell(format!("shares/{ada}/lab"), &json!({"group": group}))?.is(200)?.json()?;
        ensure!(body["group"] == json!({"name": group}) && body["user"].is_null() && body["kind"] == "group", "share {body}");
        Ok(())
    });
    list.case("the default server is shared with a slash at the end", |case| {
        let (ada, token) = owner(case)?;
        let bob = case.user("bob")?;
        case.start(&ada, "")?;
        let body = case.with(&token).tell(format!("shares/{ada}/"), &json!({"user": bob}))?.is(200)?.json()?;
        same!(body["scopes"], json!([format!("access:servers!server={ada}/")]), "scopes");
        ensure!(body["server"]["ready"] == true, "share {body}");
        case.stop(&ada, "")
    });
    list.case("scopes get the server's filter", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let wish = json!({"user": bob, "scopes": ["read:servers", "access:servers"]});
        let body = case.admin().tell(format!("shares/{ada}/lab"), &wish)?.is(200)?.json()?;
        let wanted = [format!("access:servers!server={ada}/lab"), format!("read:servers!server={ada}/lab")];
        same!(texts(&body["scopes"]), wanted, "scopes");
        Ok(())
    });
    list.case("scopes may have the server's filter already", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let wish = json!({"user": bob, "scopes": [format!("read:servers!server={ada}/lab")]});
        let body = case.admin().tell(format!("shares/{ada}/lab"), &wish)?.is(200)?.json()?;
        same!(body["scopes"], json!([format!("read:servers!server={ada}/lab")]), "scopes");
        Ok(())
    });
    list.case("a second grant widens the first", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let path = format!("shares/{ada}/lab");
        case.admin().tell(&path, &json!({"user": bob}))?.is(200)?;
        let body = case.admin().tell(&path, &json!({"user": bob, "scopes": ["read:servers"]}))?.is(200)?.json()?;
        same!(texts(&body["scopes"]).len(), 2, "scopes");
        let body = case.admin().read(&path)?;
        same!(body["items"].as_array().map_or(0, Vec::len), 1, "shares");
        Ok(())
    });
    list.case("GET shares of a server is a wrapped list", |case| {
        let (ada, token) = owner(case)?;
        let (bob, eve) = (case.user("bob")?, case.user("eve")?);
        let path = format!("shares/{ada}/lab");
        for name in [&bob, &eve] {
            case.with(&token).tell(&path, &json!({"user": name}))?.is(200)?;
        }
        let body = case.with(&token).read(&path)?;
        has_keys(&body, &["items", "_pagination"])?;
        ensure!(body["_pagination"]["total"] == 2, "page {}", body["_pagination"]);
        for share in body["items"].as_array().into_iter().flatten() {
            has_keys(share, KEYS)?;
        }
        let body = case.with(&token).read(format!("shares/{ada}"))?;
        ensure!(body["_pagination"]["total"] == 2, "page {}", body["_pagination"]);
        let page = case.with(&token).read(format!("{path}?limit=1"))?;
        same!(page["items"].as_array().map_or(0, Vec::len), 1, "items");
        ensure!(page["_pagination"]["next"].is_object(), "page {}", page["_pagination"]);
        Ok(())
    });
    list.case("GET shares of a server without any is empty", |case| {
        let (ada, token) = owner(case)?;
        let body = case.with(&token).read(format!("shares/{ada}/lab"))?;
        same!(body["items"], json!([]), "items");
        Ok(())
    });
    list.case("shares follow a renamed owner", |case| {
        let (ada, _) = owner(case)?;
        let (bob, eve) = (case.user("bob")?, case.name("eve"));
        case.admin().tell(format!("shares/{ada}/lab"), &json!({"user": bob}))?.is(200)?;
        case.admin().patch(format!("users/{ada}")).json(&json!({"name": eve})).expect(200)?;
        let body = case.admin().read(format!("shares/{eve}/lab"))?;
        same!(body["items"][0]["scopes"], json!([format!("access:servers!server={eve}/lab")]), "scopes");
        Ok(())
    });
}

fn refusals(list: &mut List) {
    for (name, body) in [
        ("nobody", json!({})),
        ("a user and a group", json!({"user": "boss", "group": "students"})),
        ("an unknown user", json!({"user": "nobody-at-all"})),
        ("an unknown group", json!({"group": "nothing-at-all"})),
        ("an unknown key", json!({"user": "boss", "color": "red"})),
        ("a scope with another filter", json!({"user": "boss", "scopes": ["read:users!user=boss"]})),
        ("a scope with another server", json!({"user": "boss", "scopes": ["access:servers!server=boss/"]})),
        ("scopes that are a text", json!({"user": "boss", "scopes": "access:servers"})),
        ("a user that is a number", json!({"user": 5})),
    ] {
        list.refused(format!("POST shares with {name} is 400"), 400, move |case| {
            let (ada, _) = owner(case)?;
            Ok(case.admin().post(format!("shares/{ada}/lab")).json(&body))
        });
    }
    list.differs(
        "POST shares with an unknown scope is refused",
        [500, 400],
        "a 500 is never right for what a client sends",
        |case| {
            let (ada, _) = owner(case)?;
            Ok(case.admin().post(format!("shares/{ada}/lab")).json(&json!({"user": "boss", "scopes": ["planets"]})))
        },
    );
    list.refused("POST shares needs the scope that is granted", 403, |case| {
        let (ada, token) = owner(case)?;
        let body = json!({"user": fixture::ADMIN_USER, "scopes": ["admin:servers"]});
        Ok(case.with(&token).post(format!("shares/{ada}/lab")).json(&body))
    });
    list.refused("POST shares needs to be able to read the other's name", 403, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let token = case.scoped(&[&format!("shares!user={ada}")])?;
        let bob = case.user("bob")?;
        Ok(case.with(&token).post(format!("shares/{ada}/lab")).json(&json!({"user": bob})))
    });
    list.refused("POST shares needs the scope shares", 403, |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.stopped_server(&ada, "lab")?;
        Ok(case.with(&token).post(format!("shares/{ada}/lab")).json(&json!({"user": fixture::ADMIN_USER})))
    });
    list.refused("POST shares of another's server is 404", 404, |case| {
        let (_, token) = owner(case)?;
        let bob = case.user("bob")?;
        case.stopped_server(&bob, "lab")?;
        Ok(case.with(&token).post(format!("shares/{bob}/lab")).json(&json!({"user": fixture::ADMIN_USER})))
    });
    list.refused("POST shares of a server that does not exist is 404", 404, |case| {
        let (ada, token) = owner(case)?;
        Ok(case.with(&token).post(format!("shares/{ada}/none")).json(&json!({"user": fixture::ADMIN_USER})))
    });
    for method in ["GET", "POST", "PATCH", "DELETE"] {
        list.refused(format!("{method} shares is 403 for nobody"), 403, move |case| {
            Ok(case.anonymous().request(method, "shares/boss/lab"))
        });
        list.refused(format!("{method} shares is 403 without a scope"), 403, move |case| {
            Ok(case.with(fixture::OUTSIDER_TOKEN).request(method, "shares/boss/lab"))
        });
    }
    for kind in ["shares", "share-codes"] {
        for method in ["POST", "DELETE"] {
            list.refused(format!("{method} {kind}/NAME without a server is 405"), 405, move |case| {
                let (ada, token) = owner(case)?;
                Ok(case.with(&token).request(method, format!("{kind}/{ada}")))
            });
        }
        list.refused(format!("GET {kind} of nobody is 404"), 404, move |case| {
            Ok(case.admin().get(format!("{kind}/{}", case.name("nobody"))))
        });
        list.refused(format!("GET {kind} of a server that does not exist is 404"), 404, move |case| {
            let (ada, _) = owner(case)?;
            Ok(case.admin().get(format!("{kind}/{ada}/none")))
        });
    }
    list.refused("PATCH shares/NAME without a server is 405", 405, |case| {
        let (ada, token) = owner(case)?;
        Ok(case.with(&token).patch(format!("shares/{ada}")))
    });
}

fn revoking(list: &mut List) {
    list.case("PATCH shares without scopes takes all away: 200 and {}", |case| {
        let (ada, token) = owner(case)?;
        let bob = case.user("bob")?;
        let path = format!("shares/{ada}/lab");
        case.with(&token).tell(&path, &json!({"user": bob}))?.is(200)?;
        let body = case.with(&token).patch(&path).json(&json!({"user": bob})).expect(200)?.json()?;
        same!(body, json!({}), "what is left");
        same!(case.with(&token).read(&path)?["items"], json!([]), "items");
        Ok(())
    });
    list.case("PATCH shares with a scope takes that one away", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let path = format!("shares/{ada}/lab");
        case.admin().tell(&path, &json!({"user": bob, "scopes": ["read:servers", "access:servers"]}))?.is(200)?;
        let less = json!({"user": bob, "scopes": [format!("read:servers!server={ada}/lab")]});
        let body = case.admin().patch(&path).json(&less).expect(200)?.json()?;
        same!(body["scopes"], json!([format!("access:servers!server={ada}/lab")]), "scopes");
        Ok(())
    });
    list.case("PATCH shares of who has none is 200 and {}", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        for body in [json!({"user": bob}), json!({"user": "nobody-at-all"}), json!({"group": "nothing-at-all"})] {
            let body = case.admin().patch(format!("shares/{ada}/lab")).json(&body).expect(200)?.json()?;
            same!(body, json!({}), "what is left");
        }
        Ok(())
    });
    for (name, body) in [("nobody", json!({})), ("both kinds", json!({"user": "boss", "group": "students"}))] {
        list.refused(format!("PATCH shares with {name} is 400"), 400, move |case| {
            let (ada, _) = owner(case)?;
            Ok(case.admin().patch(format!("shares/{ada}/lab")).json(&body))
        });
    }
    list.case("DELETE shares takes all shares of a server away: 204", |case| {
        let (ada, token) = owner(case)?;
        let bob = case.user("bob")?;
        let path = format!("shares/{ada}/lab");
        case.with(&token).tell(&path, &json!({"user": bob}))?.is(200)?;
        case.with(&token).delete(&path).expect(204)?;
        same!(case.with(&token).read(&path)?["items"], json!([]), "items");
        Ok(())
    });
}

/// A server `lab`, shared with a user who holds a token of their own.
fn shared(case: &Case<'_>) -> Result<(String, String, String), Failure> {
    let (ada, _) = owner(case)?;
    let (bob, token) = case.user_with_token("bob")?;
    case.admin().tell(format!("shares/{ada}/lab"), &json!({"user": bob}))?.is(200)?;
    Ok((ada, bob, token))
}

fn received(list: &mut List) {
    list.case("GET users/U/shared lists what a user was given", |case| {
        let (_, bob, token) = shared(case)?;
        let body = case.with(&token).read(format!("users/{bob}/shared"))?;
        has_keys(&body, &["items", "_pagination"])?;
        has_keys(&body["items"][0], KEYS)
    });
    list.case("GET users/U/shared has what came through groups", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let group = case.group("team", &[&bob])?;
        case.admin().tell(format!("shares/{ada}/lab"), &json!({"group": group}))?.is(200)?;
        for path in [format!("users/{bob}/shared"), format!("groups/{group}/shared")] {
            let body = case.admin().read(&path)?;
            ensure!(body["items"][0]["group"]["name"] == group, "{path}: {body}");
        }
        case.admin().get(format!("groups/{group}/shared/{ada}/lab")).expect(200)?;
        case.admin().delete(format!("groups/{group}/shared/{ada}/lab")).expect(204)?;
        case.admin().get(format!("groups/{group}/shared/{ada}/lab")).refused(404)?;
        Ok(())
    });
    list.case("GET users/U/shared/OWNER/SERVER shows one", |case| {
        let (ada, bob, token) = shared(case)?;
        let body = case.with(&token).read(format!("users/{bob}/shared/{ada}/lab"))?;
        has_keys(&body, KEYS)
    });
    list.case("DELETE users/U/shared/OWNER/SERVER leaves: 204", |case| {
        let (ada, bob, token) = shared(case)?;
        let path = format!("users/{bob}/shared/{ada}/lab");
        case.with(&token).delete(&path).expect(204)?;
        case.with(&token).get(&path).refused(404)?;
        case.with(&token).delete(&path).refused(404)?;
        Ok(())
    });
    for kind in ["users", "groups"] {
        list.refused(format!("GET {kind}/X/shared of what does not exist is 404"), 404, move |case| {
            Ok(case.admin().get(format!("{kind}/{}/shared", case.name("none"))))
        });
        for method in ["GET", "DELETE"] {
            list.refused(format!("{method} {kind}/X/shared/O/S is 403 without a scope"), 403, move |case| {
                Ok(case.with(fixture::OUTSIDER_TOKEN).request(method, format!("{kind}/students/shared/boss/lab")))
            });
            list.refused(format!("{method} {kind}/X/shared/O/S of no share is 404"), 404, move |case| {
                let bob = case.user("bob")?;
                let name = if kind == "users" { bob } else { case.group("team", &[])? };
                Ok(case.admin().request(method, format!("{kind}/{name}/shared/boss/lab")))
            });
        }
    }
    list.refused("GET users/U/shared of another user is 404", 404, |case| {
        let (_, token) = case.user_with_token("ada")?;
        let bob = case.user("bob")?;
        Ok(case.with(&token).get(format!("users/{bob}/shared")))
    });
}

fn access(list: &mut List) {
    list.case("who was given access has its scope", |case| {
        let (ada, _, token) = shared(case)?;
        let scopes = texts(&case.with(&token).read("user")?["scopes"]);
        ensure!(scopes.contains(&format!("access:servers!server={ada}/lab")), "scopes {scopes:?}");
        Ok(())
    });
    list.case("who was given access finds the path of the stopped server", |case| {
        let (ada, bob, _) = shared(case)?;
        let browser = case.browser_of(&bob)?;
        browser.open(format!("/hub/user/{ada}/lab/tree")).expect(424)?;
        browser.open(format!("/hub/user/{ada}/other/tree")).expect(404)?;
        Ok(())
    });
    list.case("who was given access may log in at the server, after confirming", |case| {
        let (ada, bob, _) = shared(case)?;
        case.start(&ada, "lab")?;
        let authorize = |user: &str| {
            let browser = case.browser_of(user)?;
            let answer = browser
                .open("/hub/api/oauth2/authorize")
                .query("client_id", &format!("jupyterhub-user-{ada}-lab"))
                .query("redirect_uri", &format!("{}/user/{ada}/lab/oauth_callback", case.target.base))
                .query("response_type", "code")
                .query("state", "xyz")
                .send()?;
            Ok::<_, Failure>(answer.status())
        };
        same!(authorize(&bob)?, 200, "a guest confirms");
        same!(authorize(&ada)?, 302, "the owner need not");
        let eve = case.user("eve")?;
        same!(authorize(&eve)?, 403, "others may not");
        case.stop(&ada, "lab")
    });
}

const CODE_KEYS: &[&str] = &["server", "scopes", "id", "created_at", "expires_at", "exchange_count", "last_exchanged_at"];

fn code(case: &Case<'_>, owner: &str, body: &Value) -> Result<(String, Value), Failure> {
    let body = case.admin().tell(format!("share-codes/{owner}/lab"), body)?.is(200)?.json()?;
    let code = text_of(&body, "code")?;
    case.word(&code, "<code>");
    Ok((code, body))
}

fn codes(list: &mut List) {
    list.case("POST share-codes makes a code: 200", |case| {
        let (ada, token) = owner(case)?;
        let body = case.with(&token).tell(format!("share-codes/{ada}/lab"), &json!({}))?.is(200)?.json()?;
        let mut keys = CODE_KEYS.to_vec();
        keys.extend(["code", "accept_url", "full_accept_url"]);
        has_keys(&body, &keys)?;
        let code = text_of(&body, "code")?;
        case.word(&code, "<code>");
        same!(code.len(), 43, "length");
        same!(body["accept_url"], json!(format!("{}/hub/accept-share?code={code}", case.target.base)), "accept_url");
        ensure!(body["exchange_count"] == 0 && body["last_exchanged_at"].is_null(), "code {body}");
        ensure!(text_of(&body, "id")?.starts_with("sc_"), "id {}", body["id"]);
        same!(body["scopes"], json!([format!("access:servers!server={ada}/lab")]), "scopes");
        let (from, to) = (text_of(&body, "created_at")?, text_of(&body, "expires_at")?);
        let seconds = |text: &str| text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
        let life = seconds(&to) - seconds(&from);
        ensure!((86_390..=86_410).contains(&life), "lives {life} s");
        Ok(())
    });
    list.case("POST share-codes without a body is fine", |case| {
        let (ada, token) = owner(case)?;
        case.with(&token).post(format!("share-codes/{ada}/lab")).expect(200)?;
        Ok(())
    });
    for (name, body) in [
        ("expires_in 59", json!({"expires_in": 59})),
        ("expires_in of 366 days", json!({"expires_in": 366 * 86_400})),
        ("expires_in that is a text", json!({"expires_in": "1h"})),
        ("an unknown key", json!({"color": "red"})),
        ("a scope with another filter", json!({"scopes": ["read:users!user=boss"]})),
        ("a user", json!({"user": "boss"})),
    ] {
        list.refused(format!("POST share-codes with {name} is 400"), 400, move |case| {
            let (ada, _) = owner(case)?;
            Ok(case.admin().post(format!("share-codes/{ada}/lab")).json(&body))
        });
    }
    list.refused("POST share-codes needs the scope that is granted", 403, |case| {
        let (ada, token) = owner(case)?;
        Ok(case.with(&token).post(format!("share-codes/{ada}/lab")).json(&json!({"scopes": ["admin:servers"]})))
    });
    list.refused("POST share-codes of a server that does not exist is 404", 404, |case| {
        let (ada, token) = owner(case)?;
        Ok(case.with(&token).post(format!("share-codes/{ada}/none")))
    });
    list.case("GET share-codes lists them without the codes", |case| {
        let (ada, token) = owner(case)?;
        code(case, &ada, &json!({}))?;
        for path in [format!("share-codes/{ada}"), format!("share-codes/{ada}/lab")] {
            let body = case.with(&token).read(path)?;
            has_keys(&body, &["items", "_pagination"])?;
            has_keys(&body["items"][0], CODE_KEYS)?;
        }
        Ok(())
    });
    list.case("DELETE share-codes by id, by code, and all", |case| {
        let (ada, token) = owner(case)?;
        let path = format!("share-codes/{ada}/lab");
        let (first, _) = code(case, &ada, &json!({}))?;
        let (_, second) = code(case, &ada, &json!({}))?;
        code(case, &ada, &json!({}))?;
        let asker = case.with(&token);
        let count = || Ok::<_, Failure>(asker.read(&path)?["items"].as_array().map_or(0, Vec::len));
        asker.delete(&path).query("code", &first).expect(204)?;
        same!(count()?, 2, "codes");
        asker.delete(&path).query("id", &text_of(&second, "id")?).expect(204)?;
        same!(count()?, 1, "codes");
        asker.delete(&path).expect(204)?;
        same!(count()?, 0, "codes");
        Ok(())
    });
    for query in ["code=nonsense", "id=sc_999999", "id=nonsense", "id=5"] {
        list.refused(format!("DELETE share-codes?{query} is 404"), 404, move |case| {
            let (ada, token) = owner(case)?;
            Ok(case.with(&token).delete(format!("share-codes/{ada}/lab?{query}")))
        });
    }
    for method in ["GET", "POST", "DELETE"] {
        list.refused(format!("{method} share-codes is 403 for nobody"), 403, move |case| {
            Ok(case.anonymous().request(method, "share-codes/boss/lab"))
        });
        list.refused(format!("{method} share-codes is 403 without a scope"), 403, move |case| {
            Ok(case.with(fixture::OUTSIDER_TOKEN).request(method, "share-codes/boss/lab"))
        });
    }
}

fn accepting(list: &mut List) {
    list.case("accept-share shows a page, and its form gives access", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let (code, _) = code(case, &ada, &json!({}))?;
        let browser = case.browser_of(&bob)?;
        let page = format!("/hub/accept-share?code={code}");
        browser.open(&page).expect(200)?.is_page()?.contains(&ada)?;
        let answer = browser.submit("/hub/accept-share", &[("code", &code)]).send()?;
        answer.leads_to_path(302, &format!("{}/user/{ada}/lab/", case.target.base))?;
        let body = case.admin().read(format!("users/{bob}/shared/{ada}/lab"))?;
        same!(body["scopes"], json!([format!("access:servers!server={ada}/lab")]), "scopes");
        let codes = case.admin().read(format!("share-codes/{ada}/lab"))?;
        ensure!(codes["items"][0]["exchange_count"] == 1, "codes {codes}");
        is_time(&codes["items"][0]["last_exchanged_at"])
    });
    list.case("accept-share leads to where next says", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let (code, _) = code(case, &ada, &json!({}))?;
        let browser = case.browser_of(&bob)?;
        let next = format!("{}/user/{ada}/lab/tree", case.target.base);
        let answer = browser.submit("/hub/accept-share", &[("code", &code), ("next", &next)]).send()?;
        answer.leads_to(302, &next)?;
        Ok(())
    });
    list.case("accept-share of an unknown code is 404", |case| {
        let bob = case.user("bob")?;
        case.browser_of(&bob)?.open("/hub/accept-share?code=nonsense").expect(404)?.is_page()?;
        Ok(())
    });
    list.case("accept-share without a code is 400", |case| {
        let bob = case.user("bob")?;
        case.browser_of(&bob)?.open("/hub/accept-share").expect(400)?.is_page()?;
        Ok(())
    });
    list.case("accept-share of one's own code is 403", |case| {
        let (ada, _) = owner(case)?;
        let (code, _) = code(case, &ada, &json!({}))?;
        case.browser_of(&ada)?.open(format!("/hub/accept-share?code={code}")).expect(403)?.is_page()?;
        Ok(())
    });
    list.case("accept-share needs a login, which leads back", |case| {
        let answer = case.browser().open("/hub/accept-share?code=x").send()?;
        let base = &case.target.base;
        let target = format!("{base}/hub/login?next={}", form_urlencoded::byte_serialize(format!("{base}/hub/accept-share?code=x").as_bytes()).collect::<String>());
        answer.leads_to(302, &target)?;
        Ok(())
    });
    list.case("POST accept-share of an unknown code is refused", |case| {
        let bob = case.user("bob")?;
        let answer = case.browser_of(&bob)?.submit("/hub/accept-share", &[("code", "nonsense")]).send()?;
        answer.either(&[400, 404], "both say that there is no such code")?;
        Ok(())
    });
}
