//! API tokens of users: list, make, revoke.
//!
//! What a token may do is decided at each use (`principal.rs`); here it is checked only that nobody asks for more
//! than the owner has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::ids::TokenId;
use lyceum_core::scope::{
    Expansion, RawScope, Scope, ScopeError, ScopeSet, default_role, token_owner_scopes,
    token_scopes,
};
use lyceum_core::seams::Attempt;
use lyceum_core::{GroupName, Secret, Timestamp, token};
use lyceum_store::{ApiToken, NewToken, Role, StoreError, TokenOwner, User};
use serde_json::json;
use thiserror::Error;

use crate::membership::{Members, members_for};
use crate::permit::{ManageTokens, ReadTokens, UserPermit};
use crate::principal::{ClientSubject, Owner, roles_of, scope_owner};
use crate::sessions::after;
use crate::shares::received;
use crate::{Actor, AuditEvent, AuditKind, Hub, LoginError, Principal};

/// What tokens of the hub itself are said to come from, in the place of an OAuth client.
const OWN_CLIENT: &str = "JupyterHub";
/// The longest note that is kept, in characters.
const MAX_NOTE_CHARS: usize = 1000;

/// A token, as it is told to whoever may see it.
#[derive(Debug, Clone)]
pub struct TokenView {
    /// The token.
    pub token: ApiToken,
    /// Whose it is.
    pub user: User,
    /// What it may do now.
    pub scopes: ScopeSet,
    /// Who got it: an OAuth client in words, or the hub itself.
    pub client: String,
}

/// What a token is asked for.
#[derive(Debug, Clone, Default)]
pub struct TokenWish {
    /// What it is for; empty for a note that says who asked.
    pub note: String,
    /// How long it lasts, if not as long as it may.
    pub lifetime: Option<Duration>,
    /// What it may do.
    pub rights: TokenRights,
}

/// What a token that is asked for may do.
#[derive(Debug, Clone, Default)]
pub enum TokenRights {
    /// What the role `token` says: as a rule, whatever its owner may.
    #[default]
    Default,
    /// These scopes.
    Scopes(Vec<String>),
    /// The scopes that these roles have now.
    Roles(Vec<String>),
}

/// A token that has just been made.
#[derive(Debug)]
pub struct NewTokenView {
    /// The text that its holder shows; it is never told again.
    pub secret: Secret<String>,
    /// The rest.
    pub view: TokenView,
}

