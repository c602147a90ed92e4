//! Into a hub that has users already: what is here stays, what is new is added, and everything else is said.

use std::collections::BTreeSet;

use lyceum_core::{GroupName, Secret, ServerName, UserName, random};
use lyceum_hub::import::Kind;
use lyceum_store::jupyterhub::{self, Database, ShareReceiver, TokenOwner};
use lyceum_store::{NewRole, NewUser, RoleHolder, ServiceData, User};
use lyceum_testkit::jupyterhub::{Made, Version};
use serde_json::{Map, Value, json};

use super::{Ours, lines, now};

async fn source() -> Database {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jupyterhub.sqlite");
    Made::by(Version::V6).await.write(&file);
    jupyterhub::read(&file).await.unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

impl Ours {
    async fn user(&self, name: &str) -> User {
        let name = UserName::parse(name).unwrap();
        let mut tx = self.store.begin().await.unwrap();
        let new = NewUser {
            name: &name,
            admin: false,
            created: now(),
            cookie_id: &Secret::new(random::hex(16)),
        };
        let user = tx.create_user(new).await.unwrap();
        tx.commit().await.unwrap();
        user
    }

    async fn find(&self, name: &str) -> User {
        let name = UserName::parse(name).unwrap();
        self.store.get_user(&name).await.unwrap()
    }
}

#[tokio::test]
async fn users_of_the_same_name_are_one_and_keep_what_they_have() {
    let source = source().await;
    let ours = Ours::new().await;
    let ada = ours.user("ada").await;
    ours.user("carol").await;
    let info = object(json!({"affiliation": "here"}));
    let mut tx = ours.store.begin().await.unwrap();
    tx.set_user_info(ada.id, Some(&info)).await.unwrap();
    tx.set_auth_state(ada.id, Some(b"ours")).await.unwrap();
    tx.commit().await.unwrap();

    let report = ours.import(&source).await;
    let users = lines(&report, Kind::User);
    assert!(
        users.contains(&"changed carol: is an administrator now".to_owned()),
        "{users:#?}"
    );
    let line = users.iter().find(|line| line.contains(" ada")).unwrap();
    assert!(line.contains("user_info stays as it is here"), "{line}");

    let after = ours.find("ada").await;
    assert_eq!(after.id, ada.id);
    assert_eq!(after.created, ada.created);
    assert_eq!(after.user_info, Some(info));
    assert_eq!(
        after.cookie_id.expose(),
        ada.cookie_id.expose(),
        "nobody is logged out by an import"
    );
    let state = ours.store.find_auth_state(ada.id).await.unwrap();
    assert_eq!(state.as_deref(), Some(&b"ours"[..]));
    assert!(ours.find("carol").await.admin);
}

#[tokio::test]
async fn nobody_loses_the_flag_of_administrators() {
    let mut source = source().await;
    let ours = Ours::new().await;
    let ada = ours.user("ada").await;
    let mut tx = ours.store.begin().await.unwrap();
    tx.set_admin(ada.id, true).await.unwrap();
    tx.commit().await.unwrap();
    ours.import(&source).await;
    assert!(ours.find("ada").await.admin);

    // Somebody gave the role by hand, and the flag is not there.
    for user in source.users.iter_mut().filter(|user| user.name == "bob") {
        let admin = source.roles.iter_mut().find(|role| role.name == "admin");
        admin.unwrap().users.push(user.id);
    }
    ours.import(&source).await;
    assert!(ours.find("bob").await.admin);
}

#[tokio::test]
async fn groups_get_what_they_lack() {
    let source = source().await;
    let ours = Ours::new().await;
    let eve = ours.user("eve").await;
    let name = GroupName::parse("class").unwrap();
    let mut tx = ours.store.begin().await.unwrap();
    let class = tx.create_group(&name).await.unwrap();
    let properties = object(json!({"room": "A1", "teacher": "eve"}));
    tx.set_group_properties(class.id, &properties)
        .await
        .unwrap();
    tx.add_member(class.id, eve.id).await.unwrap();
    tx.commit().await.unwrap();

    let report = ours.import(&source).await;
    assert_eq!(
        lines(&report, Kind::Group)[0],
        "changed class: properties taken: seats; properties that stay as they are here: room; members added: bob, ada"
    );
    let class = ours.store.get_group(&name).await.unwrap();
    assert_eq!(
        Value::Object(class.properties),
        json!({"room": "A1", "teacher": "eve", "seats": 30})
    );
    let members = ours.store.members_of_group(class.id).await.unwrap();
    let names: Vec<_> = members.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["ada", "bob", "eve"]);
}

