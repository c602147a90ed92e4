//! Settings that are well-formed each, but make no sense, or no sense together.

use lyceum_core::duration::HumanDuration;
use lyceum_gateway::ListenAddress;
use lyceum_store::StoreConfigError;

use crate::problem::{Problem, Report};
use crate::settings::{Config, RunAs, SpawnerConfig};
use crate::source::{Origin, Sources};
use crate::tree::{Node, Step, path_text};

/// Finds what makes no sense. `unusable` are the keys that are known to be wrong: nothing is said about them again.
pub(crate) fn check(
    config: &Config,
    tree: &Node,
    unusable: &[String],
    sources: &Sources,
    report: &mut Report,
) {
    let mut rules = Rules {
        config,
        tree,
        unusable,
        sources,
        report,
    };
    rules.urls();
    rules.folders();
    rules.addresses();
    rules.tls();
    rules.durations();
    rules.proxy();
    rules.login();
    rules.access();
    rules.patterns();
    rules.throttle();
    rules.pages();
    rules.spawner();
    rules.brokered();
    rules.servers();
    rules.limits();
    rules.profiles();
    rules.env();
    rules.shared();
    rules.courses();
    rules.kernels();
    rules.cull();
    rules.metrics();
    rules.store();
    rules.declared();
    rules.inline_secrets();
    rules.secret_files();
}

mod access;
mod brokered;
mod cull;
mod declared;
mod env;
mod internal_tls;
mod kernels;
mod limits;
mod login;
mod profiles;
mod proxy;
mod secrets;
mod servers;
mod shared;
mod tls;

pub(crate) use self::cull::is_culler;

struct Rules<'a> {
    config: &'a Config,
    tree: &'a Node,
    unusable: &'a [String],
    sources: &'a Sources,
    report: &'a mut Report,
}

