//! Shares, share codes, and the page that accepts them.

mod codes;
mod received;

use serde_json::json;

use crate::case::Case;
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time, texts};

pub(super) fn add(list: &mut List) {
    list.area("shares");
    granting(list);
    refusals(list);
    revoking(list);
    received::add(list);
    codes::add(list);
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
        let body = case
            .with(&token)
            .tell(format!("shares/{ada}/lab"), &json!({"user": bob}))?
            .is(200)?
            .json()?;
        has_keys(&body, KEYS)?;
        has_keys(
            &body["server"],
            &["user", "name", "url", "full_url", "ready"],
        )?;
        ensure!(
            body["server"]["name"] == "lab" && body["server"]["user"] == json!({"name": ada}),
            "share {body}"
        );
        ensure!(body["server"]["ready"] == false, "share {body}");
        same!(
            body["server"]["url"],
            json!(format!("{}/user/{ada}/lab/", case.target.base)),
            "url"
        );
        same!(
            body["scopes"],
            json!([format!("access:servers!server={ada}/lab")]),
            "scopes"
        );
        ensure!(
            body["user"] == json!({"name": bob})
                && body["group"].is_null()
                && body["kind"] == "user",
            "share {body}"
        );
        is_time(&body["created_at"])
    });
    list.case("POST shares grants to a group", |case| {
        let (ada, token) = owner(case)?;
        let group = case.group("team", &[])?;
        let body = case
            .with(&token)
            .tell(format!("shares/{ada}/lab"), &json!({"group": group}))?
            .is(200)?
            .json()?;
        ensure!(
            body["group"] == json!({"name": group})
                && body["user"].is_null()
                && body["kind"] == "group",
            "share {body}"
        );
        Ok(())
    });
    list.case(
        "the default server is shared with a slash at the end",
        |case| {
            let (ada, token) = owner(case)?;
            let bob = case.user("bob")?;
            case.start(&ada, "")?;
            let body = case
                .with(&token)
                .tell(format!("shares/{ada}/"), &json!({"user": bob}))?
                .is(200)?
                .json()?;
            same!(
                body["scopes"],
                json!([format!("access:servers!server={ada}/")]),
                "scopes"
            );
            ensure!(body["server"]["ready"] == true, "share {body}");
            case.stop(&ada, "")
        },
    );
    list.case("scopes get the server's filter", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let wish = json!({"user": bob, "scopes": ["read:servers", "access:servers"]});
        let body = case
            .admin()
            .tell(format!("shares/{ada}/lab"), &wish)?
            .is(200)?
            .json()?;
        let wanted = [
            format!("access:servers!server={ada}/lab"),
            format!("read:servers!server={ada}/lab"),
        ];
        same!(texts(&body["scopes"]), wanted, "scopes");
        Ok(())
    });
    list.case("scopes may have the server's filter already", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let wish = json!({"user": bob, "scopes": [format!("read:servers!server={ada}/lab")]});
        let body = case
            .admin()
            .tell(format!("shares/{ada}/lab"), &wish)?
            .is(200)?
            .json()?;
        same!(
            body["scopes"],
            json!([format!("read:servers!server={ada}/lab")]),
            "scopes"
        );
        Ok(())
    });
    list.case("a second grant widens the first", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let path = format!("shares/{ada}/lab");
        case.admin().tell(&path, &json!({"user": bob}))?.is(200)?;
        let body = case
            .admin()
            .tell(&path, &json!({"user": bob, "scopes": ["read:servers"]}))?
            .is(200)?
            .json()?;
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
            case.with(&token)
                .tell(&path, &json!({"user": name}))?
                .is(200)?;
        }
        let body = case.with(&token).read(&path)?;
        has_keys(&body, &["items", "_pagination"])?;
        ensure!(
            body["_pagination"]["total"] == 2,
            "page {}",
            body["_pagination"]
        );
        for share in body["items"].as_array().into_iter().flatten() {
            has_keys(share, KEYS)?;
        }
        let body = case.with(&token).read(format!("shares/{ada}"))?;
        ensure!(
            body["_pagination"]["total"] == 2,
            "page {}",
            body["_pagination"]
        );
        let page = case.with(&token).read(format!("{path}?limit=1"))?;
        same!(page["items"].as_array().map_or(0, Vec::len), 1, "items");
        ensure!(
            page["_pagination"]["next"].is_object(),
            "page {}",
            page["_pagination"]
        );
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
        case.admin()
            .tell(format!("shares/{ada}/lab"), &json!({"user": bob}))?
            .is(200)?;
        case.admin()
            .patch(format!("users/{ada}"))
            .json(&json!({"name": eve}))
            .expect(200)?;
        let body = case.admin().read(format!("shares/{eve}/lab"))?;
        same!(
            body["items"][0]["scopes"],
            json!([format!("access:servers!server={eve}/lab")]),
            "scopes"
        );
        Ok(())
    });
}

