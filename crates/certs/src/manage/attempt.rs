//! One attempt at a new certificate.

use std::time::Duration;

use lyceum_core::Timestamp;

use super::{Managed, Manager, Resolver, Shared};
use crate::acme::{AcmeClient, OrderRequest};
use crate::config::Origin;
use crate::inspect::Inspected;
use crate::preflight::{self, PreflightOptions, Verdict};
use crate::schedule::Window;
use crate::stored::Kept;
use crate::trouble::{Trouble, TroubleKind};

/// How soon and how late an authority may want to be asked again for the time of renewal (RFC 9773 §4.3.3).
const ASK_AGAIN: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));
/// When it is asked again after it did not answer.
const ASK_AFTER_FAILURE: Duration = Duration::from_hours(1);
/// How long the check of what went wrong may take.
const CHECK_LIMIT: Duration = Duration::from_mins(1);

/// Why there is an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its time has come.
    Due,
    /// Somebody wants it.
    Asked,
}

impl Manager {
    /// Gets a new certificate, checks it, keeps it, and shows it. Whatever fails is kept as the certificate's trouble,
    /// and the one of before stays.
    pub(super) async fn attempt(&self, id: &str, why: Why) -> Result<(), Trouble> {
        let _working = self.0.working.lock().await;
        let Some(one) = self.0.find(id) else {
            return Ok(());
        };
        let Some(client) = self
            .0
            .acme
            .clone()
            .filter(|_| one.wanted.origin == Origin::Acme)
        else {
            return Ok(());
        };
        let result = self.0.get(&client, &one, why).await;
        match result {
            Ok(None) => Ok(()),
            Ok(Some(kept)) => {
                let now = self.0.clock.now();
                let (until, issuer) = (kept.inspected.not_after, kept.inspected.issuer.clone());
                self.0.show(id, kept, true);
                self.0.change(id, |one| {
                    one.history.authority = Some(self.0.config.acme.directory.url().to_owned());
                    one.history.profile.clone_from(&self.0.config.acme.profile);
                    one.history.window = None;
                    one.history.ask_window_at = None;
                    one.history.last_attempt = Some(now);
                    one.history.failures = 0;
                    one.history.trouble = None;
                    one.told = None;
                });
                self.0.keep_history(id).await;
                tracing::info!(
                    certificate = id,
                    "a new certificate for {} is shown: from {issuer}, valid until {until}",
                    super::status::listed(&one.wanted.names)
                );
                self.0.ask_window(&client, id).await;
                Ok(())
            }
            Err(trouble) => {
                let trouble = self.0.explain(&client, &one, trouble).await;
                let now = self.0.now();
                self.0.change(id, |one| {
                    one.history.last_attempt = Some(now);
                    one.history.failures = one.history.failures.saturating_add(1);
                    one.history.trouble = Some(trouble.clone());
                });
                self.0.keep_history(id).await;
                let again = self.0.find(id).and_then(|one| self.0.due_at(&one));
                tracing::warn!(
                    certificate = id,
                    error = %trouble,
                    "no new certificate for {}; {}; tried again on {}",
                    super::status::listed(&one.wanted.names),
                    trouble.hint,
                    again.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
                );
                Err(trouble)
            }
        }
    }
}

impl Shared {
    /// Gets a new certificate; `None` if it is found out that none is due.
    async fn get(
        &self,
        client: &AcmeClient,
        one: &Managed,
        why: Why,
    ) -> Result<Option<Kept>, Trouble> {
        // The first answer tells what time it is at the authority: with a wrong clock, all looks due.
        client.directory().await?;
        if why == Why::Due {
            self.ask_window_if_time(client, &one.wanted.id).await;
            let now = self.now();
            let due = self
                .find(&one.wanted.id)
                .is_some_and(|one| self.is_due(&one, now));
            if !due {
                return Ok(None);
            }
        }
        let id = &one.wanted.id;
        let replaces = one
            .in_place
            .then(|| one.shown.chain.first().cloned())
            .flatten()
            // Authorities that do not do their part with this do it without.
            .filter(|_| one.history.failures == 0)
            .filter(|_| one.history.authority.as_deref() == Some(self.config.acme.directory.url()));
        let request = OrderRequest {
            id: id.clone(),
            names: one.wanted.names.clone(),
            key_type: self.config.key_type,
            profile: self.config.acme.profile.clone(),
            replaces,
            challenges: self.ways(one).into_iter().collect(),
        };
        let issued = client.order(&request, &self.solvers()).await?;
        let checked = self.check(&issued.chain_pem, &issued.key_pem, one);
        match checked {
            Ok(()) => {}
            Err(trouble) => {
                // One that cannot be used will not become better; with the clock set right, it may.
                if trouble.kind != TroubleKind::Clock {
                    client.finish(id).await?;
                }
                return Err(trouble);
            }
        }
        let stored = self.stored.clone();
        let name = id.clone();
        let kept = tokio::task::spawn_blocking(move || {
            stored.save(&name, issued.key_pem.expose(), &issued.chain_pem)?;
            stored.load(&name)
        });
        let kept = kept.await.map_err(|error| broke_off(&error))??;
        client.finish(id).await?;
        Ok(kept)
    }

