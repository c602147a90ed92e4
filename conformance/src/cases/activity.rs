//! Reports of activity.

use serde_json::json;

use crate::case::now;
use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::is_time;

pub(super) fn add(list: &mut List) {
    list.area("activity");
    list.case(
        "POST activity moves the user's time forward: 200, empty",
        |case| {
            let ada = case.user("ada")?;
            let body = json!({"last_activity": "2020-01-02T03:04:05.678901Z"});
            case.admin()
                .tell(format!("users/{ada}/activity"), &body)?
                .is(200)?
                .empty()?;
            let model = case.admin().read(format!("users/{ada}"))?;
            same!(
                model["last_activity"],
                json!("2020-01-02T03:04:05.678901Z"),
                "last_activity"
            );
            Ok(())
        },
    );
    list.case("an older time changes nothing", |case| {
        let ada = case.user("ada")?;
        let path = format!("users/{ada}/activity");
        for time in ["2021-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
            case.admin()
                .tell(&path, &json!({"last_activity": time}))?
                .is(200)?;
        }
        let model = case.admin().read(format!("users/{ada}"))?;
        same!(
            model["last_activity"],
            json!("2021-01-01T00:00:00Z"),
            "last_activity"
        );
        Ok(())
    });
    for (time, shown) in [
        ("2020-01-02T03:04:05", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05+02:00", "2020-01-02T01:04:05Z"),
        ("2020-01-02 03:04:05", "2020-01-02T03:04:05Z"),
        ("2020-01-02T03:04:05.5Z", "2020-01-02T03:04:05.500000Z"),
    ] {
        list.case(format!("the time {time} is understood"), move |case| {
            let ada = case.user("ada")?;
            case.admin()
                .tell(
                    format!("users/{ada}/activity"),
                    &json!({"last_activity": time}),
                )?
                .is(200)?;
            let model = case.admin().read(format!("users/{ada}"))?;
            same!(model["last_activity"], json!(shown), "last_activity");
            Ok(())
        });
    }
    list.case(
        "POST activity of servers moves theirs, not the user's",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            let time = now()
                .checked_add(jiff::SignedDuration::from_mins(2))
                .unwrap_or_default();
            let time = format!("{time:.6}");
            let body = json!({"servers": {"": {"last_activity": time}}});
            case.admin()
                .tell(format!("users/{ada}/activity"), &body)?
                .is(200)?;
            let model = case.admin().read(format!("users/{ada}/server"))?;
            same!(model["last_activity"], json!(time), "last_activity");
            case.stop(&ada, "")
        },
    );
    for (name, body) in [
        ("nothing", json!({})),
        ("unknown keys alone", json!({"color": "red"})),
        ("a time that is a number", json!({"last_activity": 5})),
        (
            "a time that is none",
            json!({"last_activity": "yesterday-ish"}),
        ),
        (
            "an unknown server",
            json!({"servers": {"none": {"last_activity": "2020-01-01T00:00:00Z"}}}),
        ),
        ("a server without a time", json!({"servers": {"": {}}})),
        ("servers that are a list", json!({"servers": ["a"]})),
        (
            "a time far in the future",
            json!({"last_activity": "2199-01-01T00:00:00Z"}),
        ),
        ("a list", json!([1])),
    ] {
        list.refused(
            format!("POST activity with {name} is 400"),
            400,
            move |case| {
                let ada = case.user("ada")?;
                Ok(case
                    .admin()
                    .post(format!("users/{ada}/activity"))
                    .json(&body))
            },
        );
    }
    list.refused("POST activity without a body is 400", 400, |case| {
        let ada = case.user("ada")?;
        Ok(case.admin().post(format!("users/{ada}/activity")))
    });
    list.case("a time a little in the future is taken", |case| {
        let ada = case.user("ada")?;
        let time = now()
            .checked_add(jiff::SignedDuration::from_mins(50))
            .unwrap_or_default();
        let body = json!({"last_activity": time.to_string()});
        case.admin()
            .tell(format!("users/{ada}/activity"), &body)?
            .is(200)?;
        Ok(())
    });
    list.case("the start of a server is activity of its user", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let model = case.admin().read(format!("users/{ada}"))?;
        is_time(&model["last_activity"])?;
        case.stop(&ada, "")
    });
    list.refused("POST activity of nobody is 404", 404, |case| {
        let body = json!({"last_activity": "2020-01-01T00:00:00Z"});
        Ok(case
            .admin()
            .post(format!("users/{}/activity", case.name("nobody")))
            .json(&body))
    });
    list.refused("POST activity needs users:activity", 403, |case| {
        let ada = case.user("ada")?;
        let body = json!({"last_activity": "2020-01-01T00:00:00Z"});
        Ok(case
            .with(fixture::WATCHER_TOKEN)
            .post(format!("users/{ada}/activity"))
            .json(&body))
    });
    list.refused(
        "POST activity of another user is 404 for a user",
        404,
        |case| {
            let (_, token) = case.user_with_token("ada")?;
            let bob = case.user("bob")?;
            let body = json!({"last_activity": "2020-01-01T00:00:00Z"});
            Ok(case
                .with(&token)
                .post(format!("users/{bob}/activity"))
                .json(&body))
        },
    );
    list.case("a server's own token reports activity, and nothing more", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let told = case.anonymous().get(format!("/user/{ada}/environment")).expect(200)?.json()?;
        let token = crate::case::text_of(&told["environment"], "JUPYTERHUB_API_TOKEN")?;
        case.secret(&token);
        let own = case.with(&token);
        let before = case.admin().read(format!("users/{ada}"))?["last_activity"].clone();
        own.get("user").expect(200)?;
        let after = case.admin().read(format!("users/{ada}"))?["last_activity"].clone();
        ensure!(before == after, "a request of the server's counts: {before} became {after}");
        let body = json!({"last_activity": now().to_string(), "servers": {"": {"last_activity": now().to_string()}}});
        own.tell(format!("users/{ada}/activity"), &body)?.is(200)?;
        own.delete(format!("users/{ada}/server")).send()?.either(&[403, 404], "either tells it nothing")?;
        case.stop(&ada, "")
    });
}
