//! Permission as a type: an operation takes a [`UserPermit`] or a [`ServerPermit`], and only a check can make one.

use std::fmt;
use std::marker::PhantomData;

use lyceum_core::scope::{Access, Scope, Target};
use lyceum_core::{GroupName, NameError, ServerName, ServerRef, UserName};
use lyceum_store::User;

use crate::error::{Denied, HubError};
use crate::{Hub, Principal};

/// Something that can be done to a user or to a user's server.
pub trait Action: fmt::Debug + Send + Sync + 'static {
    /// The scopes of which one is needed.
    const SCOPES: &'static [Scope];
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = [$($scope:ident),+];)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl Action for $name {
            const SCOPES: &'static [Scope] = &[$(Scope::$scope),+];
        }
    )+};
}

actions! {
    /// To see a user, as far as the caller may.
    ReadUser = [ReadUsers, ReadUsersName, ReadServers, ReadUsersGroups, ReadUsersActivity, ReadRolesUsers];
    /// To report that a user, or a server, was active.
    ReportActivity = [UsersActivity];
    /// To see a server.
    ReadServer = [ReadServers];
    /// To start a server.
    StartServer = [StartServers];
    /// To stop a server.
    StopServer = [DeleteServers];
    /// To start and stop a server on its pages.
    ManageServer = [Servers];
    /// To use a server.
    AccessServer = [AccessServers];
}

/// The proof that the caller may do `A` to this user.
#[derive(Debug)]
pub struct UserPermit<A: Action> {
    user: User,
    groups: Vec<GroupName>,
    action: PhantomData<A>,
}

impl<A: Action> UserPermit<A> {
    /// The user.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The groups that the user is in.
    pub fn groups(&self) -> &[GroupName] {
        &self.groups
    }
}

/// The proof that the caller may do `A` to this server of this user. The server need not exist.
#[derive(Debug)]
pub struct ServerPermit<A: Action> {
    user: User,
    server: ServerRef,
    action: PhantomData<A>,
}

impl<A: Action> ServerPermit<A> {
    /// The owner.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The server.
    pub fn server(&self) -> &ServerRef {
        &self.server
    }
}

impl Hub {
    /// Checks whether the caller may do `A` to a user.
    ///
    /// A user who does not exist is denied like one whom the caller may not know.
    pub async fn permit_user<A: Action>(
        &self,
        caller: &Principal,
        name: &str,
    ) -> Result<UserPermit<A>, HubError> {
        let (user, groups) = self.lookup(caller, name).await?;
        let target = Target::User {
            name,
            groups: &groups,
        };
        allow(caller.scopes().check_any(A::SCOPES, target))?;
        let user = user.ok_or(Denied::NotFound)?;
        Ok(UserPermit {
            user,
            groups,
            action: PhantomData,
        })
    }

    /// Checks whether the caller may do `A` to a server, which need not exist; its owner must.
    pub async fn permit_server<A: Action>(
        &self,
        caller: &Principal,
        user_name: &str,
        server_name: &str,
    ) -> Result<ServerPermit<A>, HubError> {
        let (user, groups) = self.lookup(caller, user_name).await?;
        let target = Target::Server {
            user: user_name,
            server: server_name,
            groups: &groups,
        };
        allow(caller.scopes().check_any(A::SCOPES, target))?;
        let user = user.ok_or(Denied::NotFound)?;
        let server = ServerName::parse(server_name).map_err(|_: NameError| Denied::NotFound)?;
        let server = ServerRef::new(user.name.clone(), server);
        Ok(ServerPermit {
            user,
            server,
            action: PhantomData,
        })
    }

    /// Checks whether the caller may do `A` to the server that a path below `/user/NAME/` means; see
    /// [`Hub::server_of_path`].
    pub async fn permit_path<A: Action>(
        &self,
        caller: &Principal,
        user_name: &str,
        first_segment: &str,
    ) -> Result<ServerPermit<A>, HubError> {
        let (user, _) = self.lookup(caller, user_name).await?;
        let server = match &user {
            Some(user) => self.server_of_path(user, first_segment).await?.server,
            None => ServerName::default_server(),
        };
        self.permit_server(caller, user_name, server.as_str()).await
    }

    /// Whether the caller may read what a server wrote to its log: its owner may, and whoever manages it.
    pub async fn may_read_log<A: Action>(
        &self,
        caller: &Principal,
        permit: &ServerPermit<A>,
    ) -> Result<bool, HubError> {
        if caller.user().is_some_and(|user| user.id == permit.user.id) {
            return Ok(true);
        }
        let server = permit.server();
        let managed = self
            .permit_server::<ManageServer>(caller, server.user.as_str(), server.server.as_str())
            .await;
        match managed {
            Ok(_) => Ok(true),
            Err(HubError::Denied(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds a user and their groups, without asking the store for what the caller's own login told already.
    async fn lookup(
        &self,
        caller: &Principal,
        name: &str,
    ) -> Result<(Option<User>, Vec<GroupName>), HubError> {
        if let Some(user) = caller.user().filter(|user| user.name.as_str() == name) {
            return Ok((Some(user.clone()), caller.groups().to_vec()));
        }
        let Ok(parsed) = UserName::parse(name) else {
            return Ok((None, Vec::new()));
        };
        let Some(user) = self.store().find_user(&parsed).await? else {
            return Ok((None, Vec::new()));
        };
        let groups = self.store().groups_of_user(user.id).await?;
        Ok((
            Some(user),
            groups.into_iter().map(|group| group.name).collect(),
        ))
    }
}

fn allow(access: Access) -> Result<(), Denied> {
    match access {
        Access::Allowed => Ok(()),
        Access::NotThisOne => Err(Denied::NotFound),
        Access::Denied => Err(Denied::Forbidden),
    }
}