fn refusals(list: &mut List) {
    for (name, body) in [
        ("nobody", json!({})),
        (
            "a user and a group",
            json!({"user": "boss", "group": "students"}),
        ),
        ("an unknown user", json!({"user": "nobody-at-all"})),
        ("an unknown group", json!({"group": "nothing-at-all"})),
        ("an unknown key", json!({"user": "boss", "color": "red"})),
        (
            "a scope with another filter",
            json!({"user": "boss", "scopes": ["read:users!user=boss"]}),
        ),
        (
            "a scope with another server",
            json!({"user": "boss", "scopes": ["access:servers!server=boss/"]}),
        ),
        (
            "scopes that are a text",
            json!({"user": "boss", "scopes": "access:servers"}),
        ),
        ("a user that is a number", json!({"user": 5})),
    ] {
        list.refused(
            format!("POST shares with {name} is 400"),
            400,
            move |case| {
                let (ada, _) = owner(case)?;
                Ok(case.admin().post(format!("shares/{ada}/lab")).json(&body))
            },
        );
    }
    list.differs(
        "POST shares with an unknown scope is refused",
        [500, 400],
        "a 500 is never right for what a client sends",
        |case| {
            let (ada, _) = owner(case)?;
            Ok(case
                .admin()
                .post(format!("shares/{ada}/lab"))
                .json(&json!({"user": "boss", "scopes": ["planets"]})))
        },
    );
    list.refused("POST shares needs the scope that is granted", 403, |case| {
        let (ada, token) = owner(case)?;
        let body = json!({"user": fixture::ADMIN_USER, "scopes": ["admin:servers"]});
        Ok(case
            .with(&token)
            .post(format!("shares/{ada}/lab"))
            .json(&body))
    });
    list.refused(
        "POST shares needs to be able to read the other's name",
        403,
        |case| {
            let ada = case.user("ada")?;
            case.stopped_server(&ada, "lab")?;
            let token = case.scoped(&[&format!("shares!user={ada}")])?;
            let bob = case.user("bob")?;
            Ok(case
                .with(&token)
                .post(format!("shares/{ada}/lab"))
                .json(&json!({"user": bob})))
        },
    );
    list.refused("POST shares needs the scope shares", 403, |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.stopped_server(&ada, "lab")?;
        Ok(case
            .with(&token)
            .post(format!("shares/{ada}/lab"))
            .json(&json!({"user": fixture::ADMIN_USER})))
    });
    list.refused("POST shares of another's server is 404", 404, |case| {
        let (_, token) = owner(case)?;
        let bob = case.user("bob")?;
        case.stopped_server(&bob, "lab")?;
        Ok(case
            .with(&token)
            .post(format!("shares/{bob}/lab"))
            .json(&json!({"user": fixture::ADMIN_USER})))
    });
    list.refused(
        "POST shares of a server that does not exist is 404",
        404,
        |case| {
            let (ada, token) = owner(case)?;
            Ok(case
                .with(&token)
                .post(format!("shares/{ada}/none"))
                .json(&json!({"user": fixture::ADMIN_USER})))
        },
    );
    for method in ["GET", "POST", "PATCH", "DELETE"] {
        list.refused(
            format!("{method} shares is 403 for nobody"),
            403,
            move |case| Ok(case.anonymous().request(method, "shares/boss/lab")),
        );
        list.refused(
            format!("{method} shares is 403 without a scope"),
            403,
            move |case| {
                Ok(case
                    .with(fixture::OUTSIDER_TOKEN)
                    .request(method, "shares/boss/lab"))
            },
        );
    }
    for kind in ["shares", "share-codes"] {
        for method in ["POST", "DELETE"] {
            list.refused(
                format!("{method} {kind}/NAME without a server is 405"),
                405,
                move |case| {
                    let (ada, token) = owner(case)?;
                    Ok(case.with(&token).request(method, format!("{kind}/{ada}")))
                },
            );
        }
        list.refused(format!("GET {kind} of nobody is 404"), 404, move |case| {
            Ok(case.admin().get(format!("{kind}/{}", case.name("nobody"))))
        });
        list.refused(
            format!("GET {kind} of a server that does not exist is 404"),
            404,
            move |case| {
                let (ada, _) = owner(case)?;
                Ok(case.admin().get(format!("{kind}/{ada}/none")))
            },
        );
    }
    list.refused("PATCH shares/NAME without a server is 405", 405, |case| {
        let (ada, token) = owner(case)?;
        Ok(case.with(&token).patch(format!("shares/{ada}")))
    });
}

