//! A hub below another base path, without named servers.

use crate::failure::{ensure, same};
use crate::fixture;
use crate::list::{List, Profile};

pub(super) fn add(list: &mut List) {
    list.area("base path");
    list.needs(Profile::Plain);
    plain(list);
}

fn plain(list: &mut List) {
    list.case("everything is below the base path", |case| {
        case.anonymous().get("").expect(200)?;
        case.anonymous().get("/hub/login").expect(200)?;
        case.anonymous().get("=/hub/login").expect(404)?;
        case.anonymous()
            .get("=/jupyter/")
            .send()?
            .leads_to(302, "/jupyter/hub/")?;
        Ok(())
    });
    list.case(
        "an administrator of the configuration is there from the start",
        |case| {
            let body = case
                .admin()
                .read(format!("users/{}", fixture::ADMIN_USER))?;
            ensure!(body["admin"] == true, "model {body}");
            Ok(())
        },
    );
    list.case("URLs in models have the base path", |case| {
        let ada = case.user("ada")?;
        case.start(&ada, "")?;
        let body = case.admin().read(format!("users/{ada}"))?;
        ensure!(
            body["server"] == format!("/jupyter/user/{ada}/"),
            "server {}",
            body["server"]
        );
        let server = &body["servers"][""];
        ensure!(
            server["progress_url"] == format!("/jupyter/hub/api/users/{ada}/server/progress"),
            "server {server}"
        );
        let told = case
            .anonymous()
            .get(format!("/user/{ada}/environment"))
            .expect(200)?
            .json()?;
        let found = &told["environment"];
        same!(
            found["JUPYTERHUB_BASE_URL"],
            serde_json::json!("/jupyter/"),
            "base URL"
        );
        same!(
            found["JUPYTERHUB_SERVICE_PREFIX"],
            serde_json::json!(format!("/jupyter/user/{ada}/")),
            "prefix"
        );
        case.stop(&ada, "")
    });
    list.case("cookies have the base path", |case| {
        let browser = case.browser();
        let answer = browser.log_in(&case.name("ada"))?;
        for (name, path) in [
            ("jupyterhub-hub-login", "/jupyter/hub/"),
            ("jupyterhub-session-id", "/jupyter/"),
        ] {
            same!(
                answer.cookie(name)?.attribute("path"),
                Some(path),
                "path of {name}"
            );
        }
        let xsrf = browser.jar.find("_xsrf");
        same!(
            xsrf.as_ref().and_then(|cookie| cookie.attribute("path")),
            Some("/jupyter/hub/"),
            "path of _xsrf"
        );
        Ok(())
    });
    list.case(
        "without redirect_to_server a login leads to the home page",
        |case| {
            let browser = case.browser();
            browser
                .log_in(&case.name("ada"))?
                .leads_to(302, "/jupyter/hub/home")?;
            Ok(())
        },
    );
    list.case("redirects have the base path", |case| {
        case.anonymous()
            .get("/hub/home")
            .send()?
            .leads_to(302, "/jupyter/hub/login?next=%2Fjupyter%2Fhub%2Fhome")?;
        case.anonymous()
            .get("/user/x/y?z")
            .send()?
            .leads_to(302, "/jupyter/hub/user/x/y?z")?;
        Ok(())
    });
    for method in ["PUT", "POST", "DELETE"] {
        list.case(
            format!("{method} of a named server is refused where there are none"),
            move |case| {
                let ada = case.user("ada")?;
                case.admin()
                    .request(method, format!("users/{ada}/servers/lab"))
                    .refused(400)?;
                Ok(())
            },
        );
    }
    list.case(
        "a page that starts a named server is refused where there are none",
        |case| {
            let ada = case.user("ada")?;
            let browser = case.browser_of(&ada)?;
            browser.open(format!("/hub/spawn/{ada}/lab")).expect(400)?;
            Ok(())
        },
    );
}
