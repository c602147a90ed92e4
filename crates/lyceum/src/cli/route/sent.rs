//! What an application would be sent, and how its answers would come back.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::{HOST, HeaderName, HeaderValue};
use lyceum_gateway::{Forwarding, Site, rewrite};

use super::Test;

impl Test<'_> {
    fn context<'c>(&'c self, site: &'c Site, forwarding: &'c Forwarding) -> rewrite::Context<'c> {
        rewrite::Context {
            prefix: site.spec.path_prefix(),
            stripped: forwarding.strip_prefix,
            scheme: self.question.scheme,
            host: &self.question.host,
            upstream: &forwarding.target,
        }
    }

    /// The head of the request to the application.
    pub(super) fn sent(&self, site: &Site, forwarding: &Forwarding) -> String {
        let question = self.question;
        let target = if forwarding.strip_prefix {
            rewrite::strip(site.spec.path_prefix(), &question.target).unwrap_or_default()
        } else {
            question.target.as_str().into()
        };
        let mut headers = question.headers.clone();
        rewrite::apply_admission(&mut headers, &self.admitted(site), &[]);
        set(&mut headers, HOST, &question.host);
        let from = question.from.to_string();
        set(
            &mut headers,
            HeaderName::from_static("x-forwarded-for"),
            &from,
        );
        let request = rewrite::Request {
            path_and_query: &question.target,
            kind: forwarding.kind,
        };
        rewrite::site_headers(&mut headers, request, &self.context(site, forwarding));
        for (name, value) in &site.request_headers {
            headers.insert(name.clone(), value.clone());
        }
        let mut text = format!(
            "\nsent to {}\n  {} {target} HTTP/1.1\n",
            forwarding.target, question.method
        );
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        lines.sort();
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
        if let Some(most) = site.limits.max_body {
            let most = lyceum_core::HumanSize::from_bytes(most);
            let _ = writeln!(text, "  with a body of up to {most}");
        }
        text
    }

    /// What the application is told of who asks.
    fn admitted(&self, site: &Site) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(user) = self.question.user.as_ref().filter(|_| site.access.gated) else {
            return headers;
        };
        for name in ["x-forwarded-user", "remote-user"] {
            set(&mut headers, HeaderName::from_static(name), user.as_str());
        }
        let groups: Vec<String> = self
            .groups_of(user)
            .iter()
            .map(ToString::to_string)
            .collect();
        let groups = groups.join(",");
        if !groups.is_empty() {
            set(
                &mut headers,
                HeaderName::from_static("x-forwarded-groups"),
                &groups,
            );
        }
        headers
    }

    /// Answers that applications often give, as browsers would get them.
    pub(super) fn answers(&self, site: &Site, forwarding: &Forwarding) -> String {
        let mut text = "\nanswers, as the browser gets them\n".to_owned();
        if !forwarding.rewrite {
            text.push_str("  as they are (`rewrite` is off)\n");
        }
        let context = self.context(site, forwarding);
        let own = match &forwarding.target {
            lyceum_core::Upstream::Unix(_) | lyceum_core::Upstream::Owned { .. } => {
                "http://localhost".to_owned()
            }
            target => target.to_string(),
        };
        for (name, value) in [
            ("Location", "/next".to_owned()),
            ("Location", format!("{own}/next")),
            ("Location", "next".to_owned()),
            ("Set-Cookie", "a=b; Path=/".to_owned()),
        ] {
            if !forwarding.rewrite {
                break;
            }
            let got = rewrite::answer_field(name, value.as_bytes(), &context);
            let got = got.unwrap_or_else(|| value.clone());
            let _ = writeln!(text, "  {:<48} -> {got}", format!("{name}: {value}"));
        }
        for (name, value) in &site.response_headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let _ = writeln!(text, "  {name}: {value}");
        }
        text
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