#[tokio::test]
async fn roles_keep_their_scopes_and_gain_holders() {
    let source = source().await;
    let ours = Ours::new().await;
    let mut tx = ours.store.begin().await.unwrap();
    let role = NewRole {
        name: "graders",
        description: "ours",
        scopes: &["read:hub".to_owned()],
        managed_by_auth: false,
    };
    tx.upsert_role(role).await.unwrap();
    tx.commit().await.unwrap();

    let report = ours.import(&source).await;
    let line = &lines(&report, Kind::Role)[0];
    assert!(
        line.starts_with("changed graders: its scopes stay as they are here"),
        "{line}"
    );
    let role = ours.store.get_role("graders").await.unwrap();
    assert_eq!(
        (role.description.as_str(), &role.scopes[..]),
        ("ours", &["read:hub".to_owned()][..])
    );
    let bob = ours.find("bob").await;
    let holders = ours.store.holders_of_role(role.id).await.unwrap();
    assert!(holders.contains(&RoleHolder::User(bob.id)));
    assert_eq!(holders.len(), 2);
}

#[tokio::test]
async fn the_configuration_that_roles_and_services_need_is_written_down() {
    let mut source = source().await;
    let mut ours = Ours::new().await;
    let text = ours.import(&source).await.configuration;
    for expected in [
        "[custom_scopes.\"custom:grades:read\"]",
        "name = \"configured\"",
        "api_token_file = ",
        "display = false",
        "info = { \"about\" = \"from the configuration\" }",
        "name = \"graders\"\ndescription = \"Those who grade\"\nscopes = [\"read:users!group=class\", \"custom:grades:read\"]\nusers = [\"bob\"]\ngroups = [\"class\"]\nservices = [\"configured\"]",
        "name = \"operators\"\nscopes = [\"read:hub\", \"shutdown\"]\nusers = [\"carol\"]",
        "name = \"user\"\nscopes = [\"self\", \"shares!user\"]\n",
    ] {
        assert!(
            text.contains(expected),
            "{expected}\n--- is missing in\n{text}"
        );
    }
    for secret in ["never to be printed", "configured-service-token", "sha512"] {
        assert!(!text.contains(secret), "{text}");
    }

    // A service that JupyterHub starts has variables, whose values may be secret.
    source.services[0].command = vec!["/opt/forum".to_owned(), "--port=1".to_owned()];
    let text = ours.import(&source).await.configuration;
    assert!(
        text.contains("command = [\"/opt/forum\", \"--port=1\"]\n# environment = { … }   JupyterHub sets: SECRET_THING\n"),
        "{text}"
    );
    assert!(!text.contains("never to be printed"), "{text}");

    // What is there already is not written again.
    ours.roles = ["graders", "operators", "user"].map(str::to_owned).into();
    ours.services = BTreeSet::from(["configured".to_owned()]);
    let report = ours.import(&source).await;
    assert!(
        !report.configuration.contains("[[roles]]"),
        "{}",
        report.configuration
    );
    assert!(
        !report.configuration.contains("[[services]]"),
        "{}",
        report.configuration
    );
    let services = lines(&report, Kind::Service);
    assert!(
        services[0].ends_with("is in lyceum.toml already"),
        "{services:#?}"
    );
}

#[tokio::test]
async fn a_group_that_holds_admin_keeps_that() {
    let mut source = source().await;
    let class = source.groups[0].id;
    let admin = source.roles.iter_mut().find(|role| role.name == "admin");
    admin.unwrap().groups.push(class);
    let ours = Ours::new().await;
    let report = ours.import(&source).await;
    assert!(
        report
            .configuration
            .contains("name = \"admin\"\ngroups = [\"class\"]\n"),
        "{}",
        report.configuration
    );
    let role = ours.store.get_role("admin").await.unwrap();
    let holders = ours.store.holders_of_role(role.id).await.unwrap();
    assert!(matches!(holders[..], [RoleHolder::Group(_)]), "{holders:?}");
}

#[tokio::test]
async fn services_of_the_same_name_stay_as_they_are() {
    let source = source().await;
    let mut ours = Ours::new().await;
    let name = lyceum_core::ServiceName::parse("pages").unwrap();
    let mut tx = ours.store.begin().await.unwrap();
    tx.upsert_service(&ServiceData::named(name.clone()))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    ours.services = BTreeSet::from(["plain".to_owned()]);
    let report = ours.import(&source).await;
    let services = lines(&report, Kind::Service);
    assert_eq!(
        services[1],
        "skipped plain: a service of this name is in lyceum.toml"
    );
    assert_eq!(services[2], "kept pages: stays as it is here");
    let service = ours.store.find_service(&name).await.unwrap().unwrap();
    assert!(!service.data.admin);
}

#[tokio::test]
async fn services_that_cannot_be_used_here_are_named_with_the_reason() {
    let mut source = source().await;
    for service in &mut source.services {
        match service.name.as_str() {
            "plain" => service.name = "pl%41in".to_owned(),
            "pages" => service.url = Some("https://127.0.0.1:9".to_owned()),
            _ => {}
        }
    }
    let ours = Ours::new().await;
    let report = ours.import(&source).await;
    let services = lines(&report, Kind::Service);
    assert!(services[1].contains("percent-escapes"), "{services:#?}");
    assert!(
        services[2].starts_with("skipped pages: `url`: "),
        "{services:#?}"
    );
    let tokens = lines(&report, Kind::Token);
    let line = tokens.iter().find(|line| line.contains("service pages"));
    assert!(
        line.unwrap().contains("its service is not taken"),
        "{tokens:#?}"
    );
}

