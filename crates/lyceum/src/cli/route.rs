//! `lyceum route test URL`: which rule answers a request, who may come, and what an application would be sent.
//!
//! Found out from the configuration alone: nothing runs, nothing is asked.

mod access;
mod question;
mod sent;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lyceum_config::settings::Config;
use lyceum_core::declared::Declared;
use lyceum_core::service::ServiceSpec;
use lyceum_core::{Route, RouteSpec, Upstream};
use lyceum_gateway::{Arrival, RouteTable, Site, SiteAction, proper_origin, rewrite};

use self::question::Question;
use super::report::Report;
use super::{ConfigArgs, say};
use crate::cli;

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Says which rule answers a request, who may come, and what an application would be sent.
    ///
    /// Looks at the configuration only: groups and roles that were given by API or at a login are not known here.
    Test(TestArgs),
}

/// What `lyceum route test` can be told.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The address: `https://jupyter.example.org/r/auth?x=1`, or a path alone
    pub(crate) url: String,
    /// The method
    #[arg(long, default_value = "GET")]
    pub(crate) method: String,
    /// A header of the request, such as `Accept: text/html`
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Who is logged in
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// From which address the request comes
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
    pub(crate) from: IpAddr,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

pub(crate) fn run(command: &RouteCommand) -> ExitCode {
    let RouteCommand::Test(args) = command;
    match test(args) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(report) => report.print(),
    }
}

fn test(args: &TestArgs) -> Result<String, Report> {
    let config = cli::config::load(&args.config)?.config;
    let wrong = |error: &(dyn std::error::Error + 'static)| Report::new(error);
    let declared = config.declared().map_err(|error| wrong(&error))?;
    let sites = config.sites().map_err(|error| wrong(&error))?;
    let question = Question::read(args, &config)?;
    let test = Test {
        config: &config,
        declared: &declared,
        sites: &sites,
        question: &question,
    };
    Ok(test.told())
}

/// A request, and all that decides about it.
pub(super) struct Test<'a> {
    config: &'a Config,
    declared: &'a Declared,
    sites: &'a [Site],
    question: &'a Question,
}

/// A rule that covers the request.
struct Candidate {
    spec: RouteSpec,
    what: String,
}

