//! Named servers: making, changing and removing them; their names.

use serde_json::json;

use super::{KEYS, model_of};
use crate::failure::{ensure, same};
use crate::list::List;
use crate::response::has_keys;

pub(super) fn add(list: &mut List) {
    list.area("named servers");
    creating(list);
    changing(list);
    removing(list);
    names(list);
}

fn creating(list: &mut List) {
    list.case(
        "PUT servers/NAME makes a server without starting it",
        |case| {
            let ada = case.user("ada")?;
            let body = json!({"display_name": "My Lab", "user_options": {"a": 1}});
            let body = case
                .admin()
                .put(format!("users/{ada}/servers/lab"))
                .json(&body)
                .expect(201)?
                .json()?;
            has_keys(&body, KEYS)?;
            ensure!(
                body["name"] == "lab"
                    && body["display_name"] == "My Lab"
                    && body["stopped"] == true,
                "model {body}"
            );
            same!(body["user_options"], json!({"a": 1}), "user_options");
            Ok(())
        },
    );
    list.case("PUT without a body takes the name for display", |case| {
        let ada = case.user("ada")?;
        let body = case
            .admin()
            .put(format!("users/{ada}/servers/lab"))
            .expect(201)?
            .json()?;
        same!(body["display_name"], json!("lab"), "display_name");
        Ok(())
    });
    list.case(
        "PUT with an empty display_name takes the name for display",
        |case| {
            let ada = case.user("ada")?;
            let body = json!({"display_name": ""});
            let body = case
                .admin()
                .put(format!("users/{ada}/servers/lab"))
                .json(&body)
                .expect(201)?
                .json()?;
            same!(body["display_name"], json!("lab"), "display_name");
            Ok(())
        },
    );
    list.refused("PUT of a server that exists is 409", 409, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        Ok(case.admin().put(format!("users/{ada}/servers/lab")))
    });
    list.refused("PUT of the default server is 409", 409, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().put(format!("users/{ada}/server")))
    });
    for (name, body) in [
        ("user_options that are a list", json!({"user_options": [1]})),
        ("display_name that is a number", json!({"display_name": 5})),
        (
            "a display_name of 256 characters",
            json!({"display_name": "x".repeat(256)}),
        ),
        (
            "a display_name with two spaces",
            json!({"display_name": "a  b"}),
        ),
        ("a display_name with a tab", json!({"display_name": "a\tb"})),
    ] {
        list.case(
            format!("PUT servers/NAME with {name} is 400"),
            move |case| {
                let ada = case.user("ada")?;
                case.admin()
                    .put(format!("users/{ada}/servers/lab"))
                    .json(&body)
                    .refused(400)?;
                case.admin()
                    .get(format!("users/{ada}/servers/lab"))
                    .refused(404)?;
                Ok(())
            },
        );
    }
    list.case(
        "a stopped named server is started by POST and keeps its options",
        |case| {
            let ada = case.user("ada")?;
            let body = json!({"display_name": "My Lab", "user_options": {"a": 1}});
            case.admin()
                .put(format!("users/{ada}/servers/lab"))
                .json(&body)
                .expect(201)?;
            case.start(&ada, "lab")?;
            let model = model_of(case, &ada, "lab")?;
            same!(model["user_options"], json!({"a": 1}), "user_options");
            same!(model["display_name"], json!("My Lab"), "display_name");
            case.stop(&ada, "lab")
        },
    );
}

