//! The head of an upstream's answer on its way to the client.

use std::borrow::Cow;
use std::io::Write as _;

use http::StatusCode;

use crate::head::{AnswerHead, Facts, Length, is_hop_by_hop, is_named};
use crate::plan::{Plan, push};
use crate::rewrite::{self, Redirects};
use crate::site::SiteAction;

/// How the body of an answer is told to an HTTP/1 client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As the upstream has told it.
    AsItCame,
    /// In chunks.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// Gives the fields of an answer that go on to the client, to a function.
pub(crate) fn passed_on(
    plan: &Plan,
    head: &AnswerHead<'_>,
    facts: &Facts<'_>,
    mut field: impl FnMut(&str, Cow<'_, [u8]>),
) {
    let site = plan.entry.site.as_deref();
    let replaced = site
        .map(|site| site.response_headers.as_slice())
        .unwrap_or_default();
    for each in head.fields {
        let name = each.name;
        let skipped = is_hop_by_hop(name)
            || (name.len() == 14 && name.eq_ignore_ascii_case("content-length"))
            || (facts.names_others && is_named(head.fields, name))
            || (plan.says_hsts && name.eq_ignore_ascii_case("strict-transport-security"))
            || replaced
                .iter()
                .any(|(set, _)| set.as_str().eq_ignore_ascii_case(name));
        if !skipped {
            match rewritten(plan, head.status, name, each.value) {
                Some(value) => field(name, Cow::Owned(value.into_bytes())),
                None => field(name, Cow::Borrowed(each.value)),
            }
        }
    }
    for (name, value) in replaced {
        field(name.as_str(), Cow::Borrowed(value.as_bytes()));
    }
}

/// What a field becomes, so that it is right for the browser; `None` leaves it as it is.
fn rewritten(plan: &Plan, status: u16, name: &str, value: &[u8]) -> Option<String> {
    let public = plan.public.as_deref()?;
    if let Some(site) = plan.entry.site.as_deref() {
        let SiteAction::Forward(forwarding) = &site.action else {
            return None;
        };
        return forwarding
            .rewrite
            .then(|| rewrite::answer_field(name, value, &public.context(site, forwarding)))
            .flatten();
    }
    if !name.eq_ignore_ascii_case("location") {
        return None;
    }
    let redirects = Redirects {
        auto_rewrite: public.auto_rewrite,
        protocol_rewrite: public.protocol_rewrite.as_deref(),
        request_host: &public.host,
        target: &plan.entry.route.target,
    };
    rewrite::rewrite_redirect(value, StatusCode::from_u16(status).ok()?, &redirects)
}

/// Gives the length that an answer tells, which one to `HEAD` has although no body follows.
pub(crate) fn told_length<'b>(head: &AnswerHead<'b>) -> Option<&'b [u8]> {
    crate::head::find(head.fields, "content-length")
}

/// Writes the head for an HTTP/1 client.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    plan: &Plan,
    head: &AnswerHead<'_>,
    length: &Length,
    manner: Manner,
    connection: &[u8],
) {
    let Ok(facts) = Facts::of_answer(head) else {
        return;
    };
    write_status(out, head.status, head.reason);
    passed_on(plan, head, &facts, |name, value| push(out, name, &value));
    let has_body = !(head.status < 200 || head.status == 204);
    match (manner, length) {
        (Manner::Chunked, _) | (Manner::AsItCame, Length::Chunked(_)) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        (Manner::AsItCame, Length::Bytes(0)) if has_body => {
            // To `HEAD`, and with 304, it is the length of what is not sent.
            if let Some(told) = told_length(head) {
                push(out, "content-length", told);
            }
        }
        (Manner::AsItCame, Length::Bytes(bytes)) if has_body => {
            let _ = write!(out, "content-length: {bytes}\r\n");
        }
        _ => {}
    }
    if !connection.is_empty() {
        out.extend_from_slice(connection);
    }
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn write_status(out: &mut Vec<u8>, status: u16, reason: &str) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let _ = write!(out, "{status:03} ");
    if reason.is_empty() {
        let usual = StatusCode::from_u16(status).ok();
        let usual = usual.and_then(|status| status.canonical_reason());
        out.extend_from_slice(usual.unwrap_or_default().as_bytes());
    } else {
        out.extend_from_slice(reason.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
