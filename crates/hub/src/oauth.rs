//! The OAuth2 provider's deeds: a code for a browser that may, and a token for the client that brings it back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lyceum_core::oauth::{
    Asked, AuthorizeError, AuthorizeParams, AuthorizeRequest, CODE_LIFETIME, Client, CodeChallenge,
    Grantor, Offer, PageError, Refusal, StoredCode, TokenError, TokenRequest, TokenResponse,
    may_open, needs_confirmation, new_access_token, new_code, resolve_grant,
};
use lyceum_core::scope::{Expansion, Owner as ScopeOwner, RawScope, default_role};
use lyceum_core::{GroupName, Secret};
use lyceum_store::{NewToken, OAuthClient, OAuthCode, StoreError, TokenOwner, User};
use serde_json::json;
use thiserror::Error;

use crate::membership::members_for;
use crate::principal::{ClientSubject, Owner, roles_of};
use crate::sessions::after;
use crate::{Actor, AuditEvent, AuditKind, Hub, Principal};

/// What the user has said on the confirm page.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Nothing yet: it is the first request.
    NotAsked,
    /// These scopes are granted; none means that knowing the user is enough.
    Granted(&'a [String]),
    /// Nothing is granted.
    Refused,
}

/// What follows on an authorization request.
#[derive(Debug)]
pub enum Authorization {
    /// The browser goes there, with a code or with an error.
    Redirect(String),
    /// The user is asked first.
    Confirm(Box<Consent>),
}

/// What the user is asked to agree to.
#[derive(Debug)]
pub struct Consent {
    /// What the client calls itself.
    pub client: String,
    /// Where the browser goes afterwards.
    pub redirect_uri: String,
    /// What would be granted.
    pub offer: Offer,
}

