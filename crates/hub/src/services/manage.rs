//! Services that are made and deleted by API. They are started by others, and stay over restarts.

use lyceum_core::ServiceName;
use lyceum_core::scope::{Expansion, Filter, RawScope, Scope, ScopeError, ScopeName, default_role};
use lyceum_core::service::{self, ServiceDraft, ServiceFault, ServiceSpec};
use lyceum_store::{Owner, Service, StoreError, Tx};
use serde_json::json;
use thiserror::Error;

use super::{ServiceView, clients};
use crate::membership::members_for;
use crate::permit::ManageService;
use crate::provision::{new_token, record};
use crate::{Actor, AuditEvent, AuditKind, Hub, NamePermit, Principal, ServicePermit};

/// Why a service was not made.
#[derive(Debug, Error)]
pub enum CreateServiceError {
    /// There is one of this name.
    #[error("the service `{0}` exists already")]
    Exists(String),
    /// It would have to be started.
    #[error("services with a `command` are made in the configuration only")]
    Managed,
    /// It cannot be like this.
    #[error("the service cannot be like this: {}", list(.0))]
    Invalid(Vec<ServiceFault>),
    /// It asks for scopes that there are not.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// It would get more than its maker has.
    #[error("you may not give what you do not have: {}", .0.join(", "))]
    Beyond(Vec<String>),
    /// Its OAuth client would have the id of another.
    #[error("the OAuth client `{0}` exists already")]
    ClientTaken(String),
    /// Its token is somebody's already.
    #[error("the token is in use already")]
    TokenTaken,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

fn list(faults: &[ServiceFault]) -> String {
    let texts: Vec<String> = faults
        .iter()
        .map(|fault| format!("`{}`: {}", fault.key, fault.message))
        .collect();
    texts.join("; ")
}

/// Why a service was not deleted.
#[derive(Debug, Error)]
pub enum DeleteServiceError {
    /// It comes from the configuration, and would come back.
    #[error("the service `{0}` comes from the configuration, and can be changed only there")]
    FromConfig(ServiceName),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl Hub {
    /// Whether there is a service of this name.
    pub async fn service_exists(
        &self,
        permit: &NamePermit<ManageService>,
    ) -> Result<bool, StoreError> {
        match ServiceName::parse(permit.name()) {
            Ok(name) => Ok(self.store().find_service(&name).await?.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// Makes a service that others start, with its token, OAuth client and route. It has no more rights than the
    /// caller.
    pub async fn create_service(
        &self,
        permit: &NamePermit<ManageService>,
        caller: &Principal,
        draft: ServiceDraft,
    ) -> Result<ServiceView, CreateServiceError> {
        if self.service_exists(permit).await? {
            return Err(CreateServiceError::Exists(permit.name().to_owned()));
        }
        if !draft.command.is_empty() {
            return Err(CreateServiceError::Managed);
        }
        // The scopes first: that they are beyond the caller's is said even if something else is wrong.
        self.check_rights(caller, &draft).await?;
        let draft = ServiceDraft {
            name: permit.name().to_owned(),
            // Means nothing for a service that others start; JupyterHub takes it all the same.
            user: None,
            cwd: None,
            environment: std::collections::BTreeMap::new(),
            ..draft
        };
        let spec = draft
            .check(self.catalogue())
            .map_err(CreateServiceError::Invalid)?;
        let service = self.store_service(&spec, caller).await?;
        tracing::info!(service.name = %spec.name, "{} made the service {}", caller.name(), spec.name);
        if let Some(route) = self.route_of_service(&service) {
            self.put_route(route).await;
        }
        Ok(self.view_of_service(service).await?)
    }

    async fn store_service(
        &self,
        spec: &ServiceSpec,
        by: &Principal,
    ) -> Result<Service, CreateServiceError> {
        let mut tx = self.store().begin().await?;
        if tx.find_service(&spec.name).await?.is_some() {
            return Err(CreateServiceError::Exists(spec.name.to_string()));
        }
        if let Some(oauth) = &spec.oauth
            && tx.find_oauth_client(&oauth.client_id).await?.is_some()
        {
            return Err(CreateServiceError::ClientTaken(oauth.client_id.clone()));
        }
        let service = tx.upsert_service(&record(spec, false)).await?;
        if let Some(secret) = &spec.api_token {
            let taken = tx.find_token(secret, self.now()).await?;
            if let Some((_, Owner::User(_) | Owner::Service(_))) = taken {
                return Err(CreateServiceError::TokenTaken);
            }
            let new = new_token(secret, &service, "from the API", self.now());
            tx.create_chosen_token(new).await?;
        }
        let base_url = &self.settings().base_url;
        clients::store(&mut tx, base_url, spec, &service, spec.api_token.as_ref()).await?;
        self.write_service(&mut tx, by, &spec.name, "created")
            .await?;
        tx.commit().await?;
        Ok(service)
    }

    /// Nobody gives a service more than they have themselves (JupyterHub `ServiceAPIHandler._check_service_scopes`).
    async fn check_rights(
        &self,
        caller: &Principal,
        draft: &ServiceDraft,
    ) -> Result<(), CreateServiceError> {
        let catalogue = self.catalogue();
        let mut asked = catalogue.parse_all(&draft.oauth_client_allowed_scopes)?;
        // What such a scope gives is the visitor's, who says yes on the confirm page. Without that page, the visit of
        // an administrator would make one of whoever created the service.
        let depends_on_visitor = |scope: &RawScope| {
            scope.is_inherit()
                || scope.name == ScopeName::BuiltIn(Scope::Itself)
                || matches!(
                    scope.filter,
                    Filter::OwnUser | Filter::OwnServer | Filter::OwnService
                )
        };
        let unasked = draft.oauth_no_confirm && asked.iter().any(depends_on_visitor);
        if draft.admin || unasked {
            let admin = default_role("admin")
                .map(|role| role.scopes)
                .unwrap_or_default();
            asked.extend(catalogue.parse_stored(admin));
        }
        asked.retain(|scope| !scope.is_inherit());
        // Who holds a scope for a group holds it for the group's members.
        let (store, owner, groups) = (self.store(), caller.owner(), caller.groups());
        let members = members_for(store, owner, groups, caller.scopes(), &asked).await?;
        let asked = Expansion::of(caller.scope_owner()).expand(catalogue, &asked);
        let held = asked.intersect(caller.scopes(), &members.known);
        let (asked, held) = (asked.to_raw(), held.to_raw());
        let beyond: Vec<String> = asked.difference(&held).map(RawScope::to_string).collect();
        if beyond.is_empty() {
            Ok(())
        } else {
            Err(CreateServiceError::Beyond(beyond))
        }
    }

    /// Deletes a service that was made by API, with its tokens, its OAuth client and its route.
    pub async fn delete_service(
        &self,
        permit: &ServicePermit<ManageService>,
    ) -> Result<(), DeleteServiceError> {
        let service = permit.service();
        let name = &service.data.name;
        if service.data.from_config {
            return Err(DeleteServiceError::FromConfig(name.clone()));
        }
        let mut tx = self.store().begin().await?;
        tx.delete_service(service.id).await?;
        self.write_service(&mut tx, permit.by(), name, "deleted")
            .await?;
        tx.commit().await?;
        let spec = service::route(&self.settings().base_url, name);
        self.remove_route(&spec).await;
        tracing::info!(service.name = %name, "deleted the service {name}");
        Ok(())
    }

    async fn write_service(
        &self,
        tx: &mut Tx,
        by: &Principal,
        service: &ServiceName,
        change: &str,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            detail: json!({"service": service, "change": change}),
            ..AuditEvent::new(AuditKind::ServiceChanged, Actor::Caller(by), None)
        };
        self.audit().write(tx, event).await
    }
}
