//! Shares from the side of those who received them.

use serde_json::json;

use super::{KEYS, owner};
use crate::case::Case;
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, texts};

pub(super) fn add(list: &mut List) {
    received(list);
    access(list);
}

/// A server `lab`, shared with a user who holds a token of their own.
fn shared(case: &Case<'_>) -> Result<(String, String, String), Failure> {
    let (ada, _) = owner(case)?;
    let (bob, token) = case.user_with_token("bob")?;
    case.admin()
        .tell(format!("shares/{ada}/lab"), &json!({"user": bob}))?
        .is(200)?;
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
        case.admin()
            .tell(format!("shares/{ada}/lab"), &json!({"group": group}))?
            .is(200)?;
        for path in [
            format!("users/{bob}/shared"),
            format!("groups/{group}/shared"),
        ] {
            let body = case.admin().read(&path)?;
            ensure!(body["items"][0]["group"]["name"] == group, "{path}: {body}");
        }
        case.admin()
            .get(format!("groups/{group}/shared/{ada}/lab"))
            .expect(200)?;
        case.admin()
            .delete(format!("groups/{group}/shared/{ada}/lab"))
            .expect(204)?;
        case.admin()
            .get(format!("groups/{group}/shared/{ada}/lab"))
            .refused(404)?;
        Ok(())
    });
    list.case("GET users/U/shared/OWNER/SERVER shows one", |case| {
        let (ada, bob, token) = shared(case)?;
        let body = case
            .with(&token)
            .read(format!("users/{bob}/shared/{ada}/lab"))?;
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
        list.refused(
            format!("GET {kind}/X/shared of what does not exist is 404"),
            404,
            move |case| {
                Ok(case
                    .admin()
                    .get(format!("{kind}/{}/shared", case.name("none"))))
            },
        );
        for method in ["GET", "DELETE"] {
            list.refused(
                format!("{method} {kind}/X/shared/O/S is 403 without a scope"),
                403,
                move |case| {
                    Ok(case
                        .with(fixture::OUTSIDER_TOKEN)
                        .request(method, format!("{kind}/students/shared/boss/lab")))
                },
            );
            list.refused(
                format!("{method} {kind}/X/shared/O/S of no share is 404"),
                404,
                move |case| {
                    let bob = case.user("bob")?;
                    let name = if kind == "users" {
                        bob
                    } else {
                        case.group("team", &[])?
                    };
                    Ok(case
                        .admin()
                        .request(method, format!("{kind}/{name}/shared/boss/lab")))
                },
            );
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
        ensure!(
            scopes.contains(&format!("access:servers!server={ada}/lab")),
            "scopes {scopes:?}"
        );
        Ok(())
    });
    list.case(
        "who was given access finds the path of the stopped server",
        |case| {
            let (ada, bob, _) = shared(case)?;
            let browser = case.browser_of(&bob)?;
            browser
                .open(format!("/hub/user/{ada}/lab/tree"))
                .expect(424)?;
            browser
                .open(format!("/hub/user/{ada}/other/tree"))
                .expect(404)?;
            Ok(())
        },
    );
    list.case(
        "who was given access may log in at the server, after confirming",
        |case| {
            let (ada, bob, _) = shared(case)?;
            case.start(&ada, "lab")?;
            let authorize = |user: &str| {
                let browser = case.browser_of(user)?;
                let answer = browser
                    .open("/hub/api/oauth2/authorize")
                    .query("client_id", &format!("jupyterhub-user-{ada}-lab"))
                    .query(
                        "redirect_uri",
                        &format!("{}/user/{ada}/lab/oauth_callback", case.target.base),
                    )
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
        },
    );
}
