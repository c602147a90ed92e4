//! Who is asking, and what they may do: found from a token or a login cookie, at each request.
//!
//! What was found is remembered until something changes of it (`known.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use lyceum_core::ids::{ServerId, TokenId};
use lyceum_core::scope::{
    ClientOf, KnownMembers, Owner as ScopeOwner, RawScope, Scope, ScopeSet, default_role,
    session_scopes, token_owner_scopes, token_scopes,
};
use lyceum_core::{GroupName, Secret, ServerRef, ServiceName, Timestamp};
use lyceum_store::{
    ApiToken, OAuthClient, Owner as StoredOwner, RoleHolder, SecretKey, Service, StoreError, Tag,
    User,
};

use crate::Hub;
use crate::known::Proven;
use crate::membership::members_for;
use crate::servers::Shared;
use crate::sessions::Session;
use crate::shares::received;

/// Who is asking. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Identity>);

#[derive(Debug)]
struct Identity {
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
    /// By name and password, for this one request.
    Credentials,
}

impl Principal {
    /// The user or service.
    pub fn owner(&self) -> &Owner {
        &self.0.owner
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&User> {
        match &self.0.owner {
            Owner::User(user) => Some(user),
            Owner::Service(_) => None,
        }
    }

    /// The name of the user or service.
    pub fn name(&self) -> &str {
        match &self.0.owner {
            Owner::User(user) => user.name.as_str(),
            Owner::Service(service) => service.data.name.as_str(),
        }
    }

    /// Whether it is an administrator: by its own flag, whatever the token may.
    pub fn is_admin(&self) -> bool {
        match &self.0.owner {
            Owner::User(user) => user.admin,
            Owner::Service(service) => service.data.admin,
        }
    }

    /// The groups that the user is in.
    pub fn groups(&self) -> &[GroupName] {
        &self.0.groups
    }

    /// What may be done.
    pub fn scopes(&self) -> &ScopeSet {
        &self.0.scopes
    }

    /// What may be done, to keep.
    pub(crate) fn shared_scopes(&self) -> Arc<ScopeSet> {
        Arc::clone(&self.0.scopes)
    }

    /// How the asker has shown who they are.
    pub fn via(&self) -> &Via {
        &self.0.via
    }

    /// The browser session, if it is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.0.via {
            Via::Session(session) => Some(session),
            Via::Token { .. } | Via::Credentials => None,
        }
    }

    /// Whose scopes are meant by `!user` and the like.
    pub fn scope_owner(&self) -> ScopeOwner<'_> {
        match &self.0.owner {
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
        self.principal_of("token", presented, || self.load_token(presented))
            .await
    }

    /// Finds who is logged in with this cookie; `None` if it is not one of ours, no longer valid, or of a
    /// blocked user.
    pub async fn principal_of_cookie(
        &self,
        secret: &Secret<String>,
    ) -> Result<Option<Principal>, StoreError> {
        self.principal_of("cookie", secret, || self.load_cookie(secret))
            .await
    }

    /// Finds who is logged in with this cookie, as [`Hub::principal_of_cookie`] does, for a request that a page makes by
    /// itself: it does not count as activity.
    pub async fn principal_of_page(
        &self,
        secret: &Secret<String>,
    ) -> Result<Option<Principal>, StoreError> {
        self.recognize("cookie", secret, || self.load_cookie(secret))
            .await
    }

    /// Finds who presents a secret. It counts as activity.
    async fn principal_of<Load>(
        &self,
        kind: &'static str,
        secret: &Secret<String>,
        load: impl FnOnce() -> Load,
    ) -> Result<Option<Principal>, StoreError>
    where
        Load: Future<Output = Result<Option<Loaded>, StoreError>>,
    {
        let principal = self.recognize(kind, secret, load).await?;
        if let Some(principal) = &principal {
            self.note_use(principal);
        }
        Ok(principal)
    }

    /// Finds who presents a secret: by heart, or else in the database.
    async fn recognize<Load>(
        &self,
        kind: &'static str,
        secret: &Secret<String>,
        load: impl FnOnce() -> Load,
    ) -> Result<Option<Principal>, StoreError>
    where
        Load: Future<Output = Result<Option<Loaded>, StoreError>>,
    {
        let key = SecretKey::of(kind, secret);
        let principal = if let Some(known) = self.remembered_proof(&key) {
            known
        } else {
            let moment = self.store().moment();
            let Some(loaded) = load().await? else {
                return Ok(None);
            };
            let proven = Proven {
                principal: loaded.principal.clone(),
                until: loaded.until,
            };
            if !loaded.fleeting {
                self.remember_proof(key, proven, moment, loaded.depends_on());
            }
            loaded.principal
        };
        let access = &self.settings().access;
        if principal
            .user()
            .is_some_and(|user| access.is_blocked(&user.name))
        {
            return Ok(None);
        }
        Ok(Some(principal))
    }

    fn note_use(&self, principal: &Principal) {
        let user = principal.user().map(|user| user.id);
        match principal.via() {
            Via::Session(session) => self.activity().session_seen(session.id, user),
            // What a server does by itself is not its user's doing.
            Via::Token { id, of_server, .. } => {
                self.activity().token_seen(*id, user.filter(|_| !of_server));
            }
            // Whoever logs in for one request is not looked up again.
            Via::Credentials => {}
        }
    }

    async fn load_token(&self, presented: &Secret<String>) -> Result<Option<Loaded>, StoreError> {
        let Some((token, owner)) = self.store().find_token(presented, self.now()).await? else {
            return Ok(None);
        };
        let owner = match owner {
            StoredOwner::User(user) => Owner::User(user),
            StoredOwner::Service(service) => Owner::Service(service),
        };
        let catalogue = self.catalogue();
        let (groups, roles) = roles_of(self.shared(), &owner).await?;
        let shares = received(self.store(), catalogue, &owner, self.now()).await?;
        let owner_scopes =
            token_owner_scopes(catalogue, scope_owner(&owner), &roles, &shares.scopes);
        let raw = catalogue.parse_stored(&token.scopes);
        let client = self.client_of(&token).await?;
        let subject = client.as_ref().and_then(|(_, subject)| subject.as_ref());
        let members = members_for(self.store(), &owner, &groups, &owner_scopes, &raw).await?;
        let scopes = token_scopes(
            catalogue,
            &raw,
            scope_owner(&owner),
            &owner_scopes,
            subject.map(ClientSubject::as_client_of),
            &members.known,
        );
        let via = Via::Token {
            id: token.id,
            session_id: token.session_id,
            client_id: token.client_id,
            of_server: token.server_id.is_some(),
        };
        Ok(Some(Loaded {
            principal: Principal(Arc::new(Identity {
                owner,
                groups,
                scopes: Arc::new(scopes),
                via,
            })),
            until: earlier(token.expires_at, shares.until),
            server: token.server_id,
            client: client.map(|(client, _)| client),
            fleeting: members.fleeting,
        }))
    }

    async fn load_cookie(&self, secret: &Secret<String>) -> Result<Option<Loaded>, StoreError> {
        let Some(mut session) = self.session(secret).await? else {
            return Ok(None);
        };
        let owner = Owner::User(session.user.clone());
        let (groups, roles) = roles_of(self.shared(), &owner).await?;
        let shares = received(self.store(), self.catalogue(), &owner, self.now()).await?;
        let scopes = session_scopes(
            self.catalogue(),
            scope_owner(&owner),
            &roles,
            &shares.scopes,
        );
        session.opens_admin_pages = scopes.holds(Scope::AdminUi);
        Ok(Some(Loaded {
            until: earlier(Some(session.expires_at), shares.until),
            principal: Principal(Arc::new(Identity {
                owner,
                groups,
                scopes: Arc::new(scopes),
                via: Via::Session(session),
            })),
            server: None,
            client: None,
            fleeting: false,
        }))
    }

    /// Makes the principal of somebody who has proved who they are by name and password.
    pub(crate) async fn principal_of_user(&self, user: User) -> Result<Principal, StoreError> {
        let owner = Owner::User(user);
        let (groups, roles) = roles_of(self.shared(), &owner).await?;
        let shares = received(self.store(), self.catalogue(), &owner, self.now()).await?;
        let scopes = session_scopes(
            self.catalogue(),
            scope_owner(&owner),
            &roles,
            &shares.scopes,
        );
        Ok(Principal(Arc::new(Identity {
            owner,
            groups,
            scopes: Arc::new(scopes),
            via: Via::Credentials,
        })))
    }

    /// Finds the OAuth client that a token was issued to, and to what it belongs.
    async fn client_of(
        &self,
        token: &ApiToken,
    ) -> Result<Option<(OAuthClient, Option<ClientSubject>)>, StoreError> {
        let Some(identifier) = &token.client_id else {
            return Ok(None);
        };
        let Some(client) = self.store().find_oauth_client(identifier).await? else {
            return Ok(None);
        };
        let subject = self.subject_of(&client).await?;
        Ok(Some((client, subject)))
    }

    /// Finds to what an OAuth client belongs.
    pub(crate) async fn subject_of(
        &self,
        client: &OAuthClient,
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

/// Somebody whom the database knows, and on what that depends.
struct Loaded {
    principal: Principal,
    until: Option<Timestamp>,
    /// The server whose own token it is.
    server: Option<ServerId>,
    /// The OAuth client that got the token.
    client: Option<OAuthClient>,
    /// Whether it depends on who is in groups beside the owner, so that nothing tells when it ends.
    fleeting: bool,
}

impl Loaded {
    fn depends_on(&self) -> impl Iterator<Item = Tag<'_>> {
        let owner = match self.principal.owner() {
            Owner::User(user) => Tag::User(user.id),
            Owner::Service(service) => Tag::Service(service.id),
        };
        let proof = match self.principal.via() {
            Via::Session(session) => Some(Tag::Session(session.id)),
            Via::Token { id, .. } => Some(Tag::Token(*id)),
            Via::Credentials => None,
        };
        let client = self.client.as_ref();
        let client = client.map(|client| Tag::Client(&client.identifier));
        // A client's server or service is in its own row, and their names end everything when they change.
        let server = self.server.map(Tag::Server);
        [Some(owner), proof, client, server].into_iter().flatten()
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The groups of an owner, and the raw scopes of all its roles: its own, its groups', and those that come
/// with being a user or an administrator. The services that the configuration lets a user into are among them.
pub(crate) async fn roles_of(
    shared: &Shared,
    owner: &Owner,
) -> Result<(Arc<[GroupName]>, BTreeSet<RawScope>), StoreError> {
    let (store, catalogue) = (&shared.store, &shared.catalogue);
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
        if !held || roles.iter().any(|role| role.name == name) {
            continue;
        }
        // What administrators may do is the same everywhere.
        let stored = match name {
            "admin" => None,
            _ => store.find_role(name).await?,
        };
        if let Some(role) = stored {
            scopes.extend(catalogue.parse_stored(&role.scopes));
        } else {
            let default = default_role(name)
                .map(|role| role.scopes)
                .unwrap_or_default();
            scopes.extend(catalogue.parse_stored(default));
        }
    }
    for role in &roles {
        scopes.extend(catalogue.parse_stored(&role.scopes));
    }
    if let Owner::User(user) = owner {
        let mut names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
        names.push("user");
        names.extend(admin.then_some("admin"));
        scopes.extend(shared.settings.entries_of(&user.name, &groups, &names));
    }
    Ok((groups, scopes))
}

pub(crate) fn scope_owner(owner: &Owner) -> ScopeOwner<'_> {
    match owner {
        Owner::User(user) => ScopeOwner::User(&user.name),
        Owner::Service(service) => ScopeOwner::Service(&service.data.name),
    }
}

/// The memberships of the owner: an owner's own token is cut to the owner's own rights, so others play no part
/// except through group filters, which name groups.
pub(crate) fn own_groups(owner: &Owner, groups: &[GroupName]) -> KnownMembers {
    let mut members = KnownMembers::default();
    if let Owner::User(user) = owner {
        for group in groups {
            members.insert(&user.name, group);
        }
    }
    members
}
