//! What the broker says of a start that failed, in words for the person who waits.

use lyceum_broker::client::BrokerError;
use lyceum_broker::protocol::RefusalKind;
use lyceum_core::lifecycle::{Cause, Failure};

/// A start that the broker refused, or did not answer.
pub(super) fn of_start(error: &BrokerError) -> Failure {
    let Some(refusal) = error.refusal() else {
        tracing::error!(error = %error, "the broker has not started a server");
        if let BrokerError::Lost(_) = error {
            return Failure::new(
                Cause::System,
                "The part of Lyceum that starts servers was restarted in the middle of this start.",
                "Start the server again.",
            );
        }
        return Failure::new(
            Cause::System,
            "The part of Lyceum that starts servers does not answer.",
            "Try again in a minute; if this repeats, an administrator finds the reason with `systemctl status lyceum-broker`.",
        );
    };
    let cause = match refusal.kind {
        RefusalKind::Policy
        | RefusalKind::NoAccount
        | RefusalKind::Credentials
        | RefusalKind::AccountClosed
        | RefusalKind::PasswordExpired => Cause::NotAllowed,
        RefusalKind::CommandMissing => Cause::CommandMissing,
        RefusalKind::Slow => Cause::StartTimeout,
        RefusalKind::Configuration
        | RefusalKind::Exists
        | RefusalKind::System
        | RefusalKind::Version
        | RefusalKind::Peer => Cause::System,
        RefusalKind::Protocol | RefusalKind::Internal => Cause::Internal,
    };
    let hint = if refusal.hint.is_empty() {
        "Try again; if this repeats, an administrator finds more with `journalctl -u lyceum-broker`."
    } else {
        &refusal.hint
    };
    Failure::new(cause, refusal.message.clone(), hint)
}
