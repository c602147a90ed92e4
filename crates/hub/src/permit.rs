//! Permission as a type: an operation takes a permit for its [`Action`], and only a check of scopes can make one.
//!
//! To do something to a thing that exists takes a [`UserPermit`], [`ServerPermit`], [`GroupPermit`] or
//! [`ServicePermit`]; to something that only has a name so far, a [`NamePermit`]; to the hub as a whole, a
//! [`HubPermit`]; and a list shows what its [`ListPermit`] lets through.

mod actions;

use std::marker::PhantomData;
use std::sync::Arc;

use lyceum_core::names::ServiceName;
use lyceum_core::scope::{Access, Listing, ScopeSet, Target};
use lyceum_core::{GroupName, NameError, ServerName, ServerRef, UserName};
use lyceum_store::{Group, Service, User};

pub use self::actions::*;

use crate::error::{Denied, HubError};
use crate::models::UserView;
use crate::{Hub, Principal};

/// The proof that the caller may do `A` to this user.
#[derive(Debug)]
pub struct UserPermit<A: Action> {
    by: Principal,
    user: User,
    groups: Vec<GroupName>,
    action: PhantomData<A>,
}

impl<A: Action> UserPermit<A> {
    /// Who may.
    pub fn by(&self) -> &Principal {
        &self.by
    }

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
    by: Principal,
    user: User,
    server: ServerRef,
    action: PhantomData<A>,
}

impl<A: Action> ServerPermit<A> {
    /// Who may.
    pub fn by(&self) -> &Principal {
        &self.by
    }

    /// The owner.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The server.
    pub fn server(&self) -> &ServerRef {
        &self.server
    }
}

/// The proof that the caller may do `A` to this group.
#[derive(Debug)]
pub struct GroupPermit<A: Action> {
    by: Principal,
    group: Group,
    action: PhantomData<A>,
}

impl<A: Action> GroupPermit<A> {
    /// Who may.
    pub fn by(&self) -> &Principal {
        &self.by
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }
}

/// The proof that the caller may do `A` to this service.
#[derive(Debug)]
pub struct ServicePermit<A: Action> {
    by: Principal,
    service: Service,
    action: PhantomData<A>,
}

impl<A: Action> ServicePermit<A> {
    /// Who may.
    pub fn by(&self) -> &Principal {
        &self.by
    }

    /// The service.
    pub fn service(&self) -> &Service {
        &self.service
    }
}

/// The proof that the caller may do `A` to what has this name, which need not exist.
#[derive(Debug)]
pub struct NamePermit<A: Action> {
    name: String,
    action: PhantomData<A>,
}

impl<A: Action> NamePermit<A> {
    /// The name, as the caller gave it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The proof that the caller may do `A` to the hub as a whole.
#[derive(Debug)]
pub struct HubPermit<A: Action> {
    by: Principal,
    action: PhantomData<A>,
}

impl<A: Action> HubPermit<A> {
    /// Who may.
    pub fn by(&self) -> &Principal {
        &self.by
    }
}

/// The proof that the caller may see a list, and which part of it.
#[derive(Debug)]
pub struct ListPermit<A: Action> {
    scopes: Arc<ScopeSet>,
    action: PhantomData<A>,
}

impl<A: Action> ListPermit<A> {
    /// Which things the list may show.
    pub fn listing(&self) -> Listing<'_> {
        let listings = A::SCOPES.iter().map(|scope| self.scopes.listing(*scope));
        // Each list has one scope; the first that is held counts.
        listings
            .into_iter()
            .find(|listing| *listing != Listing::Denied)
            .unwrap_or(Listing::Denied)
    }

    /// What the caller may see of each item.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }
}

impl Hub {
    /// Checks whether the caller may do `A` to the hub as a whole; a scope with a filter is not enough.
    pub fn permit_hub<A: Action>(&self, caller: &Principal) -> Result<HubPermit<A>, Denied> {
        allow(caller.scopes().check_any(A::SCOPES, Target::Any))?;
        Ok(HubPermit {
            by: caller.clone(),
            action: PhantomData,
        })
    }

