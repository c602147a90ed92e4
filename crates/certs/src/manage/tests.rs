//! The rules of the manager with a clock that is moved by hand: nobody is asked, and nothing runs.

use std::io;
use std::sync::atomic::{AtomicI64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::inspect::Inspected;
use crate::keys::KeyType;
use crate::schedule::Window;
use crate::stored::MadeFor;
use crate::trouble::TroubleKind;

const DAY: i64 = 24 * 3600;
/// When the certificates of these tests begin: 2026-01-01.
const BEGIN: i64 = 1_767_225_600;

#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

struct World {
    manager: Manager,
    clock: Arc<HandClock>,
    _folder: tempfile::TempDir,
}

const ID: &str = "a.example.org";

impl World {
    /// A manager for one name, whose authority is never there.
    fn new(change: impl FnOnce(&mut TlsConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock(AtomicI64::new(BEGIN + DAY)));
        let mut config = TlsConfig {
            domains: vec![ID.parse().unwrap()],
            ..TlsConfig::default()
        };
        config.acme.agree_to_terms = true;
        config.acme.directory = Authority::Url("https://localhost:9/dir".to_owned());
        change(&mut config);
        let manager = Manager::open(ManagerOptions {
            config,
            folder: folder.path().join("certificates"),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ports: Ports::default(),
            look_every: None,
        })
        .unwrap();
        Self {
            manager,
            clock,
            _folder: folder,
        }
    }

    /// The same with a certificate of ninety days.
    fn with_certificate(names: &[&str]) -> Self {
        let world = Self::new(|_| {});
        let (chain, key) = chain(names, &KeyPair::generate().unwrap());
        let kept = stored(&chain, &key);
        let shared = &world.manager.0;
        let serial = kept.inspected.serial.clone();
        shared.show(ID, kept, true);
        shared.change(ID, |one| {
            one.history.made_for = Some(shared.made_for(one, &serial));
            one.history.last_attempt = Some(world.clock.now());
        });
        world
    }

    fn day(&self, day: i64) {
        self.clock.0.store(BEGIN + day * DAY, Ordering::SeqCst);
    }

    fn fail(&self, times: u32) {
        let now = self.manager.0.now();
        for _ in 0..times {
            let trouble = Trouble::new(TroubleKind::NotProven, "it was not proven", "prove it");
            self.manager
                .0
                .change(ID, |one| one.history.failed(now, trouble));
        }
    }

    fn is_due(&self) -> bool {
        let shared = &self.manager.0;
        shared.is_due(&shared.find(ID).unwrap(), shared.now())
    }

    fn state(&self) -> State {
        self.manager.status().certificates[0].state
    }

    /// The level and the text of the first warning.
    fn warning(&self) -> Option<(Level, String)> {
        let warnings = self.manager.warnings();
        warnings
            .first()
            .map(|warning| (warning.level, warning.text.clone()))
    }
}

fn stored(chain: &str, key: &str) -> Kept {
    crate::stored::kept(chain, key, "it").unwrap()
}

/// A chain of ninety days from 2026-01-01, and the key that was given for it in PEM.
fn chain(names: &[&str], key: &KeyPair) -> (String, String) {
    let authority = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.not_before = rcgen::date_time_ymd(2020, 1, 1);
    ca.not_after = rcgen::date_time_ymd(2040, 1, 1);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "An Authority");
    let above = ca.clone().self_signed(&authority).unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    let leaf = params.signed_by(key, &Issuer::new(ca, authority)).unwrap();
    (
        format!("{}{}", leaf.pem(), above.pem()),
        key.serialize_pem(),
    )
}

#[test]
fn a_certificate_is_due_at_two_thirds_of_its_life_or_when_the_authority_wants_it() {
    let world = World::with_certificate(&[ID]);
    for (day, due) in [(1, false), (56, false), (62, true), (95, true)] {
        world.day(day);
        assert_eq!(world.is_due(), due, "day {day}");
    }
    let at = |day: i64| Timestamp::from_second(BEGIN + day * DAY).unwrap();
    world.manager.0.change(ID, |one| {
        one.history.window = Some(Window {
            start: at(20),
            end: at(21),
            explanation_url: None,
        });
    });
    for (day, due) in [(19, false), (22, true)] {
        world.day(day);
        assert_eq!(world.is_due(), due, "day {day}");
    }
}

#[test]
fn an_authority_that_makes_of_it_what_it_likes_is_not_asked_again_and_again() {
    for names in [&[ID, "www.a.example.org"] as &[&str], &["*.example.org"]] {
        let world = World::with_certificate(names);
        assert!(!world.is_due(), "{names:?}");
    }
}

