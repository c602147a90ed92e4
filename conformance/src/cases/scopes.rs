//! Scopes, roles and filters: what of a user, a server or a list each of them shows and allows.

use serde_json::json;

use crate::case::Case;
use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::List;
use crate::response::{has_keys, names, texts};

pub(super) fn add(list: &mut List) {
    list.area("scopes");
    user_keys(list);
    filters(list);
    expansion(list);
    meeting(list);
    custom(list);
    services_and_tokens(list);
}

fn user_keys(list: &mut List) {
    let rows: [(&str, &[&str]); 8] = [
        (
            "read:users",
            &[
                "kind",
                "name",
                "admin",
                "user_info",
                "roles",
                "groups",
                "server",
                "pending",
                "created",
                "last_activity",
            ],
        ),
        ("read:users:name", &["kind", "name", "admin", "user_info"]),
        ("read:users:groups", &["kind", "name", "groups"]),
        ("read:users:activity", &["kind", "name", "last_activity"]),
        ("read:roles:users", &["kind", "name", "admin", "roles"]),
        (
            "read:servers",
            &["kind", "name", "admin", "user_info", "servers"],
        ),
        ("list:users", &["kind", "name", "admin", "user_info"]),
        ("admin:auth_state", &[]),
    ];
    for (scope, keys) in rows {
        for filter in ["", "!user=", "!group="] {
            list.case(
                format!("{scope}{filter} shows these keys of a user"),
                move |case| {
                    let ada = case.user("ada")?;
                    let scope = match filter {
                        "" => scope.to_owned(),
                        "!user=" => format!("{scope}!user={ada}"),
                        _ => format!("{scope}!group={}", case.group("team", &[&ada])?),
                    };
                    let token = case.scoped(&[&scope])?;
                    let answer = case.with(&token).get(format!("users/{ada}"));
                    if keys.is_empty() {
                        answer.refused(404)?;
                        return Ok(());
                    }
                    has_keys(&answer.expect(200)?.json()?, keys)
                },
            );
        }
    }
    list.case("several scopes add their keys", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&["read:users:activity", "read:users:groups"])?;
        has_keys(
            &case.with(&token).read(format!("users/{ada}"))?,
            &["kind", "name", "groups", "last_activity"],
        )
    });
}