/// Why an authorization request gets a page in place of a redirect.
#[derive(Debug, Error)]
pub enum AuthorizeFailure {
    /// The request is wrong, and its client not to be trusted with an answer: 400.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The user may not use what the client belongs to: 403.
    #[error("you may not use this server or service")]
    MayNot,
    /// The client's server or service does not exist any more: 400.
    #[error("the application that asks belongs to nothing any more")]
    Orphan,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum ExchangeFailure {
    /// The client is told why.
    #[error(transparent)]
    Refused(#[from] TokenError),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

/// How a code is redeemed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redeem {
    /// Whether whoever brings it must be who asked for it.
    pub(crate) require_pkce: bool,
    /// Whether the token counts no longer than the session in which the code was issued.
    pub(crate) end_with_session: bool,
}

/// A token that was issued.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) secret: Secret<String>,
    pub(crate) lifetime: Duration,
    pub(crate) scopes: Vec<String>,
}

impl Hub {
    /// Answers an authorization request of a browser that is logged in as `user` with session `session_id`.
    pub async fn authorize(
        &self,
        user: &User,
        session_id: &str,
        caller: &Principal,
        params: AuthorizeParams,
        answer: Answer<'_>,
    ) -> Result<Authorization, AuthorizeFailure> {
        let client = self.store().find_oauth_client(params.client_id()?).await?;
        let known = client.as_ref().map(|client| Client {
            id: &client.identifier,
            // The gateway logs people in for services that do not do so themselves, and needs no secret.
            has_secret: client.secret_hash.is_some() || self.is_client_of_site(client),
            redirect_uri: &client.redirect_uri,
        });
        let request = match params.check(known, self.settings().oauth_require_pkce) {
            Ok(request) => request,
            Err(AuthorizeError::Page(error)) => return Err(error.into()),
            Err(AuthorizeError::Redirect { location, .. }) => {
                return Ok(Authorization::Redirect(location));
            }
        };
        let Some(client) = client else {
            return Err(PageError::UnknownClient.into());
        };
        let subject = self
            .subject_of(&client)
            .await?
            .ok_or(AuthorizeFailure::Orphan)?;
        // As in JupyterHub, what is wrong with the request itself comes first.
        let granted = match self
            .grant(user, &client, &subject, &request, answer)
            .await?
        {
            Ok(granted) => granted,
            Err(location) => return Ok(Authorization::Redirect(location)),
        };
        let owner_groups = self.groups_of_owner(&subject).await?;
        if !may_open(subject.as_client_of(), caller.scopes(), &owner_groups) {
            tracing::info!(user.name = %user.name, "user {} may not use {}", user.name, client.description);
            return Err(AuthorizeFailure::MayNot);
        }
        if matches!(answer, Answer::Refused) {
            return Ok(Authorization::Redirect(
                request.refuse(Refusal::AccessDenied),
            ));
        }
        if matches!(answer, Answer::NotAsked)
            && self.must_ask(user, &client, &subject, &granted).await?
        {
            return Ok(Authorization::Confirm(Box::new(Consent {
                client: client.description,
                redirect_uri: request.redirect_uri,
                offer: Offer::of(&granted, subject.as_client_of()),
            })));
        }
        let code = Secret::new(new_code());
        let means = OAuthCode {
            client_id: client.identifier,
            user_id: user.id,
            redirect_uri: request.redirect_uri.clone(),
            session_id: Some(session_id.to_owned()),
            scopes: granted.iter().map(RawScope::to_string).collect(),
            code_challenge: request
                .challenge
                .as_ref()
                .map(|challenge| challenge.as_str().to_owned()),
            code_challenge_method: request
                .challenge
                .as_ref()
                .map(|challenge| challenge.method().as_str().to_owned()),
            expires_at: after(self.now(), CODE_LIFETIME),
        };
        let mut tx = self.store().begin().await?;
        tx.create_oauth_code(&code, &means).await?;
        if let ClientSubject::Server(server) = &subject
            && server.user != user.name
        {
            // What follows goes between the browser and the server; this is where somebody is let in.
            let event = AuditEvent {
                server: Some(&server.server),
                detail: json!({"what": "server", "admin": user.admin}),
                ..AuditEvent::new(
                    AuditKind::AdminAccess,
                    Actor::Caller(caller),
                    Some(&server.user),
                )
            };
            self.audit().write(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(Authorization::Redirect(request.accept(code.expose())))
    }

    /// Finds what is granted; the inner error is where the browser goes when that cannot be.
    async fn grant(
        &self,
        user: &User,
        client: &OAuthClient,
        subject: &ClientSubject,
        request: &AuthorizeRequest,
        answer: Answer<'_>,
    ) -> Result<Result<BTreeSet<RawScope>, String>, StoreError> {
        let asked = match answer {
            Answer::Granted(scopes) => Asked::These(scopes),
            Answer::NotAsked | Answer::Refused if request.scopes.is_empty() => Asked::Default,
            Answer::NotAsked | Answer::Refused => Asked::These(&request.scopes),
        };
        let roles = self.roles_named(&asked).await?;
        let owner = Owner::User(user.clone());
        let (groups, user_scopes) = roles_of(self.shared(), &owner).await?;
        let client_allowed = self.catalogue().parse_stored(&client.allowed_scopes);
        let held = Expansion::of(ScopeOwner::User(&user.name));
        let held = held.expand(self.catalogue(), &user_scopes);
        // Whatever is granted in the end is one of these.
        let mut mentioned = client_allowed.clone();
        mentioned.extend(roles.values().flatten().cloned());
        if let Asked::These(names) = &asked {
            mentioned.extend(self.catalogue().parse_stored(*names));
        }
        mentioned.retain(|scope| !scope.is_inherit());
        let members = members_for(self.store(), &owner, &groups, &held, &mentioned).await?;
        let grantor = Grantor {
            catalogue: self.catalogue(),
            user: &user.name,
            user_scopes: &user_scopes,
            client: subject.as_client_of(),
            client_allowed: &client_allowed,
            membership: &members.known,
        };
        Ok(resolve_grant(&grantor, asked, &roles).map_err(|error| {
            match request.invalid_scope(&error) {
                AuthorizeError::Redirect { location, .. } => location,
                AuthorizeError::Page(_) => request.refuse(Refusal::InvalidScope),
            }
        }))
    }

    /// Looks up the roles among the names that are asked for.
    async fn roles_named(
        &self,
        asked: &Asked<'_>,
    ) -> Result<BTreeMap<String, Vec<RawScope>>, StoreError> {
        let mut roles = BTreeMap::new();
        let Asked::These(names) = asked else {
            return Ok(roles);
        };
        for name in names
            .iter()
            .filter(|name| self.catalogue().parse(name).is_err())
        {
            let scopes = match self.store().find_role(name).await? {
                Some(role) => Some(self.catalogue().parse_stored(&role.scopes)),
                None => default_role(name).map(|role| self.catalogue().parse_stored(role.scopes)),
            };
            if let Some(scopes) = scopes {
                roles.insert(name.clone(), scopes);
            }
        }
        Ok(roles)
    }

    async fn must_ask(
        &self,
        user: &User,
        client: &OAuthClient,
        subject: &ClientSubject,
        granted: &BTreeSet<RawScope>,
    ) -> Result<bool, StoreError> {
        if matches!(subject, ClientSubject::Server(server) if server.user == user.name) {
            return Ok(false);
        }
        let no_confirm = match client.service_id {
            Some(id) => self
                .store()
                .find_service_by_id(id)
                .await?
                .is_some_and(|service| service.data.oauth_no_confirm),
            None => false,
        };
        let tokens = self
            .store()
            .tokens_of(TokenOwner::User(user.id), self.now())
            .await?;
        let authorized = tokens
            .iter()
            .filter(|token| token.client_id.as_deref() == Some(client.identifier.as_str()))
            .flat_map(|token| self.catalogue().parse_stored(&token.scopes))
            .collect();
        Ok(needs_confirmation(false, no_confirm, granted, &authorized))
    }

    async fn groups_of_owner(&self, subject: &ClientSubject) -> Result<Vec<GroupName>, StoreError> {
        let ClientSubject::Server(server) = subject else {
            return Ok(Vec::new());
        };
        let Some(owner) = self.store().find_user(&server.user).await? else {
            return Ok(Vec::new());
        };
        let groups = self.store().groups_of_user(owner.id).await?;
        Ok(groups.into_iter().map(|group| group.name).collect())
    }

    /// Redeems a code. A code that was tried is used up, also if the answer is no.
    pub async fn exchange(&self, request: &TokenRequest) -> Result<TokenResponse, ExchangeFailure> {
        let client = self.store().find_oauth_client(&request.client_id).await?;
        let proven = client
            .as_ref()
            .and_then(|client| client.secret_hash.as_ref())
            .is_some_and(|hash| self.secret_is(hash, &request.client_secret));
        if !proven {
            return Err(TokenError::InvalidClient.into());
        }
        request.check_grant()?;
        let how = Redeem {
            require_pkce: self.settings().oauth_require_pkce,
            end_with_session: false,
        };
        let issued = self.redeem(request, how).await?;
        Ok(TokenResponse::new(
            &issued.secret,
            issued.lifetime.as_secs(),
            &issued.scopes,
        ))
    }

    fn is_client_of_site(&self, client: &OAuthClient) -> bool {
        self.settings()
            .find_site_of_client(&client.identifier)
            .is_some()
    }

    /// Redeems the code of a client that has proved itself.
    pub(crate) async fn redeem(
        &self,
        request: &TokenRequest,
        how: Redeem,
    ) -> Result<Issued, ExchangeFailure> {
        let now = self.now();
        let mut tx = self.store().begin().await?;
        let code = tx.take_oauth_code(&request.code, now).await?;
        let challenge = code.as_ref().and_then(|code| {
            CodeChallenge::parse(
                code.code_challenge_method.as_deref(),
                code.code_challenge.as_deref()?,
            )
            .ok()
        });
        let stored = code.as_ref().map(|code| StoredCode {
            client_id: &code.client_id,
            redirect_uri: &code.redirect_uri,
            expires_at: code.expires_at,
            challenge: challenge.as_ref(),
        });
        let unreadable = challenge.is_none()
            && code
                .as_ref()
                .is_some_and(|code| code.code_challenge.is_some());
        let checked = if unreadable {
            Err(TokenError::InvalidGrant)
        } else {
            request.check_code(stored, now, how.require_pkce)
        };
        let (Ok(()), Some(code)) = (checked, &code) else {
            tx.commit().await?;
            return Err(checked.err().unwrap_or(TokenError::InvalidGrant).into());
        };
        let user = tx.find_user_by_id(code.user_id).await?;
        if user.is_none_or(|user| self.settings().access.is_blocked(&user.name)) {
            tx.commit().await?;
            return Err(TokenError::InvalidGrant.into());
        }
        let mut lifetime = self.settings().oauth_token_lifetime;
        // A logout deletes the tokens of its session; one that came later would outlive it.
        if let Some(session_id) = &code.session_id {
            let sessions = tx.sessions_of_user(code.user_id, now).await?;
            let session = sessions.iter().find(|one| one.public_id == *session_id);
            let Some(session) = session else {
                tx.commit().await?;
                return Err(TokenError::InvalidGrant.into());
            };
            let left = session.expires_at.duration_since(now);
            if how.end_with_session {
                lifetime = lifetime.min(left.try_into().unwrap_or_default());
            }
        }
        let secret = Secret::new(new_access_token());
        tx.create_token(NewToken {
            secret: &secret,
            owner: TokenOwner::User(code.user_id),
            client_id: Some(&code.client_id),
            session_id: code.session_id.as_deref(),
            server_id: None,
            scopes: &code.scopes,
            note: "",
            created: now,
            expires_at: Some(after(now, lifetime)),
        })
        .await?;
        tx.commit().await?;
        Ok(Issued {
            secret,
            lifetime,
            scopes: code.scopes.clone(),
        })
    }
}
