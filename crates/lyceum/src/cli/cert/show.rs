//! How certificates are told on the terminal.

use std::fmt::Write as _;

use lyceum_certs::{
    CertificateStatus, Finding, Level, Outcome, State, TlsStatus, Trouble, Verdict,
};
use lyceum_core::{HumanDuration, Timestamp};

/// The width of the names in front of values.
const WIDTH: usize = 10;

/// How all certificates are.
pub(super) fn status(status: &TlsStatus, now: Timestamp) -> String {
    let mut text = String::new();
    for certificate in &status.certificates {
        one(&mut text, certificate, now);
        // Without a trouble of its own, it is told with the warning what to do.
        let warning = status
            .warnings
            .iter()
            .filter(|_| certificate.trouble.is_none())
            .find(|warning| warning.certificate.as_ref() == Some(&certificate.id))
            .filter(|warning| warning.level != Level::Notice);
        if let Some(warning) = warning {
            let _ = writeln!(text, "  {:<WIDTH$} {}", "to do", warning.hint);
        }
        text.push('\n');
    }
    if let Some(clock) = &status.clock {
        let way = if clock.behind_seconds < 0 {
            "ahead of"
        } else {
            "behind"
        };
        let _ = writeln!(
            text,
            "The clock of this machine is {} {way} that of the authority: set it right, see `timedatectl`.",
            HumanDuration::from_secs(clock.behind_seconds.unsigned_abs())
        );
    }
    text
}

fn one(text: &mut String, certificate: &CertificateStatus, now: Timestamp) {
    let _ = writeln!(text, "{}", certificate.id);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<WIDTH$} {value}");
    };
    let names: Vec<&str> = certificate
        .names
        .iter()
        .map(lyceum_certs::CertificateName::as_str)
        .collect();
    line("names", &names.join(", "));
    line("state", certificate.state.words());
    let source = match certificate.state {
        State::StandIn => format!("{} (nothing from there yet)", certificate.source),
        State::SelfSigned => certificate.source.clone(),
        _ => format!("{} (made by {})", certificate.source, certificate.issuer),
    };
    line("source", &source);
    line("ends", &moment(certificate.not_after, now));
    if let Some(renewal) = certificate.renewal {
        let (name, why) = match (&certificate.trouble, certificate.renewal_by_authority) {
            (Some(_), _) => ("next try", ""),
            (None, true) => ("renewal", ", when the authority wants it"),
            (None, false) => ("renewal", ""),
        };
        let when = if renewal <= now {
            "now".to_owned()
        } else {
            moment(renewal, now)
        };
        line(name, &format!("{when}{why}"));
    }
    if let Some(url) = &certificate.explanation_url {
        line("why", url);
    }
    if let Some(last) = certificate.last_attempt {
        let how = match certificate.failures {
            0 => "worked".to_owned(),
            1 => "failed".to_owned(),
            more => format!("failed, like {} before it", more - 1),
        };
        line("last try", &format!("{}, {how}", moment(last, now)));
    }
    if let Some(trouble) = &certificate.trouble {
        line("trouble", &trouble.what);
        for cause in &trouble.causes {
            line("", &format!("because: {cause}"));
        }
        line("to do", &trouble.hint);
    }
}

/// What became of renewals.
pub(super) fn outcomes(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        if let Some(done) = &outcome.done {
            let _ = writeln!(text, "{}: {done}", outcome.id);
        }
        if let Some(trouble) = &outcome.trouble {
            let _ = write!(text, "{}: failed: {}", outcome.id, told(trouble));
        }
    }
    text
}

/// What was found out beforehand.
pub(super) fn findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    if findings.is_empty() {
        text.push_str("nothing to check: no certificate comes from an authority\n");
    }
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Fine => "ok",
            Verdict::Warning => "look",
            Verdict::Problem => "WRONG",
        };
        let name = finding
            .name
            .as_ref()
            .map_or_else(String::new, |name| format!("{name}: "));
        let _ = writeln!(text, "{word:<6} {name}{}", finding.what);
        if let Some(hint) = &finding.hint {
            let _ = writeln!(text, "       to do: {hint}");
        }
    }
    text
}