/// Why no token was made.
#[derive(Debug, Error)]
pub enum TokenError {
    /// A scope does not exist, or is malformed.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// There is no such role.
    #[error("there is no role `{0}`")]
    Role(String),
    /// The owner may not do all that the token is to do.
    #[error("user {user} does not have: {}", .scopes.join(", "))]
    Beyond {
        /// The owner.
        user: String,
        /// What they do not have.
        scopes: Vec<String>,
    },
    /// It would last longer than tokens may.
    #[error("a token may last {limit} seconds at most, not {asked}", limit = .limit.as_secs(), asked = .asked.as_secs())]
    TooLong {
        /// What was asked for.
        asked: Duration,
        /// The most.
        limit: Duration,
    },
    /// It would last for no time at all, or beyond all calendars.
    #[error("the token would end in no time, or beyond all calendars")]
    Lifetime,
    /// The note is too long.
    #[error("the note is longer than {MAX_NOTE_CHARS} characters")]
    Note,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl Hub {
    /// Lists the tokens of a user, the longest unused first. Those that have ended are not there.
    pub async fn tokens_of(
        &self,
        permit: &UserPermit<ReadTokens>,
    ) -> Result<Vec<TokenView>, StoreError> {
        let user = permit.user();
        let owner = TokenOwner::User(user.id);
        let mut tokens = self.store().tokens_of(owner, self.now()).await?;
        for token in &mut tokens {
            self.bring_up_to_date(token);
        }
        tokens.sort_by_key(|token| (token.last_activity.unwrap_or(token.created), token.id));
        Looks::of(self, user).await?.views(self, tokens).await
    }

    /// Finds a token of a user, unless it has ended.
    pub async fn token_of(
        &self,
        permit: &UserPermit<ReadTokens>,
        id: TokenId,
    ) -> Result<Option<TokenView>, StoreError> {
        let user = permit.user();
        let Some(mut token) = self.store().find_token_by_id(id).await? else {
            return Ok(None);
        };
        self.bring_up_to_date(&mut token);
        if !is_alive(&token, user, self.now()) {
            return Ok(None);
        }
        let views = Looks::of(self, user).await?.views(self, vec![token]);
        Ok(views.await?.pop())
    }

    /// Makes a token for a user, asked for by `by`.
    pub async fn create_token(
        &self,
        permit: &UserPermit<ManageTokens>,
        by: &Principal,
        wish: TokenWish,
    ) -> Result<NewTokenView, TokenError> {
        let user = permit.user();
        let own = by.user().is_some_and(|asker| asker.id == user.id);
        let note = match wish.note.trim() {
            "" if own => "Requested via api".to_owned(),
            "" => {
                let kind = by.user().map_or("service", |_| "user");
                format!("Requested via api by {kind} {}", by.name())
            }
            note if note.chars().count() > MAX_NOTE_CHARS => return Err(TokenError::Note),
            note => note.to_owned(),
        };
        let now = self.now();
        let expires_at = self.token_end(wish.lifetime, now)?;
        let raw = self.raw_scopes(wish.rights).await?;
        let looks = Looks::of(self, user).await?.at(self, &raw).await?;
        let beyond = looks.beyond(self, &raw);
        if !beyond.is_empty() {
            return Err(TokenError::Beyond {
                user: user.name.to_string(),
                scopes: beyond,
            });
        }
        let scopes: Vec<String> = raw.iter().map(RawScope::to_string).collect();
        let secret = token::new_token();
        let mut tx = self.store().begin().await?;
        let token = tx
            .create_token(NewToken {
                secret: &secret,
                owner: TokenOwner::User(user.id),
                client_id: None,
                session_id: None,
                server_id: None,
                scopes: &scopes,
                note: &note,
                created: now,
                expires_at,
            })
            .await?;
        let detail = json!({"id": format!("a{}", token.id), "scopes": scopes});
        let event = AuditEvent {
            detail,
            ..AuditEvent::new(AuditKind::TokenCreated, Actor::Caller(by), Some(&user.name))
        };
        self.audit().write(&mut tx, event).await?;
        tx.commit().await?;
        tracing::info!(user.name = %user.name, token.id = %token.id,
            "{} has made token a{} of user {}", by.name(), token.id, user.name);
        Ok(NewTokenView {
            secret,
            view: looks.view(self, token, None),
        })
    }

    /// Revokes a token of a user; says whether there was one.
    ///
    /// With the token of an OAuth client go all that this client has of this user: they came of one consent.
    pub async fn revoke_token(
        &self,
        permit: &UserPermit<ManageTokens>,
        id: TokenId,
    ) -> Result<bool, StoreError> {
        let user = permit.user();
        let mut tx = self.store().begin().await?;
        let token = tx.find_token_by_id(id).await?;
        let Some(token) = token.filter(|token| is_alive(token, user, self.now())) else {
            return Ok(false);
        };
        match &token.client_id {
            Some(client) => drop(tx.delete_tokens_of_client(user.id, client).await?),
            None => drop(tx.delete_token(id).await?),
        }
        let actor = Actor::Caller(permit.by());
        let event = AuditEvent {
            detail: json!({"id": format!("a{id}"), "client": token.client_id}),
            ..AuditEvent::new(AuditKind::TokenRevoked, actor, Some(&user.name))
        };
        self.audit().write(&mut tx, event).await?;
        tx.commit().await?;
        let client = token.client_id.as_deref().unwrap_or(OWN_CLIENT);
        tracing::info!(user.name = %user.name, token.id = %id,
            "token a{id} of user {}, issued to {client}, is revoked", user.name);
        Ok(true)
    }

    /// Finds who logs in with these credentials for one request: no session begins, and nobody is created.
    pub async fn principal_of_login(
        &self,
        attempt: Attempt,
        addr: &str,
    ) -> Result<Principal, LoginError> {
        let user = self.identify(attempt, addr).await?;
        Ok(self.principal_of_user(user).await?)
    }

    /// Adds a use of a token that is not written yet.
    fn bring_up_to_date(&self, token: &mut ApiToken) {
        let noted = self.activity().of_token(token.id);
        token.last_activity = token.last_activity.max(noted);
    }

    /// When a token ends that is to last so long.
    fn token_end(
        &self,
        asked: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, TokenError> {
        let lifetime = match (asked, self.settings().token_lifetime_limit) {
            (Some(asked), Some(limit)) if asked > limit => {
                return Err(TokenError::TooLong { asked, limit });
            }
            (Some(asked), _) if asked.is_zero() => return Err(TokenError::Lifetime),
            (None, limit) => return Ok(limit.map(|limit| after(now, limit))),
            (Some(asked), _) => asked,
        };
        let end = now.checked_add(lifetime);
        end.map(Some).map_err(|_| TokenError::Lifetime)
    }

    /// The scopes that are asked for; each must exist.
    async fn raw_scopes(&self, rights: TokenRights) -> Result<Vec<RawScope>, TokenError> {
        let catalogue = self.catalogue();
        let roles = match rights {
            TokenRights::Scopes(scopes) => return Ok(catalogue.parse_all(&scopes)?),
            TokenRights::Roles(roles) => roles,
            TokenRights::Default => vec!["token".to_owned()],
        };
        let mut scopes = Vec::new();
        for name in roles {
            let stored: Option<Role> = self.store().find_role(&name).await?;
            if let Some(role) = stored {
                scopes.extend(catalogue.parse_stored(&role.scopes));
            } else {
                let role = default_role(&name).ok_or(TokenError::Role(name))?;
                scopes.extend(catalogue.parse_stored(role.scopes));
            }
        }
        scopes.sort_unstable();
        scopes.dedup();
        Ok(scopes)
    }
}

/// Whether a token is this user's and has not ended.
fn is_alive(token: &ApiToken, user: &User, now: Timestamp) -> bool {
    token.owner == TokenOwner::User(user.id) && token.expires_at.is_none_or(|end| end > now)
}

/// What it takes to say what a user's tokens may do.
struct Looks {
    user: User,
    owner: Owner,
    groups: Arc<[GroupName]>,
    owner_scopes: ScopeSet,
    members: Members,
}

impl Looks {
    async fn of(hub: &Hub, user: &User) -> Result<Self, StoreError> {
        let owner = Owner::User(user.clone());
        let catalogue = hub.catalogue();
        let (groups, roles) = roles_of(hub.shared(), &owner).await?;
        let shares = received(hub.store(), catalogue, &owner, hub.now()).await?;
        let owner_scopes =
            token_owner_scopes(catalogue, scope_owner(&owner), &roles, &shares.scopes);
        let members = members_for(hub.store(), &owner, &groups, &owner_scopes, &[]).await?;
        Ok(Self {
            user: user.clone(),
            owner,
            groups,
            owner_scopes,
            members,
        })
    }

    /// Looks up the memberships that play a part for these scopes.
    async fn at(mut self, hub: &Hub, raw: &[RawScope]) -> Result<Self, StoreError> {
        let (owner, held) = (&self.owner, &self.owner_scopes);
        self.members = members_for(hub.store(), owner, &self.groups, held, raw).await?;
        Ok(self)
    }

    /// What of these scopes the owner does not have (JupyterHub `scopes._check_token_scopes`).
    fn beyond(&self, hub: &Hub, raw: &[RawScope]) -> Vec<String> {
        // `inherit` is never more than the owner has.
        let asked = raw.iter().filter(|scope| !scope.is_inherit());
        let asked = Expansion::of(scope_owner(&self.owner)).expand(hub.catalogue(), asked);
        let held = asked.intersect(&self.owner_scopes, &self.members.known);
        let (asked, held) = (asked.to_raw(), held.to_raw());
        asked.difference(&held).map(RawScope::to_string).collect()
    }

    async fn views(self, hub: &Hub, tokens: Vec<ApiToken>) -> Result<Vec<TokenView>, StoreError> {
        let raw = tokens.iter().flat_map(|token| &token.scopes);
        let mut raw = hub.catalogue().parse_stored(raw);
        raw.retain(|scope| !scope.is_inherit());
        let looks = self.at(hub, &raw).await?;
        let mut clients: BTreeMap<String, (String, Option<ClientSubject>)> = BTreeMap::new();
        for identifier in tokens.iter().filter_map(|token| token.client_id.as_ref()) {
            if clients.contains_key(identifier) {
                continue;
            }
            if let Some(client) = hub.store().find_oauth_client(identifier).await? {
                let subject = hub.subject_of(&client).await?;
                let words = match client.description.as_str() {
                    "" => client.identifier,
                    _ => client.description,
                };
                clients.insert(identifier.clone(), (words, subject));
            }
        }
        let views = tokens.into_iter().map(|token| {
            let client = token.client_id.as_ref().and_then(|id| clients.get(id));
            looks.view(hub, token, client)
        });
        Ok(views.collect())
    }

    fn view(
        &self,
        hub: &Hub,
        token: ApiToken,
        client: Option<&(String, Option<ClientSubject>)>,
    ) -> TokenView {
        let subject = client.and_then(|(_, subject)| subject.as_ref());
        let scopes = token_scopes(
            hub.catalogue(),
            &hub.catalogue().parse_stored(&token.scopes),
            scope_owner(&self.owner),
            &self.owner_scopes,
            subject.map(ClientSubject::as_client_of),
            &self.members.known,
        );
        let words = client.map_or_else(
            || {
                token
                    .client_id
                    .clone()
                    .unwrap_or_else(|| OWN_CLIENT.to_owned())
            },
            |(words, _)| words.clone(),
        );
        TokenView {
            token,
            user: self.user.clone(),
            scopes,
            client: words,
        }
    }
}

impl TokenView {
    /// Whether an OAuth client got it, and not whoever asked the hub for it.
    pub fn is_of_client(&self) -> bool {
        self.token.client_id.is_some()
    }

    /// Whether it may do all that its owner may.
    pub fn may_all(&self) -> bool {
        self.token
            .scopes
            .iter()
            .any(|scope| scope == Scope::Inherit.name())
    }
}