#[test]
fn what_was_made_for_other_settings_is_due_at_once() {
    let changes: [fn(&mut MadeFor); 4] = [
        |made| made.authority = "https://other/dir".to_owned(),
        |made| made.profile = Some("other".to_owned()),
        |made| made.names.push("b.example.org".parse().unwrap()),
        |made| made.key_type = KeyType::Rsa,
    ];
    for change in changes {
        let world = World::with_certificate(&[ID]);
        world
            .manager
            .0
            .change(ID, |one| change(one.history.made_for.as_mut().unwrap()));
        assert!(world.is_due());
        // A failure puts it off, as others.
        world.fail(1);
        assert!(!world.is_due());
    }
}

#[test]
fn where_nobody_knows_what_it_was_made_for_its_names_and_key_tell() {
    for (names, due) in [(&[ID] as &[&str], false), (&["b.example.org"], true)] {
        let world = World::with_certificate(names);
        world
            .manager
            .0
            .change(ID, |one| one.history.made_for = None);
        assert_eq!(world.is_due(), due, "{names:?}");
    }
}

#[test]
fn a_try_that_was_noted_with_a_clock_that_was_ahead_puts_nothing_off() {
    let world = World::new(|_| {});
    assert!(world.is_due());
    world.day(400);
    world.fail(3);
    assert!(!world.is_due());
    world.day(1);
    assert!(world.is_due());
    assert_eq!(world.manager.status().certificates[0].failures, 3);
}

#[test]
fn a_new_certificate_with_another_key_other_names_or_another_time_is_refused() {
    let world = World::with_certificate(&[ID]);
    let one = world.manager.0.find(ID).unwrap();
    let check = |names: &[&str], other_key: bool| {
        let key = KeyPair::generate().unwrap();
        let (chain, own) = chain(names, &key);
        let key = if other_key {
            KeyPair::generate().unwrap().serialize_pem()
        } else {
            own
        };
        let key = lyceum_core::Secret::new(key);
        world.manager.0.check(&chain, &key, &one)
    };
    assert_eq!(check(&[ID], false), Ok(()));
    assert!(check(&[ID], true).is_err());
    assert!(check(&["b.example.org"], false).is_err());
    world.day(-2);
    assert_eq!(check(&[ID], false).unwrap_err().kind, TroubleKind::Clock);
    world.day(91);
    assert_eq!(check(&[ID], false).unwrap_err().kind, TroubleKind::Clock);
    let key = lyceum_core::Secret::new(String::new());
    for garbage in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        assert!(world.manager.0.check(garbage, &key, &one).is_err());
    }
}

#[test]
fn a_missing_certificate_is_a_notice_at_first_and_an_error_when_it_does_not_come() {
    let world = World::new(|_| {});
    assert_eq!(world.state(), State::StandIn);
    assert_eq!(world.warning().unwrap().0, Level::Notice);
    world.fail(1);
    assert_eq!(world.warning().unwrap().0, Level::Notice);
    world.fail(1);
    let (level, text) = world.warning().unwrap();
    assert_eq!(level, Level::Error);
    assert!(text.contains("it was not proven"), "{text}");
    assert_eq!(world.manager.warnings()[0].hint, "prove it");
}

#[tokio::test]
async fn what_no_public_authority_certifies_is_told_at_once_and_never_asked_for() {
    let world = World::new(|config| {
        config.domains = vec!["hub.local".parse().unwrap()];
        config.acme.directory = Authority::LetsEncrypt;
    });
    let status = world.manager.status();
    let one = &status.certificates[0];
    assert_eq!((one.state, one.renewal), (State::StandIn, None));
    let trouble = one.trouble.clone().unwrap();
    assert!(trouble.hint.contains("self-signed"), "{trouble:?}");
    assert_eq!(status.warnings[0].level, Level::Error);
    assert_eq!(status.warnings[0].hint, trouble.hint);
    let name = ["HUB.local.".to_owned()];
    let renewed = world.manager.renew(&name, false).await.unwrap();
    assert_eq!(renewed[0].trouble.as_ref(), Some(&trouble));
    let tried = world.manager.try_out(&name).await.unwrap();
    assert_eq!(tried[0].trouble.as_ref(), Some(&trouble));
    let findings = world.manager.check(&name).await.unwrap();
    assert_eq!((findings.len(), &findings[0].what), (1, &trouble.what));
    assert_eq!(world.manager.status().certificates[0].last_attempt, None);
}

