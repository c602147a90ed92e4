//! Services: their tokens, OAuth clients, routes and programs, from one life of the hub to the next.

use std::time::Duration;

use futures_util::FutureExt as _;
use http::Method;
use lyceum_core::declared::{Declared, DeclaredRole};
use lyceum_core::seams::Routes as _;
use lyceum_core::service::{ServiceDraft, ServiceSpec};
use lyceum_core::{Secret, ServiceName, Upstream};
use lyceum_store::{Service, TokenOwner};
use lyceum_testkit::TestHub;
use lyceum_testkit::wait::eventually;
use serde_json::{Value, json};

use crate::declared::{hub_with, role, service, services};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER_TOKEN: &str = "fedcba9876543210fedcba9876543210";

fn draft(name: &str) -> ServiceDraft {
    ServiceDraft {
        name: name.to_owned(),
        ..ServiceDraft::default()
    }
}

fn with_token(name: &str, token: &str) -> ServiceDraft {
    ServiceDraft {
        api_token: Some(Secret::from(token)),
        ..draft(name)
    }
}

fn shell(name: &str, script: &str) -> ServiceSpec {
    service(ServiceDraft {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..draft(name)
    })
}

fn declared(services: Vec<ServiceSpec>) -> Declared {
    Declared {
        services,
        ..Declared::default()
    }
}

async fn then(hub: &mut TestHub, declared: Declared) {
    hub.change_settings(|settings| settings.declared = declared);
    hub.restart().await;
}

async fn row(hub: &TestHub, name: &str) -> Option<Service> {
    let name = ServiceName::parse(name).unwrap();
    hub.store().find_service(&name).await.unwrap()
}

/// The ids and notes of a service's tokens.
async fn tokens(hub: &TestHub, name: &str) -> Vec<(i64, String)> {
    let service = row(hub, name).await.unwrap();
    let owner = TokenOwner::Service(service.id);
    let tokens = hub.store().tokens_of(owner, hub.hub().now()).await.unwrap();
    tokens
        .into_iter()
        .map(|token| (token.id.0, token.note))
        .collect()
}

async fn me(hub: &TestHub, token: &str) -> (u16, Value) {
    let answer = hub.program(token).api(Method::GET, "/user", None).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_configured_token_works_and_the_one_before_no_more() {
    let mut hub = hub_with(declared(vec![service(with_token("forum", TOKEN))])).await;
    let (status, model) = me(&hub, TOKEN).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&model["kind"], &model["name"]),
        (&json!("service"), &json!("forum"))
    );
    assert_eq!(model["scopes"], json!([]));
    let before = tokens(&hub, "forum").await;
    // The same again: nothing is new.
    hub.restart().await;
    assert_eq!(tokens(&hub, "forum").await, before);
    then(
        &mut hub,
        declared(vec![service(with_token("forum", OTHER_TOKEN))]),
    )
    .await;
    assert_eq!(me(&hub, TOKEN).await.0, 403);
    assert_eq!(me(&hub, OTHER_TOKEN).await.0, 200);
    assert_eq!(tokens(&hub, "forum").await.len(), 1);
    // The token goes to another service together with its place in the configuration.
    then(
        &mut hub,
        declared(vec![service(with_token("board", OTHER_TOKEN))]),
    )
    .await;
    assert_eq!(me(&hub, OTHER_TOKEN).await.1["name"], "board");
    assert!(row(&hub, "forum").await.is_none());
    // Without one, none works.
    then(&mut hub, declared(vec![service(draft("board"))])).await;
    assert_eq!(me(&hub, OTHER_TOKEN).await.0, 403);
}

#[tokio::test]
async fn a_token_of_somebody_else_is_not_given_away() {
    let mut hub = TestHub::start().await;
    let admin = hub.admin().await;
    drop(admin);
    let mut program = hub.token("admin", &["inherit"]).await;
    let body = json!({"api_token": TOKEN});
    let made = program
        .api(Method::POST, "/services/board", Some(&body))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let again = program
        .api(Method::POST, "/services/forum", Some(&body))
        .await;
    assert_eq!(again.status, 400, "{}", again.text());
    assert!(row(&hub, "forum").await.is_none());
    hub.change_settings(|settings| {
        settings.declared = declared(vec![service(with_token("forum", TOKEN))]);
    });
    hub.crash().await;
    let begun = std::panic::AssertUnwindSafe(hub.begin())
        .catch_unwind()
        .await;
    assert!(begun.is_err(), "the hub has begun");
}

