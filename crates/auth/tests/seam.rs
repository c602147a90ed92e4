//! What every authenticator has to do, tried on each of them through the seam, and what is special to one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail as the test itself does"
)]

use std::fs;
use std::time::{Duration, Instant};

use lyceum_auth::shared_password::SharedPasswordError;
use lyceum_auth::{
    AuthConfig, Dummy, DummyConfig, PamConfig, SharedPassword, SharedPasswordConfig,
};
use lyceum_core::seams::{Attempt, Authenticator, Step};
use lyceum_core::{Secret, UserName};

const PASSWORD: &str = "open sesame";
const ADMIN_PASSWORD: &str = "a much longer password for admins only";

fn name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn shared(admin_password: Option<&str>) -> SharedPassword {
    let admin_password = admin_password.map(Secret::from);
    SharedPassword::new(&PASSWORD.into(), admin_password.as_ref(), &[name("ada")]).unwrap()
}

/// Every authenticator that takes `PASSWORD` of a user named bob.
fn all() -> Vec<Box<dyn Authenticator>> {
    vec![
        Box::new(shared(None)),
        Box::new(shared(Some(ADMIN_PASSWORD))),
        Box::new(Dummy::new(Some(&PASSWORD.into()))),
        Box::new(Dummy::new(None)),
    ]
}

