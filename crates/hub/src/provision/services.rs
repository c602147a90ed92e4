//! Services as the configuration declares them: their records, tokens and OAuth clients.

use lyceum_core::ids::TokenId;
use lyceum_core::service::ServiceSpec;
use lyceum_core::token::{self, TokenHash};
use lyceum_core::{Secret, ServiceName};
use lyceum_store::{NewToken, Owner, Service, ServiceData, StoreError, TokenOwner};

use super::{ProvisionError, ServiceTokens, Work};
use crate::services::clients;

impl Work<'_> {
    /// Stores all services; those of an earlier configuration are deleted. Gives the tokens of managed ones.
    pub(super) async fn services(&mut self) -> Result<ServiceTokens, ProvisionError> {
        // First, as one of them may have had a token or an OAuth client that another has now.
        self.delete_old_services().await?;
        let mut tokens = ServiceTokens::new();
        for spec in &self.declared.services {
            let service = self.service(spec).await?;
            let secret = self.service_token(spec, &service).await?;
            clients::store(
                &mut self.tx,
                &self.hub.settings().base_url,
                spec,
                &service,
                secret.as_ref(),
            )
            .await?;
            if let (Some(_), Some(secret)) = (&spec.process, secret) {
                tokens.insert(spec.name.clone(), secret);
            }
        }
        Ok(tokens)
    }

    async fn delete_old_services(&mut self) -> Result<(), StoreError> {
        for service in self.tx.list_services().await? {
            let name = &service.data.name;
            let is_declared = self.declared.services.iter().any(|spec| spec.name == *name);
            if service.data.from_config && !is_declared {
                tracing::warn!(service.name = %name, "deleted the service {name}, which is not in the configuration any more");
                self.tx.delete_service(service.id).await?;
            }
        }
        Ok(())
    }

    async fn service(&mut self, spec: &ServiceSpec) -> Result<Service, StoreError> {
        let data = ServiceData {
            admin: self.is_admin(spec),
            ..record(spec, true)
        };
        match self.tx.find_service(&spec.name).await? {
            Some(service) if service.data == data => Ok(service),
            existing => {
                if existing.is_some_and(|service| !service.data.from_config) {
                    tracing::warn!(service.name = %spec.name, "the service {} was made by API, and is now the one of the configuration", spec.name);
                }
                self.tx.upsert_service(&data).await
            }
        }
    }

    /// If the role `admin` lists its services, that list counts alone.
    fn is_admin(&self, spec: &ServiceSpec) -> bool {
        let listed = self
            .declared
            .roles
            .iter()
            .find(|role| role.name.as_str() == "admin")
            .and_then(|role| role.services.as_ref());
        listed.map_or(spec.admin, |names| names.contains(&spec.name))
    }

    /// Sees to it that the service has its configured token, or a fresh one if the hub starts it, and no others.
    async fn service_token(
        &mut self,
        spec: &ServiceSpec,
        service: &Service,
    ) -> Result<Option<Secret<String>>, ProvisionError> {
        let (secret, kept) = match (&spec.api_token, &spec.process) {
            (Some(secret), _) => {
                let kept = self.configured_token(secret, service).await?;
                (Some(secret.clone()), Some(kept))
            }
            (None, Some(_)) => {
                let secret = token::new_token();
                let new = new_token(&secret, service, "generated at startup", self.now);
                let kept = self.tx.create_token(new).await?.id;
                (Some(secret), Some(kept))
            }
            (None, None) => (None, None),
        };
        for token in self
            .tx
            .tokens_of(TokenOwner::Service(service.id), self.now)
            .await?
        {
            if Some(token.id) != kept {
                self.tx.delete_token(token.id).await?;
            }
        }
        Ok(secret)
    }

    async fn configured_token(
        &mut self,
        secret: &Secret<String>,
        service: &Service,
    ) -> Result<TokenId, ProvisionError> {
        let name = || ServiceName::clone(&service.data.name);
        match self.tx.find_token(secret, self.now).await? {
            Some((token, Owner::Service(owner))) if owner.id == service.id => {
                if token.scopes == [INHERIT] && token.expires_at.is_none() {
                    return Ok(token.id);
                }
                self.tx.delete_token(token.id).await?;
            }
            Some(_) => return Err(ProvisionError::TokenTaken(name())),
            None => {}
        }
        let new = new_token(secret, service, "from config", self.now);
        Ok(self.tx.create_chosen_token(new).await?.id)
    }
}

const INHERIT: &str = "inherit";

/// A token with which a service may do all that it may.
pub(crate) fn new_token<'a>(
    secret: &'a Secret<String>,
    service: &Service,
    note: &'a str,
    now: lyceum_core::Timestamp,
) -> NewToken<'a> {
    static SCOPES: std::sync::LazyLock<Vec<String>> =
        std::sync::LazyLock::new(|| vec![INHERIT.to_owned()]);
    NewToken {
        secret,
        owner: TokenOwner::Service(service.id),
        client_id: None,
        session_id: None,
        server_id: None,
        scopes: &SCOPES,
        note,
        created: now,
        expires_at: None,
    }
}

/// What is stored of a service.
pub(crate) fn record(spec: &ServiceSpec, from_config: bool) -> ServiceData {
    ServiceData {
        name: spec.name.clone(),
        admin: spec.admin,
        url: spec.url.as_ref().map(|url| url.as_str().to_owned()),
        info: spec.info.clone(),
        display: spec.display,
        oauth_no_confirm: spec.oauth_no_confirm,
        from_config,
        command: spec
            .process
            .as_ref()
            .map(|process| process.command.clone())
            .unwrap_or_default(),
        oauth_client_allowed_scopes: spec.allowed_scopes.clone(),
    }
}

/// The hash of a client's secret: dear for one that a person has chosen.
pub(crate) fn secret_hash(spec: &ServiceSpec, secret: &Secret<String>) -> TokenHash {
    if spec.api_token.is_some() {
        TokenHash::of_chosen(secret.expose())
    } else {
        TokenHash::of(secret.expose())
    }
}
