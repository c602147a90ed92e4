//! Users: one, many, their fields, names and administrators.

mod lists;
mod making;
mod names;

use serde_json::json;

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, is_time};

pub(super) fn add(list: &mut List) {
    list.area("users");
    reading(list);
    making::add(list);
    changing(list);
    removing(list);
    names::add(list);
    lists::add(list);
}

/// Everything that a model of a user can have, for whoever may see all.
const ALL_KEYS: &[&str] = &[
    "kind",
    "name",
    "admin",
    "roles",
    "groups",
    "server",
    "pending",
    "created",
    "last_activity",
    "servers",
    "user_info",
    "auth_state",
];

fn reading(list: &mut List) {
    list.case("GET users/NAME shows an administrator everything", |case| {
        let ada = case.user("ada")?;
        let body = case.admin().read(format!("users/{ada}"))?;
        has_keys(&body, ALL_KEYS)?;
        ensure!(
            body["kind"] == "user" && body["name"] == ada && body["admin"] == false,
            "model {body}"
        );
        ensure!(
            body["server"].is_null() && body["pending"].is_null(),
            "model {body}"
        );
        ensure!(
            body["servers"] == json!({}) && body["groups"] == json!([]),
            "model {body}"
        );
        ensure!(
            body["auth_state"].is_null() && body["last_activity"].is_null(),
            "model {body}"
        );
        same!(body["roles"], json!(["user"]), "roles");
        is_time(&body["created"])
    });
    list.case(
        "GET users/NAME of an administrator names both roles",
        |case| {
            let ada = case.name("ada");
            case.admin()
                .tell(format!("users/{ada}"), &json!({"admin": true}))?
                .is(201)?;
            let body = case.admin().read(format!("users/{ada}"))?;
            ensure!(body["admin"] == true, "admin {}", body["admin"]);
            let mut roles = crate::response::texts(&body["roles"]);
            roles.sort();
            same!(roles, ["admin", "user"], "roles");
            Ok(())
        },
    );
    list.refused("GET of a user who does not exist is 404", 404, |case| {
        Ok(case.admin().get(format!("users/{}", case.name("nobody"))))
    });
    list.case("GET users/NAME is for the user themself", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let body = case.with(&token).read(format!("users/{ada}"))?;
        ensure!(
            body["name"] == ada && body.get("auth_state").is_none(),
            "model {body}"
        );
        Ok(())
    });
    list.refused(
        "GET of another user is 404 for a user, who may not even know",
        404,
        |case| {
            let (_, token) = case.user_with_token("ada")?;
            let bob = case.user("bob")?;
            Ok(case.with(&token).get(format!("users/{bob}")))
        },
    );
    list.refused(
        "GET of a user is 403 for a service without a role",
        403,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .with(fixture::OUTSIDER_TOKEN)
                .get(format!("users/{ada}")))
        },
    );
    list.refused("GET of a user is 403 for nobody", 403, |case| {
        Ok(case.anonymous().get("users/ada"))
    });
    list.case(
        "a user's last activity is there after a request with their token",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.with(&token).get("user").expect(200)?;
            let body = case.admin().read(format!("users/{ada}"))?;
            is_time(&body["last_activity"])
        },
    );
}

