//! What servers use: asked seldom, and told when something was ended.

use http::Method;
use lyceum_core::seams::Usage;
use lyceum_hub::Happening;
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::FakeSpawner;

#[tokio::test]
async fn programs_that_were_ended_for_lack_of_memory_are_noticed_and_told() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let mut ada = hub.user("ada").await;
    let permit = hub.permit("ada", "").await;
    let server = permit.server();
    assert_eq!(
        hub.hub().server_usage(server).await,
        None,
        "it does not run"
    );
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());

    let usage = |out_of_memory| Usage {
        memory: Some(1 << 30),
        memory_limit: Some(2 << 30),
        out_of_memory,
        ..Usage::default()
    };
    spawner.uses(usage(0));
    hub.hub().look_at_usage_once().await;
    assert_eq!(hub.hub().last_usage(server), Some(usage(0)));
    assert!(hub.hub().server_notices(server).is_empty());
    spawner.uses(usage(2));
    hub.hub().look_at_usage_once().await;
    hub.hub().look_at_usage_once().await;
    let notices = hub.hub().server_notices(server);
    assert_eq!(notices.len(), 1, "{notices:?}");
    let limit = Some(2 << 30);
    assert_eq!(notices[0].what, Happening::OutOfMemory { limit, times: 2 });

    // Pages that are looked at again and again ask once.
    hub.hub().server_usage(server).await;
    let looks = spawner.looks();
    for _ in 0..5 {
        assert_eq!(hub.hub().server_usage(server).await, Some(usage(2)));
    }
    assert_eq!(spawner.looks(), looks);

    assert_eq!(
        ada.api(Method::DELETE, "/users/ada/server", None)
            .await
            .status,
        204
    );
    hub.hub().look_at_usage_once().await;
    assert!(hub.hub().server_notices(server).is_empty());
    assert_eq!(hub.hub().last_usage(server), None);
}
