//! Groups, their members and properties.

use serde_json::json;

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, names, texts};

pub(super) fn add(list: &mut List) {
    list.area("groups");
    reading(list);
    making(list);
    members(list);
    properties(list);
    permissions(list);
}

fn reading(list: &mut List) {
    list.case("GET groups/G shows members, roles and properties", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[&ada])?;
        let body = case.admin().read(format!("groups/{group}"))?;
        has_keys(&body, &["kind", "name", "roles", "users", "properties"])?;
        ensure!(
            body["kind"] == "group" && body["name"] == group,
            "model {body}"
        );
        same!(body["users"], json!([ada]), "users");
        ensure!(
            body["roles"] == json!([]) && body["properties"] == json!({}),
            "model {body}"
        );
        Ok(())
    });
    list.case(
        "a group of the configuration has its roles and properties",
        |case| {
            let body = case.admin().read(format!("groups/{}", fixture::GRADERS))?;
            same!(body["roles"], json!(["graders"]), "roles");
            let body = case.admin().read(format!("groups/{}", fixture::STUDENTS))?;
            same!(
                body["properties"],
                fixture::students_properties(),
                "properties"
            );
            Ok(())
        },
    );
    list.refused("GET of a group that does not exist is 404", 404, |case| {
        Ok(case.admin().get(format!("groups/{}", case.name("none"))))
    });
    list.case("GET groups is a list", |case| {
        let group = case.group("team", &[])?;
        let body = case.admin().read("groups")?;
        ensure!(names(&body).contains(&group), "{group} is not in {body}");
        Ok(())
    });
    list.case("GET groups is cut by limit and offset", |case| {
        case.group("team", &[])?;
        let all = case.admin().read("groups")?;
        let page = case.admin().read("groups?limit=1&offset=1")?;
        same!(names(&page).first(), names(&all).get(1), "the second group");
        Ok(())
    });
    list.case("GET groups can be wrapped", |case| {
        let answer = case
            .admin()
            .get("groups?limit=1")
            .header("Accept", "application/jupyterhub-pagination+json")
            .expect(200)?;
        let body = answer.json()?;
        has_keys(&body, &["items", "_pagination"])?;
        ensure!(
            body["_pagination"]["limit"] == 1,
            "page {}",
            body["_pagination"]
        );
        Ok(())
    });
}