impl Test<'_> {
    fn told(&self) -> String {
        let question = self.question;
        let mut text = format!("{} {}\n", question.method, question.url());
        if let Some(elsewhere) = self.sent_elsewhere() {
            let _ = writeln!(text, "\n{elsewhere}");
        }
        let table = self.table();
        let winner = table.find_spec(&question.host, question.path());
        let site = table.find_site(&question.host, question.path());
        text.push_str("\nrules that cover it, the longest wins\n");
        for candidate in self.candidates() {
            let wins = winner.as_ref() == Some(&candidate.spec);
            let mark = if wins || (winner.is_none() && candidate.what == HUB) {
                ">"
            } else {
                " "
            };
            let _ = writeln!(
                text,
                "{mark} {:<24} {}",
                candidate.spec.to_string(),
                candidate.what
            );
        }
        let Some(site) = site else {
            text.push_str(without_site(winner.is_some()));
            return text;
        };
        let prefix = site.spec.path_prefix();
        if let Some(slash) = rewrite::missing_slash(prefix, &question.target) {
            let _ = writeln!(text, "\nthe browser is sent to {slash} first");
            return text;
        }
        if let Some(message) = &site.maintenance {
            let _ = writeln!(text, "\nclosed for maintenance, status 503: {message}");
            return text;
        }
        let spec = self.spec_of(&site.name);
        text.push_str(&self.access(&site, spec));
        match &site.action {
            SiteAction::Files(folder) => {
                let path = rewrite::strip(prefix, question.path()).unwrap_or_default();
                let _ = writeln!(text, "\nshows the file {}{path}", folder.display());
            }
            SiteAction::Redirect { to, status } => {
                let target = rewrite::redirect_target(to, prefix, &question.target);
                let target = target.unwrap_or_default();
                let _ = writeln!(text, "\nsends the browser to {target} (status {status})");
            }
            SiteAction::Forward(forwarding) => {
                text.push_str(&self.sent(&site, forwarding));
                text.push_str(&self.answers(&site, forwarding));
            }
        }
        text
    }

    /// What happens before any rule is looked at.
    fn sent_elsewhere(&self) -> Option<String> {
        let question = self.question;
        let gateway = &self.config.gateway;
        if question.path().starts_with("/.well-known/acme-challenge/") {
            return None;
        }
        let arrival = Arrival {
            host: &question.host,
            scheme: question.scheme,
            has_own_host: self
                .sites
                .iter()
                .any(|site| site.spec.host() == Some(question.host_name())),
            https_port: gateway.https_port(),
        };
        let origin = proper_origin(gateway, arrival)?;
        let target = &question.target;
        Some(format!("the browser is sent to {origin}{target} first"))
    }

    /// The rules of the configuration, as the gateway has them.
    fn table(&self) -> RouteTable {
        let table = RouteTable::new();
        table.set_sites(self.sites.iter().cloned());
        for spec in self.services_with_routes() {
            table.put_in(route(spec.route(self.base())));
        }
        if let Some(server) = self.server() {
            table.put_in(route(server));
        }
        table
    }

    fn base(&self) -> &str {
        &self.config.hub.base_url
    }

    fn services_with_routes(&self) -> impl Iterator<Item = &ServiceSpec> {
        let services = self.declared.services.iter();
        services.filter(|spec| spec.visitors.is_none() && spec.url.is_some())
    }

    /// The route of the user whose server the path means, if it means one.
    fn server(&self) -> Option<RouteSpec> {
        let decoded = lyceum_core::escape::decode(self.question.path())?;
        let inner = decoded.strip_prefix(&format!("{}user/", self.base()))?;
        let user = inner.split('/').next().filter(|user| !user.is_empty())?;
        Some(RouteSpec::path(&format!("{}user/{user}/", self.base())))
    }

    /// All rules that cover the request, the one that wins first.
    fn candidates(&self) -> Vec<Candidate> {
        let decoded = lyceum_core::escape::decode(self.question.path()).unwrap_or_default();
        let covers = |spec: &RouteSpec| {
            let host = spec
                .host()
                .is_none_or(|host| host == self.question.host_name());
            let prefix = spec.path_prefix();
            host && (decoded.starts_with(prefix) || decoded == prefix.trim_end_matches('/'))
        };
        let of_sites = self.sites.iter().map(|site| Candidate {
            spec: site.spec.clone(),
            what: format!("the service `{}` {}", site.name, action(&site.action)),
        });
        let of_services = self.services_with_routes().map(|spec| Candidate {
            spec: spec.route(self.base()),
            what: format!("the service `{}`, which logs people in itself", spec.name),
        });
        let of_server = self.server().map(|spec| Candidate {
            spec,
            what: "the user's server, while it runs; else the hub".to_owned(),
        });
        let mut all: Vec<Candidate> = of_sites
            .chain(of_services)
            .chain(of_server)
            .filter(|candidate| covers(&candidate.spec))
            .collect();
        all.sort_by_key(|candidate| {
            let spec = &candidate.spec;
            std::cmp::Reverse((spec.host().is_some(), spec.path_prefix().len()))
        });
        all.push(Candidate {
            spec: RouteSpec::path("/"),
            what: HUB.to_owned(),
        });
        all
    }

    fn spec_of(&self, name: &str) -> Option<&ServiceSpec> {
        let mut services = self.declared.services.iter();
        services.find(|spec| spec.name.as_str() == name)
    }
}

const HUB: &str = "the hub";

/// What is to be said of a request that no site answers.
fn without_site(has_route: bool) -> &'static str {
    if has_route {
        "\nsent on as it is; the program there asks the hub who it is\n"
    } else {
        "\nthe hub answers\n"
    }
}

fn action(action: &SiteAction) -> String {
    match action {
        SiteAction::Forward(forwarding) => format!("at {}", forwarding.target),
        SiteAction::Files(folder) => format!("with files of {}", folder.display()),
        SiteAction::Redirect { to, .. } => format!("leads to {to}"),
    }
}

fn route(spec: RouteSpec) -> Route {
    Route {
        spec,
        // Nothing is sent there.
        target: Upstream::Unix("/".into()),
        target_path: String::new(),
        data: serde_json::Map::default(),
    }
}

#[cfg(test)]
mod tests;