fn revoking(list: &mut List) {
    list.case(
        "PATCH shares without scopes takes all away: 200 and {}",
        |case| {
            let (ada, token) = owner(case)?;
            let bob = case.user("bob")?;
            let path = format!("shares/{ada}/lab");
            case.with(&token)
                .tell(&path, &json!({"user": bob}))?
                .is(200)?;
            let body = case
                .with(&token)
                .patch(&path)
                .json(&json!({"user": bob}))
                .expect(200)?
                .json()?;
            same!(body, json!({}), "what is left");
            same!(case.with(&token).read(&path)?["items"], json!([]), "items");
            Ok(())
        },
    );
    list.case("PATCH shares with a scope takes that one away", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let path = format!("shares/{ada}/lab");
        case.admin()
            .tell(
                &path,
                &json!({"user": bob, "scopes": ["read:servers", "access:servers"]}),
            )?
            .is(200)?;
        let less = json!({"user": bob, "scopes": [format!("read:servers!server={ada}/lab")]});
        let body = case.admin().patch(&path).json(&less).expect(200)?.json()?;
        same!(
            body["scopes"],
            json!([format!("access:servers!server={ada}/lab")]),
            "scopes"
        );
        Ok(())
    });
    list.case("PATCH shares of who has none is 200 and {}", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        for body in [
            json!({"user": bob}),
            json!({"user": "nobody-at-all"}),
            json!({"group": "nothing-at-all"}),
        ] {
            let body = case
                .admin()
                .patch(format!("shares/{ada}/lab"))
                .json(&body)
                .expect(200)?
                .json()?;
            same!(body, json!({}), "what is left");
        }
        Ok(())
    });
    for (name, body) in [
        ("nobody", json!({})),
        ("both kinds", json!({"user": "boss", "group": "students"})),
    ] {
        list.refused(
            format!("PATCH shares with {name} is 400"),
            400,
            move |case| {
                let (ada, _) = owner(case)?;
                Ok(case.admin().patch(format!("shares/{ada}/lab")).json(&body))
            },
        );
    }
    list.case(
        "DELETE shares takes all shares of a server away: 204",
        |case| {
            let (ada, token) = owner(case)?;
            let bob = case.user("bob")?;
            let path = format!("shares/{ada}/lab");
            case.with(&token)
                .tell(&path, &json!({"user": bob}))?
                .is(200)?;
            case.with(&token).delete(&path).expect(204)?;
            same!(case.with(&token).read(&path)?["items"], json!([]), "items");
            Ok(())
        },
    );
}