impl Rules<'_> {
    /// Whether these keys are usable, so that a rule about them can be applied.
    fn usable(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| {
            !self.unusable.iter().any(|bad| {
                bad == key
                    || key.starts_with(&format!("{bad}."))
                    || bad.starts_with(&format!("{key}["))
            })
        })
    }

    fn node(&self, key: &str) -> Option<&Node> {
        let path: Vec<_> = key
            .split('.')
            .map(|key| Step::Key(key.to_owned()))
            .collect();
        self.tree.find(&path)
    }

    /// Adds a problem with pointers at the keys that are set; each key comes with what is to be said about it.
    fn add(&mut self, mut problem: Problem, keys: &[(&str, &str)]) {
        for (key, label) in keys {
            match self.node(key) {
                Some(node) => {
                    problem = match self.sources.origin(&node.at) {
                        // There is no text to point at.
                        Origin::Follows(from) => {
                            problem.note(format!("`{key}` follows from `{from}`"))
                        }
                        _ => problem.mark(&node.at, *label),
                    }
                }
                None => problem = problem.note(format!("`{key}` has its default value")),
            }
        }
        self.report.add(problem);
    }

    fn refuse(&mut self, key: &str, what: &str, label: &str, help: &str) {
        if self.usable(&[key]) {
            let problem = Problem::error(format!("`{key}` {what}")).help(help);
            self.add(problem, &[(key, label)]);
        }
    }

    fn urls(&mut self) {
        let hub = &self.config.hub;
        if let Some(reason) = base_url_fault(&hub.base_url) {
            let help = "for example `base_url = \"/jupyter/\"`";
            self.refuse("hub.base_url", "cannot be used", reason, help);
        }
        if let Some(reason) = hub.public_url.as_deref().and_then(public_url_fault) {
            let help = "for example `public_url = \"https://jupyter.example.org\"`";
            self.refuse("hub.public_url", "cannot be used", reason, help);
        }
        if hub
            .default_url
            .as_deref()
            .is_some_and(|url| !is_local_path(url))
        {
            self.refuse(
                "hub.default_url",
                "must be a path on this hub",
                "expected one slash, then the path",
                "for example `default_url = \"/hub/home\"`",
            );
        }
    }

    fn spawner(&mut self) {
        let checked = match &self.config.spawner {
            SpawnerConfig::Process(process) => {
                if process.run_as == RunAs::Lyceum {
                    self.public_process(process.allow_public);
                }
                process.check()
            }
            SpawnerConfig::Systemd(systemd) => systemd.check(),
        };
        let Err(error) = checked else { return };
        let key = format!("spawner.{}", error.key().unwrap_or("kind"));
        if self.usable(&[&key]) {
            let problem = Problem::error(error.to_string())
                .help(format!("`lyceum config explain {key}` tells more"));
            self.add(problem, &[(&key, "cannot work")]);
        }
    }

    /// The spawner `process` keeps nobody from what is Lyceum's own.
    fn public_process(&mut self, allowed: bool) {
        let public = self
            .config
            .gateway
            .addresses()
            .find(|address| address.is_public());
        let Some(public) = public.filter(|_| !allowed) else {
            return;
        };
        if self.usable(&["gateway.listen", "spawner.allow_public"]) {
            let problem = Problem::error(format!(
                "everybody who logs in could read and change all that Lyceum keeps: others can reach {public}, and \
                 the spawner `process` runs all servers under Lyceum's own account"
            ))
            .help("listen on `127.0.0.1`")
            .help("or run each server under its user's own account: `spawner.kind = \"systemd\"`")
            .help("if all who can log in trust each other, set `spawner.allow_public = true`");
            self.add(
                problem,
                &[
                    ("gateway.listen", "reachable from outside"),
                    ("spawner.kind", "separates nobody"),
                ],
            );
        }
    }

    fn folders(&mut self) {
        for (key, folder) in [
            ("root", self.config.root.as_deref()),
            ("hub.data_dir", Some(self.config.hub.data_dir.as_path())),
            (
                "hub.runtime_dir",
                Some(self.config.hub.runtime_dir.as_path()),
            ),
        ] {
            if folder.is_some_and(|folder| !folder.is_absolute()) {
                self.refuse(
                    key,
                    "must be a folder",
                    "expected a path",
                    "write the whole path, beginning with a slash",
                );
            }
        }
        let hub = &self.config.hub;
        if hub.data_dir == hub.runtime_dir && self.usable(&["hub.data_dir", "hub.runtime_dir"]) {
            let problem = Problem::error(
                "`hub.data_dir` and `hub.runtime_dir` are the same folder",
            )
            .help("the runtime folder may be emptied at boot, so it needs a place of its own");
            self.add(
                problem,
                &[
                    ("hub.data_dir", "kept"),
                    ("hub.runtime_dir", "may be emptied"),
                ],
            );
        }
    }

    fn addresses(&mut self) {
        self.internal_tls();
        let api = self.config.hub.api_listen;
        let api_address = ListenAddress::Tcp(api);
        let for_browsers = &self.config.gateway;
        if api.port() != 0
            && for_browsers
                .addresses()
                .any(|address| *address == api_address)
            && self.usable(&["hub.api_listen", "gateway.listen"])
        {
            let problem = Problem::error(format!(
                "`{api}` is the address for browsers and the one for users' servers"
            ))
            .help("give one of them another port");
            self.add(
                problem,
                &[
                    ("hub.api_listen", "for users' servers"),
                    ("gateway.listen", "for browsers"),
                ],
            );
        }
        for (key, message) in self.config.gateway.problems() {
            let help = format!("see `lyceum config explain gateway.{key}`");
            self.refuse(&format!("gateway.{key}"), "cannot be used", &message, &help);
        }
    }

    fn durations(&mut self) {
        let hub = &self.config.hub;
        let day = HumanDuration::from_secs(24 * 3600);
        for (key, value, most) in [
            ("hub.cookie_max_age", hub.cookie_max_age, None),
            (
                "hub.oauth_token_lifetime",
                hub.effective_oauth_token_lifetime(),
                None,
            ),
            ("hub.start_timeout", hub.start_timeout, Some(day)),
            ("hub.http_timeout", hub.http_timeout, Some(day)),
            ("hub.stop_timeout", hub.stop_timeout, Some(day)),
        ] {
            // What is not set takes its value from another key, about which enough is said.
            if value.is_zero() && self.node(key).is_some() {
                self.refuse(
                    key,
                    "cannot be zero",
                    "expected a time",
                    "for example `\"30s\"`",
                );
            }
            if most.is_some_and(|most| value > most) {
                self.refuse(
                    key,
                    "is too long",
                    "expected a day at most",
                    "without a limit, a server that hangs would hang for ever",
                );
            }
        }
    }

    fn access(&mut self) {
        let access = &self.config.access;
        for (key, label, set) in [
            (
                "access.allowed_users",
                "admitted here",
                &access.allowed_users,
            ),
            (
                "access.admin_users",
                "administrators here",
                &access.admin_users,
            ),
        ] {
            let both: Vec<_> = set
                .intersection(&access.blocked_users)
                .map(|name| format!("`{name}`"))
                .collect();
            if !both.is_empty() && self.usable(&[key, "access.blocked_users"]) {
                let problem = Problem::error(format!(
                    "{} stands in `{key}` and in `access.blocked_users`",
                    both.join(", ")
                ))
                .help("take the name out of one of the two");
                self.add(
                    problem,
                    &[(key, label), ("access.blocked_users", "kept out here")],
                );
            }
        }
        // With other errors about, an entry may only be missing because it could not be read.
        if !access.admits_somebody() && self.report.problems().is_empty() {
            let problem = Problem::warning("nobody can log in: `[access]` admits no one").help(
                "name yourself in `access.admin_users`, others in `access.allowed_users`, or set `access.allow_all = true`",
            );
            self.report.add(problem);
        }
    }

    fn pages(&mut self) {
        for (index, link) in self.config.pages.links.iter().enumerate() {
            if !is_link(&link.url) {
                let path = [
                    Step::Key("pages".to_owned()),
                    Step::Key("links".to_owned()),
                    Step::Index(index),
                    Step::Key("url".to_owned()),
                ];
                // Entries that were left out have shifted the numbers: then the first error is enough.
                if let (true, Some(node)) = (self.usable(&["pages.links"]), self.tree.find(&path)) {
                    let problem =
                        Problem::error(format!("`{}` cannot be a link", path_text(&path))).mark(
                            &node.at,
                            "expected `https://…`, `http://…`, `mailto:…` or a path",
                        );
                    self.report.add(problem);
                }
            }
        }
        if self.config.pages.languages.is_empty() {
            self.refuse(
                "pages.languages",
                "needs one language at least",
                "expected a language",
                "for example `languages = [\"en\"]`",
            );
        }
        if self.config.pages.title.trim().is_empty() {
            self.refuse(
                "pages.title",
                "cannot be empty",
                "expected a text",
                "leave it out for `Lyceum`",
            );
        }
        let templates = self.config.pages.templates.as_deref();
        match templates.map(std::fs::metadata) {
            Some(Err(error)) => {
                let label = error.to_string();
                let help = "check the path";
                self.refuse("pages.templates", "cannot be read", &label, help);
            }
            Some(Ok(metadata)) if !metadata.is_dir() => {
                let help = "name a folder with files such as `404.html`";
                self.refuse("pages.templates", "must be a folder", "no folder", help);
            }
            _ => {}
        }
        let logo = self.config.pages.logo.as_deref();
        if let Some(Err(error)) = logo.map(std::fs::metadata) {
            let label = error.to_string();
            self.refuse("pages.logo", "cannot be read", &label, "check the path");
        }
    }

    /// The store knows its own rules; its messages name the key.
    fn store(&mut self) {
        let Err(error) = self.config.store.settings(&self.config.hub.data_dir) else {
            return;
        };
        let message = error.to_string();
        let key = match error {
            StoreConfigError::NeedlessPassword => "store.password_file",
            _ => "store.database",
        };
        self.refuse(
            key,
            "cannot be used",
            &message,
            "see `lyceum config explain store.database`",
        );
    }
}