fn making(list: &mut List) {
    list.case("POST groups/G makes an empty group", |case| {
        let group = case.name("team");
        let body = case
            .admin()
            .post(format!("groups/{group}"))
            .expect(201)?
            .json()?;
        ensure!(
            body["name"] == group && body["users"] == json!([]),
            "model {body}"
        );
        Ok(())
    });
    list.case("POST groups/G makes a group with members", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let group = case.name("team");
        let body = case
            .admin()
            .tell(format!("groups/{group}"), &json!({"users": [ada, bob]}))?
            .is(201)?
            .json()?;
        same!(texts(&body["users"]), [ada, bob], "users");
        Ok(())
    });
    list.refused("POST of a group that exists is 409", 409, |case| {
        let group = case.group("team", &[])?;
        Ok(case.admin().post(format!("groups/{group}")))
    });
    list.case(
        "POST groups/G with an unknown user is 400 and makes no group",
        |case| {
            let (group, nobody) = (case.name("team"), case.name("nobody"));
            case.admin()
                .post(format!("groups/{group}"))
                .json(&json!({"users": [nobody]}))
                .refused(400)?;
            case.admin().get(format!("groups/{group}")).refused(404)?;
            Ok(())
        },
    );
    for (name, body) in [
        ("an unknown key", json!({"color": "red"})),
        ("users that are a text", json!({"users": "ada"})),
        ("a list as body", json!(["ada"])),
    ] {
        list.refused(
            format!("POST groups/G with {name} is 400"),
            400,
            move |case| {
                Ok(case
                    .admin()
                    .post(format!("groups/{}", case.name("team")))
                    .json(&body))
            },
        );
    }
    list.differs(
        "POST groups/G with a number among the users is refused",
        [500, 400],
        "a 500 is never right for what a client sends",
        |case| {
            Ok(case
                .admin()
                .post(format!("groups/{}", case.name("team")))
                .json(&json!({"users": [7]})))
        },
    );
    list.case("POST groups makes several", |case| {
        let both = [case.name("team"), case.name("club")];
        let body = case
            .admin()
            .tell("groups", &json!({"groups": both}))?
            .is(201)?
            .json()?;
        same!(names(&body), both, "names");
        Ok(())
    });
    list.case("POST groups with users puts them into each", |case| {
        let ada = case.user("ada")?;
        let both = [case.name("team"), case.name("club")];
        case.admin()
            .tell("groups", &json!({"groups": both, "users": [ada]}))?
            .is(201)?;
        let body = case.admin().read(format!("users/{ada}"))?;
        let mut wanted = both.to_vec();
        wanted.sort();
        same!(texts(&body["groups"]), wanted, "groups");
        Ok(())
    });
    for (name, body) in [
        ("no names", json!({})),
        ("an empty list", json!({"groups": []})),
    ] {
        list.refused(
            format!("POST groups with {name} is 400"),
            400,
            move |case| Ok(case.admin().post("groups").json(&body)),
        );
    }
    list.refused("POST groups with one that exists is 409", 409, |case| {
        let group = case.group("team", &[])?;
        Ok(case
            .admin()
            .post("groups")
            .json(&json!({"groups": [group]})))
    });
    list.case("DELETE groups/G removes it, but not its members", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[&ada])?;
        case.admin()
            .delete(format!("groups/{group}"))
            .expect(204)?
            .empty()?;
        case.admin().get(format!("groups/{group}")).refused(404)?;
        let body = case.admin().read(format!("users/{ada}"))?;
        same!(body["groups"], json!([]), "groups");
        Ok(())
    });
    list.refused(
        "DELETE of a group that does not exist is 404",
        404,
        |case| Ok(case.admin().delete(format!("groups/{}", case.name("none")))),
    );
    list.case("a group's name may have spaces and accents", |case| {
        let group = case.name("gruppe ü");
        let path = group.replace(' ', "%20").replace('ü', "%C3%BC");
        let body = case
            .admin()
            .post(format!("groups/{path}"))
            .expect(201)?
            .json()?;
        ensure!(body["name"] == group, "name {}", body["name"]);
        case.admin().delete(format!("groups/{path}")).expect(204)?;
        Ok(())
    });
}

fn members(list: &mut List) {
    list.case("POST groups/G/users puts users in", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let group = case.group("team", &[&ada])?;
        let body = case
            .admin()
            .tell(format!("groups/{group}/users"), &json!({"users": [bob]}))?
            .is(200)?
            .json()?;
        same!(texts(&body["users"]), [ada, bob], "users");
        Ok(())
    });
    list.case("putting in who is in already is fine", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[&ada])?;
        let body = case
            .admin()
            .tell(format!("groups/{group}/users"), &json!({"users": [ada]}))?
            .is(200)?
            .json()?;
        same!(body["users"], json!([ada]), "users");
        Ok(())
    });
    list.case("DELETE groups/G/users takes users out", |case| {
        let (ada, bob) = (case.user("ada")?, case.user("bob")?);
        let group = case.group("team", &[&ada, &bob])?;
        let path = format!("groups/{group}/users");
        let body = case
            .admin()
            .delete(&path)
            .json(&json!({"users": [ada]}))
            .expect(200)?
            .json()?;
        same!(body["users"], json!([bob]), "users");
        case.admin()
            .delete(&path)
            .json(&json!({"users": [ada]}))
            .expect(200)?;
        Ok(())
    });
    list.case("names of members are made small", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[])?;
        let body = json!({"users": [ada.to_uppercase()]});
        let body = case
            .admin()
            .tell(format!("groups/{group}/users"), &body)?
            .is(200)?
            .json()?;
        same!(body["users"], json!([ada]), "users");
        Ok(())
    });
    for method in ["POST", "DELETE"] {
        for (name, body) in [
            ("no users", json!({})),
            ("a text", json!({"users": "ada"})),
            ("an unknown user", json!({"users": ["nobody-at-all"]})),
        ] {
            list.refused(
                format!("{method} groups/G/users with {name} is 400"),
                400,
                move |case| {
                    let group = case.group("team", &[])?;
                    Ok(case
                        .admin()
                        .request(method, format!("groups/{group}/users"))
                        .json(&body))
                },
            );
        }
        list.refused(
            format!("{method} groups/G/users of no group is 404"),
            404,
            move |case| {
                let ada = case.user("ada")?;
                let path = format!("groups/{}/users", case.name("none"));
                Ok(case
                    .admin()
                    .request(method, path)
                    .json(&json!({"users": [ada]})))
            },
        );
    }
    list.case("a member is one at once, for its scopes too", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        let before = texts(&case.with(&token).read("user")?["scopes"]);
        ensure!(
            !before.contains(&"list:users".to_owned()),
            "scopes {before:?}"
        );
        case.join(fixture::GRADERS, &[&ada])?;
        let after = texts(&case.with(&token).read("user")?["scopes"]);
        ensure!(after.contains(&"list:users".to_owned()), "scopes {after:?}");
        Ok(())
    });
}