fn changing(list: &mut List) {
    list.case("PATCH users/NAME renames", |case| {
        let (ada, eve) = (case.user("ada")?, case.name("eve"));
        let body = case
            .admin()
            .patch(format!("users/{ada}"))
            .json(&json!({"name": eve}))
            .expect(200)?
            .json()?;
        ensure!(body["name"] == eve, "model {body}");
        case.admin().get(format!("users/{ada}")).refused(404)?;
        case.admin().get(format!("users/{eve}")).expect(200)?;
        Ok(())
    });
    list.case("a new name is made small", |case| {
        let (ada, eve) = (case.user("ada")?, case.name("eve"));
        let change = json!({"name": eve.to_uppercase()});
        let body = case
            .admin()
            .patch(format!("users/{ada}"))
            .json(&change)
            .expect(200)?
            .json()?;
        ensure!(body["name"] == eve, "model {body}");
        Ok(())
    });
    list.case("a renamed user keeps tokens and groups", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let group = case.group("team", &[&ada])?;
        let eve = case.name("eve");
        case.admin()
            .patch(format!("users/{ada}"))
            .json(&json!({"name": eve}))
            .expect(200)?;
        let body = case.with(&token).read("user")?;
        ensure!(
            body["name"] == eve && body["groups"] == json!([group]),
            "model {body}"
        );
        Ok(())
    });
    list.refused("PATCH to a name that is taken is 400", 400, |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        Ok(case
            .admin()
            .patch(format!("users/{ada}"))
            .json(&json!({"name": bob})))
    });
    list.case("PATCH makes an administrator, and no longer", |case| {
        let ada = case.user("ada")?;
        for admin in [true, false] {
            let change = json!({"admin": admin});
            let body = case
                .admin()
                .patch(format!("users/{ada}"))
                .json(&change)
                .expect(200)?
                .json()?;
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
        list.refused(
            format!("PATCH users/NAME with {name} is 400"),
            400,
            move |case| {
                let ada = case.user("ada")?;
                Ok(case.admin().patch(format!("users/{ada}")).json(&body))
            },
        );
    }
    list.refused("PATCH of a user who does not exist is 404", 404, |case| {
        Ok(case
            .admin()
            .patch(format!("users/{}", case.name("nobody")))
            .json(&json!({"admin": true})))
    });
    list.refused(
        "who is administrator by scopes alone may not make administrators",
        403,
        |case| {
            let ada = case.user("ada")?;
            case.join(fixture::STUDENTS, &[&ada])?;
            Ok(case
                .with(fixture::TUTOR_TOKEN)
                .patch(format!("users/{ada}"))
                .json(&json!({"admin": true})))
        },
    );
    list.refused("PATCH of oneself needs admin:users", 404, |case| {
        // A user's token reads its owner, so the user exists for it; but for the wanted scope it has no object.
        let (ada, token) = case.user_with_token("ada")?;
        let bob = case.user("bob")?;
        case.with(&token)
            .patch(format!("users/{ada}"))
            .json(&json!({"admin": true}))
            .send()?
            .error_body(403)?;
        let narrow = case.scoped(&[&format!("admin:users!user={ada}")])?;
        Ok(case
            .with(&narrow)
            .patch(format!("users/{bob}"))
            .json(&json!({"name": "x"})))
    });
}

fn removing(list: &mut List) {
    list.case(
        "DELETE users/NAME removes a user and their tokens",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.admin()
                .delete(format!("users/{ada}"))
                .expect(204)?
                .empty()?;
            case.admin().get(format!("users/{ada}")).refused(404)?;
            case.with(&token).get("user").refused(403)?;
            Ok(())
        },
    );
    list.case("DELETE users/NAME stops the user's server", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        case.admin().delete(format!("users/{ada}")).expect(204)?;
        let routes = case.admin().read("proxy?limit=200")?;
        ensure!(
            routes.get(format!("/user/{ada}/")).is_none(),
            "the route is still there"
        );
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
        Ok(case
            .admin()
            .delete(format!("users/{}", case.name("nobody"))))
    });
    list.refused("DELETE of oneself is 400", 400, |case| {
        let ada = case.name("ada");
        case.admin()
            .tell(format!("users/{ada}"), &json!({"admin": true}))?
            .is(201)?;
        let token = case.token_of(&ada, None)?;
        Ok(case.with(&token).delete(format!("users/{ada}")))
    });
    list.refused("DELETE users/NAME needs delete:users", 403, |case| {
        let ada = case.user("ada")?;
        Ok(case
            .with(fixture::WATCHER_TOKEN)
            .delete(format!("users/{ada}")))
    });
    list.case("delete:users alone is enough to remove", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&[&format!("delete:users!user={ada}")])?;
        case.with(&token)
            .delete(format!("users/{ada}"))
            .expect(204)?;
        Ok(())
    });
}
