//! The authenticator `pam`: people log in with their accounts of this machine.
//!
//! Lyceum itself may not ask PAM; the broker does, which is root's and small. Who is admitted is the hub's to decide,
//! and which accounts are used at all the broker's.

mod config;

use async_trait::async_trait;
use lyceum_broker::client::BrokerError;
use lyceum_broker::protocol::RefusalKind;
use lyceum_broker::{Account, Broker};
use lyceum_core::seams::{Attempt, AuthError, Authenticator, ClosedAccount, Identity, Step};
use lyceum_core::{GroupName, UserName};

pub use self::config::PamConfig;

/// The authenticator's name in configuration and logs.
pub const KIND: &str = "pam";

/// Lets in whoever PAM lets in. See the module's own description.
#[derive(Debug)]
pub struct Pam {
    broker: Broker,
}

impl Pam {
    /// Makes the authenticator; nothing is asked yet.
    pub fn new(broker: Broker) -> Self {
        Self { broker }
    }
}

#[async_trait]
impl Authenticator for Pam {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError> {
        let Ok(name) = UserName::normalize(&attempt.username) else {
            return Ok(Step::Refused("the text is not a possible user name"));
        };
        // An account without password lets everybody in; PAM would, too.
        if attempt.password.expose().is_empty() {
            return Ok(Step::Refused("the password is empty"));
        }
        let asked = self
            .broker
            .authenticate(&name, &attempt.password, &attempt.client_addr)
            .await;
        match asked {
            Ok(account) => Ok(Step::Identity(identity(name, &account))),
            Err(error) => {
                let step = refused(&error);
                if matches!(step, Ok(Step::Refused(_))) && has_capitals(&attempt.username) {
                    tracing::info!(
                        user.name = %name,
                        "a login as {name} was refused whose name was typed with capitals: names are taken in lower case, so that accounts of the machine with capitals in their names cannot be used"
                    );
                }
                step
            }
        }
    }
}

/// Unix groups are told as they are, but for the one of the account's own; whether they count for anything is the configuration's to say.
fn identity(name: UserName, account: &Account) -> Identity {
    let groups = account.shared_groups();
    Identity {
        name: name.into(),
        groups: Some(
            groups
                .filter_map(|name| GroupName::parse(name).ok())
                .collect(),
        ),
        ..Identity::default()
    }
}

/// What a refusal means for the person. Whatever is not about the person is no answer at all.
fn refused(error: &BrokerError) -> Result<Step, AuthError> {
    match error.refusal().map(|refusal| refusal.kind) {
        Some(RefusalKind::Credentials) => Ok(Step::Refused(
            "the password is wrong, or there is no such account",
        )),
        Some(RefusalKind::NoAccount) => Ok(Step::Refused("there is no such account")),
        Some(RefusalKind::Policy) => Ok(Step::Refused(
            "the broker does not let this account in; its log says why",
        )),
        Some(RefusalKind::PasswordExpired) => Ok(Step::Closed(ClosedAccount::PasswordExpired)),
        Some(RefusalKind::AccountClosed) => Ok(Step::Closed(ClosedAccount::NotUsable)),
        _ => Err(AuthError::Unavailable {
            kind: KIND,
            reason: error.to_string(),
        }),
    }
}

/// Whether somebody may mean an account of the machine that is never asked for.
fn has_capitals(typed: &str) -> bool {
    typed.chars().any(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use lyceum_broker::protocol::Refusal;

    use super::*;

    #[test]
    fn only_what_is_about_the_person_is_an_answer() {
        let of = |kind| refused(&BrokerError::Refused(Refusal::new(kind, "x", "")));
        for kind in [
            RefusalKind::Credentials,
            RefusalKind::NoAccount,
            RefusalKind::Policy,
        ] {
            assert!(matches!(of(kind), Ok(Step::Refused(_))), "{kind:?}");
        }
        for (kind, expected) in [
            (RefusalKind::PasswordExpired, ClosedAccount::PasswordExpired),
            (RefusalKind::AccountClosed, ClosedAccount::NotUsable),
        ] {
            assert!(matches!(of(kind), Ok(Step::Closed(why)) if why == expected));
        }
        for kind in [
            RefusalKind::Configuration,
            RefusalKind::Peer,
            RefusalKind::Protocol,
            RefusalKind::Version,
            RefusalKind::Slow,
            RefusalKind::System,
            RefusalKind::Internal,
        ] {
            assert!(
                matches!(of(kind), Err(AuthError::Unavailable { .. })),
                "{kind:?}"
            );
        }
    }

    #[tokio::test]
    async fn without_a_broker_nobody_is_let_in_and_the_log_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let pam = Pam::new(Broker::new(dir.path().join("broker.sock")));
        let attempt = |password: &str| Attempt {
            username: "ada".to_owned(),
            password: password.into(),
            client_addr: String::new(),
        };
        let error = pam.begin(attempt("secret")).await.unwrap_err().to_string();
        assert!(
            error.contains("systemctl start lyceum-broker.socket"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
        assert!(matches!(pam.begin(attempt("")).await, Ok(Step::Refused(_))));
    }
}
