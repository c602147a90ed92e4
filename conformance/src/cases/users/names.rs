//! Names that hurt: through paths, servers, tokens.

use serde_json::json;

use crate::failure::{ensure, same};
use crate::list::List;

pub(super) fn add(list: &mut List) {
    difficult_names(list);
}

fn difficult_names(list: &mut List) {
    for (stem, escaped) in [
        ("a@b.cz", "a@b.cz"),
        ("user+tag", "user%2Btag"),
        ("üml", "%C3%BCml"),
        ("with space", "with%20space"),
        ("per%cent", "per%25cent"),
        ("quo'te", "quo%27te"),
        ("semi;colon", "semi%3Bcolon"),
        ("a_b.c~d", "a_b.c~d"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("<b>", "%3Cb%3E"),
    ] {
        list.case(format!("a user may be called {stem}"), move |case| {
            let name = case.name(stem);
            let path = name.replacen(stem, escaped, 1);
            let body = case
                .admin()
                .post(format!("users/{path}"))
                .expect(201)?
                .json()?;
            ensure!(body["name"] == name, "name {}", body["name"]);
            case.start(&path, "")?;
            let model = case.admin().read(format!("users/{path}/server"))?;
            same!(
                model["url"],
                json!(format!("{}/user/{path}/", case.target.base)),
                "url"
            );
            same!(model["full_name"], json!(format!("{name}/")), "full_name");
            case.anonymous()
                .get(format!("/user/{path}/api"))
                .expect(200)?;
            case.stop(&path, "")?;
            let token = case.token_of(&path, None)?;
            let body = case.with(&token).read("user")?;
            ensure!(body["name"] == name, "name {}", body["name"]);
            case.admin().delete(format!("users/{path}")).expect(204)?;
            Ok(())
        });
    }
    for (name, path) in [
        ("..", "=/hub/api/users/%2e%2e%2f"),
        ("a slash", "users/a%2Fb"),
        ("%252e%252e", "users/%252e%252e"),
        ("...", "users/..."),
        ("a space before it", "users/%20ada"),
        ("a space behind it", "users/ada%20"),
    ] {
        list.case(format!("nobody can be called {name}"), move |case| {
            case.admin().post(path).send()?.either(
                &[400, 404],
                "what a proxy resolves never reaches the hub as a name",
            )?;
            Ok(())
        });
    }
    list.case("a name of 255 characters works", |case| {
        let short = case.name("long");
        let name = format!("{short}{}", "x".repeat(255 - short.len()));
        case.admin().post(format!("users/{name}")).expect(201)?;
        let body = case.admin().read(format!("users/{name}"))?;
        ensure!(body["name"] == name, "name {}", body["name"]);
        case.admin().delete(format!("users/{name}")).expect(204)?;
        Ok(())
    });
}
