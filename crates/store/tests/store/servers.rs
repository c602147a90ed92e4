//! Servers, and what is written down of their runs.

use lyceum_core::ids::ServerId;
use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::route::Upstream;
use lyceum_core::seams::Handle;
use lyceum_store::{NewOAuthClient, Phase, ServerCounts, Store, StoreError};
use serde_json::json;

use crate::support::{add_user, at, object, on_both_engines, server_name};

on_both_engines!(
    a_server_is_made_once,
    a_run_is_written_down_step_by_step,
    a_failure_is_kept_until_the_next_start,
    servers_are_counted_and_listed,
    a_server_can_be_renamed,
    changing_no_server_is_an_error,
    a_servers_client_is_noted_and_forgotten,
);

pub(crate) fn run() -> (Handle, Upstream) {
    (
        Handle(json!({"pid": 12, "started": 99})),
        Upstream::Unix("/run/lyceum/ada.sock".into()),
    )
}

async fn a_server_is_made_once(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let (first, new) = tx
        .ensure_server(ada.id, &server_name(""), at(3))
        .await
        .unwrap();
    assert!(new && first.name.is_default());
    assert_eq!((first.phase, first.created), (Phase::Stopped, at(3)));
    assert_eq!((&first.user_options, first.started), (&None, None));
    let (second, new) = tx
        .ensure_server(ada.id, &server_name(""), at(4))
        .await
        .unwrap();
    assert!(!new);
    assert_eq!(first, second);
    let nobody = lyceum_core::ids::UserId(99);
    let error = tx.ensure_server(nobody, &server_name(""), at(0)).await;
    assert!(matches!(error, Err(StoreError::Orphan { .. })), "{error:?}");
}

async fn a_run_is_written_down_step_by_step(store: Store) {
    let ada = add_user(&store, "ada").await;
    let (handle, upstream) = run();
    let mut tx = store.begin().await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name("lab"), at(0))
        .await
        .unwrap();
    let options = object(json!({"profile": "big"}));
    tx.record_start(server.id, "mark", at(10), Some(&options))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(found.phase, Phase::Starting);
    assert_eq!(found.marker.as_deref(), Some("mark"));
    assert_eq!(
        (found.started, found.last_activity),
        (Some(at(10)), Some(at(10)))
    );
    assert_eq!(found.user_options, Some(options.clone()));
    assert_eq!((found.handle, found.upstream), (None, None));

    let mut tx = store.begin().await.unwrap();
    tx.record_handle(server.id, &handle).await.unwrap();
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(found.phase, Phase::Starting);
    assert_eq!(found.handle, Some(handle.clone()));

    let mut tx = store.begin().await.unwrap();
    tx.record_running(server.id, &handle, &upstream)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(found.phase, Phase::Running);
    assert_eq!(
        (found.handle, found.upstream),
        (Some(handle), Some(upstream))
    );

    let mut tx = store.begin().await.unwrap();
    tx.record_stopping(server.id).await.unwrap();
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(found.phase, Phase::Stopping);
    assert!(found.handle.is_some() && found.marker.is_some());

    let mut tx = store.begin().await.unwrap();
    tx.record_stopped(server.id, None).await.unwrap();
    // The next start without options uses the old ones.
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(found.phase, Phase::Stopped);
    assert_eq!((found.handle, found.upstream), (None, None));
    assert_eq!((found.marker, found.started), (None, None));
    assert_eq!(found.user_options, Some(options.clone()));

    let mut tx = store.begin().await.unwrap();
    tx.record_start(server.id, "two", at(5), None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(found.user_options, Some(options));
    assert_eq!(
        (found.started, found.last_activity),
        (Some(at(5)), Some(at(10)))
    );
}

async fn find(store: &Store, id: ServerId) -> lyceum_store::Server {
    let (user, server) = store.find_server_by_id(id).await.unwrap().unwrap();
    assert_eq!(user.as_str(), "ada");
    server
}

