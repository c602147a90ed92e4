//! Who is asking, and what they may do: found from a token or a login cookie, at each request.

use std::collections::BTreeSet;
use std::sync::Arc;

use lyceum_core::ids::TokenId;
use lyceum_core::scope::{
    Catalogue, ClientOf, KnownMembers, Owner as ScopeOwner, RawScope, ScopeSet, default_role,
    session_scopes, token_owner_scopes, token_scopes,
};
use lyceum_core::{GroupName, Secret, ServerRef, ServiceName};
use lyceum_store::{ApiToken, Owner as StoredOwner, RoleHolder, Service, Store, StoreError, User};

use crate::Hub;
use crate::sessions::Session;
use crate::shares::received;

/// Who is asking.
#[derive(Debug, Clone)]
pub struct Principal {
    owner: Owner,
    groups: Arc<[GroupName]>,
    scopes: Arc<ScopeSet>,
    via: Via,
}

/// A user or a service.
#[derive(Debug, Clone)]
pub enum Owner {
    /// A user.
    User(User),
    /// A service.
    Service(Service),
}

/// How the asker has shown who they are.
#[derive(Debug, Clone)]
pub enum Via {
    /// By a login in a browser.
    Session(Session),
    /// By a token.
    Token {
        /// The token.
        id: TokenId,
        /// The browser session that it came from, for a token of an OAuth client.
        session_id: Option<String>,
        /// The OAuth client that it was issued to, unless it was the hub itself.
        client_id: Option<String>,
        /// Whether it is a single-user server's own: what it does is not the user's doing.
        of_server: bool,
    },
}

impl Principal {
    /// The user or service.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&User> {
        match &self.owner {
            Owner::User(user) => Some(user),
            Owner::Service(_) => None,
        }
    }

    /// The name of the user or service.
    pub fn name(&self) -> &str {
        match &self.owner {
            Owner::User(user) => user.name.as_str(),
            Owner::Service(service) => service.data.name.as_str(),
        }
    }

    /// The groups that the user is in.
    pub fn groups(&self) -> &[GroupName] {
        &self.groups
    }

    /// What may be done.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// What may be done, to keep.
    pub(crate) fn shared_scopes(&self) -> Arc<ScopeSet> {
        Arc::clone(&self.scopes)
    }

    /// How the asker has shown who they are.
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// The browser session, if it is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.via {
            Via::Session(session) => Some(session),
            Via::Token { .. } => None,
        }
    }

    /// Whose scopes are meant by `!user` and the like.
    pub fn scope_owner(&self) -> ScopeOwner<'_> {
        match &self.owner {
            Owner::User(user) => ScopeOwner::User(&user.name),
            Owner::Service(service) => ScopeOwner::Service(&service.data.name),
        }
    }
}

/// To what an OAuth client belongs, with the names that scopes need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSubject {
    /// To a user's server.
    Server(ServerRef),
    /// To a service.
    Service(ServiceName),
}

impl ClientSubject {
    /// The same, borrowed, as the rules of scopes want it.
    pub fn as_client_of(&self) -> ClientOf<'_> {
        match self {
            Self::Server(server) => ClientOf::Server(server),
            Self::Service(service) => ClientOf::Service(service),
        }
    }
}

impl Hub {
    /// Finds who presents this token; `None` if it is not one of ours, no longer valid, or of a blocked user.
    pub async fn principal_of_token(
        &self,
        presented: &Secret<String>,
    ) -> Result<Option<Principal>, StoreError> {
        let Some((token, owner)) = self.store().find_token(presented, self.now()).await? else {
            return Ok(None);
        };
        let owner = match owner {
            StoredOwner::User(user) if self.settings().access.is_blocked(&user.name) => {
                return Ok(None);
            }
            StoredOwner::User(user) => Owner::User(user),
            StoredOwner::Service(service) => Owner::Service(service),
        };
        let catalogue = self.catalogue();
        let (groups, roles) = roles_of(self.store(), catalogue, &owner).await?;
        let shares = received(self.store(), catalogue, &owner, self.now()).await?;
        let owner_scopes = token_owner_scopes(catalogue, scope_owner(&owner), &roles, &shares);
        let raw = catalogue.parse_stored(&token.scopes);
        let client = self.client_subject(&token).await?;
        let client = client.as_ref().map(ClientSubject::as_client_of);
        let members = own_groups(&owner, &groups);
        let scopes = token_scopes(
            catalogue,
            &raw,
            scope_owner(&owner),
            &owner_scopes,
            client,
            &members,
        );
        let of_server = token.server_id.is_some();
        self.activity().token_used(token.id);
        if let (Owner::User(user), false) = (&owner, of_server) {
            self.activity().user_seen(user.id);
        }
        let via = Via::Token {
            id: token.id,
            session_id: token.session_id,
            client_id: token.client_id,
            of_server,
        };
        Ok(Some(Principal {
            owner,
            groups,
            scopes: Arc::new(scopes),
            via,
        }))
    }

