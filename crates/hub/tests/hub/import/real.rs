//! Files that JupyterHub 5.4 and 6 have made: what is taken works here.

use lyceum_core::{GroupName, Secret, ServerName, UserName};
use lyceum_hub::CryptKeys;
use lyceum_hub::import::{Kind, Outcome};
use lyceum_store::jupyterhub::{self, Database};
use lyceum_store::{Page, Phase, SharesOf, Store, StoreSettings};
use lyceum_testkit::jupyterhub::{CRYPT_KEY, Made, Version};
use lyceum_testkit::{TestHub, Visitor};

use super::{Ours, lines, now};

async fn read(made: &Made) -> Database {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jupyterhub.sqlite");
    made.write(&file);
    jupyterhub::read(&file).await.unwrap()
}

#[tokio::test]
async fn everything_that_jupyterhub_5_and_6_store_is_taken_or_named() {
    for version in Version::ALL {
        let made = Made::by(version).await;
        let mut ours = Ours::new().await;
        ours.keys = Some(CryptKeys::parse(CRYPT_KEY).unwrap());
        let report = ours.import(&read(made).await).await;

        let info = match version {
            Version::V5 => "",
            Version::V6 => "user_info taken; ",
        };
        assert_eq!(
            lines(&report, Kind::User),
            [
                "added root: is an administrator",
                "added bob",
                "added carol: is an administrator",
                &format!("added ada: {info}auth_state taken"),
                "added a@b.cz",
                "added ümläut",
                "skipped ..: a name cannot consist of dots only",
                "skipped a/b: a name cannot contain a slash",
                "skipped line\nbreak: a name cannot contain control characters",
            ]
        );
        assert_eq!(
            lines(&report, Kind::Group),
            [
                "added class: properties taken: room, seats; members added: bob, ada",
                "added empty",
            ]
        );
        assert_eq!(
            lines(&report, Kind::Service),
            [
                "skipped configured: it comes from JupyterHub's configuration, and so belongs into lyceum.toml as [[services]]",
                "added plain",
                "added pages: is an administrator",
            ]
        );
        assert_eq!(
            lines(&report, Kind::Role),
            [
                "added graders: given to bob, group class; custom:grades:read grants nothing until [custom_scopes] has it",
                "added operators: given to carol",
                "added user",
            ]
        );
        let servers = lines(&report, Kind::Server);
        assert_eq!(servers.len(), 3, "{servers:#?}");
        assert!(
            servers[0].starts_with("added ada/: runs there"),
            "{servers:#?}"
        );
        assert!(
            servers[1].starts_with("added ada/lab: runs there"),
            "{servers:#?}"
        );
        assert_eq!(
            servers[2],
            "added bob/stopped: options of its last start taken"
        );
        assert_eq!(
            lines(&report, Kind::Share),
            ["added ada/lab with bob", "added ada/lab with group empty"]
        );
        assert_eq!(lines(&report, Kind::ShareCode), ["added ada/lab: sc_1"]);
        let tokens = lines(&report, Kind::Token);
        assert!(
            tokens[0].starts_with("skipped service configured"),
            "{tokens:#?}"
        );
        let added = tokens.iter().filter(|line| line.starts_with("added"));
        assert_eq!(added.count(), tokens.len() - 1, "{tokens:#?}");

        let notes = report.notes.join("\n");
        for expected in [
            "expired tokens that are not taken: 1",
            "tokens of running servers that are not taken: 2",
            "logins in browsers are not taken",
            "deleted at the next start",
        ] {
            assert!(notes.contains(expected), "{expected}: {notes}");
        }
    }
}

#[tokio::test]
async fn what_was_taken_is_in_the_store_as_it_was_there() {
    let made = Made::by(Version::V6).await;
    let source = read(made).await;
    let ours = Ours::new().await;
    ours.import(&source).await;
    let store = &ours.store;

    let ada = store
        .get_user(&UserName::parse("ada").unwrap())
        .await
        .unwrap();
    let there = source.users.iter().find(|user| user.name == "ada").unwrap();
    assert_eq!(Some(ada.created), there.created);
    assert_eq!(ada.last_activity, there.last_activity);
    assert!(!ada.admin);
    assert_eq!(ada.user_info.unwrap()["affiliation"], "analytical engines");
    // Without the key, what is encrypted is not taken.
    assert_eq!(store.find_auth_state(ada.id).await.unwrap(), None);

    let class = store
        .get_group(&GroupName::parse("class").unwrap())
        .await
        .unwrap();
    assert_eq!(class.properties["seats"], 30);

    let lab = ServerName::parse("lab").unwrap();
    let lab = store.find_server(ada.id, &lab).await.unwrap().unwrap();
    assert_eq!(lab.phase, Phase::Stopped);
    assert_eq!(lab.display_name, None);
    assert_eq!(lab.user_options.unwrap()["nested"]["a"][1], 2);

    let shares = store
        .list_shares(SharesOf::Owner(ada.id), Page::ALL, now())
        .await
        .unwrap();
    let scopes: Vec<_> = shares.items.iter().map(|share| &share.scopes).collect();
    assert_eq!(
        scopes,
        [
            &vec!["access:servers"],
            &vec!["access:servers", "read:servers"]
        ]
    );
    let code = Secret::from(made.secret("share_code"));
    let code = store.find_share_code(&code, now()).await.unwrap().unwrap();
    assert_eq!(code.server.to_string(), "ada/lab");
    assert!(code.expires_at.is_some());

    let client = store.find_oauth_client("service-pages").await.unwrap();
    let client = client.unwrap();
    assert!(client.secret_matches(&Secret::from(made.secret("service"))));
    assert!(client.redirect_uri.ends_with("/callback"));
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    for version in Version::ALL {
        let made = Made::by(version).await;
        let source = read(made).await;
        let mut ours = Ours::new().await;
        ours.keys = Some(CryptKeys::parse(CRYPT_KEY).unwrap());
        assert!(ours.import(&source).await.changes() > 20);
        let again = ours.import(&source).await;
        assert_eq!(again.changes(), 0, "{:#?}", again.items);
        let outcomes = again.items.iter().map(|item| item.outcome);
        assert!(outcomes.clone().any(|outcome| outcome == Outcome::Kept));
        assert!(outcomes.clone().any(|outcome| outcome == Outcome::Skipped));
    }
}