/// Tries to log in; gives the name that the authenticator found, if it let the person in.
async fn log_in(
    authenticator: &dyn Authenticator,
    username: &str,
    password: &str,
) -> Option<String> {
    let attempt = Attempt {
        username: username.to_owned(),
        password: password.into(),
        client_addr: "192.0.2.1".to_owned(),
    };
    match authenticator.begin(attempt).await.unwrap() {
        Step::Identity(identity) => {
            assert_eq!(identity.admin, None, "that is the hub's to decide");
            Some(identity.name)
        }
        Step::Refused(reason) => {
            assert!(!reason.is_empty());
            None
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_knows_the_password_is_who_they_say() {
    for authenticator in all() {
        let authenticator = authenticator.as_ref();
        for typed in ["bob", "Bob", "  bob "] {
            let found = log_in(authenticator, typed, PASSWORD).await;
            assert_eq!(found.as_deref(), Some("bob"), "{authenticator:?} {typed:?}");
        }
    }
}

#[tokio::test]
async fn texts_that_are_no_names_are_refused() {
    let long = "x".repeat(300);
    for authenticator in all() {
        for typed in [
            "", " ", "..", "%2e%2E", "a/b", "../root", "a\u{0}b", "a\nb", &long,
        ] {
            let found = log_in(authenticator.as_ref(), typed, PASSWORD).await;
            assert_eq!(found, None, "{authenticator:?} {typed:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_however_near_it_comes() {
    let no_dummy_without_password = all().into_iter().take(3);
    for authenticator in no_dummy_without_password {
        for typed in [
            "",
            "open sesam",
            "open sesame ",
            "Open sesame",
            "open sesame\0",
            &PASSWORD.repeat(99),
        ] {
            let found = log_in(authenticator.as_ref(), "bob", typed).await;
            assert_eq!(found, None, "{authenticator:?} {typed:?}");
        }
    }
}

#[test]
fn no_password_is_ever_printed() {
    for authenticator in all() {
        let shown = format!("{authenticator:?}");
        assert!(
            !shown.contains("sesame") && !shown.contains("longer"),
            "{shown}"
        );
        assert!(!authenticator.kind().is_empty());
    }
}

#[tokio::test]
async fn administrators_need_their_own_password_and_nobody_else_may_use_it() {
    let authenticator = shared(Some(ADMIN_PASSWORD));
    let check = async |username: &str, password: &str, expected: bool| {
        let found = log_in(&authenticator, username, password).await;
        assert_eq!(found.is_some(), expected, "{username} {password}");
    };
    check("ada", ADMIN_PASSWORD, true).await;
    check("Ada ", ADMIN_PASSWORD, true).await;
    check("ada", PASSWORD, false).await;
    check("ADA", PASSWORD, false).await;
    check("bob", ADMIN_PASSWORD, false).await;
    check("bob", PASSWORD, true).await;
    let without = shared(None);
    assert!(log_in(&without, "ada", PASSWORD).await.is_some());
}

#[tokio::test]
async fn the_dummy_takes_any_password_unless_it_has_one() {
    let open = Dummy::new(None);
    for typed in ["", "x", PASSWORD] {
        assert_eq!(log_in(&open, "bob", typed).await.as_deref(), Some("bob"));
    }
}

#[test]
fn weak_passwords_are_refused_at_the_start() {
    let make = |user: &str, admin: Option<&str>| {
        SharedPassword::new(&user.into(), admin.map(Secret::from).as_ref(), &[])
    };
    assert!(make("12345678", None).is_ok());
    assert!(make("ěščřžýáí", Some(&"á".repeat(32))).is_ok());
    assert!(matches!(
        make("1234567", None),
        Err(SharedPasswordError::ShortUserPassword)
    ));
    assert!(matches!(
        make(PASSWORD, Some(&"x".repeat(31))),
        Err(SharedPasswordError::ShortAdminPassword)
    ));
    assert!(matches!(
        make(ADMIN_PASSWORD, Some(ADMIN_PASSWORD)),
        Err(SharedPasswordError::SamePassword)
    ));
}

#[tokio::test]
async fn passwords_come_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let config = SharedPasswordConfig {
        user_password_file: file("user", "open sesame\n"),
        admin_password_file: file("admin", &format!("{ADMIN_PASSWORD}\n")),
    };
    let authenticator = SharedPassword::from_config(&config, &[name("ada")]).unwrap();
    assert!(log_in(&authenticator, "bob", PASSWORD).await.is_some());
    assert!(
        log_in(&authenticator, "ada", ADMIN_PASSWORD)
            .await
            .is_some()
    );

    let without = SharedPassword::from_config(&SharedPasswordConfig::default(), &[]);
    let error = without.unwrap_err().to_string();
    assert!(error.contains("auth.user_password_file"), "{error}");
    let missing = SharedPasswordConfig {
        user_password_file: Some(dir.path().join("none")),
        ..SharedPasswordConfig::default()
    };
    assert!(matches!(
        SharedPassword::from_config(&missing, &[]),
        Err(SharedPasswordError::Password(_))
    ));

    let config = DummyConfig {
        password_file: file("dummy", PASSWORD),
        allow_public: false,
    };
    let dummy = Dummy::from_config(&config, &[]).unwrap();
    assert!(log_in(&dummy, "bob", PASSWORD).await.is_some());
    assert!(log_in(&dummy, "bob", "other").await.is_none());
}

#[test]
fn the_configuration_is_tagged_by_kind_and_strict() {
    let read = |text: &str| serde_json::from_str::<AuthConfig>(text);
    assert_eq!(
        read(r#"{"kind": "dummy", "allow_public": true}"#).unwrap(),
        AuthConfig::Dummy(DummyConfig {
            password_file: None,
            allow_public: true
        })
    );
    assert_eq!(
        read(r#"{"kind": "shared-password"}"#).unwrap(),
        AuthConfig::default()
    );
    assert!(read(r#"{"kind": "shared-password", "user_password": "inline"}"#).is_err());
    assert_eq!(
        read(r#"{"kind": "pam", "service": "login"}"#).unwrap(),
        AuthConfig::Pam(PamConfig {
            service: "login".to_owned(),
            ..PamConfig::default()
        })
    );
    assert!(read(r#"{"kind": "pam", "password": "inline"}"#).is_err());
    assert!(read(r#"{"kind": "kerberos"}"#).is_err());
}

/// The shortest of many times is hardly disturbed by whatever else the machine does.
#[tokio::test]
async fn the_time_of_a_refusal_does_not_tell_an_administrators_name() {
    let authenticator = shared(Some(ADMIN_PASSWORD));
    let time = async |username: &str, password: &str| {
        let begun = Instant::now();
        assert!(log_in(&authenticator, username, password).await.is_none());
        begun.elapsed()
    };
    let mut shortest = [Duration::MAX; 4];
    for _ in 0..3_000 {
        let wrong = "0123456789012345678901234567890123456789";
        for (shortest, (username, password)) in shortest.iter_mut().zip([
            ("ada", wrong),
            ("bob", wrong),
            ("ada", "open sesame"),
            ("bob", "open sesamy"),
        ]) {
            *shortest = (*shortest).min(time(username, password).await);
        }
    }
    for pair in shortest.chunks(2) {
        let [admin, user] = pair else { panic!() };
        let ratio = admin.as_secs_f64() / user.as_secs_f64();
        assert!(
            (0.7..1.4).contains(&ratio),
            "{admin:?} for an administrator, {user:?} for others"
        );
    }
}