fn changing(list: &mut List) {
    list.case(
        "PATCH servers/NAME changes options and the shown name",
        |case| {
            let ada = case.user("ada")?;
            case.stopped_server(&ada, "lab")?;
            let path = format!("users/{ada}/servers/lab");
            let change = json!({"display_name": "New", "user_options": {"b": 2}});
            let body = case
                .admin()
                .patch(&path)
                .json(&change)
                .expect(200)?
                .json()?;
            has_keys(&body, KEYS)?;
            ensure!(
                body["display_name"] == "New" && body["user_options"] == json!({"b": 2}),
                "model {body}"
            );
            Ok(())
        },
    );
    list.case("PATCH with a name renames", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        let body = case
            .admin()
            .patch(&path)
            .json(&json!({"name": "desk"}))
            .expect(200)?
            .json()?;
        same!(body["name"], json!("desk"), "name");
        case.admin().get(&path).refused(404)?;
        case.admin()
            .get(format!("users/{ada}/servers/desk"))
            .expect(200)?;
        Ok(())
    });
    list.refused("PATCH to a name that is taken is 409", 409, |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        case.stopped_server(&ada, "desk")?;
        Ok(case
            .admin()
            .patch(format!("users/{ada}/servers/lab"))
            .json(&json!({"name": "desk"})))
    });
    for (name, body) in [
        ("nothing", json!({})),
        ("a bad name", json!({"name": "Not Good"})),
        ("user_options that are a list", json!({"user_options": [1]})),
    ] {
        list.refused(
            format!("PATCH servers/NAME with {name} is 400"),
            400,
            move |case| {
                let ada = case.user("ada")?;
                case.stopped_server(&ada, "lab")?;
                Ok(case
                    .admin()
                    .patch(format!("users/{ada}/servers/lab"))
                    .json(&body))
            },
        );
    }
    for (name, body) in [
        ("an unknown key", json!({"color": "red"})),
        ("a list", json!([1])),
        ("a number as name", json!({"name": 5})),
    ] {
        list.differs(
            format!("PATCH servers/NAME with {name} is refused"),
            [500, 400],
            "a 500 is never right for what a client sends",
            move |case| {
                let ada = case.user("ada")?;
                case.stopped_server(&ada, "lab")?;
                Ok(case
                    .admin()
                    .patch(format!("users/{ada}/servers/lab"))
                    .json(&body))
            },
        );
    }
    list.refused("PATCH of a running server is 400", 400, |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        Ok(case
            .admin()
            .patch(format!("users/{ada}/servers/lab"))
            .json(&json!({"name": "desk"})))
    });
    list.refused(
        "PATCH of a server that does not exist is 404",
        404,
        |case| {
            let ada = case.user("ada")?;
            Ok(case
                .admin()
                .patch(format!("users/{ada}/servers/none"))
                .json(&json!({"name": "desk"})))
        },
    );
}

fn removing(list: &mut List) {
    list.case("DELETE with remove takes a stopped server away", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        case.admin()
            .delete(&path)
            .json(&json!({"remove": true}))
            .expect(204)?;
        case.admin().get(&path).refused(404)?;
        Ok(())
    });
    list.case("DELETE with remove stops a running server first", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        let path = format!("users/{ada}/servers/lab");
        case.admin()
            .delete(&path)
            .json(&json!({"remove": true}))
            .expect(204)?;
        case.admin().get(&path).refused(404)?;
        Ok(())
    });
    list.case("DELETE without remove keeps the record", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "lab")?;
        case.admin()
            .delete(format!("users/{ada}/servers/lab"))
            .json(&json!({"remove": false}))
            .expect(204)?;
        let body = model_of(case, &ada, "lab")?;
        ensure!(body["stopped"] == true, "model {body}");
        Ok(())
    });
}

fn names(list: &mut List) {
    for name in [
        "a",
        "lab",
        "lab2",
        "my-lab",
        "a1-b2-c3",
        "abcdefghijklmnopqrstuvwxyz1234",
    ] {
        list.case(format!("a server may be called {name}"), move |case| {
            let ada = case.user("ada")?;
            case.admin()
                .put(format!("users/{ada}/servers/{name}"))
                .expect(201)?;
            Ok(())
        });
    }
    for name in [
        "Lab",
        "1lab",
        "-lab",
        "lab-",
        "la--b",
        "la_b",
        "la.b",
        "l%20b",
        "l%C3%A1b",
        "l%40b",
        "%2e%2e%2e",
        "..%2Fx",
        "abcdefghijklmnopqrstuvwxyz12345",
    ] {
        for method in ["PUT", "POST"] {
            list.case(
                format!("{method} of a server called {name} is refused"),
                move |case| {
                    let ada = case.user("ada")?;
                    let answer = case
                        .admin()
                        .request(method, format!("users/{ada}/servers/{name}"))
                        .send()?;
                    answer.either(&[400, 404], "a name with a slash is a path of nothing")?;
                    Ok(())
                },
            );
        }
    }
}
