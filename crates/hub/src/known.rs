//! What the hub remembers of who asks and who is asked about, so that a request need not ask the database.
//!
//! Each entry names on what it depends, and ends with the first write to it: see `lyceum_store::Cache`. Nothing is
//! remembered of what was not found. When something was last used is not told from here: those who tell it add what
//! [`crate::Activity`] knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use lyceum_core::ids::{ServerId, ServiceId, UserId};
use lyceum_core::token::TokenHash;
use lyceum_core::{GroupName, Secret, ServerName, Timestamp, UserName};
use lyceum_store::{
    Cache, RoleHolder, SecretKey, Server, Store, StoreError, Tag, User, UserDetails,
};

use crate::{Hub, Principal};

/// How many tokens and logins are remembered; each takes some 2 KiB.
const PROOFS: usize = 4096;
/// How many users are remembered; each takes some 500 bytes.
const USERS: usize = 4096;
/// Of how many users groups, roles and servers are remembered; most take some 300 bytes, those with servers 2 KiB.
const DETAILS: usize = 8192;
/// How many services' roles are remembered.
const SERVICES: usize = 256;
/// Servers with options of more characters than this are not remembered: each user may have 64 KiB of them.
const OPTIONS: usize = 1024;
/// How many checked secrets of OAuth clients are remembered.
const SECRETS: usize = 1024;

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Known {
    /// Who presents a token or a login cookie.
    proofs: Cache<SecretKey, Proven>,
    users: Cache<UserName, Arc<KnownUser>>,
    details: Cache<UserId, Arc<UserDetails>>,
    /// The names of the roles that services hold.
    service_roles: Cache<ServiceId, Arc<[String]>>,
    /// Secrets that were found to be those of hashes.
    secrets: Cache<SecretKey, ()>,
}

/// Who somebody was found to be.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub(crate) principal: Principal,
    /// When the token, the login, or something of what it permits ends; at that instant it does not hold any more.
    pub(crate) until: Option<Timestamp>,
}

/// A user, with what the checks of permissions ask for.
#[derive(Debug)]
pub(crate) struct KnownUser {
    pub(crate) user: User,
    pub(crate) groups: Arc<[GroupName]>,
    /// The servers that there is a record of.
    pub(crate) servers: Vec<(ServerName, ServerId)>,
}

impl Known {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            proofs: Cache::new(store.clone(), PROOFS),
            users: Cache::new(store.clone(), USERS),
            details: Cache::new(store.clone(), DETAILS),
            service_roles: Cache::new(store.clone(), SERVICES),
            secrets: Cache::new(store.clone(), SECRETS),
        }
    }
}

impl Hub {
    /// Gives whom a secret is known to prove, if that still holds.
    pub(crate) fn remembered_proof(&self, key: &SecretKey) -> Option<Principal> {
        let proven = self.known().proofs.get(key)?;
        let holds = proven.until.is_none_or(|until| until > self.now());
        holds.then_some(proven.principal)
    }

    /// Remembers whom a secret proves, as it was read after `moment`.
    pub(crate) fn remember_proof<'a>(
        &self,
        key: SecretKey,
        proven: Proven,
        moment: lyceum_store::Moment,
        depends_on: impl IntoIterator<Item = Tag<'a>>,
    ) {
        self.known().proofs.fill(key, proven, moment, depends_on);
    }

    /// Finds a user by name, with groups and servers.
    pub(crate) async fn known_user(
        &self,
        name: &UserName,
    ) -> Result<Option<Arc<KnownUser>>, StoreError> {
        if let Some(known) = self.known().users.get(name) {
            return Ok(Some(known));
        }
        let store = self.store();
        let moment = store.moment();
        let Some(user) = store.find_user(name).await? else {
            return Ok(None);
        };
        let groups = store.groups_of_user(user.id).await?;
        let servers = store.servers_of_user(user.id).await?;
        let known = Arc::new(KnownUser {
            groups: groups.into_iter().map(|group| group.name).collect(),
            servers: servers.into_iter().map(|row| (row.name, row.id)).collect(),
            user,
        });
        // A server that is deleted or renamed makes everything forgotten; a new one is its user's.
        let tag = Tag::User(known.user.id);
        self.known()
            .users
            .fill(name.clone(), Arc::clone(&known), moment, [tag]);
        Ok(Some(known))
    }

    /// Gives groups, roles and servers of a user.
    pub(crate) async fn known_details(&self, user: UserId) -> Result<Arc<UserDetails>, StoreError> {
        let details = self.known_details_of(&[user]).await?;
        Ok(details.into_iter().next().unwrap_or_default())
    }

    /// Gives groups, roles and servers of many users, in their order; what is not remembered is read together.
    pub(crate) async fn known_details_of(
        &self,
        users: &[UserId],
    ) -> Result<Vec<Arc<UserDetails>>, StoreError> {
        let moment = self.store().moment();
        let cache = &self.known().details;
        let remembered: Vec<_> = users.iter().map(|user| cache.get(user)).collect();
        let missing: Vec<UserId> = users
            .iter()
            .zip(&remembered)
            .filter(|(_, known)| known.is_none())
            .map(|(user, _)| *user)
            .collect();
        let mut read = if missing.is_empty() {
            BTreeMap::new()
        } else {
            self.store().load_details(&missing).await?
        };
        let one = |(user, known): (&UserId, Option<Arc<UserDetails>>)| {
            known.unwrap_or_else(|| {
                let details = Arc::new(read.remove(user).unwrap_or_default());
                if details.servers.iter().all(is_small) {
                    let servers = details.servers.iter().map(|row| Tag::Server(row.id));
                    let depends_on = std::iter::once(Tag::User(*user)).chain(servers);
                    cache.fill(*user, Arc::clone(&details), moment, depends_on);
                }
                details
            })
        };
        Ok(users.iter().zip(remembered).map(one).collect())
    }

    /// Gives the names of the roles that a service holds, by name.
    pub(crate) async fn known_roles_of_service(
        &self,
        service: ServiceId,
    ) -> Result<Arc<[String]>, StoreError> {
        if let Some(known) = self.known().service_roles.get(&service) {
            return Ok(known);
        }
        let moment = self.store().moment();
        let holder = RoleHolder::Service(service);
        let roles = self.store().roles_held_by(holder).await?;
        let roles: Arc<[String]> = roles.into_iter().map(|role| role.name).collect();
        // Roles, and which services hold them, make everything forgotten when they change.
        let tag = Tag::Service(service);
        self.known()
            .service_roles
            .fill(service, Arc::clone(&roles), moment, [tag]);
        Ok(roles)
    }

    /// Tells whether a hash is that of a secret. Hashes of configured secrets take a millisecond to compute, so
    /// one that was right is not computed again for a while.
    pub(crate) fn secret_is(&self, hash: &TokenHash, presented: &Secret<String>) -> bool {
        let moment = self.store().moment();
        let texts = [hash.as_str(), presented.expose().as_str()];
        let key = SecretKey::of_all("secret of a hash", &texts);
        if self.known().secrets.get(&key).is_some() {
            return true;
        }
        let right = hash.matches(presented.expose());
        if right {
            // That this is so depends on nothing that could change.
            self.known().secrets.fill(key, (), moment, []);
        }
        right
    }
}

/// Whether the options of a server are few enough to be remembered.
fn is_small(server: &Server) -> bool {
    let options = server.user_options.as_ref();
    options.is_none_or(|options| {
        options.is_empty() || serde_json::to_string(options).is_ok_and(|text| text.len() <= OPTIONS)
    })
}
