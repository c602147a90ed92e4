//! What a child is told, and what it answers.

use std::fmt;
use std::path::PathBuf;

use lyceum_core::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::beside::Link;
use crate::protocol::{HomeSpace, secret_text};

/// What a child is to do. All names have been checked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Job {
    /// Find an account by its name.
    Find {
        /// The name.
        name: String,
    },
    /// Ask PAM.
    Authenticate(Login),
    /// Ask PAM's account part alone.
    CheckAccount {
        /// The service, a file in `/etc/pam.d`.
        service: String,
        /// The account.
        name: String,
    },
    /// Make an account.
    Create(Creation),
    /// Make the home folder of an account.
    MakeHome(Home),
    /// Put links into a home, as its owner.
    PutLinks(Links),
    /// Look at the space of a home, as its owner.
    Space {
        /// The owner.
        account: Account,
    },
}

/// A login by PAM.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The service, a file in `/etc/pam.d`.
    pub(crate) service: String,
    /// The account.
    pub(crate) name: String,
    /// The password.
    #[serde(with = "secret_text")]
    pub(crate) password: Secret<String>,
    /// Where the person is.
    pub(crate) client_addr: String,
}

/// An account to be made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Creation {
    /// Its name.
    pub(crate) name: String,
    /// The lowest number that it may have.
    pub(crate) first_uid: u32,
    /// The highest.
    pub(crate) last_uid: u32,
    /// Its shell.
    pub(crate) shell: PathBuf,
    /// Its home folder, which is not made here.
    pub(crate) home: PathBuf,
    /// Its groups besides its own.
    pub(crate) groups: Vec<String>,
}

/// A home folder to be made.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Home {
    /// Whose.
    pub(crate) account: Account,
    /// With what it begins.
    pub(crate) skeleton: PathBuf,
    /// Its mode.
    pub(crate) mode: u32,
}

/// Links that a home shall have.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Links {
    /// Whose.
    pub(crate) account: Account,
    /// The links.
    pub(crate) links: Vec<Link>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Outcome {
    /// It was done.
    Done {},
    /// It was there already.
    Exists {},
    /// The account, if there is one.
    Account(Option<Account>),
    /// What PAM said, in one word, with its own messages for the log.
    Pam {
        /// The word.
        verdict: Verdict,
        /// What its modules had to say.
        messages: Vec<String>,
    },
    /// Space of a home.
    Space(HomeSpace),
    /// It could not be done; a sentence says why.
    Failed(String),
}

/// What PAM says of a login, or of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is the password, and the account may be used.
    Accepted,
    /// It is not the password, or there is no such account.
    Wrong,
    /// It is the password, but has to be changed first.
    PasswordExpired,
    /// The account has expired, is locked, or may not be used now.
    Closed,
    /// A module asked something that nobody can answer here, such as a second factor.
    Question,
    /// PAM itself does not work: no such service, a missing module, no answer from a directory.
    Broken,
    /// A module has put another name in the place of this one.
    OtherName,
}

impl Job {
    /// Whether it goes on when nobody waits for it any more: half an account, or half a home, is in the way of the next
    /// start.
    pub(super) fn must_be_finished(&self) -> bool {
        match self {
            Self::Create(_) | Self::MakeHome(_) => true,
            Self::Find { .. }
            | Self::PutLinks(_)
            | Self::Authenticate(_)
            | Self::CheckAccount { .. }
            | Self::Space { .. } => false,
        }
    }

    /// For messages: "could not …".
    pub(crate) fn doing(&self) -> &'static str {
        match self {
            Self::Find { .. } => "look up the account",
            Self::Authenticate(_) | Self::CheckAccount { .. } => "ask PAM",
            Self::Create(_) => "make the account",
            Self::MakeHome(_) => "make the home folder",
            Self::PutLinks(_) => "put links into the home folder",
            Self::Space { .. } => "look at the space of the home folder",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Wrong => "wrong password or no such account",
            Self::PasswordExpired => "the password has to be changed",
            Self::Closed => "the account may not be used",
            Self::Question => "a module asks for more than a password",
            Self::Broken => "PAM does not work",
            Self::OtherName => "a module has changed the name",
        })
    }
}
