//! Services that log nobody in themselves, as the gateway has to know them; and what is wrong with their keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lyceum_core::service::ServiceSpec;
use lyceum_core::{HumanDuration, HumanSize, Upstream};
use lyceum_gateway::rewrite::is_identity;
use lyceum_gateway::{
    Forwarding, ListenAddress, Site, SiteAccess, SiteAction, SiteKind, SiteLimits, site_header,
};

use super::visitors::Access;
use super::{Fault, Reader, way};
use crate::settings::{ServiceConfig, ServiceKind};
use crate::tree::Step;

/// What people wait for at least: RStudio keeps requests open for that long.
const LONG_POLL: Duration = Duration::from_mins(1);

/// Which keys belong to which kinds.
fn belongs(key: &str, kind: ServiceKind) -> bool {
    use ServiceKind::{Generic, JupyterHub, RStudio, Redirect, Shiny, Static};
    let kinds: &[ServiceKind] = match key {
        "url" | "command" | "user" | "cwd" | "environment" => {
            &[JupyterHub, RStudio, Shiny, Generic]
        }
        "oauth_client_id"
        | "oauth_redirect_uri"
        | "oauth_client_allowed_scopes"
        | "oauth_no_confirm" => &[JupyterHub],
        "strip_prefix" | "rewrite" | "max_body" | "connect_timeout" | "response_timeout"
        | "tunnel_timeout" | "request_headers" => &[RStudio, Shiny, Generic],
        "access" | "response_headers" | "maintenance" | "client_certificate" => {
            &[RStudio, Shiny, Generic, Static, Redirect]
        }
        "folder" => &[Static],
        "redirect_to" | "redirect_status" => &[Redirect],
        _ => return true,
    };
    kinds.contains(&kind)
}