async fn a_failure_is_kept_until_the_next_start(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut failure = Failure::new(Cause::ExitedEarly, "It ended.", "Look at the log.");
    failure.log = vec!["line \"1\"".to_owned(), "žluť".to_owned()];
    let mut tx = store.begin().await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    tx.record_start(server.id, "m", at(1), None).await.unwrap();
    tx.record_stopped(server.id, Some(&failure)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(find(&store, server.id).await.failure, Some(failure));
    let mut tx = store.begin().await.unwrap();
    tx.record_start(server.id, "n", at(2), None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(find(&store, server.id).await.failure, None);
}

async fn servers_are_counted_and_listed(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let (handle, upstream) = run();
    let mut tx = store.begin().await.unwrap();
    let mut ids = Vec::new();
    for (user, name) in [(&ada, "z"), (&ada, ""), (&bob, ""), (&bob, "lab")] {
        let (server, _) = tx
            .ensure_server(user.id, &server_name(name), at(0))
            .await
            .unwrap();
        ids.push(server.id);
    }
    tx.record_start(ids[0], "a", at(1), None).await.unwrap();
    tx.record_running(ids[2], &handle, &upstream).await.unwrap();
    tx.record_stopping(ids[3]).await.unwrap();
    tx.commit().await.unwrap();

    let counts = store.count_servers().await.unwrap();
    let expected = ServerCounts {
        stopped: 1,
        starting: 1,
        running: 1,
        stopping: 1,
        named: 2,
    };
    assert_eq!(counts, expected);
    assert_eq!(counts.active(), 3);
    let of_ada = store.count_servers_of_user(ada.id).await.unwrap();
    assert_eq!((of_ada.active(), of_ada.stopped, of_ada.named), (1, 1, 1));

    let active = store.list_active_servers().await.unwrap();
    let active: Vec<_> = active
        .iter()
        .map(|(user, server)| (user.as_str(), server.name.as_str(), server.phase))
        .collect();
    assert_eq!(
        active,
        [
            ("ada", "z", Phase::Starting),
            ("bob", "", Phase::Running),
            ("bob", "lab", Phase::Stopping)
        ]
    );
    let of_ada = store.servers_of_user(ada.id).await.unwrap();
    let names: Vec<_> = of_ada.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["", "z"]);
}

async fn a_server_can_be_renamed(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut tx = store.begin().await.unwrap();
    let (lab, _) = tx
        .ensure_server(ada.id, &server_name("lab"), at(0))
        .await
        .unwrap();
    tx.ensure_server(ada.id, &server_name("taken"), at(0))
        .await
        .unwrap();
    tx.ensure_server(bob.id, &server_name("free"), at(0))
        .await
        .unwrap();
    let error = tx.rename_server(lab.id, &server_name("taken")).await;
    assert!(matches!(error, Err(StoreError::Exists { .. })));
    tx.rename_server(lab.id, &server_name("lab")).await.unwrap();
    tx.rename_server(lab.id, &server_name("free"))
        .await
        .unwrap();
    tx.set_display_name(lab.id, Some("My lab")).await.unwrap();
    tx.set_user_options(lab.id, Some(&object(json!({}))))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = store.find_server(ada.id, &server_name("free")).await;
    let found = found.unwrap().unwrap();
    assert_eq!(found.id, lab.id);
    assert_eq!(found.display_name.as_deref(), Some("My lab"));
    assert_eq!(found.user_options, Some(object(json!({}))));
}

async fn changing_no_server_is_an_error(store: Store) {
    let nothing = ServerId(99);
    let (handle, upstream) = run();
    let mut tx = store.begin().await.unwrap();
    for result in [
        tx.record_start(nothing, "m", at(0), None).await,
        tx.record_handle(nothing, &handle).await,
        tx.record_running(nothing, &handle, &upstream).await,
        tx.record_stopping(nothing).await,
        tx.record_stopped(nothing, None).await,
        tx.set_display_name(nothing, None).await,
        tx.set_user_options(nothing, None).await,
        tx.rename_server(nothing, &server_name("x")).await,
    ] {
        assert!(matches!(result, Err(StoreError::NotFound { .. })));
    }
    assert!(!tx.delete_server(nothing).await.unwrap());
}

async fn a_servers_client_is_noted_and_forgotten(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    let new = NewOAuthClient {
        identifier: "jupyterhub-user-ada",
        description: "Server at /user/ada/",
        secret: None,
        redirect_uri: "/user/ada/oauth_callback",
        allowed_scopes: &[],
        server_id: Some(server.id),
        service_id: None,
    };
    tx.upsert_oauth_client(new).await.unwrap();
    tx.commit().await.unwrap();
    let found = find(&store, server.id).await;
    assert_eq!(
        found.oauth_client_id.as_deref(),
        Some("jupyterhub-user-ada")
    );

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_oauth_client("jupyterhub-user-ada").await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(find(&store, server.id).await.oauth_client_id, None);
}
