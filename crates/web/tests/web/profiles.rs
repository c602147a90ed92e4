//! Profiles: who may choose which one, on the page, by the API and by link; and what is remembered.

use std::collections::BTreeSet;

use lyceum_core::declared::DeclaredGroup;
use lyceum_core::limits::{Cap, Limits};
use lyceum_core::{GroupName, UserName};
use lyceum_hub::{FormReading, HubSettings, OptionsForm, Profile, Profiles};
use serde_json::json;

use crate::support::{Mood, Site};

/// Three profiles, one of them for the group `research`, in which ada is.
fn with_profiles(settings: &mut HubSettings) {
    settings.allow_named_servers = true;
    let research = GroupName::parse("research").unwrap();
    settings.declared.groups = vec![DeclaredGroup {
        name: research.clone(),
        users: vec![UserName::parse("ada").unwrap()],
        properties: None,
    }];
    let profile = |name: &str, memory: u64| Profile {
        name: name.to_owned(),
        title: format!("The {name} one"),
        limits: Limits {
            memory: Some(Cap::At(lyceum_core::HumanSize::from_bytes(memory))),
            ..Limits::default()
        },
        ..Profile::default()
    };
    settings.profiles = Profiles::new(vec![
        Profile {
            default: true,
            ..profile("small", 1 << 30)
        },
        profile("large", 3 << 30),
        Profile {
            groups: Some(BTreeSet::from([research])),
            ..profile("gpu", 16 << 30)
        },
    ]);
}

/// The value of the radio button that is chosen, and all values.
fn offered(page: &str) -> (Option<&str>, Vec<&str>) {
    let buttons = page
        .split("<input type=\"radio\" name=\"profile\" value=\"")
        .skip(1);
    let mut chosen = None;
    let mut all = Vec::new();
    for button in buttons {
        let name = button.split('"').next().unwrap();
        all.push(name);
        if button.split('>').next().unwrap().ends_with(" checked") {
            chosen = Some(name);
        }
    }
    (chosen, all)
}

#[tokio::test]
async fn the_page_offers_what_the_user_may_choose_and_remembers_it() {
    let site = Site::with(with_profiles).await;
    let mut bob = site.user("bob").await;
    let page = bob.get("/hub/spawn").await;
    page.assert_page(200);
    assert_eq!(
        offered(&page.text()),
        (Some("small"), vec!["small", "large"])
    );
    assert!(
        page.text().contains("Memory: up to 3 GiB"),
        "{}",
        page.text()
    );
    assert_eq!(site.spawner.starts(), 0);
    // The home page leads there, and does not start by itself.
    let home = bob.get("/hub/home").await.text();
    assert!(
        home.contains("<a class=\"button primary\" href=\"/hub/spawn/bob\">"),
        "{home}"
    );

    let answer = bob.post("/hub/spawn/bob", &[("profile", "large")]).await;
    answer.assert_leads_to("/hub/spawn-pending/bob");
    assert_eq!(site.spawner.last_options(), json!({"profile": "large"}));
    let home = bob.get("/hub/home").await.text();
    assert!(home.contains("<dd>The large one</dd>"), "{home}");
    assert_eq!(
        bob.api("DELETE", "/users/bob/server", None).await.status,
        204
    );
    let page = bob.get("/hub/spawn").await.text();
    assert_eq!(offered(&page).0, Some("large"), "as the last time");
    // Each server remembers its own.
    let page = bob.get("/hub/spawn/bob/lab").await.text();
    assert_eq!(offered(&page).0, Some("small"));
    let page = site.user("ada").await.get("/hub/spawn").await.text();
    assert_eq!(offered(&page).1, ["small", "large", "gpu"]);
}

