//! Services: each checked by the rules that are the API's too, then against the others and this machine.

use std::collections::HashMap;
use std::path::Path;

use lyceum_core::declared::DeclaredRole;
use lyceum_core::scope::RoleName;
use lyceum_core::service::{ServiceDraft, ServiceSpec};
use lyceum_core::{Secret, ServiceName, slug};
use lyceum_spawn::service::Account;

use super::{Fault, OwnRole, Reader, way};
use crate::settings::{ServiceConfig, ServiceKind};
use crate::tree::Step;

/// The longest file with a token that is read, in bytes.
const MAX_TOKEN_FILE: u64 = 4096;

impl Reader<'_> {
    pub(super) fn services(&mut self) -> (Vec<ServiceSpec>, Vec<OwnRole>) {
        let mut specs: Vec<ServiceSpec> = Vec::new();
        let mut roles = Vec::new();
        let mut seen = HashMap::new();
        for (index, service) in self.config.services.iter().enumerate() {
            let api_token = self.api_token(index, service);
            let scopes = self.scopes(&way!["services", index, "scopes"], &service.scopes);
            self.keys_of_kind(index, service);
            let place = self.place(index, service);
            let access = match service.kind {
                ServiceKind::JupyterHub => None,
                _ => Some(self.access(index, service)),
            };
            let draft = ServiceDraft {
                origin: self.origin_of(place.as_ref()),
                visitors: access.as_ref().map(|access| access.visitors.clone()),
                place,
                ..draft(service, api_token)
            };
            let spec = match draft.check(&self.catalogue) {
                Ok(spec) => spec,
                Err(faults) => {
                    for fault in faults {
                        let mut path = way!["services", index, fault.key].to_vec();
                        path.extend(fault.index.map(Step::from));
                        let title = format!(
                            "`{}` of the service `{}` cannot be used",
                            fault.key, service.name
                        );
                        self.faults
                            .push(Fault::at(path, title, fault.message).help(fault.hint));
                    }
                    continue;
                }
            };
            if let Some(user) = spec
                .process
                .as_ref()
                .and_then(|process| process.user.as_deref())
                && let Err(error) = Account::find(user)
            {
                let title = format!("`user` of the service `{}` cannot be used", spec.name);
                let fault = Fault::at(way!["services", index, "user"], title, error.to_string());
                self.faults.push(
                    fault.help("leave it out, and the service runs under the account of Lyceum"),
                );
            }
            if let Some(first) = seen.insert(spec.name.clone(), index) {
                let title = format!("the service `{}` is there twice", spec.name);
                let mut fault = Fault::at(way!["services", index, "name"], title, "and again here");
                fault.other = Some((way!["services", first, "name"].into(), "here".to_owned()));
                self.faults.push(fault);
                continue;
            }
            self.shared_with_another(index, &spec, &specs);
            self.same_place(index, &spec, &specs);
            if let Some(access) = access
                && let Some(site) = self.site(index, service, &spec, access)
            {
                self.sites.push(site);
            }
            if !scopes.is_empty()
                && let Some(name) = own_role_name(&spec.name)
            {
                let role = DeclaredRole {
                    name,
                    description: Some(format!("What the service {} may do", spec.name)),
                    scopes: Some(scopes),
                    users: None,
                    groups: None,
                    services: Some(vec![spec.name.clone()]),
                };
                roles.push(OwnRole { index, role });
            }
            specs.push(spec);
        }
        (specs, roles)
    }

    /// What only one service can have: its token, and the id of its OAuth client.
    fn shared_with_another(&mut self, index: usize, spec: &ServiceSpec, others: &[ServiceSpec]) {
        for other in others {
            let is_of = |service: &ServiceConfig| service.name == other.name.as_str();
            let position = self
                .config
                .services
                .iter()
                .position(is_of)
                .unwrap_or_default();
            let token = |spec: &ServiceSpec| spec.api_token.clone();
            if let (Some(one), Some(two)) = (token(spec), token(other))
                && one.matches(two.expose())
            {
                let title = format!(
                    "the services `{}` and `{}` have the same token",
                    other.name, spec.name
                );
                let mut fault = Fault::at(way!["services", index], title, "one of them");
                fault.other = Some((way!["services", position].into(), "the other".to_owned()));
                self.faults
                    .push(fault.help("make another: `openssl rand -hex 32`"));
            }
            let client =
                |spec: &ServiceSpec| spec.oauth.as_ref().map(|oauth| oauth.client_id.clone());
            if let (Some(one), Some(two)) = (client(spec), client(other))
                && one == two
            {
                let title = format!(
                    "the services `{}` and `{}` have the same OAuth client `{one}`",
                    other.name, spec.name
                );
                let mut fault = Fault::at(way!["services", index], title, "one of them");
                fault.other = Some((way!["services", position].into(), "the other".to_owned()));
                self.faults
                    .push(fault.help("give one of them another `oauth_client_id`"));
            }
        }
    }

    fn api_token(&mut self, index: usize, service: &ServiceConfig) -> Option<Secret<String>> {
        let inline = service.api_token.as_ref().map(|token| token.0.clone());
        let Some(file) = &service.api_token_file else {
            return inline;
        };
        if inline.is_some() {
            let title = format!("the service `{}` has two tokens", service.name);
            let mut fault = Fault::at(way!["services", index, "api_token"], title, "one here");
            fault.other = Some((
                way!["services", index, "api_token_file"].into(),
                "another in this file".to_owned(),
            ));
            self.faults.push(fault.help("leave one of the two out"));
            return inline;
        }
        match read_token(file) {
            Ok(token) => Some(token),
            // That the file is not there, or is everybody's, is told by the rule for all files with secrets.
            Err(None) => None,
            Err(Some(reason)) => {
                let title = format!("the token of the service `{}` cannot be used", service.name);
                let path = way!["services", index, "api_token_file"];
                self.faults.push(
                    Fault::at(path, title, reason)
                        .help("write the token into the first line of the file"),
                );
                None
            }
        }
    }
}

