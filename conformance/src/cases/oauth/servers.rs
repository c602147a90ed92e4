//! Servers as clients: their owner is not asked, others are; ids of those with difficult names.

use serde_json::json;

use super::{ask, code_of, exchange};
use crate::case::text_of;
use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::texts;

pub(super) fn add(list: &mut List) {
    list.area("oauth servers");
    servers(list);
}

fn servers(list: &mut List) {
    list.case("a server logs its owner in without asking", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        let told = case
            .anonymous()
            .get(format!("/user/{ada}/lab/environment"))
            .expect(200)?
            .json()?;
        let found = |name: &str| text_of(&told["environment"], name);
        let (client, secret, redirect) = (
            found("JUPYTERHUB_CLIENT_ID")?,
            found("JUPYTERHUB_API_TOKEN")?,
            found("JUPYTERHUB_OAUTH_CALLBACK_URL")?,
        );
        let browser = case.browser_of(&ada)?;
        let answer = ask(&browser, &client, &redirect, &[]).send()?;
        let code = code_of(case, &answer, &redirect)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", client.as_str()),
            ("client_secret", secret.as_str()),
            ("redirect_uri", redirect.as_str()),
            ("code", code.as_str()),
        ];
        let body = exchange(case, &fields).expect(200)?.json()?;
        let token = text_of(&body, "access_token")?;
        let own = case.with(&token).read("user")?;
        let scopes = texts(&own["scopes"]);
        ensure!(own["name"] == ada, "model {own}");
        ensure!(
            scopes.contains(&format!("access:servers!server={ada}/lab")),
            "scopes {scopes:?}"
        );
        case.stop(&ada, "lab")?;
        // The client goes with the server, and its tokens with the client.
        case.with(&token).get("user").refused(403)?;
        ask(&browser, &client, &redirect, &[]).expect(400)?;
        Ok(())
    });
    for (stem, id) in [
        ("a@b.cz", "a%40b.cz"),
        ("üml", "%C3%BCml"),
        ("a~b", "a~b"),
        ("a+b", "a%2Bb"),
        ("a b", "a%20b"),
    ] {
        list.case(
            format!("the client id of a server of {stem} is escaped"),
            move |case| {
                let name = case.name(stem);
                let path = name.replacen(stem, id, 1);
                case.admin().post(format!("users/{path}")).expect(201)?;
                case.start(&path, "")?;
                let told = case
                    .anonymous()
                    .get(format!("/user/{path}/environment"))
                    .expect(200)?
                    .json()?;
                same!(
                    told["environment"]["JUPYTERHUB_CLIENT_ID"],
                    json!(format!("jupyterhub-user-{path}")),
                    "client id"
                );
                case.stop(&path, "")
            },
        );
    }
    list.case(
        "an administrator is asked before entering another's server",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            let browser = case.browser_of(fixture::ADMIN_USER)?;
            let redirect = format!("{}/user/{ada}/oauth_callback", case.target.base);
            ask(&browser, &format!("jupyterhub-user-{ada}"), &redirect, &[])
                .expect(200)?
                .page()?;
            case.stop(&ada, "")
        },
    );
}
