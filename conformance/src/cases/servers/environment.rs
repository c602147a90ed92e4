//! What a server finds in its environment.

use serde_json::{Value, json};

use crate::failure::{ensure, same};
use crate::list::List;
use crate::response::texts;

pub(super) fn add(list: &mut List) {
    environment(list);
}

fn environment(list: &mut List) {
    // What a server finds in its environment; `{}` stands for the user's name.
    const VARIABLES: &[(&str, &str)] = &[
        ("JUPYTERHUB_USER", "{}"),
        ("JUPYTERHUB_SERVER_NAME", "lab"),
        ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-{}-lab"),
        ("JUPYTERHUB_BASE_URL", "/"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/user/{}/lab/"),
        (
            "JUPYTERHUB_OAUTH_CALLBACK_URL",
            "/user/{}/lab/oauth_callback",
        ),
        (
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
            r#"["access:servers!server={}/lab", "access:servers!user={}"]"#,
        ),
        (
            "JUPYTERHUB_OAUTH_SCOPES",
            r#"["access:servers!server={}/lab", "access:servers!user={}"]"#,
        ),
        ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]"),
        ("JUPYTERHUB_HOST", ""),
        ("JUPYTERHUB_PUBLIC_URL", ""),
        ("JUPYTERHUB_PUBLIC_HUB_URL", ""),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0"),
    ];
    for (name, wanted) in VARIABLES {
        list.case(
            format!("a server finds {name} in its environment"),
            move |case| {
                let ada = case.user("ada")?;
                case.start(&ada, "lab")?;
                let told = case
                    .anonymous()
                    .get(format!("/user/{ada}/lab/environment"))
                    .expect(200)?
                    .json()?;
                let found = &told["environment"][*name];
                let wanted = wanted.replace("{}", &ada);
                // Lists are compared as lists: spaces within JSON mean nothing.
                let text = found.as_str().unwrap_or("(absent)");
                let equal = match (
                    serde_json::from_str::<Value>(text),
                    serde_json::from_str::<Value>(&wanted),
                ) {
                    (Ok(found), Ok(wanted)) => found == wanted,
                    _ => text == wanted,
                };
                ensure!(equal, "{name} is {text:?} instead of {wanted:?}");
                case.stop(&ada, "lab")
            },
        );
    }
    list.case(
        "a server finds the addresses of the API, and a token for it",
        |case| {
            let ada = case.user("ada")?;
            case.start(&ada, "")?;
            let told = case
                .anonymous()
                .get(format!("/user/{ada}/environment"))
                .expect(200)?
                .json()?;
            let found = &told["environment"];
            let api = crate::case::text_of(found, "JUPYTERHUB_API_URL")?;
            ensure!(
                api.starts_with("http://") && api.ends_with("/hub/api"),
                "API URL {api}"
            );
            same!(
                found["JUPYTERHUB_ACTIVITY_URL"],
                json!(format!("{api}/users/{ada}/activity")),
                "activity URL"
            );
            let url = crate::case::text_of(found, "JUPYTERHUB_SERVICE_URL")?;
            ensure!(
                url.starts_with("http://127.0.0.1:") && url.ends_with(&format!("/user/{ada}/")),
                "URL {url}"
            );
            same!(
                found["JPY_API_TOKEN"],
                found["JUPYTERHUB_API_TOKEN"],
                "the token's old name"
            );
            let token = crate::case::text_of(found, "JUPYTERHUB_API_TOKEN")?;
            case.secret(&token);
            let scopes = texts(&case.with(&token).read("user")?["scopes"]);
            let wanted = [
                format!("access:servers!server={ada}/"),
                format!("read:users:activity!user={ada}"),
                format!("read:users:groups!user={ada}"),
                format!("read:users:name!user={ada}"),
                format!("users:activity!user={ada}"),
            ];
            same!(scopes, wanted, "the token's scopes");
            case.stop(&ada, "")
        },
    );
}