    /// Checks whether the caller may see a list, all of it or a part.
    pub fn permit_list<A: Action>(&self, caller: &Principal) -> Result<ListPermit<A>, Denied> {
        if !A::SCOPES.iter().any(|scope| caller.scopes().holds(*scope)) {
            return Err(Denied::Forbidden);
        }
        Ok(ListPermit {
            scopes: caller.shared_scopes(),
            action: PhantomData,
        })
    }

    /// Checks whether the caller may do `A` to a user, group or service of this name, which need not exist.
    pub async fn permit_name<A: Action>(
        &self,
        caller: &Principal,
        name: &str,
    ) -> Result<NamePermit<A>, HubError> {
        let groups;
        let target = match A::ON {
            On::User | On::Server => {
                (_, groups) = self.lookup(caller, name).await?;
                Target::User {
                    name,
                    groups: &groups,
                }
            }
            On::Group => Target::Group(name),
            On::Service => Target::Service(name),
            On::Hub | On::List => Target::Any,
        };
        allow(caller.scopes().check_any(A::SCOPES, target))?;
        Ok(NamePermit {
            name: name.to_owned(),
            action: PhantomData,
        })
    }

    /// Checks whether the caller may do `A` to a group, which must exist.
    pub async fn permit_group<A: Action>(
        &self,
        caller: &Principal,
        name: &str,
    ) -> Result<GroupPermit<A>, HubError> {
        allow(caller.scopes().check_any(A::SCOPES, Target::Group(name)))?;
        let name = GroupName::parse(name).map_err(|_: NameError| Denied::NotFound)?;
        let group = self.store().find_group(&name).await?;
        Ok(GroupPermit {
            by: caller.clone(),
            group: group.ok_or(Denied::NotFound)?,
            action: PhantomData,
        })
    }

    /// Checks whether the caller may do `A` to a service, which must exist.
    pub async fn permit_service<A: Action>(
        &self,
        caller: &Principal,
        name: &str,
    ) -> Result<ServicePermit<A>, HubError> {
        allow(caller.scopes().check_any(A::SCOPES, Target::Service(name)))?;
        let name = ServiceName::parse(name).map_err(|_: NameError| Denied::NotFound)?;
        let service = self.store().find_service(&name).await?;
        Ok(ServicePermit {
            by: caller.clone(),
            service: service.ok_or(Denied::NotFound)?,
            action: PhantomData,
        })
    }

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
            by: caller.clone(),
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
            by: caller.clone(),
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

    /// Whether to offer the caller to do `A` to a user whom they see: they would get the permit.
    pub fn may_on_user<A: Action>(&self, caller: &Principal, view: &UserView) -> bool {
        let target = Target::User {
            name: view.user.name.as_str(),
            groups: &view.groups,
        };
        caller.scopes().check_any(A::SCOPES, target).is_allowed()
    }

    /// Whether to offer the caller to do `A` to a server of a user whom they see.
    pub fn may_on_server<A: Action>(
        &self,
        caller: &Principal,
        owner: &UserView,
        server: &ServerName,
    ) -> bool {
        let target = Target::Server {
            user: owner.user.name.as_str(),
            server: server.as_str(),
            groups: &owner.groups,
        };
        caller.scopes().check_any(A::SCOPES, target).is_allowed()
    }

    /// Whether to offer the caller to do `A` to a group that they see.
    pub fn may_on_group<A: Action>(&self, caller: &Principal, group: &GroupName) -> bool {
        let target = Target::Group(group.as_str());
        caller.scopes().check_any(A::SCOPES, target).is_allowed()
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
        Ok(match self.known_user(&parsed).await? {
            Some(known) => (Some(known.user.clone()), known.groups.to_vec()),
            None => (None, Vec::new()),
        })
    }
}

fn allow(access: Access) -> Result<(), Denied> {
    match access {
        Access::Allowed => Ok(()),
        Access::NotThisOne => Err(Denied::NotFound),
        Access::Denied => Err(Denied::Forbidden),
    }
}