    /// Finds who is logged in with this cookie; `None` if it is not one of ours, no longer valid, or of a
    /// blocked user.
    pub async fn principal_of_cookie(
        &self,
        secret: &Secret<String>,
    ) -> Result<Option<Principal>, StoreError> {
        let Some(session) = self.session(secret).await? else {
            return Ok(None);
        };
        let owner = Owner::User(session.user.clone());
        let (groups, roles) = roles_of(self.store(), self.catalogue(), &owner).await?;
        let shares = received(self.store(), self.catalogue(), &owner, self.now()).await?;
        let scopes = session_scopes(self.catalogue(), scope_owner(&owner), &roles, &shares);
        self.activity().user_seen(session.user.id);
        self.activity().session_used(session.id);
        Ok(Some(Principal {
            owner,
            groups,
            scopes: Arc::new(scopes),
            via: Via::Session(session),
        }))
    }

    async fn client_subject(&self, token: &ApiToken) -> Result<Option<ClientSubject>, StoreError> {
        let Some(identifier) = &token.client_id else {
            return Ok(None);
        };
        let Some(client) = self.store().find_oauth_client(identifier).await? else {
            return Ok(None);
        };
        self.subject_of(&client).await
    }

    /// Finds to what an OAuth client belongs.
    pub(crate) async fn subject_of(
        &self,
        client: &lyceum_store::OAuthClient,
    ) -> Result<Option<ClientSubject>, StoreError> {
        if let Some(id) = client.server_id {
            let server = self.store().find_server_by_id(id).await?;
            return Ok(server
                .map(|(user, server)| ClientSubject::Server(ServerRef::new(user, server.name))));
        }
        if let Some(id) = client.service_id {
            let service = self.store().find_service_by_id(id).await?;
            return Ok(service.map(|service| ClientSubject::Service(service.data.name)));
        }
        Ok(None)
    }
}

/// The groups of an owner, and the raw scopes of all its roles: its own, its groups', and those that come
/// with being a user or an administrator.
pub(crate) async fn roles_of(
    store: &Store,
    catalogue: &Catalogue,
    owner: &Owner,
) -> Result<(Arc<[GroupName]>, BTreeSet<RawScope>), StoreError> {
    let (groups, roles, admin, is_user) = match owner {
        Owner::User(user) => {
            let groups = store.groups_of_user(user.id).await?;
            let groups = groups.into_iter().map(|group| group.name).collect();
            (
                groups,
                store.roles_of_user(user.id).await?,
                user.admin,
                true,
            )
        }
        Owner::Service(service) => {
            let roles = store.roles_held_by(RoleHolder::Service(service.id)).await?;
            (Arc::default(), roles, service.data.admin, false)
        }
    };
    let mut scopes = BTreeSet::new();
    for (name, held) in [("user", is_user), ("admin", admin)] {
        // A stored role of that name is the configured version of it.
        if held && !roles.iter().any(|role| role.name == name) {
            let default = default_role(name)
                .map(|role| role.scopes)
                .unwrap_or_default();
            scopes.extend(catalogue.parse_stored(default));
        }
    }
    for role in &roles {
        scopes.extend(catalogue.parse_stored(&role.scopes));
    }
    Ok((groups, scopes))
}

fn scope_owner(owner: &Owner) -> ScopeOwner<'_> {
    match owner {
        Owner::User(user) => ScopeOwner::User(&user.name),
        Owner::Service(service) => ScopeOwner::Service(&service.data.name),
    }
}

/// The memberships of the owner: an owner's own token is cut to the owner's own rights, so others play no part
/// except through group filters, which name groups.
fn own_groups(owner: &Owner, groups: &[GroupName]) -> KnownMembers {
    let mut members = KnownMembers::default();
    if let Owner::User(user) = owner {
        for group in groups {
            members.insert(&user.name, group);
        }
    }
    members
}