fn base_url_fault(url: &str) -> Option<&'static str> {
    if !url.starts_with('/') || !url.ends_with('/') {
        Some("must begin and end with a slash")
    } else if url.contains("//") {
        Some("has two slashes side by side")
    } else if url.split('/').any(|part| part == "." || part == "..") {
        Some("has a part of dots only")
    } else if !url
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/-._~".contains(c))
    {
        Some("may have letters, digits, `-`, `.`, `_` and `~` between the slashes")
    } else {
        None
    }
}

fn public_url_fault(url: &str) -> Option<&'static str> {
    let Some(host) = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
    else {
        return Some("must begin with `https://` or `http://`");
    };
    let name = host.strip_suffix('/').unwrap_or(host);
    if name.contains(['/', '?', '#']) {
        Some("must end with the host: the path is `hub.base_url`")
    } else if name.is_empty() || name.contains('@') || !name.chars().all(|c| c.is_ascii_graphic()) {
        Some("has no host that can be used")
    } else {
        None
    }
}

/// Whether it leads to a page of this host: one slash, not two, and nothing that browsers take for a slash.
fn is_local_path(url: &str) -> bool {
    url.starts_with('/')
        && !url.starts_with("//")
        && !url.contains('\\')
        && !url.chars().any(char::is_control)
}

fn is_link(url: &str) -> bool {
    let has = |start: &str| {
        url.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start))
            && url.len() > start.len()
    };
    !url.chars().any(|c| c.is_control() || c.is_whitespace())
        && (is_local_path(url) || has("https://") || has("http://") || has("mailto:"))
}