fn properties(list: &mut List) {
    list.case("PUT groups/G/properties replaces them all", |case| {
        let group = case.group("team", &[])?;
        let path = format!("groups/{group}/properties");
        for properties in [
            json!({"a": 1, "b": [true, null, {"c": "d"}]}),
            json!({"e": "f"}),
            json!({}),
        ] {
            let body = case
                .admin()
                .put(&path)
                .json(&properties)
                .expect(200)?
                .json()?;
            same!(body["properties"], properties, "properties");
            let body = case.admin().read(format!("groups/{group}"))?;
            same!(body["properties"], properties, "properties");
        }
        Ok(())
    });
    for (name, body) in [
        ("a list", json!([1])),
        ("a text", json!("x")),
        ("a number", json!(1)),
    ] {
        list.refused(
            format!("PUT groups/G/properties with {name} is 400"),
            400,
            move |case| {
                let group = case.group("team", &[])?;
                Ok(case
                    .admin()
                    .put(format!("groups/{group}/properties"))
                    .json(&body))
            },
        );
    }
    list.refused("PUT of the properties of no group is 404", 404, |case| {
        let path = format!("groups/{}/properties", case.name("none"));
        Ok(case.admin().put(path).json(&json!({})))
    });
    list.refused("GET of properties alone is 405", 405, |case| {
        let group = case.group("team", &[])?;
        Ok(case.admin().get(format!("groups/{group}/properties")))
    });
}

fn permissions(list: &mut List) {
    for (method, path) in [
        ("GET", "groups"),
        ("POST", "groups"),
        ("GET", "groups/students"),
        ("POST", "groups/novel"),
        ("DELETE", "groups/students"),
        ("POST", "groups/students/users"),
        ("DELETE", "groups/students/users"),
        ("PUT", "groups/students/properties"),
    ] {
        list.refused(
            format!("{method} {path} is 403 without a scope"),
            403,
            move |case| Ok(case.with(fixture::OUTSIDER_TOKEN).request(method, path)),
        );
        list.refused(
            format!("{method} {path} is 403 for nobody"),
            403,
            move |case| Ok(case.anonymous().request(method, path)),
        );
    }
    list.case("groups!group= is for that group alone", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[])?;
        let body = json!({"users": [ada]});
        let tutor = case.with(fixture::TUTOR_TOKEN);
        tutor
            .tell(format!("groups/{}/users", fixture::STUDENTS), &body)?
            .is(200)?;
        tutor
            .tell(format!("groups/{group}/users"), &body)?
            .error_body(404)?;
        Ok(())
    });
    list.case("list:groups!group= lists that group", |case| {
        let group = case.group("team", &[])?;
        let token = case.scoped(&[&format!("list:groups!group={group}")])?;
        let body = case.with(&token).read("groups")?;
        same!(body, json!([{"kind": "group", "name": group}]), "groups");
        Ok(())
    });
    for (scope, keys) in [
        ("read:groups:name", &["kind", "name"][..]),
        ("read:groups", &["kind", "name", "users", "properties"]),
        ("read:roles:groups", &["kind", "name", "roles"]),
    ] {
        list.case(
            format!("{scope} shows these keys of a group"),
            move |case| {
                let group = case.group("team", &[])?;
                let token = case.scoped(&[&format!("{scope}!group={group}")])?;
                has_keys(&case.with(&token).read(format!("groups/{group}"))?, keys)
            },
        );
    }
}