#[tokio::test]
async fn tokens_and_codes_that_could_never_work_are_not_taken() {
    let mut source = source().await;
    let good = source
        .tokens
        .iter()
        .find(|token| token.note == "everything");
    let good = good.unwrap().clone();
    source.tokens.clear();
    for (id, change) in [
        "short digest",
        "other algorithm",
        "many rounds",
        "no prefix",
        "no owner",
        "unknown owner",
        "OAuth client",
        "no client",
        "expired",
    ]
    .into_iter()
    .enumerate()
    {
        let mut token = good.clone();
        token.id = i64::try_from(id).unwrap() + 100;
        token.note = change.to_owned();
        match change {
            "short digest" => _ = token.hashed.pop(),
            "other algorithm" => token.hashed = token.hashed.replace("sha512", "md5"),
            "many rounds" => token.hashed = token.hashed.replace("sha512:1:", "sha512:9999999:"),
            "no prefix" => token.prefix.clear(),
            "no owner" => token.owner = None,
            "unknown owner" => token.owner = Some(TokenOwner::User(9999)),
            "OAuth client" => token.client_id = Some("jupyterhub-user-ada".to_owned()),
            "no client" => token.client_id = None,
            _ => token.expires_at = Some(now()),
        }
        source.tokens.push(token);
    }
    source.share_codes[0].hashed.pop();
    let ours = Ours::new().await;
    let report = ours.import(&source).await;
    let tokens = lines(&report, Kind::Token);
    assert_eq!(tokens.len(), 6, "{tokens:#?}");
    assert!(
        tokens.iter().all(|line| line.starts_with("skipped ")),
        "{tokens:#?}"
    );
    let codes = lines(&report, Kind::ShareCode);
    assert_eq!(codes, ["skipped ada/lab: sc_1: its hash is damaged"]);
    let notes = report.notes.join("\n");
    assert!(
        notes.contains("expired tokens that are not taken: 1")
            && notes.contains("tokens of OAuth clients that are not taken: 2"),
        "{notes}"
    );
    let ada = ours.find("ada").await;
    let owner = lyceum_store::TokenOwner::User(ada.id);
    assert!(ours.store.tokens_of(owner, now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_belongs_to_somebody_who_is_not_taken_is_not_taken() {
    let mut source = source().await;
    for user in source.users.iter_mut().filter(|user| user.name == "ada") {
        user.name = "ada\u{202e}".to_owned();
    }
    let ours = Ours::new().await;
    let report = ours.import(&source).await;
    for (kind, reason) in [
        (Kind::Server, "its user is not taken"),
        (Kind::Token, "its user is not taken"),
        (Kind::Share, "its server is not taken"),
        (Kind::ShareCode, "its server is not taken"),
        (Kind::Group, "members who are not taken"),
    ] {
        let lines = lines(&report, kind);
        assert!(lines.iter().any(|line| line.contains(reason)), "{lines:#?}");
    }
}

#[tokio::test]
async fn shares_are_widened_and_never_narrowed() {
    let mut source = source().await;
    let ours = Ours::new().await;
    ours.import(&source).await;
    // There, bob may do something else by now.
    source.shares[0].scopes = vec!["read:servers!server=ada/lab".to_owned()];
    let report = ours.import(&source).await;
    assert_eq!(
        lines(&report, Kind::Share)[0],
        "changed ada/lab with bob: permits more now"
    );
    assert_eq!(report.changes(), 1);

    // Scopes that reach beyond the server do not become a share.
    source.shares[1].with = Some(ShareReceiver::User(source.users[0].id));
    source.shares[1].scopes = vec![
        "access:servers".to_owned(),
        "admin:users!user=ada".to_owned(),
    ];
    let report = ours.import(&source).await;
    assert_eq!(
        lines(&report, Kind::Share)[1],
        "skipped ada/lab with root: none of its scopes exists here"
    );
}

#[tokio::test]
async fn servers_keep_what_they_have_and_get_what_they_lack() {
    let mut source = source().await;
    for server in &mut source.servers {
        server.display_name = Some("Grand Lab".to_owned());
    }
    let ours = Ours::new().await;
    let ada = ours.user("ada").await;
    let mut tx = ours.store.begin().await.unwrap();
    let options = object(json!({"profile": "ours"}));
    let lab = ServerName::parse("lab").unwrap();
    let (server, _) = tx.ensure_server(ada.id, &lab, now()).await.unwrap();
    tx.set_user_options(server.id, Some(&options))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let report = ours.import(&source).await;
    let servers = lines(&report, Kind::Server);
    assert!(servers[1].starts_with("changed ada/lab: "), "{servers:#?}");
    assert!(
        servers[1].contains("options of its last start stay as they are here"),
        "{servers:#?}"
    );
    let server = ours.store.find_server(ada.id, &lab).await.unwrap().unwrap();
    assert_eq!(server.user_options, Some(options));
    assert_eq!(server.display_name.as_deref(), Some("Grand Lab"));
}