    fn check(
        &self,
        chain_pem: &str,
        key_pem: &lyceum_core::Secret<String>,
        one: &Managed,
    ) -> Result<(), Trouble> {
        let what = "what the authority has sent";
        let inspected = Inspected::of_pem(chain_pem.as_bytes(), what)?;
        inspected.certified(key_pem.expose())?;
        inspected.check(&one.wanted.names, self.now())
    }

    /// Asks the authority when it wants a certificate to be renewed, if it is time to ask.
    async fn ask_window_if_time(&self, client: &AcmeClient, id: &str) {
        let now = self.now();
        let is_time = self.find(id).is_some_and(|one| {
            one.in_place && one.history.ask_window_at.is_none_or(|at| at <= now)
        });
        if is_time {
            self.ask_window(client, id).await;
        }
    }

    async fn ask_window(&self, client: &AcmeClient, id: &str) {
        let Some(one) = self.find(id) else { return };
        let Some(leaf) = one.shown.chain.first().filter(|_| one.in_place) else {
            return;
        };
        let (window, pause) = match client.renewal_info(leaf).await {
            Ok(Some(advice)) => {
                let window = Window {
                    start: advice.start,
                    end: advice.end,
                    explanation_url: advice.explanation_url,
                };
                let pause = advice.ask_again.clamp(ASK_AGAIN.0, ASK_AGAIN.1);
                (Some(window), pause)
            }
            Ok(None) => (None, ASK_AGAIN.1),
            Err(trouble) => {
                tracing::debug!(certificate = id, error = %trouble, "the authority did not say when to renew");
                (one.history.window.clone(), ASK_AFTER_FAILURE)
            }
        };
        if window != one.history.window
            && let Some(window) = &window
        {
            tracing::info!(
                certificate = id,
                "the authority wants a renewal between {} and {}",
                window.start,
                window.end
            );
        }
        let at = self.now().checked_add(pause).unwrap_or(Timestamp::MAX);
        self.change(id, |one| {
            one.history.window = window;
            one.history.ask_window_at = Some(at);
        });
        self.keep_history(id).await;
    }

    /// Asks for all certificates for which it is time.
    pub(super) async fn ask_windows(&self) {
        let Some(client) = self.acme.clone() else {
            return;
        };
        let now = self.now();
        let ids: Vec<String> = self
            .managed()
            .iter()
            .filter(|one| {
                one.wanted.origin == Origin::Acme
                    && one.in_place
                    && one.history.ask_window_at.is_none_or(|at| at <= now)
            })
            .map(|one| one.wanted.id.clone())
            .collect();
        for id in ids {
            self.ask_window(&client, &id).await;
        }
    }

    /// Writes down what has happened; a disk that is full is no reason to give up a certificate.
    pub(super) async fn keep_history(&self, id: &str) {
        let Some(one) = self.find(id) else { return };
        let stored = self.stored.clone();
        let name = id.to_owned();
        let written = tokio::task::spawn_blocking(move || stored.save_history(&name, &one.history));
        if let Ok(Err(trouble)) = written.await {
            tracing::warn!(certificate = id, error = %trouble, "could not keep what has happened; {}", trouble.hint);
        }
    }

    /// Adds what is seen from here to what the authority has said.
    async fn explain(&self, client: &AcmeClient, one: &Managed, mut trouble: Trouble) -> Trouble {
        if !matches!(trouble.kind, TroubleKind::NotProven | TroubleKind::Refused) {
            return trouble;
        }
        let Ok(resolver) = Resolver::from_system() else {
            return trouble;
        };
        let caa = match client.directory().await {
            Ok(directory) => directory.caa_identities,
            Err(_) => Vec::new(),
        };
        let names = self.ways(one);
        let options = PreflightOptions {
            names: &names,
            caa_identities: &caa,
            ports: self.ports,
            public_authority: self.asks_public_authority(),
            challenges: self.live.challenges(),
            resolver: &resolver,
            dns: None,
        };
        let Ok(findings) = tokio::time::timeout(CHECK_LIMIT, preflight::check(&options)).await
        else {
            return trouble;
        };
        for finding in findings {
            if finding.verdict == Verdict::Problem {
                trouble
                    .causes
                    .push(format!("seen from here: {}", finding.what));
                if let Some(hint) = finding.hint {
                    trouble.hint = hint;
                }
            }
        }
        trouble
    }
}

pub(super) fn broke_off(error: &tokio::task::JoinError) -> Trouble {
    Trouble::new(
        TroubleKind::Other,
        "a task that works on files has broken off",
        "this should not happen: please report it, with the log",
    )
    .because(error.to_string())
}
