//! Shares: servers that people let others use, directly or through groups. Codes for them are in `share_codes.rs`.
//!
//! What a share permits is limited to its server. Its scopes are stored without that filter, and the filter is put
//! on with the server's present name wherever they are read.

mod noted;
mod reading;

use std::collections::BTreeSet;

use lyceum_core::scope::{
    Catalogue, Filter, RawScope, Scope, ScopeError, ScopeName, Shares, Target,
};
use lyceum_core::{GroupName, ServerRef, Timestamp, UserName};
/// With whom a server is shared.
pub use lyceum_store::Receiver;
use lyceum_store::{ReceiverId, Server, Share, Store, StoreError, Tx, User};
use thiserror::Error;

pub(crate) use self::noted::{ShareEvent, log_change};
use crate::error::{Denied, HubError};
use crate::permit::{
    ManageGroupShares, ManageShares, ManageUserShares, ShareWithGroup, ShareWithUser,
};
use crate::{Action, Actor, GroupPermit, Hub, Owner, Principal, ServerPermit, UserPermit};

/// A share, and whether its server is ready now.
#[derive(Debug, Clone)]
pub struct ShareView {
    /// The share.
    pub share: Share,
    /// Whether the server is ready.
    pub ready: bool,
}

/// With whom somebody wants to share, by name as they wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum With {
    /// With a user.
    User(String),
    /// With the members of a group.
    Group(String),
}

/// Why something with shares was not done.
#[derive(Debug, Error)]
pub enum ShareError {
    /// There is no such server.
    #[error("there is no server `{0}`")]
    NoServer(ServerRef),
    /// There is no such share, or no such code.
    #[error("there is no such share")]
    NoShare,
    /// A scope does not exist.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// A scope is limited to something else than the server.
    #[error("scope `{scope}` cannot be shared: its filter can only be `!server={server}`")]
    OtherFilter {
        /// The scope.
        scope: String,
        /// The server.
        server: ServerRef,
    },
    /// The caller does not hold what they want to give.
    #[error("you may not share `{0}`, since you do not have it yourself")]
    NotHeld(RawScope),
    /// The caller may not know whether there is such a user or group.
    #[error("to share with somebody by name takes the right to read that name")]
    MayNotName,
    /// There is nobody of that name.
    #[error("there is no {kind} `{name}`")]
    NoReceiver {
        /// User or group.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

/// Writes the scopes of a share as the API does: each with its filter.
pub fn with_filter(scopes: &[String], server: &ServerRef) -> Vec<String> {
    scopes
        .iter()
        .map(|name| format!("{name}!server={server}"))
        .collect()
}

/// What somebody may do because servers are shared with them.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) scopes: Shares,
    /// When the first of the shares ends, if one does.
    pub(crate) until: Option<Timestamp>,
}

/// What an owner may do because servers are shared with them; nothing for a service.
pub(crate) async fn received(
    store: &Store,
    catalogue: &Catalogue,
    owner: &Owner,
    now: Timestamp,
) -> Result<Received, StoreError> {
    let mut shares = Shares::default();
    let mut until = None;
    let Owner::User(user) = owner else {
        return Ok(Received::default());
    };
    for share in store.received_shares(user.id, now).await? {
        until = share.expires_at.into_iter().chain(until).min();
        let scopes = share
            .scopes
            .iter()
            .filter_map(|name| catalogue.find(name))
            .filter(can_be_shared)
            .map(|name| RawScope {
                name,
                filter: Filter::Server(share.server.clone()),
            });
        if share.by_group {
            shares.by_group.extend(scopes);
        } else {
            shares.direct.extend(scopes);
        }
    }
    Ok(Received {
        scopes: shares,
        until,
    })
}

/// Whether a scope can be limited to a server: `self` and `inherit` stand for other scopes.
fn can_be_shared(name: &ScopeName) -> bool {
    !matches!(name, ScopeName::BuiltIn(scope) if scope.is_metascope())
}

impl Hub {
    /// Gives up what is shared with a user.
    pub async fn leave_as_user(
        &self,
        permit: &UserPermit<ManageUserShares>,
        owner: &str,
        server: &str,
    ) -> Result<(), ShareError> {
        let with = ReceiverId::User(permit.user().id);
        self.leave(permit.by(), with, owner, server).await
    }

