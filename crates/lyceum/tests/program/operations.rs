//! What operators do with a running `lyceum serve`: end it over the API, read its metrics and its event log.

use std::fs;

use crate::support::{Site, alive, pause, text};

const TOKEN: &str = "a-token-of-the-operators";

/// A site with a service that may end the hub, an event log, and a form of options.
fn site() -> Site {
    let site = Site::new();
    let form = site.dir.path().join("options.html");
    fs::write(&form, "<input name=\"size\" value=\"small\">").unwrap();
    let log = site.dir.path().join("events.jsonl");
    site.add(&format!(
        "[servers]\noptions_form = \"{}\"\nevent_log = \"{}\"\n\
         [metrics]\nauthenticate = false\nprefix = \"classroom\"\n\
         [[services]]\nname = \"operators\"\napi_token = \"{TOKEN}\"\n\
         [[roles]]\nname = \"operators\"\nservices = [\"operators\"]\n\
         scopes = [\"shutdown\", \"servers\", \"proxy\"]\n",
        form.display(),
        log.display(),
    ));
    site
}

#[tokio::test]
async fn the_api_ends_the_hub_with_or_without_its_servers() {
    let site = site();
    for with_servers in [false, true] {
        let mut hub = site.serve().await;
        let cookies = hub.log_in("ada").await;
        let page = hub.get("/hub/spawn", &cookies).await;
        if with_servers {
            assert_eq!(page.status(), 302, "it outlived the hub");
        } else {
            assert!(text(page.body()).contains("<input name=\"size\""));
            let started = hub.call("/users/ada/server", TOKEN, Some("{}")).await;
            assert!(matches!(started.status().as_u16(), 201 | 202));
        }
        let pid = hub.await_server("ada").await;
        let routes = hub.call("/proxy", TOKEN, None).await;
        assert!(text(routes.body()).contains("\"/user/ada/\""));
        let metrics = hub.get("/hub/metrics", "").await;
        let metrics = text(metrics.body());
        assert!(
            metrics.contains("\nclassroom_hub_startup_duration_seconds_count 1\n"),
            "{metrics}"
        );
        let body = format!("{{\"servers\": {with_servers}}}");
        let ended = hub.call("/shutdown", TOKEN, Some(&body)).await;
        assert_eq!(ended.status(), 202, "{}", text(ended.body()));
        assert_eq!(hub.wait().code(), Some(0), "{}", hub.log());
        if with_servers {
            while alive(pid) {
                pause();
            }
        } else {
            assert!(alive(pid), "it was to go on");
        }
    }
    let log = fs::read_to_string(site.dir.path().join("events.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("\"action\":\"start\""), "{log}");
}

#[tokio::test]
async fn too_many_failed_starts_end_the_program_with_an_error() {
    let site = site();
    let text = fs::read_to_string(site.file()).unwrap();
    let missing = site.dir.path().join("missing").display().to_string();
    let command = text
        .lines()
        .find(|line| line.starts_with("command"))
        .unwrap();
    let text = text.replace(command, &format!("command = [\"{missing}\"]"));
    site.write(&text.replace("[servers]", "[servers]\nconsecutive_failure_limit = 2"));
    let mut hub = site.serve().await;
    hub.log_in("ada").await;
    for _ in 0..2 {
        let failed = hub.call("/users/ada/server", TOKEN, Some("{}")).await;
        assert_eq!(failed.status(), 500);
    }
    assert_eq!(hub.wait().code(), Some(1));
    assert!(
        hub.log()
            .contains("2 starts of servers have failed in a row")
    );
}