fn draft(service: &ServiceConfig, api_token: Option<Secret<String>>) -> ServiceDraft {
    ServiceDraft {
        name: service.name.clone(),
        admin: service.admin,
        url: service.url.clone(),
        command: service.command.clone(),
        user: service.user.clone(),
        cwd: service.cwd.clone(),
        environment: service.environment.clone(),
        api_token,
        oauth_client_id: service.oauth_client_id.clone(),
        oauth_redirect_uri: service.oauth_redirect_uri.clone(),
        oauth_client_allowed_scopes: service.oauth_client_allowed_scopes.clone(),
        oauth_no_confirm: service.oauth_no_confirm,
        display: service.display,
        info: service.info.clone(),
        ..ServiceDraft::default()
    }
}

/// The name of the role that a service has for itself.
fn own_role_name(service: &ServiceName) -> Option<RoleName> {
    RoleName::parse(&format!("service-{service}"))
        .ok()
        .or_else(|| {
            let slug = slug::unique_server_name(service.as_str())?;
            RoleName::parse(&format!("service-{slug}")).ok()
        })
}

/// Reads the first line of a file; the inner `None` if the file cannot be read at all.
fn read_token(file: &Path) -> Result<Secret<String>, Option<String>> {
    use std::io::Read as _;

    // Whole at once, so that growing leaves no copy of a secret behind.
    let mut content =
        String::with_capacity(usize::try_from(MAX_TOKEN_FILE).unwrap_or_default() + 1);
    let metadata = std::fs::metadata(file).map_err(|_| None)?;
    if !metadata.is_file() {
        return Err(None);
    }
    std::fs::File::open(file)
        .and_then(|file| file.take(MAX_TOKEN_FILE).read_to_string(&mut content))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => Some("it is not text".to_owned()),
            // Who checks the configuration need not be who runs Lyceum.
            _ => None,
        })?;
    let content = Secret::new(content);
    match content.expose().lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned().into()),
        _ => Err(Some("its first line is empty".to_owned())),
    }
}