#[tokio::test]
async fn services_have_roles_and_the_flag_of_administrators() {
    let list = |admins: Option<&[&str]>| Declared {
        roles: vec![
            DeclaredRole {
                services: Some(services(&["forum"])),
                ..role("reader", &["list:users", "read:users:name"])
            },
            DeclaredRole {
                services: admins.map(services),
                ..role("admin", &[])
            },
        ],
        ..declared(vec![
            service(with_token("forum", TOKEN)),
            service(ServiceDraft {
                admin: true,
                ..with_token("master", OTHER_TOKEN)
            }),
        ])
    };
    let mut hub = hub_with(list(None)).await;
    hub.user_row("ada").await;
    let users = |token: &str| {
        let mut program = hub.program(token);
        async move { program.api(Method::GET, "/users", None).await }
    };
    let listed = users(TOKEN).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let listed = listed.json();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["name"])
        .collect();
    assert_eq!(names, ["admin", "ada"]);
    let (_, master) = me(&hub, OTHER_TOKEN).await;
    assert_eq!(master["admin"], true);
    assert!(master["scopes"].to_string().contains("admin:services"));
    // A list of the role is exact.
    then(&mut hub, list(Some(&["forum"]))).await;
    assert_eq!(me(&hub, OTHER_TOKEN).await.1["admin"], false);
    assert_eq!(me(&hub, TOKEN).await.1["admin"], true);
}

#[tokio::test]
async fn oauth_clients_follow_what_is_declared() {
    let forum = |url: Option<&str>, id: Option<&str>, token: &str| {
        declared(vec![service(ServiceDraft {
            url: url.map(str::to_owned),
            oauth_client_id: id.map(str::to_owned),
            oauth_client_allowed_scopes: vec!["self".to_owned()],
            ..with_token("forum", token)
        })])
    };
    let clients = async |hub: &TestHub| {
        let clients = hub.store().list_oauth_clients().await.unwrap();
        let own = clients
            .into_iter()
            .filter(|client| client.service_id.is_some());
        own.collect::<Vec<_>>()
    };
    let url = Some("http://127.0.0.1:1");
    let mut hub = hub_with(forum(url, None, TOKEN)).await;
    let [client] = &clients(&hub).await[..] else {
        panic!()
    };
    assert_eq!(client.identifier, "service-forum");
    assert_eq!(client.redirect_uri, "/services/forum/oauth_callback");
    assert_eq!(client.allowed_scopes, ["self"]);
    let hash = client.secret_hash.clone().unwrap();
    assert!(hash.matches(TOKEN) && hash.as_str().starts_with("sha512:16384:"));
    hub.restart().await;
    let [same] = &clients(&hub).await[..] else {
        panic!()
    };
    assert_eq!(same, client, "it is as it was");
    then(&mut hub, forum(url, Some("service-other"), OTHER_TOKEN)).await;
    let [other] = &clients(&hub).await[..] else {
        panic!()
    };
    assert_eq!(other.identifier, "service-other");
    assert!(other.secret_hash.as_ref().unwrap().matches(OTHER_TOKEN));
    then(&mut hub, forum(None, None, TOKEN)).await;
    assert!(clients(&hub).await.is_empty());
}

#[tokio::test]
async fn routes_are_there_before_the_service_answers_and_go_with_it() {
    let url = |text: &str| {
        service(ServiceDraft {
            url: Some(text.to_owned()),
            ..draft("forum ü")
        })
    };
    let mut hub = hub_with(declared(vec![url("unix:/no/such/socket")])).await;
    let routes = hub.recovered().to_vec();
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].route.spec.path_prefix(), "/services/forum ü/");
    assert_eq!(
        routes[0].route.target,
        Upstream::Unix("/no/such/socket".into())
    );
    assert_eq!(json!(routes[0].route.data), json!({"service": "forum ü"}));
    let mut visitor = hub.anonymous();
    let down = visitor.get("/services/forum%20%C3%BC/").await;
    assert_eq!(down.status, 503, "{}", down.text());
    // A check of the routes puts one back that has got lost, or leads astray.
    hub.routes().remove(&routes[0].route.spec).await.unwrap();
    hub.admin().await;
    let mut program = hub.token("admin", &["proxy"]).await;
    let checked = program.api(Method::POST, "/proxy", None).await;
    assert_eq!(checked.status, 200, "{}", checked.text());
    assert_eq!(hub.routes().list().await.unwrap().len(), 1);
    then(&mut hub, Declared::default()).await;
    assert!(hub.routes().list().await.unwrap().is_empty());
    // Nobody's: a page of the hub that says so.
    let unknown = hub.anonymous().get("/services/forum/").await;
    assert_eq!(
        (unknown.status, unknown.location()),
        (302, "/hub/services/forum/")
    );
}

