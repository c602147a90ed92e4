//! Rules about HTTPS.

use lyceum_certs::{ChallengeChoice, Origin};

use super::Rules;
use crate::problem::Problem;

impl Rules<'_> {
    pub(super) fn tls(&mut self) {
        let config = self.config;
        let tls = &config.tls;
        for (key, message) in tls.problems() {
            let help = format!("see `lyceum config explain tls.{key}`");
            let key = format!("tls.{key}");
            if self.usable(&[&key]) {
                let problem =
                    Problem::error(format!("`{key}` cannot be used: {message}")).help(help);
                self.add(problem, &[(&key, "set here")]);
            }
        }
        for doubt in tls.doubts() {
            let key = format!("tls.{}", doubt.key);
            if self.usable(&[&key]) {
                let problem = Problem::warning(doubt.what).help(doubt.hint);
                self.add(problem, &[(&key, "set here")]);
            }
        }
        let listens = !config.gateway.listen_tls.is_empty();
        if listens && !tls.is_on() && self.usable(&["tls", "gateway.listen_tls"]) {
            let problem = Problem::error("there is no certificate for `gateway.listen_tls`")
                .help("name this server in `tls.domains`, or set `[[tls.certificates]]`");
            self.add(problem, &[("gateway.listen_tls", "needs a certificate")]);
        }
        if !listens && tls.is_on() && self.usable(&["tls", "gateway.listen_tls"]) {
            let problem = Problem::error("`[tls]` has names or certificates, but nothing listens")
                .help("for example `listen_tls = [\"[::]:443\"]` in `[gateway]`");
            self.add(problem, &[("gateway.listen_tls", "empty")]);
        }
        if config.gateway.listen.is_empty()
            && tls.acme.challenge == ChallengeChoice::Http01
            && self.usable(&["gateway.listen", "tls.acme.challenge"])
        {
            let problem = Problem::error("`http-01` needs a listener at port 80")
                .help("for example `listen = [\"[::]:80\"]` in `[gateway]`");
            self.add(
                problem,
                &[
                    ("tls.acme.challenge", "asks at port 80"),
                    ("gateway.listen", "empty"),
                ],
            );
        }
        if tls.client_ca_file.is_none()
            && let Some(service) = config.services.iter().find(|one| one.client_certificate)
            && self.usable(&["services", "tls"])
        {
            let problem = Problem::error(format!(
                "the service `{}` wants certificates of visitors, but none are asked for",
                service.name
            ))
            .help("name the authorities that make them: `client_ca_file` in `[tls]`");
            self.add(
                problem,
                &[
                    ("services", "wants certificates"),
                    ("tls.client_ca_file", "not set"),
                ],
            );
        }
        self.certificate_files();
    }

    /// Files that are not there may come later: that is no reason not to start.
    fn certificate_files(&mut self) {
        if !self.usable(&["tls.certificates"]) {
            return;
        }
        let mut missing = Vec::new();
        for wanted in self.config.tls.wanted() {
            if let Origin::Files(chain, key) = wanted.origin {
                for path in [chain, key] {
                    if let Err(error) = std::fs::metadata(&path) {
                        missing.push(format!("{}: {error}", path.display()));
                    }
                }
            }
        }
        if !missing.is_empty() {
            let problem = Problem::warning(format!(
                "files of certificates cannot be read: {}",
                missing.join("; ")
            ))
            .help("until they can, a certificate that is signed by itself stands in, of which browsers warn");
            self.add(problem, &[("tls.certificates", "named here")]);
        }
        for (key, path) in [
            ("tls.client_ca_file", self.config.tls.client_ca_file.clone()),
            ("tls.acme.ca_file", self.config.tls.acme.ca_file.clone()),
            (
                "tls.challenge_folder",
                self.config.tls.challenge_folder.clone(),
            ),
        ] {
            if let Some(Err(error)) = path.map(std::fs::metadata) {
                self.refuse(key, "cannot be read", &error.to_string(), "check the path");
            }
        }
    }
}
