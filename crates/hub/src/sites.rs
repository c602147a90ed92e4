//! Services that log nobody in themselves: who may come is the hub's to say, whoever carries the request.
//!
//! That somebody may come is a scope like any other (`access:services!service=NAME`), which users whom the
//! configuration admits hold as if by a role. So tokens, sessions and whatever ends them work as everywhere.

use std::time::Duration;

use lyceum_core::oauth::TokenRequest;
use lyceum_core::scope::{Access, ClientOf, RawScope, Scope, Target, access_scope};
use lyceum_core::service::{ServiceSpec, Visitors};
use lyceum_core::{GroupName, Secret, UserName};
use lyceum_store::StoreError;

use crate::oauth::{ExchangeFailure, Redeem};
use crate::{Hub, HubSettings, Principal, Via};

/// How somebody gets into a service from now on.
#[derive(Debug)]
pub struct Entry {
    /// The value of the cookie for this service.
    pub secret: Secret<String>,
    /// How long it counts at most; it ends with the login from which it came.
    pub lifetime: Duration,
}

impl HubSettings {
    /// Finds a service that logs nobody in itself.
    pub fn find_site(&self, name: &str) -> Option<&ServiceSpec> {
        self.sites().find(|spec| spec.name.as_str() == name)
    }

    /// Finds the service that logs nobody in itself to which an OAuth client belongs.
    pub fn find_site_of_client(&self, client_id: &str) -> Option<&ServiceSpec> {
        self.sites().find(|spec| {
            let oauth = spec.oauth.as_ref();
            oauth.is_some_and(|oauth| oauth.client_id == client_id)
        })
    }

    /// Lists the services that log nobody in themselves.
    pub fn sites(&self) -> impl Iterator<Item = &ServiceSpec> {
        let declared = self.declared.services.iter();
        declared.filter(|spec| spec.visitors.is_some())
    }

    /// Finds a service of the configuration.
    pub(crate) fn find_declared(&self, name: &str) -> Option<&ServiceSpec> {
        let mut declared = self.declared.services.iter();
        declared.find(|spec| spec.name.as_str() == name)
    }

    /// The scopes with which the configuration lets a user into services.
    pub(crate) fn entries_of<'a>(
        &'a self,
        user: &'a UserName,
        groups: &'a [GroupName],
        roles: &'a [&'a str],
    ) -> impl Iterator<Item = RawScope> + 'a {
        self.sites()
            .filter(move |spec| {
                let visitors = spec.visitors.as_ref();
                visitors.is_some_and(|visitors| {
                    visitors.need_login() && visitors.admit(user, groups, roles.iter().copied())
                })
            })
            .map(|spec| access_scope(ClientOf::Service(&spec.name)))
    }
}

impl Hub {
    /// Whether somebody may come to a service.
    pub fn may_visit(&self, caller: &Principal, site: &ServiceSpec) -> bool {
        matches!(site.visitors, Some(Visitors::Everybody))
            || caller
                .scopes()
                .check(Scope::AccessServices, Target::Service(site.name.as_str()))
                == Access::Allowed
    }

    /// Finds whose cookie this is; `None` if it is not one for this service, or does not count any more.
    pub async fn principal_of_entry(
        &self,
        site: &ServiceSpec,
        secret: &Secret<String>,
    ) -> Result<Option<Principal>, StoreError> {
        let wanted = site.oauth.as_ref().map(|oauth| oauth.client_id.as_str());
        let principal = self.principal_of_token(secret).await?;
        Ok(principal.filter(|principal| match principal.via() {
            Via::Token { client_id, .. } => client_id.as_deref() == wanted && wanted.is_some(),
            Via::Session(_) | Via::Credentials => false,
        }))
    }

    /// Takes the code with which a browser comes from the hub; `None` if it is not good for this service and this
    /// browser, which shows that by the verifier, or not any more.
    pub async fn enter_site(
        &self,
        site: &ServiceSpec,
        code: &str,
        verifier: &Secret<String>,
    ) -> Result<Option<Entry>, StoreError> {
        let Some(oauth) = &site.oauth else {
            return Ok(None);
        };
        // The gateway is no client at the other end of a connection: it has no secret to show.
        let request = TokenRequest::parse([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", oauth.client_id.as_str()),
            ("client_secret", "none"),
            ("code_verifier", verifier.expose().as_str()),
        ]);
        let Ok(request) = request else {
            return Ok(None);
        };
        let redeem = Redeem {
            require_pkce: true,
            end_with_session: true,
        };
        match self.redeem(&request, redeem).await {
            Ok(issued) => Ok(Some(Entry {
                secret: issued.secret,
                lifetime: issued.lifetime,
            })),
            Err(ExchangeFailure::Refused(error)) => {
                tracing::info!(service.name = %site.name, reason = %error,
                    "somebody came to the service {} with a code that is not good", site.name);
                Ok(None)
            }
            Err(ExchangeFailure::Store(error)) => Err(error),
        }
    }
}
