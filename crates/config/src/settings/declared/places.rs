//! Where services are in the URL space: not where the hub is, and no two at one place.

use lyceum_core::RouteSpec;
use lyceum_core::service::{ServiceSpec, is_place};

use super::{Fault, Reader, way};
use crate::settings::{ServiceConfig, ServiceKind};

const EXAMPLE: &str = "for example `prefix = \"/r/\"`";

impl Reader<'_> {
    /// Reads the prefix of a service; `None` for the usual one, or one that cannot be used.
    pub(super) fn place(&mut self, index: usize, service: &ServiceConfig) -> Option<RouteSpec> {
        let typed = service.prefix.as_deref()?;
        match self.read_place(service, typed) {
            Ok(place) => Some(place),
            Err((label, help)) => {
                let title = format!("`prefix` of the service `{}` cannot be used", service.name);
                let path = way!["services", index, "prefix"];
                self.faults.push(Fault::at(path, title, label).help(help));
                None
            }
        }
    }

    /// The inner error is what is wrong, and what helps.
    fn read_place(
        &self,
        service: &ServiceConfig,
        typed: &str,
    ) -> Result<RouteSpec, (String, String)> {
        let refuse = |label: &str, help: &str| Err((label.to_owned(), help.to_owned()));
        let path = typed.find('/').and_then(|at| typed.get(at..));
        let lacks_slash = path.is_none_or(|path| !path.ends_with('/'));
        if lacks_slash && !typed.is_empty() && is_place(&format!("{typed}/")) {
            let inner = typed.trim_start_matches('/');
            let help = format!(
                "write `prefix = \"/{inner}/\"`: `/{inner}` without the last slash leads there too"
            );
            return refuse("begins and ends with a slash", &help);
        }
        if !is_place(typed) {
            return refuse(
                "letters, digits, `-`, `.`, `_` and `~` between slashes",
                "for example `prefix = \"/r/\"`, or `prefix = \"stats.example.org/\"` for a host of its own",
            );
        }
        let host = typed.split('/').next().unwrap_or_default();
        if !host.is_empty() && !host.contains('.') && host != "localhost" {
            let help = format!("write `prefix = \"/{typed}\"`");
            return refuse("begins with a slash", &help);
        }
        let place =
            RouteSpec::parse(typed).map_err(|error| (error.to_string(), EXAMPLE.to_owned()))?;
        if place.host().is_some() && service.kind == ServiceKind::JupyterHub {
            return refuse(
                "a host of its own needs a `kind`",
                "a service that logs people in itself can only be on the host of the hub",
            );
        }
        if let Some(label) = self.taken_by_the_hub(&place) {
            return refuse(&label, EXAMPLE);
        }
        Ok(place)
    }

    /// What of the hub a place would cover, if it does.
    fn taken_by_the_hub(&self, place: &RouteSpec) -> Option<String> {
        let base = self.config.hub.base_url.as_str();
        let path = place.path_prefix();
        if path.starts_with("/.well-known/") {
            return Some("belongs to checks of certificates and the like".to_owned());
        }
        let public = self.public_host();
        if place.host().is_some() && place.host() != public.as_deref() {
            return None;
        }
        if base.starts_with(path) {
            return Some("covers the hub, so that nobody could log in".to_owned());
        }
        if path == format!("{base}services/") {
            return Some("covers all other services".to_owned());
        }
        ["hub/", "user/"]
            .iter()
            .map(|part| format!("{base}{part}"))
            .find(|own| path.starts_with(own.as_str()))
            .map(|own| format!("`{own}` belongs to the hub"))
    }

    /// The host of the hub, if it is configured.
    pub(super) fn public_host(&self) -> Option<String> {
        let (_, host) = self.config.hub.public_url.as_deref()?.split_once("://")?;
        let host = host.trim_end_matches('/').to_ascii_lowercase();
        let name = match host.rfind(':') {
            Some(colon) if !host.ends_with(']') => host.get(..colon).map(str::to_owned),
            _ => None,
        };
        Some(name.unwrap_or(host))
    }

    /// Scheme and host in front of the paths of a place, if it has a host of its own.
    pub(super) fn origin_of(&self, place: Option<&RouteSpec>) -> Option<String> {
        let host = place?.host()?;
        let Some(public) = self.config.hub.public_url.as_deref() else {
            return Some(format!("//{host}"));
        };
        let (scheme, authority) = public.trim_end_matches('/').split_once("://")?;
        let name = self.public_host()?;
        // Behind the same port as the hub.
        let port = authority.get(name.len()..).unwrap_or_default();
        Some(format!("{scheme}://{host}{port}"))
    }

    /// Says which other service has the same place.
    pub(super) fn same_place(&mut self, index: usize, spec: &ServiceSpec, others: &[ServiceSpec]) {
        let base = self.config.hub.base_url.as_str();
        let route = spec.route(base);
        let has_pages = |spec: &ServiceSpec| spec.url.is_some() || spec.visitors.is_some();
        let Some(other) = others
            .iter()
            .find(|other| has_pages(other) && has_pages(spec) && other.route(base) == route)
        else {
            return;
        };
        let position = self
            .config
            .services
            .iter()
            .position(|service| service.name == other.name.as_str())
            .unwrap_or_default();
        let title = format!(
            "the services `{}` and `{}` are both at `{route}`",
            other.name, spec.name
        );
        let mut fault = Fault::at(way!["services", index, "prefix"], title, "one of them");
        fault.other = Some((
            way!["services", position, "prefix"].into(),
            "the other".to_owned(),
        ));
        self.faults
            .push(fault.help("give one of them another `prefix`"));
    }
}
