//! What goes wrong in the hub itself: a disk that hangs, a mistake in the code, an end that is near.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lyceum_core::ServerRef;
use lyceum_core::lifecycle::{Cause, Failure, Refusal};
use lyceum_core::seams::{
    Exit, Handle, Liveness, SpawnError, Spawner, StartProgress, StartRequest, Started, StopMode,
};
use lyceum_hub::running::Outcome;
use lyceum_hub::{StartError, StartInput};
use lyceum_testkit::fakes::{FakeSpawner, Start};
use lyceum_testkit::hub::server_ref;
use lyceum_testkit::{LIMIT, TestHub, eventually};

/// A spawner whose logs cannot be read.
#[derive(Debug)]
struct WithoutLogs {
    inner: FakeSpawner,
    /// The next log that is asked for is a mistake; without, no log ever comes.
    panics: Option<AtomicBool>,
}

#[async_trait]
impl Spawner for WithoutLogs {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn start(
        &self,
        request: StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<Started, Failure> {
        self.inner.start(request, progress).await
    }

    async fn poll(&self, handle: &Handle) -> Result<Liveness, SpawnError> {
        self.inner.poll(handle).await
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, SpawnError> {
        self.inner.wait(handle).await
    }

    async fn stop(&self, handle: &Handle, mode: StopMode) -> Result<(), SpawnError> {
        self.inner.stop(handle, mode).await
    }

    async fn log_tail(&self, server: &ServerRef, lines: usize) -> Vec<String> {
        match &self.panics {
            None => std::future::pending().await,
            Some(panics) => assert!(!panics.swap(false, Ordering::SeqCst), "on purpose"),
        }
        self.inner.log_tail(server, lines).await
    }

    async fn sweep(&self, known: &[Handle]) -> Result<usize, SpawnError> {
        self.inner.sweep(known).await
    }

    async fn forget(&self, server: &ServerRef) -> Result<(), SpawnError> {
        self.inner.forget(server).await
    }
}

async fn start(hub: &TestHub) {
    let permit = hub.permit("ada", "").await;
    let asked = hub.hub().request_start(&permit, StartInput::default());
    asked.await.unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_holds_nobody_up_for_long() {
    let inner = FakeSpawner::new().await;
    inner.on_start(Start::Fails(Failure::new(Cause::System, "no", "wait")));
    let spawner = WithoutLogs {
        inner,
        panics: None,
    };
    let hub = TestHub::builder().spawner(spawner).start().await;
    let permit = hub.permit("ada", "").await;
    let began = Instant::now();
    let asked = hub.hub().request_start(&permit, StartInput::default());
    asked.await.unwrap();
    let failure = hub.hub().await_start_for(&permit, LIMIT).await.unwrap_err();
    assert_eq!(failure.cause, Cause::System);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_mistake_loses_no_server() {
    let inner = FakeSpawner::new().await;
    let spawner = WithoutLogs {
        inner: inner.clone(),
        panics: Some(AtomicBool::new(true)),
    };
    let hub = TestHub::builder().spawner(spawner).start().await;
    start(&hub).await;
    inner.end_all(Exit::Code(1));
    let ada = server_ref("ada");
    eventually("the end is noticed after all", async || {
        !hub.hub().is_active(&ada)
    })
    .await;
    start(&hub).await;
    assert_eq!(inner.running(), 1);
}

#[tokio::test]
async fn nothing_starts_any_more_when_the_end_is_near() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    start(&hub).await;
    hub.hub().close_to_starts();
    assert_eq!(hub.hub().stop_all(LIMIT).await, 0);
    let permit = hub.permit("ada", "").await;
    let refused = hub.hub().request_start(&permit, StartInput::default());
    assert!(matches!(
        refused.await,
        Err(StartError::Refused(Refusal::Closing))
    ));
    let mut ada = hub.user("ada").await;
    let answer = ada.api(http::Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!((spawner.starts(), spawner.running()), (1, 0));
}
