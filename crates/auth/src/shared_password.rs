//! The authenticator `shared-password`: one password for everybody, and if wanted another one for administrators.
//!
//! As JupyterHub's `SharedPasswordAuthenticator`. It does nothing against guessing.

mod config;

use async_trait::async_trait;
use lyceum_core::seams::{Attempt, AuthError, Authenticator, Identity, Step};
use lyceum_core::{Secret, UserName};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use thiserror::Error;

use crate::password::{self, Mark, Marker, PasswordError};

pub use self::config::SharedPasswordConfig;

/// The authenticator's name in configuration and logs.
pub const KIND: &str = "shared-password";
/// The shortest password of everybody, in characters.
pub const MIN_USER_CHARS: usize = 8;
/// The shortest password of administrators, in characters.
pub const MIN_ADMIN_CHARS: usize = 32;

/// Why the authenticator cannot be made.
#[derive(Debug, Error)]
pub enum SharedPasswordError {
    /// There is no password.
    #[error("there is no shared password: name the file with it in `auth.user_password_file`")]
    NoPassword,
    /// A password cannot be read.
    #[error("the shared password cannot be used")]
    Password(#[from] PasswordError),
    /// The password of everybody is too short.
    #[error("the shared password has fewer than {MIN_USER_CHARS} characters")]
    ShortUserPassword,
    /// The password of administrators is too short.
    #[error("the administrators' password has fewer than {MIN_ADMIN_CHARS} characters")]
    ShortAdminPassword,
    /// Both are the same.
    #[error("the administrators' password has to differ from the shared one")]
    SamePassword,
}

/// Lets in whoever knows the password. See the module's own description.
#[derive(Debug)]
pub struct SharedPassword {
    marker: Marker,
    user_password: Mark,
    /// The password that administrators need: their own, or that of everybody.
    admin_password: Mark,
    admin_names: Vec<Mark>,
}

impl SharedPassword {
    /// Makes the authenticator of passwords that are known already.
    pub fn new<'a>(
        user_password: &Secret<String>,
        admin_password: Option<&Secret<String>>,
        admin_users: impl IntoIterator<Item = &'a UserName>,
    ) -> Result<Self, SharedPasswordError> {
        let chars = |password: &Secret<String>| password.expose().chars().count();
        if chars(user_password) < MIN_USER_CHARS {
            return Err(SharedPasswordError::ShortUserPassword);
        }
        if let Some(password) = admin_password {
            if chars(password) < MIN_ADMIN_CHARS {
                return Err(SharedPasswordError::ShortAdminPassword);
            }
            if password.matches(user_password.expose()) {
                return Err(SharedPasswordError::SamePassword);
            }
        }
        let marker = Marker::new();
        let admin_password = admin_password.unwrap_or(user_password);
        Ok(Self {
            user_password: marker.mark(user_password.expose()),
            admin_password: marker.mark(admin_password.expose()),
            admin_names: admin_users
                .into_iter()
                .map(|name| marker.mark(name.as_str()))
                .collect(),
            marker,
        })
    }

    /// Makes the authenticator of a configuration, whose files are read now. Blocks, briefly.
    ///
    /// `admin_users` are those of `access.admin_users`, normalized.
    pub fn from_config<'a>(
        config: &SharedPasswordConfig,
        admin_users: impl IntoIterator<Item = &'a UserName>,
    ) -> Result<Self, SharedPasswordError> {
        let user_password_file = config.user_password_file.as_deref();
        let user_password =
            password::read(user_password_file.ok_or(SharedPasswordError::NoPassword)?)?;
        let admin_password = config
            .admin_password_file
            .as_deref()
            .map(password::read)
            .transpose()?;
        Self::new(&user_password, admin_password.as_ref(), admin_users)
    }

    /// Compares always with both passwords and with every administrator's name, so that the time says nothing.
    fn knows_password(&self, name: &str, typed: &str) -> bool {
        let name = self.marker.mark(name);
        let typed = self.marker.mark(typed);
        let is_admin = self
            .admin_names
            .iter()
            .fold(Choice::from(0), |found, admin| found | admin.is(&name));
        let as_user = typed.is(&self.user_password);
        let as_admin = typed.is(&self.admin_password);
        let knows = u8::conditional_select(&as_user.unwrap_u8(), &as_admin.unwrap_u8(), is_admin);
        knows.ct_eq(&1).into()
    }
}

#[async_trait]
impl Authenticator for SharedPassword {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError> {
        // The name first: `Ada` must not get around the password that `ada` needs.
        let name = UserName::normalize(&attempt.username);
        let compared = name.as_ref().map_or("", UserName::as_str);
        let knows_password = self.knows_password(compared, attempt.password.expose());
        Ok(match name {
            Err(_) => Step::Refused("the text is not a possible user name"),
            Ok(_) if !knows_password => Step::Refused("the password is wrong"),
            Ok(name) => Step::Identity(Identity {
                name: name.into(),
                ..Identity::default()
            }),
        })
    }
}
