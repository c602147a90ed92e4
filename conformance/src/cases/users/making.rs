//! Making users, one or many.

use serde_json::json;

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::names;

pub(super) fn add(list: &mut List) {
    making_one(list);
    making_many(list);
}

fn making_one(list: &mut List) {
    list.case("POST users/NAME makes a user", |case| {
        let ada = case.name("ada");
        let answer = case
            .admin()
            .post(format!("users/{ada}"))
            .expect(201)?
            .has_type("application/json")?;
        let body = answer.json()?;
        ensure!(
            body["name"] == ada && body["admin"] == false && body["kind"] == "user",
            "model {body}"
        );
        case.admin().get(format!("users/{ada}")).expect(200)?;
        Ok(())
    });
    list.case("POST users/NAME makes an administrator", |case| {
        let ada = case.name("ada");
        let body = case
            .admin()
            .tell(format!("users/{ada}"), &json!({"admin": true}))?
            .is(201)?
            .json()?;
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
        list.case(
            format!("POST users/NAME with {name} is 400 and makes nobody"),
            move |case| {
                let ada = case.name("ada");
                case.admin()
                    .post(format!("users/{ada}"))
                    .json(&body)
                    .refused(400)?;
                case.admin().get(format!("users/{ada}")).refused(404)?;
                Ok(())
            },
        );
    }
    list.refused(
        "POST users/NAME with a body that is no JSON is 400",
        400,
        |case| {
            Ok(case
                .admin()
                .post(format!("users/{}", case.name("ada")))
                .body("application/json", "{admin"))
        },
    );
    list.refused(
        "POST users/NAME with a body that is not UTF-8 is 400",
        400,
        |case| {
            Ok(case
                .admin()
                .post(format!("users/{}", case.name("ada")))
                .body("application/json", [0xff, 0xfe]))
        },
    );
    list.case(
        "the type of a body sent with a token is not looked at",
        |case| {
            let ada = case.name("ada");
            let request = case.admin().post(format!("users/{ada}"));
            let body = request
                .body("text/plain", r#"{"admin": true}"#)
                .expect(201)?
                .json()?;
            ensure!(body["admin"] == true, "model {body}");
            Ok(())
        },
    );
    list.refused("POST users/NAME needs admin:users", 403, |case| {
        Ok(case
            .with(fixture::WATCHER_TOKEN)
            .post(format!("users/{}", case.name("ada"))))
    });
    list.refused("POST users/NAME is 403 for nobody", 403, |case| {
        Ok(case.anonymous().post(format!("users/{}", case.name("ada"))))
    });
}

fn making_many(list: &mut List) {
    list.case("POST users makes several", |case| {
        let both = [case.name("ada"), case.name("bob")];
        let body = case
            .admin()
            .tell("users", &json!({"usernames": both}))?
            .is(201)?
            .json()?;
        same!(names(&body), both, "names");
        Ok(())
    });
    list.case("POST users makes administrators", |case| {
        let ada = case.name("ada");
        let body = case
            .admin()
            .tell("users", &json!({"usernames": [ada], "admin": true}))?
            .is(201)?
            .json()?;
        ensure!(body[0]["admin"] == true, "model {body}");
        Ok(())
    });
    list.case("POST users skips those who exist", |case| {
        let ada = case.user("ada")?;
        let bob = case.name("bob");
        let body = case
            .admin()
            .tell("users", &json!({"usernames": [ada, bob]}))?
            .is(201)?
            .json()?;
        same!(names(&body), [bob], "names");
        Ok(())
    });
    list.refused(
        "POST users with none but those who exist is 409",
        409,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .admin()
                .post("users")
                .json(&json!({"usernames": [ada]})))
        },
    );
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
            Ok(case
                .admin()
                .post("users")
                .json(&json!({"usernames": letters})))
        },
    );
    list.refused("POST users without a body is 400", 400, |case| {
        Ok(case.admin().post("users"))
    });
    list.case("POST users with one bad name makes nobody", |case| {
        let ada = case.name("ada");
        case.admin()
            .post("users")
            .json(&json!({"usernames": [ada, "with/slash"]}))
            .refused(400)?;
        case.admin().get(format!("users/{ada}")).refused(404)?;
        Ok(())
    });
    list.case("names in POST users are made small", |case| {
        let ada = case.name("ada");
        let body = case
            .admin()
            .tell("users", &json!({"usernames": [ada.to_uppercase()]}))?
            .is(201)?
            .json()?;
        same!(names(&body), [ada], "names");
        Ok(())
    });
    list.refused(
        "an administrator by scopes alone may not make administrators",
        403,
        |case| {
            let body = json!({"usernames": [case.name("ada")], "admin": true});
            Ok(case.with(fixture::TUTOR_TOKEN).post("users").json(&body))
        },
    );
    list.refused("POST users needs admin:users", 403, |case| {
        let body = json!({"usernames": [case.name("ada")]});
        Ok(case.with(fixture::WATCHER_TOKEN).post("users").json(&body))
    });
}
