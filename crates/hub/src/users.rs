//! Users: lists of them, and new ones. What changes or deletes a user has files of its own.

mod change;
mod delete;

use lyceum_core::scope::Listing;
use lyceum_core::{NameError, UserName};
use lyceum_store::{HavingServers, OnlyUsers, Page, Paged, StoreError, Tx, User, UserQuery};
use serde_json::json;
use thiserror::Error;

pub use self::change::UserChange;
pub use self::delete::DeleteUserError;
use crate::error::{Denied, HubError};
use crate::models::UserView;
use crate::permit::{CreateUsers, HubPermit, ListPermit, ListUsers, ManageUser, NamePermit};
use crate::{Actor, AuditEvent, AuditKind, Hub, Principal};

/// What users can be sorted by.
pub use lyceum_store::UserSort;

/// How much of a name that cannot be one is said in an error.
const SHOWN_CHARS: usize = 64;

/// Which users to list, and in what order.
#[derive(Debug, Clone)]
pub struct UserFilter {
    /// Which part of the list.
    pub page: Page,
    /// Only users whose name contains this text; letter case does not count.
    pub name_contains: Option<String>,
    /// Only users whose servers are in this state.
    pub state: Option<UserState>,
    /// What to sort by.
    pub sort: UserSort,
    /// Backwards.
    pub descending: bool,
}

/// A condition on a user's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// At least one server runs, or something is going on with it.
    Active,
    /// At least one server runs, and nothing is going on with it.
    Ready,
    /// No server runs.
    Inactive,
}

/// Why users were not created or changed.
#[derive(Debug, Error)]
pub enum UserError {
    /// A text cannot be a name.
    #[error("{name} cannot be a user name: {reason}")]
    Name {
        /// The text, cut and made fit to be shown.
        name: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// There is a user of that name.
    #[error("there is a user {0} already")]
    Exists(UserName),
    /// There is nobody to be created.
    #[error("all {0} users exist already")]
    AllExist(usize),
    /// Only administrators make administrators.
    #[error("only an administrator can make others administrators")]
    GrantsAdmin,
    /// Only administrators change administrators.
    #[error("only an administrator can change another one")]
    ChangesAdmin,
    /// Auth state is to be kept, but that is not switched on.
    #[error("auth state is not enabled here")]
    NoAuthState,
    /// Users cannot be renamed while a server of theirs is active: its URL has the name in it.
    #[error("stop all servers of {0} first: the name is part of their addresses")]
    ServersActive(UserName),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl UserError {
    fn name(text: &str, reason: NameError) -> Self {
        let cut: String = text.chars().take(SHOWN_CHARS).collect();
        Self::Name {
            name: format!("{cut:?}"),
            reason,
        }
    }
}

impl Hub {
    /// Lists the users that the caller may see. Who has no server in state [`UserState::Ready`] is left out of a
    /// page that the store chose by less, so that pages may be short (as in JupyterHub).
    pub async fn list_users(
        &self,
        permit: &ListPermit<ListUsers>,
        filter: UserFilter,
    ) -> Result<Paged<UserView>, HubError> {
        let only = match permit.listing() {
            Listing::Everything => None,
            // A server says nothing about which users may be seen.
            Listing::Only(filters) if filters.servers.is_empty() && filters.services.is_empty() => {
                Some(OnlyUsers {
                    users: filters.users.iter().cloned().collect(),
                    groups: filters.groups.iter().cloned().collect(),
                })
            }
            Listing::Only(_) | Listing::Denied => return Err(Denied::Forbidden.into()),
        };
        let query = UserQuery {
            page: filter.page,
            name_contains: filter.name_contains,
            servers: filter.state.map(|state| match state {
                UserState::Active | UserState::Ready => HavingServers::Active,
                UserState::Inactive => HavingServers::NoneActive,
            }),
            only,
            sort: filter.sort,
            descending: filter.descending,
        };
        let users = self.store().list_users(&query).await?;
        let mut items = self.views(users.items).await?;
        if filter.state == Some(UserState::Ready) {
            items.retain(UserView::has_ready_server);
        }
        Ok(Paged {
            items,
            total: users.total,
        })
    }

    /// Creates several users, all or none; names are made lower case first, and who exists is passed over.
    pub async fn create_users(
        &self,
        _permit: &HubPermit<CreateUsers>,
        caller: &Principal,
        names: &[String],
        admin: bool,
    ) -> Result<Vec<UserView>, UserError> {
        check_grant(caller, admin)?;
        let parsed = names
            .iter()
            .map(|name| parse_lowered(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut created = Vec::new();
        let mut tx = self.store().begin().await?;
        for name in &parsed {
            match self.create_user_in(&mut tx, name, admin).await {
                Ok(user) => {
                    self.write_created(&mut tx, caller, &user).await?;
                    created.push(user);
                }
                Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if created.is_empty() {
            return Err(UserError::AllExist(names.len()));
        }
        tx.commit().await?;
        tracing::info!(
            by = caller.name(),
            count = created.len(),
            admin,
            "created users"
        );
        Ok(self.views(created).await?)
    }

    /// Creates one user, with the name exactly as it is.
    pub async fn create_user(
        &self,
        permit: &NamePermit<ManageUser>,
        caller: &Principal,
        admin: bool,
    ) -> Result<UserView, UserError> {
        let name = UserName::parse(permit.name())
            .map_err(|reason| UserError::name(permit.name(), reason))?;
        check_grant(caller, admin)?;
        let mut tx = self.store().begin().await?;
        let user = match self.create_user_in(&mut tx, &name, admin).await {
            Ok(user) => user,
            Err(StoreError::Exists { .. }) => return Err(UserError::Exists(name)),
            Err(error) => return Err(error.into()),
        };
        self.write_created(&mut tx, caller, &user).await?;
        tx.commit().await?;
        tracing::info!(user.name = %user.name, by = caller.name(), admin, "created user {}", user.name);
        Ok(self.view(&user).await?)
    }

    async fn write_created(
        &self,
        tx: &mut Tx,
        by: &Principal,
        user: &User,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            detail: json!({"admin": user.admin}),
            ..AuditEvent::new(AuditKind::UserCreated, Actor::Caller(by), Some(&user.name))
        };
        self.audit().write(tx, event).await
    }

    /// Whether there is a user of this name.
    pub async fn user_exists(&self, permit: &NamePermit<ManageUser>) -> Result<bool, StoreError> {
        let Ok(name) = UserName::parse(permit.name()) else {
            return Ok(false);
        };
        Ok(self.store().find_user(&name).await?.is_some())
    }
}

/// Accepts a name that an administrator gave: made lower case, and otherwise as it is (JupyterHub
/// `Authenticator.normalize_username`). Only who logs in may have typed a space beside it.
fn parse_lowered(name: &str) -> Result<UserName, UserError> {
    UserName::parse(&name.to_lowercase()).map_err(|reason| UserError::name(name, reason))
}

/// The `admin` flag of the caller itself counts here, not its scopes (JupyterHub `apihandlers/users.py`).
fn check_grant(caller: &Principal, admin: bool) -> Result<(), UserError> {
    if admin && !caller.is_admin() {
        return Err(UserError::GrantsAdmin);
    }
    Ok(())
}

/// Whoever is no administrator changes nothing about one.
fn check_change(caller: &Principal, of: &User) -> Result<(), UserError> {
    if of.admin && !caller.is_admin() {
        return Err(UserError::ChangesAdmin);
    }
    Ok(())
}
