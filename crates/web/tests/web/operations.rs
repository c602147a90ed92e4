//! What operators ask of a hub: metrics, routes, the event log, and its end.

use std::time::Duration;

use lyceum_hub::Ending;
use serde_json::{Value, json};

use crate::support::Site;

#[tokio::test]
async fn metrics_have_jupyterhubs_names_and_all_labels_from_the_start() {
    let site = Site::new().await;
    let mut root = site.user("root").await;
    let token = site.token("root", &["read:metrics"]).await;
    let authorization = format!("token {token}");
    for path in ["/hub/metrics", "/hub/api/metrics"] {
        let headers = [("authorization", authorization.as_str())];
        let answer = site.send("GET", path, &headers, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("content-type").starts_with("text/plain"));
        let text = answer.text();
        for line in [
            "# TYPE jupyterhub_server_spawn_duration_seconds histogram",
            "jupyterhub_server_spawn_duration_seconds_count{status=\"success\",reason=\"\"} 0",
            "jupyterhub_server_spawn_duration_seconds_bucket{le=\"2.5\",status=\"failure\",reason=\"throttled\"} 0",
            "jupyterhub_server_stop_seconds_count{status=\"failure\"} 0",
            "jupyterhub_login_duration_seconds_count{status=\"success\"} 1",
            "jupyterhub_active_users{period=\"30d\"}",
            "jupyterhub_running_servers 0",
            "jupyterhub_total_users 1",
            "# TYPE jupyterhub_csp_reports_total counter",
            "jupyterhub_csp_reports_total 0",
            "process_resident_memory_bytes ",
            "jupyterhub_request_duration_seconds_count{method=\"POST\",handler=\"/hub/login\",code=\"302\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
    assert_eq!(
        root.api("POST", "/users/root/server", None).await.status,
        201
    );
    let text = root.get("/hub/metrics").await.text();
    for line in [
        "jupyterhub_server_spawn_duration_seconds_count{status=\"success\",reason=\"\"} 1",
        "jupyterhub_running_servers 1",
        "handler=\"/hub/api/users/{user}/server\",code=\"201\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn metrics_are_not_for_everybody_unless_that_is_said() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let none = site.token("ada", &["read:users!user"]).await;
    let authorization = format!("token {none}");
    for path in ["/hub/metrics", "/hub/api/metrics"] {
        let headers = [("authorization", authorization.as_str())];
        site.send("GET", path, &headers, "").await.assert_page(403);
        site.send("GET", path, &[], "").await.assert_page(403);
        ada.get(path).await.assert_page(403);
    }
    let open = Site::with(|settings| settings.metrics.authenticate = false).await;
    for path in ["/hub/metrics", "/hub/api/metrics"] {
        assert_eq!(open.send("GET", path, &[], "").await.status, 200);
    }
}

#[tokio::test]
async fn the_proxy_is_asked_and_checked_but_not_replaced() {
    let site = Site::new().await;
    let mut root = site.user("root").await;
    let mut routes = root.api("GET", "/proxy", None).await.json();
    let data = routes["/"]["data"].as_object_mut().unwrap();
    let used = data.remove("last_activity").unwrap();
    assert!(used.as_str().unwrap().ends_with('Z'), "{used}");
    assert_eq!(
        routes,
        json!({"/": {"routespec": "/", "target": "http://127.0.0.1:8081", "data": {"hub": true}}})
    );
    let checked = root.api("POST", "/proxy", Some(json!({"x": 1}))).await;
    assert_eq!((checked.status, checked.body.len()), (200, 0));
    for (body, status) in [
        (Value::Null, 400),
        (json!([]), 400),
        (json!("x"), 400),
        (json!({"api_url": "http://127.0.0.1:1"}), 400),
        (json!({"auth_token": "x"}), 400),
        (json!({}), 200),
    ] {
        let answer = root.api("PATCH", "/proxy", Some(body.clone())).await;
        assert_eq!(answer.status, status, "{body}");
    }
    root.api("PATCH", "/proxy", None)
        .await
        .assert_api_error(400);
    let mut ada = site.user("ada").await;
    for method in ["GET", "POST", "PATCH"] {
        let answer = ada.api(method, "/proxy", Some(json!({}))).await;
        answer.assert_api_error(403);
    }
}

#[tokio::test]
async fn the_hub_ends_when_somebody_who_may_asks() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut root = site.user("root").await;
    ada.api("POST", "/shutdown", None)
        .await
        .assert_api_error(403);
    for body in [
        json!({"servers": "x"}),
        json!({"servers": null}),
        json!({"proxy": []}),
        json!([1]),
        json!(5),
    ] {
        root.api("POST", "/shutdown", Some(body))
            .await
            .assert_api_error(400);
    }
    let ending = tokio::time::timeout(Duration::from_millis(50), site.hub.ending());
    assert!(ending.await.is_err(), "nothing was asked for yet");
    let body = json!({"proxy": 1, "servers": false});
    let answer = root.api("POST", "/shutdown", Some(body)).await;
    assert_eq!(answer.status, 202);
    assert!(answer.json()["message"].is_string());
    let ending = tokio::time::timeout(Duration::from_secs(5), site.hub.ending());
    assert_eq!(
        ending.await,
        Ok(Ending::Asked {
            servers: Some(false)
        })
    );
}

#[tokio::test]
async fn health_is_told_to_everybody() {
    let site = Site::new().await;
    for path in ["/hub/health", "/hub/api/health"] {
        for method in ["GET", "HEAD"] {
            let answer = site.send(method, path, &[], "").await;
            assert_eq!((answer.status, answer.body.len()), (200, 0));
            assert_eq!(answer.header("content-type"), "text/html");
        }
    }
}