fn told(trouble: &Trouble) -> String {
    let mut text = format!("{}\n", trouble.what);
    for cause in &trouble.causes {
        let _ = writeln!(text, "  because: {cause}");
    }
    let _ = writeln!(text, "  to do: {}", trouble.hint);
    text
}

/// A moment, and how far it is.
fn moment(at: Timestamp, now: Timestamp) -> String {
    let far = now.duration_until(at);
    let seconds = far.unsigned_abs().as_secs();
    let distance = match seconds {
        0..60 => format!("{seconds} s"),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    let day = at.strftime("%Y-%m-%d %H:%M UTC");
    if far.is_negative() {
        format!("{day}, {distance} ago")
    } else {
        format!("{day}, in {distance}")
    }
}

#[cfg(test)]
mod tests {
    use lyceum_certs::{TroubleKind, Warning};

    use super::*;

    #[test]
    fn a_certificate_is_told_with_its_times_and_troubles() {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let days = |days: i64| Timestamp::from_second(now.as_second() + days * 24 * 3600).unwrap();
        let good = CertificateStatus {
            id: "a.example.org".to_owned(),
            names: vec!["a.example.org".parse().unwrap()],
            source: "letsencrypt".to_owned(),
            state: State::Valid,
            issuer: "Let's Encrypt E7".to_owned(),
            serial: "01".to_owned(),
            key: "ECDSA".to_owned(),
            not_before: days(-1),
            not_after: days(89),
            renewal: Some(days(59)),
            renewal_by_authority: true,
            explanation_url: None,
            last_attempt: Some(days(-1)),
            failures: 0,
            trouble: None,
        };
        let bad = CertificateStatus {
            id: "b.example.org".to_owned(),
            state: State::StandIn,
            failures: 3,
            renewal: Some(days(0)),
            trouble: Some(
                Trouble::new(
                    TroubleKind::NotProven,
                    "the authority could not reach b.example.org at port 80",
                    "open port 80 in the firewall",
                )
                .because("Timeout during connect"),
            ),
            ..good.clone()
        };
        let expired = CertificateStatus {
            id: "file-c".to_owned(),
            source: "/etc/c.pem".to_owned(),
            state: State::NotValid,
            not_after: days(-2),
            renewal: None,
            last_attempt: None,
            ..good.clone()
        };
        let warning = Warning {
            certificate: Some("file-c".to_owned()),
            level: Level::Error,
            text: "it ended".to_owned(),
            hint: "put a new one into its files".to_owned(),
        };
        let text = status(
            &TlsStatus {
                certificates: vec![good, bad, expired],
                clock: None,
                warnings: vec![warning],
            },
            now,
        );
        assert_eq!(
            text,
            "a.example.org
  names      a.example.org
  state      valid
  source     letsencrypt (made by Let's Encrypt E7)
  ends       2027-02-23 12:00 UTC, in 89 days
  renewal    2027-01-24 12:00 UTC, in 59 days, when the authority wants it
  last try   2026-11-25 12:00 UTC, 24 h ago, worked

b.example.org
  names      a.example.org
  state      missing: one that is signed by itself stands in, of which browsers warn
  source     letsencrypt (nothing from there yet)
  ends       2027-02-23 12:00 UTC, in 89 days
  next try   now
  last try   2026-11-25 12:00 UTC, 24 h ago, failed, like 2 before it
  trouble    the authority could not reach b.example.org at port 80
             because: Timeout during connect
  to do      open port 80 in the firewall

file-c
  names      a.example.org
  state      not valid today
  source     /etc/c.pem (made by Let's Encrypt E7)
  ends       2026-11-24 12:00 UTC, 2 days ago
  to do      put a new one into its files

"
        );
    }
}
