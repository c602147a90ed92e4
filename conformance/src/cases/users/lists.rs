//! Lists of users: filters, orders, pages.

use serde_json::{Value, json};

use super::ALL_KEYS;
use crate::case::Case;
use crate::failure::{Failure, ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, names};

pub(super) fn add(list: &mut List) {
    list.area("user lists");
    listing(list);
    paging(list);
}

/// Makes three users with a common begin that nobody else's name has.
fn three(case: &Case<'_>) -> Result<(String, [String; 3]), Failure> {
    let stem = case.name("trio");
    let users = ["a", "b", "c"].map(|letter| format!("{stem}-{letter}"));
    case.admin()
        .tell("users", &json!({"usernames": users}))?
        .is(201)?;
    Ok((stem, users))
}

fn listing(list: &mut List) {
    list.case("GET users is a list of models", |case| {
        let (stem, users) = three(case)?;
        let body = case.admin().read(format!("users?name_filter={stem}"))?;
        same!(names(&body), users, "names");
        for model in body.as_array().into_iter().flatten() {
            has_keys(model, ALL_KEYS)?;
        }
        Ok(())
    });
    list.case("name_filter looks for a part, large or small", |case| {
        let (stem, users) = three(case)?;
        let body = case
            .admin()
            .read(format!("users?name_filter={}", stem.to_uppercase()))?;
        same!(names(&body), users, "names");
        let body = case.admin().read(format!(
            "users?name_filter={}-B",
            stem.trim_start_matches("tr")
        ))?;
        same!(names(&body), users.get(1..2).unwrap_or_default(), "names");
        Ok(())
    });
    for (sort, order) in [
        ("name", "abc"),
        ("-name", "cba"),
        ("id", "abc"),
        ("-id", "cba"),
    ] {
        list.case(
            format!("GET users?sort={sort} is in this order"),
            move |case| {
                let (stem, _) = three(case)?;
                let body = case
                    .admin()
                    .read(format!("users?name_filter={stem}&sort={sort}"))?;
                let found: String = names(&body)
                    .iter()
                    .filter_map(|name| name.chars().last())
                    .collect();
                same!(found, order, "order");
                Ok(())
            },
        );
    }
    for (sort, order) in [("last_activity", "bca"), ("-last_activity", "acb")] {
        list.case(
            format!(
                "GET users?sort={sort} puts who was never there {}",
                if sort.starts_with('-') {
                    "last"
                } else {
                    "first"
                }
            ),
            move |case| {
                let (stem, [a, _, c]) = three(case)?;
                // `b` stays without activity; `a` is later than `c`.
                for (name, time) in [(&c, "2020-01-01T00:00:00Z"), (&a, "2021-01-01T00:00:00Z")] {
                    let body = json!({"last_activity": time});
                    case.admin()
                        .tell(format!("users/{name}/activity"), &body)?
                        .is(200)?;
                }
                let body = case
                    .admin()
                    .read(format!("users?name_filter={stem}&sort={sort}"))?;
                let found: String = names(&body)
                    .iter()
                    .filter_map(|name| name.chars().last())
                    .collect();
                same!(found, order, "order");
                Ok(())
            },
        );
    }
    for query in [
        "sort=color",
        "sort=--name",
        "state=asleep",
        "limit=x",
        "offset=x",
        "limit=1.5",
    ] {
        list.refused(format!("GET users?{query} is 400"), 400, move |case| {
            Ok(case.admin().get(format!("users?{query}")))
        });
    }
    list.case(
        "GET users?state= tells active, ready and inactive apart",
        |case| {
            let (stem, [a, b, c]) = three(case)?;
            case.start(&a, "")?;
            case.stopped_server(&b, "lab")?;
            for (state, wanted) in [
                ("active", vec![&a]),
                ("ready", vec![&a]),
                ("inactive", vec![&b, &c]),
            ] {
                let body = case
                    .admin()
                    .read(format!("users?name_filter={stem}&state={state}"))?;
                same!(names(&body).iter().collect::<Vec<_>>(), wanted, "{state}");
            }
            case.stop(&a, "")
        },
    );
    list.case("GET users shows stopped servers when asked", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        for (query, shown) in [
            ("", false),
            ("&include_stopped_servers", true),
            ("&include_stopped_servers=1", true),
            ("&include_stopped_servers=0", false),
            ("&include_stopped_servers=false", false),
        ] {
            let body = case
                .admin()
                .read(format!("users?name_filter={ada}{query}"))?;
            same!(
                body[0]["servers"].get("lab").is_some(),
                shown,
                "shown for {query:?}"
            );
        }
        Ok(())
    });
    list.refused("GET users needs list:users", 403, |case| {
        Ok(case.with(fixture::OUTSIDER_TOKEN).get("users"))
    });
    list.refused("GET users is 403 for nobody", 403, |case| {
        Ok(case.anonymous().get("users"))
    });
    list.refused("GET users is 403 for a plain user", 403, |case| {
        let (_, token) = case.user_with_token("ada")?;
        Ok(case.with(&token).get("users"))
    });
    list.case("GET users with list:users!user= lists that one", |case| {
        let (_, [a, _, _]) = three(case)?;
        let token = case.scoped(&[&format!("list:users!user={a}")])?;
        let body = case.with(&token).read("users")?;
        same!(names(&body), [a], "names");
        Ok(())
    });
    list.case(
        "GET users with list:users!group= lists its members",
        |case| {
            let (_, [a, b, _]) = three(case)?;
            let group = case.group("team", &[&a, &b])?;
            let token = case.scoped(&[&format!("list:users!group={group}")])?;
            let body = case.with(&token).read("users")?;
            same!(names(&body), [a, b], "names");
            Ok(())
        },
    );
    list.refused("GET users with list:users!server= is 403", 403, |case| {
        let token = case.scoped(&["list:users!server=boss/"])?;
        Ok(case.with(&token).get("users"))
    });
    list.case(
        "the models of GET users hold what the scopes allow",
        |case| {
            let (stem, _) = three(case)?;
            let body = case
                .with(fixture::WATCHER_TOKEN)
                .read(format!("users?name_filter={stem}"))?;
            for model in body.as_array().into_iter().flatten() {
                has_keys(
                    model,
                    &[
                        "kind",
                        "name",
                        "admin",
                        "user_info",
                        "last_activity",
                        "servers",
                    ],
                )?;
            }
            same!(body.as_array().map_or(0, Vec::len), 3, "users");
            Ok(())
        },
    );
}

