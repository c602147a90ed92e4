//! Guessing passwords: whoever does it waits, and nobody else does.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::Secret;
use lyceum_core::seams::Attempt;
use lyceum_hub::LoginError;
use lyceum_hub::login::Browser;
use lyceum_testkit::fakes::FakeClock;
use lyceum_testkit::{Dummy, TestHub};

const PASSWORD: &str = "a password for the class";
const HOME: &str = "203.0.113.1";

struct Class {
    hub: TestHub,
    clock: Arc<FakeClock>,
}

impl Class {
    async fn new(per_address: u32) -> Self {
        let clock = Arc::new(FakeClock::new());
        let hub = TestHub::builder()
            .settings(move |settings| settings.throttle.per_address = per_address)
            .clock(&clock)
            .authenticator(Dummy::new(Some(&Secret::from(PASSWORD))))
            .without_background()
            .start()
            .await;
        Self { hub, clock }
    }

    async fn log_in(&self, name: &str, password: &str, addr: &str) -> Result<(), LoginError> {
        let attempt = Attempt {
            username: name.to_owned(),
            password: Secret::from(password),
            client_addr: addr.to_owned(),
        };
        let browser = Browser {
            addr: addr.to_owned(),
            user_agent: String::new(),
        };
        self.hub.hub().log_in(attempt, &browser).await.map(drop)
    }

    async fn guess(&self, name: &str, addr: &str) -> LoginError {
        self.log_in(name, "wrong", addr).await.unwrap_err()
    }
}

fn seconds(error: &LoginError) -> u64 {
    match error {
        LoginError::Slowed { seconds, .. } => *seconds,
        other => panic!("not slowed: {other}"),
    }
}

#[tokio::test]
async fn whoever_guesses_waits_and_the_right_password_is_not_looked_at_meanwhile() {
    let class = Class::new(200).await;
    for _ in 0..5 {
        let error = class.guess("ada", HOME).await;
        assert!(matches!(error, LoginError::Credentials), "{error}");
    }
    let error = class.log_in("ada", PASSWORD, HOME).await.unwrap_err();
    assert_eq!(seconds(&error), 1);
    // Another account at the same address has nothing to do with it.
    class.log_in("bob", PASSWORD, HOME).await.unwrap();
    class.clock.advance(Duration::from_secs(1));
    class.log_in("ada", PASSWORD, HOME).await.unwrap();
    // It is forgotten with that.
    assert!(matches!(
        class.guess("ada", HOME).await,
        LoginError::Credentials
    ));
}

#[tokio::test]
async fn guesses_from_elsewhere_keep_nobody_out() {
    let mut class = Class::new(200).await;
    class.log_in("ada", PASSWORD, HOME).await.unwrap();
    // What is known of addresses outlives a restart.
    class.hub.restart().await;
    for n in 0..40 {
        class.guess("ada", &format!("198.51.100.{n}")).await;
    }
    class.log_in("ada", PASSWORD, HOME).await.unwrap();
    let new = "192.0.2.9";
    let wait = seconds(&class.log_in("ada", PASSWORD, new).await.unwrap_err());
    assert!((1..=10).contains(&wait), "{wait}");
    for n in 0..40 {
        class.guess("ada", &format!("198.51.100.{n}")).await;
    }
    class.clock.advance(Duration::from_secs(wait));
    class.log_in("ada", PASSWORD, new).await.unwrap();
    // Now this one is known, too.
    class.log_in("ada", PASSWORD, new).await.unwrap();
}

#[tokio::test]
async fn a_guesser_in_the_class_room_keeps_nobody_out_who_was_there_before() {
    let class = Class::new(10).await;
    class.log_in("ada", PASSWORD, HOME).await.unwrap();
    for n in 0..20 {
        class.guess(&format!("user{n}"), HOME).await;
    }
    class.log_in("ada", PASSWORD, HOME).await.unwrap();
    let wait = seconds(&class.log_in("newcomer", PASSWORD, HOME).await.unwrap_err());
    assert!(wait <= 60, "{wait}");
}

#[tokio::test]
async fn names_that_can_be_nobodys_are_slowed_like_others() {
    let class = Class::new(10).await;
    for _ in 0..10 {
        let error = class.guess("a/b", HOME).await;
        assert!(matches!(error, LoginError::Name(_)), "{error}");
    }
    seconds(&class.guess("a/b", HOME).await);
}
