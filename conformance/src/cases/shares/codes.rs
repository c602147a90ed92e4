//! Share codes, and the page that accepts them.

use serde_json::{Value, json};

use super::owner;
use crate::case::{Case, text_of};
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time};

pub(super) fn add(list: &mut List) {
    list.area("share codes");
    codes(list);
    accepting(list);
}

const CODE_KEYS: &[&str] = &[
    "server",
    "scopes",
    "id",
    "created_at",
    "expires_at",
    "exchange_count",
    "last_exchanged_at",
];

fn code(case: &Case<'_>, owner: &str, body: &Value) -> Result<(String, Value), Failure> {
    let body = case
        .admin()
        .tell(format!("share-codes/{owner}/lab"), body)?
        .is(200)?
        .json()?;
    let code = text_of(&body, "code")?;
    case.secret(&code);
    Ok((code, body))
}

fn codes(list: &mut List) {
    list.case("POST share-codes makes a code: 200", |case| {
        let (ada, token) = owner(case)?;
        let body = case
            .with(&token)
            .tell(format!("share-codes/{ada}/lab"), &json!({}))?
            .is(200)?
            .json()?;
        let mut keys = CODE_KEYS.to_vec();
        keys.extend(["code", "accept_url", "full_accept_url"]);
        has_keys(&body, &keys)?;
        let code = text_of(&body, "code")?;
        case.secret(&code);
        same!(code.len(), 43, "length");
        same!(
            body["accept_url"],
            json!(format!("{}/hub/accept-share?code={code}", case.target.base)),
            "accept_url"
        );
        ensure!(
            body["exchange_count"] == 0 && body["last_exchanged_at"].is_null(),
            "code {body}"
        );
        ensure!(
            text_of(&body, "id")?.starts_with("sc_"),
            "id {}",
            body["id"]
        );
        same!(
            body["scopes"],
            json!([format!("access:servers!server={ada}/lab")]),
            "scopes"
        );
        let (from, to) = (text_of(&body, "created_at")?, text_of(&body, "expires_at")?);
        let seconds = |text: &str| {
            text.parse::<jiff::Timestamp>()
                .map_or(0, jiff::Timestamp::as_second)
        };
        let life = seconds(&to) - seconds(&from);
        ensure!((86_390..=86_410).contains(&life), "lives {life} s");
        Ok(())
    });
    list.case("POST share-codes without a body is fine", |case| {
        let (ada, token) = owner(case)?;
        case.with(&token)
            .post(format!("share-codes/{ada}/lab"))
            .expect(200)?;
        Ok(())
    });
    for (name, body) in [
        ("expires_in 59", json!({"expires_in": 59})),
        (
            "expires_in of 366 days",
            json!({"expires_in": 366 * 86_400}),
        ),
        ("expires_in that is a text", json!({"expires_in": "1h"})),
        ("an unknown key", json!({"color": "red"})),
        (
            "a scope with another filter",
            json!({"scopes": ["read:users!user=boss"]}),
        ),
        ("a user", json!({"user": "boss"})),
    ] {
        list.refused(
            format!("POST share-codes with {name} is 400"),
            400,
            move |case| {
                let (ada, _) = owner(case)?;
                Ok(case
                    .admin()
                    .post(format!("share-codes/{ada}/lab"))
                    .json(&body))
            },
        );
    }
    list.refused(
        "POST share-codes needs the scope that is granted",
        403,
        |case| {
            let (ada, token) = owner(case)?;
            Ok(case
                .with(&token)
                .post(format!("share-codes/{ada}/lab"))
                .json(&json!({"scopes": ["admin:servers"]})))
        },
    );
    list.refused(
        "POST share-codes of a server that does not exist is 404",
        404,
        |case| {
            let (ada, token) = owner(case)?;
            Ok(case.with(&token).post(format!("share-codes/{ada}/none")))
        },
    );
    list.case("GET share-codes lists them without the codes", |case| {
        let (ada, token) = owner(case)?;
        code(case, &ada, &json!({}))?;
        for path in [
            format!("share-codes/{ada}"),
            format!("share-codes/{ada}/lab"),
        ] {
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
        asker
            .delete(&path)
            .query("id", &text_of(&second, "id")?)
            .expect(204)?;
        same!(count()?, 1, "codes");
        asker.delete(&path).expect(204)?;
        same!(count()?, 0, "codes");
        Ok(())
    });
    for query in ["code=nonsense", "id=sc_999999", "id=nonsense", "id=5"] {
        list.refused(
            format!("DELETE share-codes?{query} is 404"),
            404,
            move |case| {
                let (ada, token) = owner(case)?;
                Ok(case
                    .with(&token)
                    .delete(format!("share-codes/{ada}/lab?{query}")))
            },
        );
    }
    for method in ["GET", "POST", "DELETE"] {
        list.refused(
            format!("{method} share-codes is 403 for nobody"),
            403,
            move |case| Ok(case.anonymous().request(method, "share-codes/boss/lab")),
        );
        list.refused(
            format!("{method} share-codes is 403 without a scope"),
            403,
            move |case| {
                Ok(case
                    .with(fixture::OUTSIDER_TOKEN)
                    .request(method, "share-codes/boss/lab"))
            },
        );
    }
}

fn accepting(list: &mut List) {
    list.case(
        "accept-share shows a page, and its form gives access",
        |case| {
            let (ada, _) = owner(case)?;
            let bob = case.user("bob")?;
            let (code, _) = code(case, &ada, &json!({}))?;
            let browser = case.browser_of(&bob)?;
            let page = format!("/hub/accept-share?code={code}");
            browser.open(&page).expect(200)?.page()?.contains(&ada)?;
            let answer = browser
                .submit("/hub/accept-share", &[("code", &code)])
                .send()?;
            answer.leads_to_path(302, &format!("{}/user/{ada}/lab/", case.target.base))?;
            let body = case.admin().read(format!("users/{bob}/shared/{ada}/lab"))?;
            same!(
                body["scopes"],
                json!([format!("access:servers!server={ada}/lab")]),
                "scopes"
            );
            let codes = case.admin().read(format!("share-codes/{ada}/lab"))?;
            ensure!(codes["items"][0]["exchange_count"] == 1, "codes {codes}");
            is_time(&codes["items"][0]["last_exchanged_at"])
        },
    );
    list.case("accept-share leads to where next says", |case| {
        let (ada, _) = owner(case)?;
        let bob = case.user("bob")?;
        let (code, _) = code(case, &ada, &json!({}))?;
        let browser = case.browser_of(&bob)?;
        let next = format!("{}/user/{ada}/lab/tree", case.target.base);
        let answer = browser
            .submit("/hub/accept-share", &[("code", &code), ("next", &next)])
            .send()?;
        answer.leads_to(302, &next)?;
        Ok(())
    });
    list.case("accept-share of an unknown code is 404", |case| {
        let bob = case.user("bob")?;
        case.browser_of(&bob)?
            .open("/hub/accept-share?code=nonsense")
            .expect(404)?
            .page()?;
        Ok(())
    });
    list.case("accept-share without a code is 400", |case| {
        let bob = case.user("bob")?;
        case.browser_of(&bob)?
            .open("/hub/accept-share")
            .expect(400)?
            .page()?;
        Ok(())
    });
    list.case("accept-share of one's own code is 403", |case| {
        let (ada, _) = owner(case)?;
        let (code, _) = code(case, &ada, &json!({}))?;
        case.browser_of(&ada)?
            .open(format!("/hub/accept-share?code={code}"))
            .expect(403)?
            .page()?;
        Ok(())
    });
    list.case("accept-share needs a login, which leads back", |case| {
        let answer = case.browser().open("/hub/accept-share?code=x").send()?;
        let base = &case.target.base;
        let target = format!(
            "{base}/hub/login?next={}",
            form_urlencoded::byte_serialize(format!("{base}/hub/accept-share?code=x").as_bytes())
                .collect::<String>()
        );
        answer.leads_to(302, &target)?;
        Ok(())
    });
    list.case("POST accept-share of an unknown code is refused", |case| {
        let bob = case.user("bob")?;
        let answer = case
            .browser_of(&bob)?
            .submit("/hub/accept-share", &[("code", "nonsense")])
            .send()?;
        answer.either(&[400, 404], "both say that there is no such code")?;
        Ok(())
    });
}
