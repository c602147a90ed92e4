//! A login by PAM: authentication, then whether the account may be used.

use std::ffi::{CStr, CString};

use lyceum_core::secret::Secret;
use pam_client2::{Context, ConversationHandler, ErrorCode, Flag};

use super::job::{Login, Outcome, Verdict};

/// How many messages of modules are kept, and how many characters of each.
const MAX_MESSAGES: usize = 8;
const MAX_MESSAGE: usize = 200;

/// Asks PAM.
pub(super) fn authenticate(login: &Login) -> Outcome {
    // PAM takes texts that end at a zero byte.
    if login.password.expose().contains('\0') {
        return told(Verdict::Wrong, Vec::new());
    }
    let conversation = Conversation {
        password: login.password.clone(),
        asked_more: false,
        messages: Vec::new(),
    };
    let Ok(mut context) = Context::new(&login.service, Some(&login.name), conversation) else {
        return told(Verdict::Broken, Vec::new());
    };
    let place = (!login.client_addr.is_empty()).then_some(login.client_addr.as_str());
    let _ = context.set_rhost(place);
    let _ = context.set_tty(Some("lyceum"));
    let flags = Flag::DISALLOW_NULL_AUTHTOK;
    let verdict = match context.authenticate(flags) {
        Err(_) if context.conversation().asked_more => Verdict::Question,
        Err(error) => of_authentication(error.code()),
        Ok(()) => match context.acct_mgmt(flags) {
            Err(error) => of_account(error.code()),
            Ok(()) if context.user().ok().as_deref() != Some(login.name.as_str()) => {
                Verdict::OtherName
            }
            Ok(()) => Verdict::Accepted,
        },
    };
    let messages = std::mem::take(&mut context.conversation_mut().messages);
    told(verdict, messages)
}

fn told(verdict: Verdict, messages: Vec<String>) -> Outcome {
    Outcome::Pam { verdict, messages }
}

/// Nothing that comes from here proves the password: a module may say that an account is closed before it has looked at
/// one, and whoever guesses must not be told.
fn of_authentication(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::AUTH_ERR
        | ErrorCode::USER_UNKNOWN
        | ErrorCode::MAXTRIES
        | ErrorCode::CRED_INSUFFICIENT
        | ErrorCode::NEW_AUTHTOK_REQD
        | ErrorCode::AUTHTOK_EXPIRED
        | ErrorCode::CRED_EXPIRED
        | ErrorCode::ACCT_EXPIRED
        | ErrorCode::PERM_DENIED => Verdict::Wrong,
        ErrorCode::CONV_ERR | ErrorCode::CONV_AGAIN | ErrorCode::INCOMPLETE => Verdict::Question,
        _ => Verdict::Broken,
    }
}

/// The password was right, whatever comes now.
fn of_account(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::NEW_AUTHTOK_REQD | ErrorCode::AUTHTOK_EXPIRED | ErrorCode::CRED_EXPIRED => {
            Verdict::PasswordExpired
        }
        ErrorCode::ACCT_EXPIRED
        | ErrorCode::PERM_DENIED
        | ErrorCode::AUTH_ERR
        | ErrorCode::USER_UNKNOWN => Verdict::Closed,
        _ => Verdict::Broken,
    }
}

/// Answers PAM's modules: the password to whoever asks for something that is not shown, and nothing else to anybody.
struct Conversation {
    password: Secret<String>,
    asked_more: bool,
    messages: Vec<String>,
}

impl Conversation {
    fn keep(&mut self, message: &CStr) {
        if self.messages.len() < MAX_MESSAGES {
            let text = message.to_string_lossy();
            let plain = text.chars().filter(|c| !c.is_control());
            self.messages.push(plain.take(MAX_MESSAGE).collect());
        }
    }
}

impl ConversationHandler for Conversation {
    fn prompt_echo_on(&mut self, prompt: &CStr) -> Result<CString, ErrorCode> {
        self.keep(prompt);
        self.asked_more = true;
        Err(ErrorCode::CONV_ERR)
    }

    fn prompt_echo_off(&mut self, _prompt: &CStr) -> Result<CString, ErrorCode> {
        // The process ends within moments; PAM's own copies are wiped by its modules.
        CString::new(self.password.expose().as_str()).map_err(|_| ErrorCode::CONV_ERR)
    }

    fn text_info(&mut self, message: &CStr) {
        self.keep(message);
    }

    fn error_msg(&mut self, message: &CStr) {
        self.keep(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_closed_or_expired_only_after_the_password_was_right() {
        for code in [
            ErrorCode::PERM_DENIED,
            ErrorCode::ACCT_EXPIRED,
            ErrorCode::NEW_AUTHTOK_REQD,
            ErrorCode::AUTHTOK_EXPIRED,
            ErrorCode::CRED_EXPIRED,
        ] {
            assert_eq!(of_authentication(code), Verdict::Wrong, "{code:?}");
            let then = of_account(code);
            assert!(
                matches!(then, Verdict::Closed | Verdict::PasswordExpired),
                "{code:?}"
            );
        }
    }
}