fn filters(list: &mut List) {
    for scope in [
        "read:users",
        "delete:users",
        "admin:users",
        "read:tokens",
        "users:activity",
        "read:servers",
    ] {
        let (method, path) = match scope {
            "delete:users" => ("DELETE", "users/{}"),
            "admin:users" => ("PATCH", "users/{}"),
            "read:tokens" => ("GET", "users/{}/tokens"),
            "users:activity" => ("POST", "users/{}/activity"),
            "read:servers" => ("GET", "users/{}/server"),
            _ => ("GET", "users/{}"),
        };
        list.refused(
            format!("{scope}!user= of one is 404 for another"),
            404,
            move |case| {
                let (ada, bob) = (case.user("ada")?, case.user("bob")?);
                let token = case.scoped(&[&format!("{scope}!user={ada}")])?;
                let body = json!({"last_activity": "2020-01-01T00:00:00Z"});
                let request = case.with(&token).request(method, path.replace("{}", &bob));
                Ok(if method == "GET" {
                    request
                } else {
                    request.json(&body)
                })
            },
        );
        list.refused(
            format!("{scope}!group= is 404 for who is no member"),
            404,
            move |case| {
                let bob = case.user("bob")?;
                let group = case.group("team", &[])?;
                let token = case.scoped(&[&format!("{scope}!group={group}")])?;
                let body = json!({"last_activity": "2020-01-01T00:00:00Z"});
                let request = case.with(&token).request(method, path.replace("{}", &bob));
                Ok(if method == "GET" {
                    request
                } else {
                    request.json(&body)
                })
            },
        );
    }
    list.case("read:servers!server= shows that server alone", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        case.stopped_server(&ada, "desk")?;
        let token = case.scoped(&[&format!("read:servers!server={ada}/lab")])?;
        let holder = case.with(&token);
        holder.get(format!("users/{ada}/servers/lab")).expect(200)?;
        holder
            .get(format!("users/{ada}/servers/desk"))
            .refused(404)?;
        // The filter means nothing for a user's own model.
        holder.get(format!("users/{ada}")).refused(404)?;
        Ok(())
    });
    list.case(
        "read:servers!user= shows servers of that user alone",
        |case| {
            let (ada, bob) = (case.user("ada")?, case.user("bob")?);
            case.stopped_server(&ada, "lab")?;
            case.stopped_server(&bob, "lab")?;
            let token = case.scoped(&[&format!("read:servers!user={ada}")])?;
            case.with(&token)
                .get(format!("users/{ada}/servers/lab"))
                .expect(200)?;
            case.with(&token)
                .get(format!("users/{bob}/servers/lab"))
                .refused(404)?;
            Ok(())
        },
    );
    list.case("a group's filter follows its members", |case| {
        let ada = case.user("ada")?;
        let group = case.group("team", &[])?;
        let token = case.scoped(&[&format!("read:users!group={group}")])?;
        case.with(&token).get(format!("users/{ada}")).refused(404)?;
        case.join(&group, &[&ada])?;
        case.with(&token).get(format!("users/{ada}")).expect(200)?;
        Ok(())
    });
    list.case("several filters of one scope add up", |case| {
        let (ada, bob, eve) = (case.user("ada")?, case.user("bob")?, case.user("eve")?);
        let token = case.scoped(&[
            &format!("read:users!user={ada}"),
            &format!("read:users!user={bob}"),
        ])?;
        for (name, status) in [(&ada, 200), (&bob, 200), (&eve, 404)] {
            case.with(&token)
                .get(format!("users/{name}"))
                .expect(status)?;
        }
        Ok(())
    });
    list.case(
        "a filter for somebody who does not exist is no mistake",
        |case| {
            let token = case.scoped(&["read:users!user=nobody-at-all"])?;
            case.with(&token).get("users/nobody-at-all").refused(404)?;
            Ok(())
        },
    );
    let asked = |case: &Case<'_>, scope: &str| {
        let path = format!("users/{}/tokens", fixture::ADMIN_USER);
        case.admin().tell(path, &json!({"scopes": [scope]}))
    };
    for scope in ["read:users!color=red", "read:users!user=", "!user=ada"] {
        list.case(
            format!("a token with the malformed scope {scope} is 400"),
            move |case| {
                asked(case, scope)?.error_body(400)?;
                Ok(())
            },
        );
    }
    for scope in ["read:users!", "read:users!user=a!user=b"] {
        list.case(
            format!("a token with the malformed scope {scope} is refused, or taken"),
            move |case| {
                asked(case, scope)?.either(
                    &[201, 400],
                    "JupyterHub reads something into it; a malformed scope is a mistake",
                )?;
                Ok(())
            },
        );
    }
}

