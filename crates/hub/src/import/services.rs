//! Services. Those that were made by the API are taken; those of JupyterHub's configuration belong into ours.

use lyceum_core::service::ServiceDraft;
use lyceum_core::token::TokenHash;
use lyceum_core::{ServiceName, service};
use lyceum_store::jupyterhub::Service as Foreign;
use lyceum_store::{AdoptedClient, ServiceData, StoreError};

use super::report::{Item, Kind, Outcome};
use super::{Import, listed};

impl Import<'_> {
    pub(super) async fn import_services(&mut self) -> Result<(), StoreError> {
        for foreign in &self.source.services {
            let item = if foreign.from_config {
                self.configured_service(foreign)
            } else {
                self.import_service(foreign).await?
            };
            self.report.add(item);
        }
        Ok(())
    }

    fn configured_service(&mut self, foreign: &Foreign) -> Item {
        if self.options.configured_services.contains(&foreign.name) {
            return Item::skipped(
                Kind::Service,
                &foreign.name,
                "it comes from JupyterHub's configuration, and is in lyceum.toml already",
            );
        }
        let client = self.client_of(foreign);
        let redirect_uri = client
            .map(|client| client.redirect_uri.clone())
            .filter(|uri| !uri.is_empty() && !uri.starts_with("/services/"));
        let mut scopes = foreign.allowed_scopes.clone();
        scopes.extend(self.custom_scopes_of(foreign));
        for scope in scopes {
            self.snippet.custom_scope(&scope);
        }
        self.snippet.service(foreign, redirect_uri.as_deref());
        Item::skipped(
            Kind::Service,
            &foreign.name,
            "it comes from JupyterHub's configuration, and so belongs into lyceum.toml as [[services]]",
        )
    }

    /// The custom scopes that the roles of a service have.
    fn custom_scopes_of(&self, foreign: &Foreign) -> Vec<String> {
        self.source
            .roles
            .iter()
            .filter(|role| role.services.contains(&foreign.id))
            .flat_map(|role| role.scopes.iter().cloned())
            .collect()
    }

    async fn import_service(&mut self, foreign: &Foreign) -> Result<Item, StoreError> {
        let skipped = |reason: &str| Ok(Item::skipped(Kind::Service, &foreign.name, reason));
        let name = match ServiceName::parse(&foreign.name) {
            Ok(name) => name,
            Err(error) => return skipped(&error.to_string()),
        };
        if self.options.configured_services.contains(&foreign.name) {
            return skipped("a service of this name is in lyceum.toml");
        }
        if let Some(service) = self.tx.find_service(&name).await? {
            self.services.insert(foreign.id, (service.id, name));
            let mut item = Item::new(Kind::Service, &foreign.name, Outcome::Kept);
            if service.data.url != foreign.url || service.data.admin != foreign.admin {
                item.note("stays as it is here");
            }
            return Ok(item);
        }
        let mut item = Item::new(Kind::Service, &foreign.name, Outcome::Added);
        let allowed_scopes = self.known_scopes(&foreign.allowed_scopes, &mut item);
        let client = self.client_of(foreign).cloned();
        let redirect_uri = client.as_ref().map(|client| client.redirect_uri.clone());
        let draft = ServiceDraft {
            name: foreign.name.clone(),
            admin: foreign.admin,
            url: foreign.url.clone(),
            command: foreign.command.clone(),
            oauth_client_id: foreign.client_id.clone(),
            oauth_redirect_uri: redirect_uri,
            oauth_client_allowed_scopes: allowed_scopes.clone(),
            oauth_no_confirm: foreign.oauth_no_confirm && client.is_some(),
            display: foreign.display,
            info: foreign.info.clone(),
            ..ServiceDraft::default()
        };
        let spec = match draft.check(self.options.catalogue) {
            Ok(spec) => spec,
            Err(faults) => {
                let reasons: Vec<String> = faults
                    .into_iter()
                    .map(|fault| format!("`{}`: {}", fault.key, fault.message))
                    .collect();
                return skipped(&reasons.join("; "));
            }
        };
        if spec.process.is_some() {
            return skipped(
                "JupyterHub starts it; programs to start stand in lyceum.toml as [[services]]",
            );
        }
        let data = ServiceData {
            admin: spec.admin,
            url: spec.url.map(|url| url.as_str().to_owned()),
            info: spec.info,
            display: spec.display,
            oauth_no_confirm: spec.oauth_no_confirm,
            oauth_client_allowed_scopes: allowed_scopes,
            ..ServiceData::named(name.clone())
        };
        let service = self.tx.upsert_service(&data).await?;
        if data.admin {
            item.note("is an administrator");
        }
        if let Some(client) = client {
            let secret = TokenHash::parse(&client.secret).ok();
            if secret.is_none() && !client.secret.is_empty() {
                item.note("the secret of its OAuth client is damaged: nobody can log in to it");
            }
            let scopes = self.known_scopes(
                &client.allowed_scopes,
                &mut Item::new(Kind::Service, "", Outcome::Kept),
            );
            let adopted = AdoptedClient {
                identifier: &client.identifier,
                description: &client.description,
                secret: secret.as_ref(),
                redirect_uri: &client.redirect_uri,
                allowed_scopes: &scopes,
                service: service.id,
            };
            if !self.tx.adopt_oauth_client(adopted).await? {
                item.note(format!(
                    "its OAuth client `{}` is not taken: there is one of that id here",
                    client.identifier
                ));
            }
        }
        self.services.insert(foreign.id, (service.id, name));
        Ok(item)
    }

    fn client_of(&self, foreign: &Foreign) -> Option<&lyceum_store::jupyterhub::OAuthClient> {
        let id = foreign.client_id.as_deref()?;
        if !id.starts_with(service::CLIENT_PREFIX) {
            return None;
        }
        self.source.clients.iter().find(|one| one.identifier == id)
    }

    /// The scopes among these that exist here; notes the others.
    fn known_scopes(&self, scopes: &[String], item: &mut Item) -> Vec<String> {
        let unknown = self.unknown_scopes(scopes);
        if !unknown.is_empty() {
            item.note(format!("scopes that are not taken: {}", listed(&unknown)));
        }
        let known = |scope: &&String| !unknown.contains(scope);
        scopes.iter().filter(known).cloned().collect()
    }
}