#[tokio::test]
async fn a_profile_of_others_is_refused_by_page_link_and_api() {
    let site = Site::with(with_profiles).await;
    let mut bob = site.user("bob").await;
    for name in ["gpu", "none", ""] {
        let page = bob.post("/hub/spawn", &[("profile", name)]).await;
        page.assert_page(400);
        assert!(
            page.text().contains("There is no profile"),
            "{}",
            page.text()
        );
        assert_eq!(
            offered(&page.text()),
            (Some("small"), vec!["small", "large"])
        );
        let page = bob.get(&format!("/hub/spawn?profile={name}")).await;
        page.assert_page(400);
        assert_eq!(offered(&page.text()).1, ["small", "large"]);
        for (method, path, body) in [
            ("POST", "/users/bob/server", json!({"profile": name})),
            (
                "POST",
                "/users/bob/server",
                json!({"user_options": {"profile": name}}),
            ),
            ("POST", "/users/bob/servers/lab", json!({"profile": [name]})),
            (
                "PUT",
                "/users/bob/servers/lab",
                json!({"user_options": {"profile": name}}),
            ),
            (
                "PATCH",
                "/users/bob/server",
                json!({"user_options": {"profile": name}}),
            ),
        ] {
            let answer = bob.api(method, path, Some(body.clone())).await;
            assert_eq!(
                answer.status,
                400,
                "{method} {path} {body}: {}",
                answer.text()
            );
            assert!(
                answer.text().contains("there is no profile"),
                "{}",
                answer.text()
            );
        }
    }
    for wrong in [
        json!(1),
        json!(["small", "large"]),
        json!({"name": "small"}),
    ] {
        let body = json!({"user_options": {"profile": wrong}});
        let answer = bob.api("POST", "/users/bob/server", Some(body)).await;
        assert_eq!(answer.status, 400);
    }
    assert_eq!(site.spawner.starts(), 0);
    // It is the owner's groups that count: an administrator cannot give bob what is not for him.
    let mut root = site.user("root").await;
    let body = json!({"profile": "gpu"});
    let answer = root
        .api("POST", "/users/bob/server", Some(body.clone()))
        .await;
    assert_eq!(answer.status, 400);
    site.user("ada").await;
    let answer = root.api("POST", "/users/ada/server", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(site.spawner.last_options(), json!({"profile": "gpu"}));
}

#[tokio::test]
async fn links_and_the_api_start_at_once() {
    let site = Site::with(with_profiles).await;
    let mut bob = site.user("bob").await;
    bob.get("/hub/spawn?profile=large&x=1")
        .await
        .assert_leads_to("/hub/spawn-pending/bob?profile=large&x=1");
    assert_eq!(
        site.spawner.last_options(),
        json!({"profile": "large", "x": ["1"]}),
        "a profile is a text, whatever the fields of forms are"
    );
    let model = bob.api("GET", "/users/bob/server", None).await.json();
    assert_eq!(model["user_options"]["profile"], "large");
    // Without a word of it, the API takes the last one.
    for (path, body, expected) in [
        ("/users/bob/servers/a", None, json!({"profile": "small"})),
        (
            "/users/bob/servers/b",
            Some(json!({"y": 2})),
            json!({"profile": "small", "y": 2}),
        ),
        (
            "/users/bob/servers/c",
            Some(json!({"profile": null})),
            json!({"profile": "small"}),
        ),
    ] {
        assert_eq!(bob.api("POST", path, body).await.status, 201);
        assert_eq!(site.spawner.last_options(), expected);
    }
    let options = json!({"user_options": {"profile": "large"}});
    assert_eq!(
        bob.api("PUT", "/users/bob/servers/d", Some(options))
            .await
            .status,
        201
    );
    assert_eq!(
        bob.api("POST", "/users/bob/servers/d", None).await.status,
        201
    );
    assert_eq!(site.spawner.last_options(), json!({"profile": "large"}));
}

#[tokio::test]
async fn one_profile_is_no_choice_and_a_form_stands_below_the_profiles() {
    let site = Site::with(|settings| {
        with_profiles(settings);
        settings.profiles = Profiles::new(vec![settings.profiles.find("gpu").unwrap().clone()]);
    })
    .await;
    let mut ada = site.user("ada").await;
    ada.get("/hub/spawn")
        .await
        .assert_leads_to("/hub/spawn-pending/ada");
    assert_eq!(site.spawner.last_options(), json!({"profile": "gpu"}));
    let mut bob = site.user("bob").await;
    bob.get("/hub/spawn")
        .await
        .assert_leads_to("/hub/spawn-pending/bob");
    assert_eq!(site.spawner.last_options(), json!({}), "he may choose none");

    let site = Site::with(|settings| {
        with_profiles(settings);
        settings.servers.options_form = Some(OptionsForm {
            html: "<input name=\"size\">".to_owned(),
            reading: FormReading::Simple,
        });
    })
    .await;
    let mut bob = site.user("bob").await;
    let page = bob.get("/hub/spawn").await.text();
    let (profiles, form) = (page.find("value=\"large\""), page.find("name=\"size\""));
    assert!(profiles.is_some() && profiles < form, "{page}");
    bob.post("/hub/spawn", &[("profile", "large"), ("size", "xl")])
        .await;
    assert_eq!(
        site.spawner.last_options(),
        json!({"profile": "large", "size": "xl"})
    );
}

/// The spawner knows better than the hub who is in a group: somebody may have been taken out since the login.
#[tokio::test]
async fn a_profile_that_the_spawner_refuses_is_403_and_not_chosen_any_more() {
    let site = Site::with(with_profiles).await;
    let mut ada = site.user("ada").await;
    site.spawner.set_mood(Mood::Refuses);
    let page = ada.post("/hub/spawn/ada", &[("profile", "gpu")]).await;
    page.assert_page(403);
    let told = "You may not have that. Choose another one.";
    assert!(page.text().contains(told), "{}", page.text());
    assert_eq!(offered(&page.text()).0, Some("small"));
    let page = ada.get("/hub/spawn").await.text();
    assert_eq!(offered(&page).0, Some("small"));
    let body = json!({"profile": "gpu"});
    let answer = ada.api("POST", "/users/ada/server", Some(body)).await;
    answer.assert_api_error(403);
    assert!(answer.text().contains(told), "{}", answer.text());
    let progress = ada.api("GET", "/users/ada/server/progress", None).await;
    assert!(progress.text().contains("You may not have that."));
    // A start that names none has one that may be had.
    site.spawner.set_mood(Mood::Works);
    ada.api("POST", "/users/ada/server", None).await;
    assert_eq!(site.spawner.last_options(), json!({"profile": "small"}));
}