fn expansion(list: &mut List) {
    let rows: [(&str, &[&str]); 12] = [
        (
            "admin:users",
            &[
                "users",
                "read:users",
                "list:users",
                "users:activity",
                "delete:users",
                "admin:auth_state",
                "read:roles:users",
                "read:users:name",
                "read:users:groups",
                "read:users:activity",
            ],
        ),
        (
            "users",
            &[
                "read:users",
                "list:users",
                "users:activity",
                "read:users:name",
                "read:users:groups",
                "read:users:activity",
            ],
        ),
        (
            "read:users",
            &[
                "read:users:name",
                "read:users:groups",
                "read:users:activity",
            ],
        ),
        (
            "admin:servers",
            &[
                "servers",
                "admin:server_state",
                "read:servers",
                "start:servers",
                "delete:servers",
                "read:users:name",
            ],
        ),
        (
            "servers",
            &[
                "read:servers",
                "start:servers",
                "delete:servers",
                "read:users:name",
            ],
        ),
        ("read:servers", &["read:users:name"]),
        ("tokens", &["read:tokens"]),
        (
            "admin:groups",
            &[
                "groups",
                "read:groups",
                "list:groups",
                "read:roles:groups",
                "delete:groups",
                "read:groups:name",
            ],
        ),
        (
            "groups",
            &["read:groups", "list:groups", "read:groups:name"],
        ),
        (
            "admin:services",
            &[
                "list:services",
                "read:services",
                "read:roles:services",
                "read:services:name",
            ],
        ),
        (
            "read:roles",
            &[
                "read:roles:users",
                "read:roles:services",
                "read:roles:groups",
            ],
        ),
        (
            "shares",
            &[
                "access:servers",
                "read:shares",
                "users:shares",
                "groups:shares",
                "read:users:shares",
                "read:groups:shares",
            ],
        ),
    ];
    for (scope, implied) in rows {
        list.case(
            format!("{scope} implies its subscopes, and nothing else"),
            move |case| {
                let token = case.scoped(&[scope])?;
                let found = texts(&case.with(&token).read("user")?["scopes"]);
                let identity = [
                    format!("read:users:name!user={}", fixture::ADMIN_USER),
                    format!("read:users:groups!user={}", fixture::ADMIN_USER),
                ];
                let mut wanted: Vec<String> =
                    implied.iter().map(|scope| (*scope).to_owned()).collect();
                wanted.push(scope.to_owned());
                for scope in identity {
                    let (plain, _) = scope.split_once('!').unwrap_or_default();
                    if !wanted.iter().any(|found| found == plain) {
                        wanted.push(scope);
                    }
                }
                wanted.sort();
                same!(found, wanted, "scopes");
                Ok(())
            },
        );
    }
    list.case("a filter is handed to subscopes", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&[&format!("servers!server={ada}/lab")])?;
        let found = texts(&case.with(&token).read("user")?["scopes"]);
        for scope in ["servers", "read:servers", "start:servers", "delete:servers"] {
            ensure!(
                found.contains(&format!("{scope}!server={ada}/lab")),
                "{scope} is not in {found:?}"
            );
        }
        // A server's filter means nothing for names of users.
        ensure!(
            !found
                .iter()
                .any(|scope| scope.starts_with("read:users:name!server")),
            "scopes {found:?}"
        );
        Ok(())
    });
    list.case("the role admin has all scopes of the hub", |case| {
        let found = texts(&case.admin().read("user")?["scopes"]);
        for scope in [
            "admin-ui",
            "admin:users",
            "admin:servers",
            "admin:services",
            "tokens",
            "admin:groups",
            "list:services",
            "read:services",
            "read:hub",
            "proxy",
            "shutdown",
            "access:services",
            "access:servers",
            "read:roles",
            "read:metrics",
            "shares",
        ] {
            ensure!(
                found.iter().any(|found| found == scope),
                "{scope} is not in {found:?}"
            );
        }
        Ok(())
    });
}

fn meeting(list: &mut List) {
    list.case("a filter by group meets one by user", |case| {
        let (ada, token) = case.user_with_token("ada")?;
        case.join(fixture::GRADERS, &[&ada])?;
        let bob = case.user("bob")?;
        case.join(fixture::STUDENTS, &[&bob])?;
        // The owner reads students; the token is for one of them.
        let narrow = case.token_of(&ada, Some(&[&format!("read:users!user={bob}")]))?;
        for token in [&narrow, &token] {
            let body = case.with(token).read(format!("users/{bob}"))?;
            ensure!(body.get("created").is_some(), "model {body}");
        }
        let path = format!("groups/{}/users", fixture::STUDENTS);
        case.admin()
            .delete(path)
            .json(&json!({"users": [bob]}))
            .expect(200)?;
        // Graders list all users, and so read all names.
        let body = case.with(&narrow).read(format!("users/{bob}"))?;
        ensure!(body.get("created").is_none(), "model {body}");
        Ok(())
    });
    list.case("a token for one server within the owner's", |case| {
        let ada = case.user("ada")?;
        case.stopped_server(&ada, "lab")?;
        case.stopped_server(&ada, "desk")?;
        let token = case.token_of(&ada, Some(&[&format!("read:servers!server={ada}/lab")]))?;
        case.with(&token)
            .get(format!("users/{ada}/servers/lab"))
            .expect(200)?;
        case.with(&token)
            .get(format!("users/{ada}/servers/desk"))
            .refused(404)?;
        Ok(())
    });
    list.case(
        "a group's role is that of its members, and ends with membership",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.with(&token).get("users").refused(403)?;
            case.join(fixture::GRADERS, &[&ada])?;
            case.with(&token).get("users").expect(200)?;
            let path = format!("groups/{}/users", fixture::GRADERS);
            case.admin()
                .delete(path)
                .json(&json!({"users": [ada]}))
                .expect(200)?;
            case.with(&token).get("users").refused(403)?;
            Ok(())
        },
    );
    list.case(
        "a list shows each user as far as the scopes reach",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.join(fixture::GRADERS, &[&ada])?;
            let stem = case.name("pair");
            let (inside, outside) = (format!("{stem}-a"), format!("{stem}-b"));
            case.admin()
                .tell("users", &json!({"usernames": [inside, outside]}))?
                .is(201)?;
            case.join(fixture::STUDENTS, &[&inside])?;
            let body = case
                .with(&token)
                .read(format!("users?name_filter={stem}"))?;
            same!(names(&body), [inside, outside], "names");
            ensure!(
                body[0].get("created").is_some() && body[0].get("servers").is_some(),
                "model {}",
                body[0]
            );
            ensure!(
                body[1].get("created").is_none() && body[1].get("servers").is_none(),
                "model {}",
                body[1]
            );
            Ok(())
        },
    );
}

