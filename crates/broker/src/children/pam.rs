//! A login by PAM: authentication, then whether the account may be used; or the second alone.

use std::ffi::{CStr, CString};

use lyceum_core::secret::Secret;
use pam_client2::{Context, ConversationHandler, ErrorCode, Flag};

use super::job::{Login, Outcome, Verdict};

/// How many messages of modules are kept, and how many characters of each.
const MAX_MESSAGES: usize = 8;
const MAX_MESSAGE: usize = 200;
/// An account without a password is none that everybody may use.
const FLAGS: Flag = Flag::DISALLOW_NULL_AUTHTOK;

/// Asks PAM.
pub(super) fn authenticate(login: &Login) -> Outcome {
    // PAM takes texts that end at a zero byte.
    if login.password.expose().contains('\0') {
        return told(Verdict::Wrong, Vec::new());
    }
    let password = Some(login.password.clone());
    let Some(mut context) = context(&login.service, &login.name, password) else {
        return told(Verdict::Broken, Vec::new());
    };
    let place = (!login.client_addr.is_empty()).then_some(login.client_addr.as_str());
    let _ = context.set_rhost(place);
    let verdict = match context.authenticate(FLAGS) {
        Err(_) if context.conversation().asked_more => Verdict::Question,
        Err(error) => of_authentication(error.code()),
        Ok(()) => may_be_used(&mut context, &login.name),
    };
    let messages = std::mem::take(&mut context.conversation_mut().messages);
    told(verdict, messages)
}

/// Asks PAM whether an account may be used now, without a password, as `cron` and `sshd` with a key do.
pub(super) fn check_account(service: &str, name: &str) -> Outcome {
    let Some(mut context) = context(service, name, None) else {
        return told(Verdict::Broken, Vec::new());
    };
    let verdict = may_be_used(&mut context, name);
    let messages = std::mem::take(&mut context.conversation_mut().messages);
    told(verdict, messages)
}

fn context(
    service: &str,
    name: &str,
    password: Option<Secret<String>>,
) -> Option<Context<Conversation>> {
    let conversation = Conversation {
        password,
        asked_more: false,
        messages: Vec::new(),
    };
    let mut context = Context::new(service, Some(name), conversation).ok()?;
    let _ = context.set_tty(Some("lyceum"));
    Some(context)
}

/// Asks the account part.
fn may_be_used(context: &mut Context<Conversation>, name: &str) -> Verdict {
    match context.acct_mgmt(FLAGS) {
        Err(_) if context.conversation().asked_more => Verdict::Question,
        Err(error) => of_account(error.code()),
        Ok(()) if context.user().ok().as_deref() != Some(name) => Verdict::OtherName,
        Ok(()) => Verdict::Accepted,
    }
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
    /// Nothing where only the account is asked about: a module that wants one gets none.
    password: Option<Secret<String>>,
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

    fn prompt_echo_off(&mut self, prompt: &CStr) -> Result<CString, ErrorCode> {
        let Some(password) = &self.password else {
            return self.prompt_echo_on(prompt);
        };
        // The process ends within moments; PAM's own copies are wiped by its modules.
        CString::new(password.expose().as_str()).map_err(|_| ErrorCode::CONV_ERR)
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