#[tokio::test]
async fn services_of_the_api_come_back_with_their_routes_and_tokens() {
    let mut hub = TestHub::start().await;
    hub.admin().await;
    let mut program = hub.token("admin", &["inherit"]).await;
    let body = json!({
        "url": "http://127.0.0.1:1", "api_token": TOKEN, "display": false,
        "info": {"a": 1}, "oauth_client_allowed_scopes": ["read:users"],
    });
    let made = program
        .api(Method::POST, "/services/forum", Some(&body))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["prefix"], "/services/forum/");
    assert_eq!(hub.routes().list().await.unwrap().len(), 1);
    hub.restart().await;
    assert_eq!(hub.recovered().len(), 1);
    assert_eq!(me(&hub, TOKEN).await.1["name"], "forum");
    let mut program = hub.token("admin", &["inherit"]).await;
    let read = program.api(Method::GET, "/services/forum", None).await;
    assert_eq!(read.json(), made.json());
    let gone = program.api(Method::DELETE, "/services/forum", None).await;
    assert_eq!((gone.status, gone.text().as_str()), (200, ""));
    assert!(hub.routes().list().await.unwrap().is_empty());
    assert_eq!(me(&hub, TOKEN).await.0, 403);
    assert!(hub.store().list_oauth_clients().await.unwrap().is_empty());
}

/// The number of a service's process, as the API tells it; 0 if there is none.
async fn pid(hub: &TestHub, name: &str) -> i32 {
    let mut program = hub.token("admin", &["read:services"]).await;
    let path = format!("/services/{name}");
    let model = program.api(Method::GET, &path, None).await.json();
    model["pid"].as_i64().unwrap().try_into().unwrap()
}

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

async fn running(hub: &TestHub, name: &str) -> i32 {
    let mut found = 0;
    eventually("the service runs", async || {
        found = pid(hub, name).await;
        found != 0
    })
    .await;
    found
}

#[tokio::test]
async fn a_managed_service_asks_the_hub_and_is_started_again_when_it_ends() {
    let script = "printf %s \"$JUPYTERHUB_API_TOKEN\" >\"$0\"; exec sleep 1000";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let spec = service(ServiceDraft {
        command: ["/bin/sh", "-c", script, file.to_str().unwrap()]
            .map(str::to_owned)
            .to_vec(),
        ..draft("forum")
    });
    let mut hub = hub_with(declared(vec![spec])).await;
    hub.admin().await;
    let first = running(&hub, "forum").await;
    let token = async || {
        let mut token = String::new();
        eventually("the token is there", async || {
            token = std::fs::read_to_string(&file).unwrap_or_default();
            token.len() == 32
        })
        .await;
        token
    };
    let old = token().await;
    assert_eq!(me(&hub, &old).await.1["name"], "forum");
    kill(first);
    let mut second = first;
    eventually("the service runs again", async || {
        second = pid(&hub, "forum").await;
        second != first && second != 0
    })
    .await;
    assert!(lives(second));
    // The next life has one service, not two, with a fresh token; the old one ends.
    std::fs::remove_file(&file).unwrap();
    hub.restart().await;
    let third = running(&hub, "forum").await;
    eventually("the old process has ended", async || !lives(second)).await;
    let new = token().await;
    assert_ne!(new, old);
    assert_eq!(me(&hub, &old).await.0, 403);
    assert_eq!(me(&hub, &new).await.0, 200);
    assert_eq!(tokens(&hub, "forum").await.len(), 1);
    hub.end().await;
    assert!(!lives(third));
}

#[tokio::test]
async fn services_are_stopped_at_the_same_time() {
    let stubborn = "trap '' TERM INT; echo ready; while :; do sleep 0.05; done";
    let specs = (0..4)
        .map(|n| shell(&format!("stubborn{n}"), stubborn))
        .collect();
    let hub = hub_with(declared(specs)).await;
    hub.admin().await;
    let mut pids = Vec::new();
    for n in 0..4 {
        pids.push(running(&hub, &format!("stubborn{n}")).await);
    }
    // Each takes ten seconds, two times the grace; together they take no longer.
    let begun = std::time::Instant::now();
    assert!(hub.hub().stop_services(Duration::from_secs(19)).await);
    assert!(begun.elapsed() < Duration::from_secs(19));
    for pid in pids {
        assert!(!lives(pid));
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_started_holds_up_nobody() {
    let spec = service(ServiceDraft {
        command: vec!["no-such-program".to_owned()],
        url: Some("unix:/no/such/socket".to_owned()),
        ..draft("broken")
    });
    let hub = hub_with(declared(vec![spec, shell("good", "exec sleep 1000")])).await;
    hub.admin().await;
    running(&hub, "good").await;
    assert_eq!(pid(&hub, "broken").await, 0);
    assert_eq!(hub.anonymous().get("/services/broken/").await.status, 503);
}