impl Reader<'_> {
    /// Finds keys that do not belong to the kind, and those that it cannot be without.
    pub(super) fn keys_of_kind(&mut self, index: usize, service: &ServiceConfig) {
        let kind = service.kind;
        for (key, is_set) in [
            ("access", service.access.is_some()),
            ("strip_prefix", service.strip_prefix.is_some()),
            ("rewrite", service.rewrite.is_some()),
            ("folder", service.folder.is_some()),
            ("redirect_to", service.redirect_to.is_some()),
            ("redirect_status", service.redirect_status.is_some()),
            ("max_body", service.max_body.is_some()),
            ("connect_timeout", service.connect_timeout.is_some()),
            ("response_timeout", service.response_timeout.is_some()),
            ("tunnel_timeout", service.tunnel_timeout.is_some()),
            ("request_headers", !service.request_headers.is_empty()),
            ("response_headers", !service.response_headers.is_empty()),
            ("maintenance", service.maintenance.is_some()),
            ("client_certificate", service.client_certificate),
            ("url", service.url.is_some()),
            ("command", !service.command.is_empty()),
            ("oauth_client_id", service.oauth_client_id.is_some()),
            ("oauth_redirect_uri", service.oauth_redirect_uri.is_some()),
            (
                "oauth_client_allowed_scopes",
                !service.oauth_client_allowed_scopes.is_empty(),
            ),
            ("oauth_no_confirm", service.oauth_no_confirm),
        ] {
            if !is_set || belongs(key, kind) {
                continue;
            }
            let title = format!(
                "`{key}` of the service `{}` has no effect with the kind `{}`",
                service.name,
                kind.name()
            );
            let help = match kind {
                ServiceKind::JupyterHub => {
                    "say what the service is, such as `kind = \"generic\"`; without a kind, it does all by itself"
                }
                _ if key.starts_with("oauth") => {
                    "leave it out: Lyceum logs people in for this service"
                }
                _ => "leave it out, or change `kind`",
            };
            self.faults.push(
                Fault::at(way!["services", index, key], title, "not for this kind").help(help),
            );
        }
        let (missing, help) = match kind {
            ServiceKind::RStudio if service.url.is_none() => {
                ("url", "for example `url = \"http://127.0.0.1:8787\"`")
            }
            ServiceKind::Shiny if service.url.is_none() => {
                ("url", "for example `url = \"http://127.0.0.1:3838\"`")
            }
            ServiceKind::Generic if service.url.is_none() => {
                ("url", "for example `url = \"http://127.0.0.1:8501\"`")
            }
            ServiceKind::Static if service.folder.is_none() => {
                ("folder", "for example `folder = \"/srv/course\"`")
            }
            ServiceKind::Redirect if service.redirect_to.is_none() => (
                "redirect_to",
                "for example `redirect_to = \"https://docs.example.org/\"`",
            ),
            _ => return,
        };
        let title = format!("`{missing}` of the service `{}` is missing", service.name);
        let label = format!("the kind `{}` needs `{missing}`", kind.name());
        self.faults
            .push(Fault::at(way!["services", index, missing], title, label).help(help));
    }

    /// Makes the site of a service that is good as far as the hub is concerned; `None` if it is none, or cannot be used.
    pub(super) fn site(
        &mut self,
        index: usize,
        service: &ServiceConfig,
        spec: &ServiceSpec,
        access: Access,
    ) -> Option<Site> {
        let visitors = spec.visitors.as_ref()?;
        if visitors.need_login() && spec.origin.is_some() && self.config.hub.public_url.is_none() {
            let title = format!(
                "people could not log in for the service `{}`, which has a host of its own",
                spec.name
            );
            self.faults.push(
                Fault::at(
                    way!["services", index, "prefix"],
                    title,
                    "another host than the hub",
                )
                .help("tell where the hub is: `hub.public_url`"),
            );
        }
        let action = match service.kind {
            ServiceKind::JupyterHub => return None,
            ServiceKind::Static => {
                let folder = service.folder.as_deref()?;
                self.folder(index, service, folder);
                SiteAction::Files(folder.to_owned())
            }
            ServiceKind::Redirect => {
                let to = service.redirect_to.as_deref()?;
                let status = service.redirect_status.unwrap_or(302);
                self.redirect(index, spec, to, status);
                SiteAction::Redirect {
                    to: to.to_owned(),
                    status,
                }
            }
            kind => {
                let target = spec.url.as_ref()?.upstream().clone();
                self.own_address(index, service, &target);
                let strip_prefix = service.strip_prefix.unwrap_or(kind.strips());
                SiteAction::Forward(Forwarding {
                    target,
                    strip_prefix,
                    rewrite: service.rewrite.unwrap_or(strip_prefix),
                    kind: match kind {
                        ServiceKind::RStudio => SiteKind::RStudio,
                        ServiceKind::Shiny => SiteKind::Shiny,
                        _ => SiteKind::Generic,
                    },
                })
            }
        };
        self.limits(index, service);
        let path = way!["services", index, "request_headers"];
        let request_headers = self.headers(&path, &service.request_headers, true);
        let path = way!["services", index, "response_headers"];
        let response_headers = self.headers(&path, &service.response_headers, false);
        Some(Site {
            name: spec.name.to_string(),
            spec: spec.route(&self.config.hub.base_url),
            access: SiteAccess {
                networks: access.networks,
                gated: visitors.need_login(),
                client_certificate: service.client_certificate,
            },
            action,
            limits: SiteLimits {
                max_body: service.max_body.map(HumanSize::bytes),
                connect_timeout: service.connect_timeout.map(HumanDuration::get),
                response_timeout: service.response_timeout.map(HumanDuration::get),
                tunnel_timeout: service.tunnel_timeout.map(HumanDuration::get),
            },
            request_headers,
            response_headers,
            maintenance: service.maintenance.clone(),
        })
    }

    fn folder(&mut self, index: usize, service: &ServiceConfig, folder: &Path) {
        let path = || way!["services", index, "folder"];
        let title = format!("`folder` of the service `{}` cannot be used", service.name);
        if !folder.is_absolute() {
            self.faults.push(
                Fault::at(path(), title, "expected a path")
                    .help("write the whole path, beginning with a slash"),
            );
            return;
        }
        match std::fs::metadata(folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                self.faults
                    .push(Fault::at(path(), title.clone(), "this is no folder"));
            }
            // Who checks the configuration need not be who runs Lyceum.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => {
                let help = format!("make it: `mkdir -p '{}'`", folder.display());
                self.faults
                    .push(Fault::at(path(), title.clone(), error.to_string()).help(help));
            }
        }
        let hub = &self.config.hub;
        for (own, what) in [
            (&hub.data_dir, "the database and all secrets"),
            (&hub.runtime_dir, "the sockets of users' servers"),
        ] {
            if own.starts_with(folder) || folder.starts_with(own) {
                let label = format!("{what} are in `{}`", own.display());
                self.faults
                    .push(Fault::at(path(), title.clone(), label).help("take a folder of its own"));
                return;
            }
        }
        let is_private = folder == Path::new("/")
            || ["/home", "/root", "/etc", "/var", "/proc", "/sys", "/dev"]
                .iter()
                .any(|private| folder == Path::new(private))
            || ["/home", "/root", "/etc"]
                .iter()
                .any(|private| folder.starts_with(private));
        if is_private {
            let title = format!(
                "the service `{}` shows all files below `{}`",
                service.name,
                folder.display()
            );
            let mut fault = Fault::at(path(), title, "whatever is put there is shown");
            fault.is_warning = true;
            self.faults
                .push(fault.help("take a folder that holds nothing else, such as `/srv/course`"));
        }
    }

    fn redirect(&mut self, index: usize, spec: &ServiceSpec, to: &str, status: u16) {
        let is_address = ["https://", "http://"].iter().any(|scheme| {
            to.strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
        let is_path = to.starts_with('/') && !to.starts_with("//");
        let is_clean = to.bytes().all(|c| c.is_ascii_graphic() && c != b'\\');
        if !(is_address || is_path) || !is_clean {
            let title = format!(
                "`redirect_to` of the service `{}` cannot be used",
                spec.name
            );
            let path = way!["services", index, "redirect_to"];
            self.faults.push(
                Fault::at(path, title, "neither a web address nor a path")
                    .help("for example `redirect_to = \"https://docs.example.org/\"`"),
            );
        } else if to.starts_with(&spec.prefix(&self.config.hub.base_url)) && spec.origin.is_none() {
            let title = format!("the service `{}` sends browsers to itself", spec.name);
            let path = way!["services", index, "redirect_to"];
            self.faults
                .push(Fault::at(path, title, "below its own prefix"));
        }
        if !matches!(status, 301 | 302 | 307 | 308) {
            let title = format!(
                "`redirect_status` of the service `{}` cannot be used",
                spec.name
            );
            let path = way!["services", index, "redirect_status"];
            self.faults
                .push(Fault::at(path, title, "expected 301, 302, 307 or 308"));
        }
    }

    /// A service at an address of Lyceum's own would be a request that goes round for ever.
    fn own_address(&mut self, index: usize, service: &ServiceConfig, target: &Upstream) {
        let is_own = self
            .config
            .gateway
            .listen
            .iter()
            .any(|listen| match (listen, target) {
                (ListenAddress::Tcp(own), Upstream::Tcp { host, port }) => {
                    let is_here = host.eq_ignore_ascii_case("localhost")
                        || host
                            .parse::<std::net::IpAddr>()
                            .is_ok_and(|ip| ip == own.ip() || ip.is_loopback());
                    *port == own.port() && is_here
                }
                (ListenAddress::Unix(own), Upstream::Unix(path)) => own == path,
                _ => false,
            });
        if is_own {
            let title = format!("the service `{}` is Lyceum itself", service.name);
            let path = way!["services", index, "url"];
            let fault = Fault::at(path, title, "Lyceum listens there");
            self.faults
                .push(fault.help("write where the program listens"));
        }
    }

    fn limits(&mut self, index: usize, service: &ServiceConfig) {
        for (key, time) in [
            ("connect_timeout", service.connect_timeout),
            ("response_timeout", service.response_timeout),
            ("tunnel_timeout", service.tunnel_timeout),
        ] {
            let path = way!["services", index, key];
            let Some(time) = time else { continue };
            if time.is_zero() {
                let title = format!("`{key}` of the service `{}` cannot be zero", service.name);
                let fault = Fault::at(path, title, "expected a time");
                self.faults.push(fault.help("leave it out for no limit"));
            } else if key != "connect_timeout" && service.kind.strips() && time.get() < LONG_POLL {
                let title = format!(
                    "`{key}` of the service `{}` cuts off people who only read",
                    service.name
                );
                let mut fault = Fault::at(path, title, "shorter than a minute");
                fault.is_warning = true;
                self.faults.push(fault.help(
                    "RStudio and Shiny keep requests and WebSockets open in silence; leave it out, or take hours",
                ));
            }
        }
        if service.max_body.is_some_and(|size| size.bytes() == 0) {
            let title = format!(
                "`max_body` of the service `{}` cannot be zero",
                service.name
            );
            let path = way!["services", index, "max_body"];
            let fault = Fault::at(path, title, "expected a size");
            self.faults.push(fault.help("leave it out for no limit"));
        }
    }

    fn headers(
        &mut self,
        path: &[Step],
        written: &BTreeMap<String, String>,
        for_program: bool,
    ) -> Headers {
        let mut good: Headers = Vec::new();
        for (name, value) in written {
            let mut refuse = |label: String, is_key: bool| {
                let mut path = path.to_vec();
                path.push(Step::from(name.as_str()));
                let title = format!("the header `{name}` cannot be set");
                let mut fault = Fault::at(path, title, label);
                fault.is_key = is_key;
                self.faults.push(fault);
            };
            match site_header(name, value) {
                Ok((name, _)) if for_program && is_identity(&name) => {
                    refuse("Lyceum alone says who a visitor is".to_owned(), true);
                }
                Ok((name, _)) if good.iter().any(|(other, _)| *other == name) => {
                    refuse("is there twice".to_owned(), true);
                }
                Ok(header) => good.push(header),
                Err(fault) => {
                    let is_key = !matches!(fault, lyceum_gateway::HeaderFault::Value);
                    refuse(fault.to_string(), is_key);
                }
            }
        }
        good
    }
}

/// Headers as the gateway sets them.
type Headers = Vec<SetHeader>;

/// A name and a value.
type SetHeader = (lyceum_gateway::HeaderName, lyceum_gateway::HeaderValue);