#[test]
fn an_end_that_comes_near_is_a_warning_then_an_error() {
    let world = World::with_certificate(&[ID]);
    assert_eq!((world.state(), world.warning()), (State::Valid, None));
    world.day(60);
    world.fail(3);
    assert_eq!((world.state(), world.warning()), (State::Valid, None));
    for (day, state, level, part) in [
        (71, State::Ending, Level::Warning, "was not renewed"),
        (86, State::Ending, Level::Error, "was not renewed"),
        (91, State::NotValid, Level::Error, "it ended on"),
        (-3, State::NotValid, Level::Error, "it begins on"),
    ] {
        world.day(day);
        let (found, text) = world.warning().unwrap();
        assert_eq!((world.state(), found), (state, level), "day {day}");
        assert!(text.contains(part), "day {day}: {text}");
    }
}

#[test]
fn a_clock_that_is_a_little_behind_is_no_reason_for_an_alarm() {
    let world = World::with_certificate(&[ID]);
    world.clock.0.store(BEGIN - 100, Ordering::SeqCst);
    assert_eq!((world.state(), world.warning()), (State::Valid, None));
}

#[test]
fn an_authority_that_wants_it_late_is_no_reason_for_a_warning() {
    let world = World::with_certificate(&[ID]);
    let at = |day: i64| Timestamp::from_second(BEGIN + day * DAY).unwrap();
    world.manager.0.change(ID, |one| {
        one.history.window = Some(Window {
            start: at(84),
            end: at(85),
            explanation_url: None,
        });
    });
    world.day(80);
    assert_eq!((world.state(), world.warning()), (State::Valid, None));
    world.day(87);
    assert_eq!(world.warning().unwrap().0, Level::Error);
}

#[test]
fn one_signed_by_itself_is_made_anew_a_month_before_its_end() {
    let world = World::new(|config| config.source = crate::TlsSource::SelfSigned);
    assert_eq!((world.state(), world.warning()), (State::SelfSigned, None));
    for (day, due) in [(330, false), (340, true)] {
        world.day(day);
        assert_eq!(world.is_due(), due, "day {day}");
    }
    world.fail(1);
    assert!(!world.is_due(), "a failure is tried again at once");
}

#[test]
fn a_warning_is_logged_once_a_day_and_at_once_when_it_becomes_worse() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let world = World::with_certificate(&[ID]);
        world.day(60);
        world.fail(3);
        let mut told = 0;
        // Looked at every hour: from day 70 on once a day, from day 85 on worse.
        for hour in 60 * 24..89 * 24 {
            world.clock.0.store(BEGIN + hour * 3600, Ordering::SeqCst);
            world.manager.tell_warnings();
            let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
            let now = text.matches("was not renewed").count();
            assert!(now <= told + 1);
            told = now;
        }
        assert!((18..=21).contains(&told), "told {told} times in 19 days");
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("WARN") && text.contains("ERROR"), "{text}");
        assert!(text.contains("prove it"), "{text}");
    });
}

#[test]
fn no_clock_is_too_strange() {
    for second in [
        Timestamp::MIN.as_second() + 400 * DAY,
        0,
        Timestamp::MAX.as_second() - 400 * DAY,
    ] {
        let world = World::with_certificate(&[ID]);
        world.clock.0.store(second, Ordering::SeqCst);
        world.fail(2);
        world.is_due();
        world.manager.status();
        world.manager.tell_warnings();
    }
}

#[test]
fn what_is_told_of_another_certificate_does_not_count() {
    let (chain, key) = chain(&[ID], &KeyPair::generate().unwrap());
    let kept = stored(&chain, &key);
    let at = Timestamp::from_second(BEGIN).unwrap();
    let history = |serial: &str| History {
        made_for: Some(MadeFor {
            serial: serial.to_owned(),
            authority: "https://ca/dir".to_owned(),
            profile: None,
            names: vec![ID.parse().unwrap()],
            key_type: KeyType::Ecdsa,
        }),
        window: Some(Window {
            start: at,
            end: at,
            explanation_url: None,
        }),
        ask_window_at: Some(at),
        failures: 2,
        ..History::default()
    };
    let Inspected { serial, .. } = kept.inspected;
    let mut own = history(&serial);
    own.keep_to(&serial);
    assert_eq!(own, history(&serial));
    let mut other = history("0a");
    other.keep_to(&serial);
    let expected = History {
        failures: 2,
        ..History::default()
    };
    assert_eq!(other, expected);
}