#[tokio::test]
async fn an_import_that_breaks_off_leaves_nothing() {
    let source = read(Made::by(Version::V6).await).await;
    let ours = Ours::new().await;
    assert!(ours.break_off(&source).await.changes() > 20);
    assert_eq!(ours.store.count_users().await.unwrap(), 0);
    assert!(ours.store.list_roles().await.unwrap().is_empty());
    assert!(ours.store.list_services().await.unwrap().is_empty());
}

#[tokio::test]
async fn auth_state_of_another_key_is_not_taken() {
    let source = read(Made::by(Version::V6).await).await;
    let mut ours = Ours::new().await;
    ours.keys = Some(CryptKeys::parse(&"cd".repeat(32)).unwrap());
    let report = ours.import(&source).await;
    let users = lines(&report, Kind::User);
    assert!(
        users[3].ends_with("auth_state is not taken: it is encrypted with another key"),
        "{users:#?}"
    );
}

/// Takes a file over into a hub between two of its lives.
async fn import_into(hub: &mut TestHub, made: &Made) {
    hub.end().await;
    let settings = StoreSettings::sqlite(hub.path("lyceum.sqlite"));
    let store = Store::open(&settings, now()).await.unwrap();
    let source = read(made).await;
    let ours = Ours::new().await;
    let mut tx = store.begin().await.unwrap();
    lyceum_hub::import::import(&mut tx, &source, ours.options())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    hub.begin().await;
}

async fn get(visitor: &mut Visitor, path: &str) -> (u16, serde_json::Value) {
    let answer = visitor.get(path).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_token_of_the_other_hub_works_here_as_it_did_there() {
    for version in Version::ALL {
        let made = Made::by(version).await;
        let mut hub = TestHub::start().await;
        import_into(&mut hub, made).await;

        // One round, made by the API; `inherit`.
        let (status, user) = get(&mut hub.program(made.secret("all")), "/hub/api/user").await;
        assert_eq!((status, &user["name"]), (200, &"ada".into()));
        let scopes = user["scopes"].as_array().unwrap();
        assert!(scopes.contains(&"servers!user=ada".into()), "{scopes:?}");
        // The changed role `user` is not in the configuration, so that the start has deleted it, as the report says.
        assert!(!scopes.contains(&"shares!user=ada".into()), "{scopes:?}");

        let (_, user) = get(&mut hub.program(made.secret("narrow")), "/hub/api/user").await;
        let scopes = user["scopes"].as_array().unwrap();
        assert!(scopes.contains(&"read:users!user=ada".into()), "{scopes:?}");
        assert!(!scopes.contains(&"servers!user=ada".into()), "{scopes:?}");

        // 16384 rounds, from JupyterHub's configuration.
        let root = "configured-admin-token-0123456789";
        let (status, user) = get(&mut hub.program(root), "/hub/api/user").await;
        assert_eq!((status, &user["name"]), (200, &"root".into()));
        assert_eq!(user["admin"], true);

        let (status, user) = get(&mut hub.program(made.secret("ümläut")), "/hub/api/user").await;
        assert_eq!((status, &user["name"]), (200, &"ümläut".into()));

        // A service's.
        let (status, service) =
            get(&mut hub.program(made.secret("service")), "/hub/api/user").await;
        assert_eq!((status, &service["name"]), (200, &"pages".into()));

        // What had expired there, what was cut short, and what never was.
        let all = made.secret("all");
        for wrong in [
            made.secret("soon"),
            "configured-service-token-01234",
            &all[..31],
            "",
        ] {
            let (status, _) = get(&mut hub.program(wrong), "/hub/api/user").await;
            assert_eq!(status, 403, "{wrong}");
        }
    }
}
