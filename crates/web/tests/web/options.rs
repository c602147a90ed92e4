//! What people choose before a start: the form, its files, and links with options.

use lyceum_hub::{FormReading, HubSettings, OptionsForm};
use serde_json::json;

use crate::support::{Mood, Site};

fn with_form(settings: &mut HubSettings) {
    settings.allow_named_servers = true;
    settings.servers.options_form = Some(OptionsForm {
        html: "<select name=\"size\"><option>small</option></select>".to_owned(),
        reading: FormReading::Passthrough,
    });
}

#[tokio::test]
async fn the_form_is_asked_for_before_a_start() {
    let site = Site::with(with_form).await;
    let mut ada = site.user("ada").await;
    let page = ada.get("/hub/spawn?next=/user/ada/lab%20x").await;
    page.assert_page(200);
    assert!(page.text().contains("<select name=\"size\">"));
    assert!(
        page.text()
            .contains("action=\"/hub/spawn/ada?next=%2Fuser%2Fada%2Flab+x\""),
        "{}",
        page.text()
    );
    assert_eq!(site.spawner.starts(), 0);
    let fields = [("size", "big"), ("size", "blue")];
    let answer = ada.post("/hub/spawn/ada?next=%2Fuser%2Fada%2Flab", &fields);
    answer
        .await
        .assert_leads_to("/hub/spawn-pending/ada?next=/user/ada/lab");
    assert_eq!(
        site.spawner.last_options(),
        json!({"size": ["big", "blue"]}),
        "without `_xsrf`"
    );
}

#[tokio::test]
async fn files_come_along_and_are_left_out_of_the_model() {
    let site = Site::with(with_form).await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    let body = "--x\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\nbig\r\n\
        --x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain\r\n\r\nhello\r\n--x--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=x")];
    let refused = ada.send("POST", "/hub/spawn", &kind, body).await;
    refused.assert_page(403);
    let path = format!("/hub/spawn?_xsrf={xsrf}");
    let answer = ada.send("POST", &path, &kind, body).await;
    answer.assert_leads_to("/hub/spawn-pending/ada");
    let options = site.spawner.last_options();
    assert_eq!(options["f_file"][0]["body"]["data"], "aGVsbG8=");
    let model = ada.api("GET", "/users/ada/server", None).await.json();
    let shown = &model["user_options"]["f_file"][0];
    assert_eq!(shown["filename"], "a.txt");
    assert_eq!(shown["body"], json!({"__jupyterhub_bytes__": true}));
    let big = format!("{body}{}", "x".repeat(1024 * 1024));
    let too_large = ada.send("POST", &path, &kind, big).await;
    too_large.assert_page(413);
}

#[tokio::test]
async fn what_was_wrong_is_said_above_the_form() {
    let site = Site::with(with_form).await;
    let mut ada = site.user("ada").await;
    let reserved = ada.post("/hub/spawn", &[("__jupyterhub_x", "1")]).await;
    reserved.assert_page(400);
    assert!(reserved.text().contains("<select name=\"size\">"));
    assert!(reserved.text().contains("reserved"));
    site.spawner.set_mood(Mood::Fails);
    let failed = ada.post("/hub/spawn", &[("size", "big")]).await;
    failed.assert_page(500);
    assert!(failed.text().contains("<select name=\"size\">"));
    assert!(failed.text().contains("The disk is full."));
}

#[tokio::test]
async fn links_can_carry_options() {
    let site = Site::with(with_form).await;
    let mut ada = site.user("ada").await;
    ada.get("/hub/spawn?opt-=1").await.assert_page(422);
    ada.get("/hub/spawn?opt-__jupyterhub_x=1")
        .await
        .assert_page(400);
    assert_eq!(site.spawner.starts(), 0);
    let link =
        "/hub/spawn/ada/lab?opt-a=1&opt-a=2&b=3&display_name=Lab%201&next=%2Fuser%2Fada%2Flab%2F";
    ada.get(link)
        .await
        .assert_leads_to("/hub/spawn-pending/ada/lab?opt-a=1&opt-a=2&b=3&next=/user/ada/lab/");
    assert_eq!(site.spawner.last_options(), json!({"a": ["1", "2"]}));
    let lab = ada.api("GET", "/users/ada/servers/lab", None).await.json();
    assert_eq!(lab["display_name"], "Lab 1");
    ada.get("/hub/spawn?x=on").await;
    assert_eq!(
        site.spawner.last_options(),
        json!({"x": ["on"]}),
        "without the mark, as in older links"
    );
    let bad = ada
        .get("/hub/spawn/ada/other?display_name=a%0Ab&opt-a=1")
        .await;
    bad.assert_page(400);
}

#[tokio::test]
async fn single_values_can_be_taken_as_they_are() {
    let site = Site::with(|settings| {
        with_form(settings);
        if let Some(form) = &mut settings.servers.options_form {
            form.reading = FormReading::Simple;
        }
    })
    .await;
    let mut ada = site.user("ada").await;
    let fields = [("size", "big"), ("gpu", "on"), ("m", "1"), ("m", "2")];
    ada.post("/hub/spawn", &fields).await;
    assert_eq!(
        site.spawner.last_options(),
        json!({"size": "big", "gpu": true, "m": ["1", "2"]})
    );
}