fn custom(list: &mut List) {
    list.case(
        "a custom scope comes from a role, with its subscope",
        |case| {
            let (ada, token) = case.user_with_token("ada")?;
            case.join(fixture::APP_USERS, &[&ada])?;
            let found = texts(&case.with(&token).read("user")?["scopes"]);
            for scope in ["custom:lab:write", "custom:lab:read"] {
                ensure!(
                    found.iter().any(|found| found == scope),
                    "{scope} is not in {found:?}"
                );
            }
            Ok(())
        },
    );
    list.case("a token may hold a custom scope alone", |case| {
        let ada = case.user("ada")?;
        case.join(fixture::APP_USERS, &[&ada])?;
        let token = case.token_of(&ada, Some(&["custom:lab:read"]))?;
        let found = texts(&case.with(&token).read("user")?["scopes"]);
        ensure!(
            found.iter().any(|scope| scope == "custom:lab:read"),
            "scopes {found:?}"
        );
        ensure!(
            !found.iter().any(|scope| scope == "custom:lab:write"),
            "scopes {found:?}"
        );
        Ok(())
    });
    for scope in ["custom:unused", "custom:unknown", "custom:lab:write"] {
        list.refused(
            format!("a token cannot have {scope} if its owner has not"),
            400,
            move |case| {
                let ada = case.user("ada")?;
                Ok(case
                    .admin()
                    .post(format!("users/{ada}/tokens"))
                    .json(&json!({"scopes": [scope]})))
            },
        );
    }
    list.case("a custom scope may have a filter", |case| {
        let ada = case.user("ada")?;
        case.join(fixture::APP_USERS, &[&ada])?;
        let token = case.token_of(&ada, Some(&[&format!("custom:lab:read!user={ada}")]))?;
        let found = texts(&case.with(&token).read("user")?["scopes"]);
        ensure!(
            found.contains(&format!("custom:lab:read!user={ada}")),
            "scopes {found:?}"
        );
        Ok(())
    });
}

fn services_and_tokens(list: &mut List) {
    list.case("a service with tokens makes tokens for users", |case| {
        let ada = case.user("ada")?;
        let token = case.scoped(&[&format!("tokens!user={ada}")])?;
        case.with(&token)
            .post(format!("users/{ada}/tokens"))
            .expect(201)?;
        Ok(())
    });
    list.case(
        "a service that lists users sees what a culler needs",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "lab")?;
            let path = format!("users?state=ready&name_filter={ada}");
            let body = case.with(fixture::WATCHER_TOKEN).read(path)?;
            let server = &body[0]["servers"]["lab"];
            for key in [
                "name",
                "ready",
                "pending",
                "url",
                "started",
                "last_activity",
            ] {
                ensure!(server.get(key).is_some(), "{key} is not in {server}");
            }
            case.with(fixture::WATCHER_TOKEN)
                .delete(format!("users/{ada}/servers/lab"))
                .expect(204)?;
            Ok(())
        },
    );
    list.case(
        "a service for a group sees its members, and no others",
        |case| {
            let stem = case.name("pair");
            let (inside, outside) = (format!("{stem}-a"), format!("{stem}-b"));
            case.admin()
                .tell("users", &json!({"usernames": [inside, outside]}))?
                .is(201)?;
            case.join(fixture::STUDENTS, &[&inside])?;
            let tutor = case.with(fixture::TUTOR_TOKEN);
            same!(
                names(&tutor.read(format!("users?name_filter={stem}"))?),
                std::slice::from_ref(&inside),
                "names"
            );
            tutor.get(format!("users/{inside}")).expect(200)?;
            tutor.get(format!("users/{outside}")).refused(404)?;
            tutor.delete(format!("users/{outside}")).refused(404)?;
            tutor.delete(format!("users/{inside}")).expect(204)?;
            Ok(())
        },
    );
}