    /// Gives up what is shared with a group.
    pub async fn leave_as_group(
        &self,
        permit: &GroupPermit<ManageGroupShares>,
        owner: &str,
        server: &str,
    ) -> Result<(), ShareError> {
        let with = ReceiverId::Group(permit.group().id);
        self.leave(permit.by(), with, owner, server).await
    }

    /// Shares a server, or widens what is shared already; without scopes, the right to use it.
    pub async fn grant_share(
        &self,
        caller: &Principal,
        permit: &ServerPermit<ManageShares>,
        with: &With,
        scopes: &[String],
    ) -> Result<ShareView, ShareError> {
        let names = self.to_share(permit, scopes)?;
        self.shared_server(permit).await?;
        self.check_held(caller, permit, &names).await?;
        let may_name = match with {
            With::User(name) => self
                .permit_name::<ShareWithUser>(caller, name)
                .await
                .map(drop),
            With::Group(name) => self
                .permit_name::<ShareWithGroup>(caller, name)
                .await
                .map(drop),
        };
        match may_name {
            Ok(()) => {}
            Err(HubError::Denied(Denied::Forbidden | Denied::NotFound)) => {
                return Err(ShareError::MayNotName);
            }
            Err(HubError::Store(error)) => return Err(error.into()),
        }
        let now = self.now();
        let mut tx = self.store().begin().await?;
        let receiver = find_receiver(&mut tx, with)
            .await?
            .ok_or_else(|| no_receiver(with))?;
        let server = server_to_share(&mut tx, permit.user(), permit.server(), now).await?;
        let share = tx
            .grant_share(server.id, receiver, &texts(&names), now)
            .await?;
        let event = ShareEvent::new("granted", permit.server()).of(&share);
        self.write_share(&mut tx, Actor::Caller(caller), event)
            .await?;
        tx.commit().await?;
        log_change("shared", &share);
        Ok(self.share_view(share))
    }

    /// Takes scopes from a share, all without any given; gives what is left. A receiver who does not exist has
    /// nothing.
    ///
    /// The scopes are compared as they are listed, with their filter; what is not in the share plays no part.
    pub async fn revoke_share(
        &self,
        permit: &ServerPermit<ManageShares>,
        with: &With,
        scopes: &[String],
    ) -> Result<Option<ShareView>, ShareError> {
        let filter = format!("!server={}", permit.server());
        let mut names = BTreeSet::new();
        for scope in scopes {
            let name = scope.split('!').next().unwrap_or_default();
            let known = self.catalogue().find(name);
            known.ok_or_else(|| ScopeError::Unknown(scope.clone()))?;
            if scope.strip_suffix(&filter) == Some(name) {
                names.insert(name.to_owned());
            }
        }
        let Some(server) = self.shared_server(permit).await? else {
            return Ok(None);
        };
        let mut tx = self.store().begin().await?;
        let Some(receiver) = find_receiver(&mut tx, with).await? else {
            return Ok(None);
        };
        let names = (!scopes.is_empty()).then_some(&names);
        let left = tx
            .revoke_share(server.id, receiver, names, self.now())
            .await?;
        let event = ShareEvent::new("revoked", permit.server()).leaving(with, left.as_ref());
        self.write_share(&mut tx, Actor::Caller(permit.by()), event)
            .await?;
        tx.commit().await?;
        if left.is_none() {
            tracing::info!(server.name = %permit.server(), ?with, "server {} is no longer shared with {with:?}", permit.server());
        }
        Ok(left.map(|share| self.share_view(share)))
    }

    /// Ends all shares of a server. Its codes go on working.
    pub async fn revoke_shares(
        &self,
        permit: &ServerPermit<ManageShares>,
    ) -> Result<(), ShareError> {
        let Some(server) = self.shared_server(permit).await? else {
            return Ok(());
        };
        let mut tx = self.store().begin().await?;
        let count = tx.delete_shares_of_server(server.id).await?;
        let event = ShareEvent::new("all-revoked", permit.server());
        self.write_share(&mut tx, Actor::Caller(permit.by()), event)
            .await?;
        tx.commit().await?;
        tracing::info!(server.name = %permit.server(), "ended {count} shares of server {}", permit.server());
        Ok(())
    }