/// What a client sends to have pages with their ends.
const PAGES: &str = "application/jupyterhub-pagination+json";

fn paging(list: &mut List) {
    list.case("limit and offset cut a bare list", |case| {
        let (stem, [_, b, c]) = three(case)?;
        let body = case
            .admin()
            .read(format!("users?name_filter={stem}&offset=1"))?;
        same!(names(&body), [b.clone(), c], "names");
        let body = case
            .admin()
            .read(format!("users?name_filter={stem}&offset=1&limit=1"))?;
        same!(names(&body), [b], "names");
        Ok(())
    });
    list.case("negative numbers count as positive", |case| {
        let (stem, [_, b, _]) = three(case)?;
        let body = case
            .admin()
            .read(format!("users?name_filter={stem}&offset=-1&limit=-1"))?;
        same!(names(&body), [b], "names");
        Ok(())
    });
    list.case("limit=0 counts as 1", |case| {
        let (stem, [a, _, _]) = three(case)?;
        let body = case
            .admin()
            .read(format!("users?name_filter={stem}&limit=0"))?;
        same!(names(&body), [a], "names");
        Ok(())
    });
    list.case("a wrapped page tells where the next one is", |case| {
        let (stem, [a, b, c]) = three(case)?;
        let request = |path: String| case.admin().get(path).header("Accept", PAGES);
        let answer = request(format!("users?name_filter={stem}&limit=2"))
            .expect(200)?
            .has_type("application/json")?;
        let body = answer.json()?;
        has_keys(&body, &["items", "_pagination"])?;
        same!(names(&body["items"]), [a, b], "names");
        let page = &body["_pagination"];
        has_keys(page, &["offset", "limit", "total", "next"])?;
        ensure!(
            page["offset"] == 0 && page["limit"] == 2 && page["total"] == 3,
            "page {page}"
        );
        has_keys(&page["next"], &["offset", "limit", "url"])?;
        ensure!(
            page["next"]["offset"] == 2 && page["next"]["limit"] == 2,
            "next {}",
            page["next"]
        );
        let url = page["next"]["url"].as_str().unwrap_or_default();
        let path = url.strip_prefix(&format!("http://{}", case.target.host));
        ensure!(path.is_some(), "next.url {url} is not at this host");
        let body = request(format!("={}", path.unwrap_or_default()))
            .expect(200)?
            .json()?;
        same!(names(&body["items"]), [c], "names");
        ensure!(
            body["_pagination"]["next"].is_null(),
            "page {}",
            body["_pagination"]
        );
        Ok(())
    });
    list.case("a wrapped page has 50 items by default", |case| {
        let answer = case
            .admin()
            .get("users")
            .quiet()
            .header("Accept", PAGES)
            .expect(200)?;
        same!(
            answer.json()?["_pagination"]["limit"],
            Value::from(50),
            "limit"
        );
        Ok(())
    });
    list.case("a page has at most 200 items", |case| {
        let answer = case
            .admin()
            .get("users?limit=1000")
            .quiet()
            .header("Accept", PAGES)
            .expect(200)?;
        same!(
            answer.json()?["_pagination"]["limit"],
            Value::from(200),
            "limit"
        );
        Ok(())
    });
    for (accept, is_wrapped) in [
        ("application/json", false),
        (
            "application/json, application/jupyterhub-pagination+json",
            true,
        ),
        ("APPLICATION/JUPYTERHUB-PAGINATION+JSON", true),
        ("application/jupyterhub-pagination+json;q=0.9", false),
        ("*/*", false),
    ] {
        list.case(
            format!(
                "Accept: {accept} {} a page",
                if is_wrapped { "wraps" } else { "does not wrap" }
            ),
            move |case| {
                let answer = case
                    .admin()
                    .get("users?limit=1")
                    .quiet()
                    .header("Accept", accept)
                    .expect(200)?;
                same!(answer.json()?.is_object(), is_wrapped, "wrapped");
                Ok(())
            },
        );
    }
    list.case("an offset beyond the end gives nothing", |case| {
        let (stem, _) = three(case)?;
        let body = case
            .admin()
            .read(format!("users?name_filter={stem}&offset=100"))?;
        same!(body, json!([]), "users");
        Ok(())
    });
    list.case("the next page keeps the other parameters", |case| {
        let (stem, _) = three(case)?;
        let path = format!("users?name_filter={stem}&limit=1&sort=-name");
        let body = case
            .admin()
            .get(path)
            .header("Accept", PAGES)
            .expect(200)?
            .json()?;
        let url = body["_pagination"]["next"]["url"]
            .as_str()
            .unwrap_or_default();
        ensure!(
            url.contains(&format!("name_filter={stem}")) && url.contains("sort=-name"),
            "next.url {url}"
        );
        Ok(())
    });
}