    /// Finds the record of a server; `None` for a default server that was never started, which can be shared all
    /// the same.
    pub(crate) async fn shared_server<A: Action>(
        &self,
        permit: &ServerPermit<A>,
    ) -> Result<Option<Server>, ShareError> {
        let name = &permit.server().server;
        let found = self.store().find_server(permit.user().id, name).await?;
        if found.is_none() && !name.is_default() {
            return Err(ShareError::NoServer(permit.server().clone()));
        }
        Ok(found)
    }

    /// Reads the scopes that are to be shared; without any, the right to use the server.
    pub(crate) fn to_share<A: Action>(
        &self,
        permit: &ServerPermit<A>,
        scopes: &[String],
    ) -> Result<BTreeSet<ScopeName>, ShareError> {
        if scopes.is_empty() {
            return Ok([Scope::AccessServers.into()].into());
        }
        let server = permit.server();
        let read = |text: &String| match text.split_once('!') {
            None => self
                .catalogue()
                .find(text)
                .ok_or_else(|| ScopeError::Unknown(text.clone()).into()),
            Some((name, filter)) => {
                let found = self.catalogue().find(name);
                let found = found.ok_or_else(|| ScopeError::Unknown(text.clone()))?;
                if filter.strip_prefix("server=") == Some(server.to_string().as_str()) {
                    Ok(found)
                } else {
                    Err(ShareError::OtherFilter {
                        scope: text.clone(),
                        server: server.clone(),
                    })
                }
            }
        };
        scopes.iter().map(read).collect()
    }

    /// Checks that the caller holds what they want to give.
    pub(crate) async fn check_held<A: Action>(
        &self,
        caller: &Principal,
        permit: &ServerPermit<A>,
        names: &BTreeSet<ScopeName>,
    ) -> Result<(), ShareError> {
        let groups = self.groups_of(permit.user()).await?;
        let target = Target::Server {
            user: permit.user().name.as_str(),
            server: permit.server().server.as_str(),
            groups: &groups,
        };
        let missing = names
            .iter()
            .find(|name| !can_be_shared(name) || !caller.scopes().allows(name, target));
        match missing {
            None => Ok(()),
            Some(name) => Err(ShareError::NotHeld(RawScope {
                name: name.clone(),
                filter: Filter::Server(permit.server().clone()),
            })),
        }
    }

    pub(crate) fn is_ready(&self, server: &ServerRef) -> bool {
        self.snapshot(server).state.is_ready()
    }

    async fn leave(
        &self,
        by: &Principal,
        with: ReceiverId,
        owner: &str,
        server: &str,
    ) -> Result<(), ShareError> {
        let share = self.find_share(with, owner, server).await?.share;
        let mut tx = self.store().begin().await?;
        if !tx.delete_share(share.id).await? {
            return Err(ShareError::NoShare);
        }
        let event = ShareEvent::new("given-up", &share.server).of(&share);
        self.write_share(&mut tx, Actor::Caller(by), event).await?;
        tx.commit().await?;
        log_change("gave up", &share);
        Ok(())
    }
}

/// Finds the record of a server that is to be shared; that of a default server is created.
pub(crate) async fn server_to_share(
    tx: &mut Tx,
    owner: &User,
    server: &ServerRef,
    now: Timestamp,
) -> Result<Server, ShareError> {
    if server.server.is_default() {
        return Ok(tx.ensure_server(owner.id, &server.server, now).await?.0);
    }
    tx.find_server(owner.id, &server.server)
        .await?
        .ok_or_else(|| ShareError::NoServer(server.clone()))
}

pub(crate) fn texts(names: &BTreeSet<ScopeName>) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

async fn find_receiver(tx: &mut Tx, with: &With) -> Result<Option<ReceiverId>, StoreError> {
    Ok(match with {
        With::User(name) => match UserName::parse(name) {
            Ok(name) => tx
                .find_user(&name)
                .await?
                .map(|user| ReceiverId::User(user.id)),
            Err(_) => None,
        },
        With::Group(name) => match GroupName::parse(name) {
            Ok(name) => tx
                .find_group(&name)
                .await?
                .map(|group| ReceiverId::Group(group.id)),
            Err(_) => None,
        },
    })
}

fn no_receiver(with: &With) -> ShareError {
    let (kind, name) = match with {
        With::User(name) => ("user", name),
        With::Group(name) => ("group", name),
    };
    ShareError::NoReceiver {
        kind,
        name: name.clone(),
    }
}
