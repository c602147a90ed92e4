//! One attempt at a new certificate.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lyceum_core::{Secret, Timestamp};

use super::{Managed, Manager, Shared};
use crate::acme::{AcmeClient, Issued, OrderRequest};
use crate::challenge::ChallengeKind;
use crate::config::Origin;
use crate::dns::Resolver;
use crate::inspect::Inspected;
use crate::preflight::{self, PreflightOptions, Verdict};
use crate::schedule::Window;
use crate::stored::{History, kept};
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
    /// and the one of before stays. May be dropped at any moment.
    ///
    /// Whoever has asked for it, and had to wait for another attempt at the same certificate, gets what became of that
    /// one: two orders would be one too many.
    pub(super) async fn attempt(&self, id: &str, why: Why) -> Result<(), Trouble> {
        let first = self.0.find(id);
        if let Some(trouble) = first.as_ref().and_then(|one| self.0.never_given(one)) {
            return Err(trouble);
        }
        let attempts = first.map(|one| one.attempts);
        let _working = self.0.working.lock().await;
        let Some(one) = self.0.find(id) else {
            return Ok(());
        };
        if why == Why::Asked && attempts != Some(one.attempts) {
            return one.history.trouble.map_or(Ok(()), Err);
        }
        let Some(client) = self
            .0
            .acme
            .clone()
            .filter(|_| one.wanted.origin == Origin::Acme)
        else {
            return Ok(());
        };
        match self.get(&client, &one, why).await {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.0.ask_window(&client, id).await;
                Ok(())
            }
            Err(trouble) => {
                let trouble = self.0.explain(&client, &one, trouble).await;
                let now = self.0.now();
                self.0.change(id, |one| {
                    one.history.failed(now, trouble.clone());
                    one.attempts = one.attempts.wrapping_add(1);
                });
                self.0.keep_history(id).await;
                let again = self.0.find(id).and_then(|one| self.0.due_at(&one, now));
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

    /// Gets a new certificate; `false` if it is found out that none is due.
    async fn get(&self, client: &AcmeClient, one: &Managed, why: Why) -> Result<bool, Trouble> {
        let shared = &self.0;
        // The first answer tells what time it is at the authority: with a wrong clock, all looks due.
        client.directory().await?;
        if why == Why::Due {
            shared.ask_window_if_time(client, &one.wanted.id).await;
            let now = shared.now();
            let due = shared
                .find(&one.wanted.id)
                .is_some_and(|one| shared.is_due(&one, now));
            if !due {
                return Ok(false);
            }
        }
        let id = &one.wanted.id;
        let made_for = one.history.made_for.as_ref();
        let of_this_authority =
            made_for.is_none_or(|made| made.authority == shared.config.acme.directory.url());
        let replaces = one
            .in_place
            .then(|| one.shown.chain.first().cloned())
            .flatten()
            // Authorities that do not do their part with this do it without.
            .filter(|_| of_this_authority && one.history.failures == 0);
        let request = OrderRequest {
            id: id.clone(),
            names: one.wanted.names.clone(),
            key_type: shared.config.key_type,
            profile: shared.config.acme.profile.clone(),
            replaces,
            challenges: shared.ways(one).into_iter().collect(),
        };
        let issued = client.order(&request, &shared.solvers()).await?;
        let checked = shared.check(&issued.chain_pem, &issued.key_pem, one);
        if let Err(trouble) = checked {
            // One that cannot be used will not become better; with the clock set right, it may.
            if trouble.kind != TroubleKind::Clock {
                forget(client, id).await;
            }
            return Err(trouble);
        }
        let taking = Arc::clone(shared);
        let name = id.clone();
        // All of it in one: whoever drops this in the middle finds the disk and what is shown to be the same.
        let taken = shared
            .writers
            .spawn_blocking(move || taking.take(&name, &issued));
        taken.await.map_err(|error| broke_off(&error))??;
        forget(client, id).await;
        Ok(true)
    }
}

impl Shared {
    /// Keeps a new certificate, and shows it. Its history is written before the order is forgotten: until then, the same
    /// certificate comes again. Reads and writes files: not for the runtime's threads.
    fn take(&self, id: &str, issued: &Issued) -> Result<(), Trouble> {
        let what = "what the authority has sent";
        let kept = kept(&issued.chain_pem, issued.key_pem.expose(), what)?;
        self.stored
            .save(id, issued.key_pem.expose(), &issued.chain_pem)?;
        let (until, issuer) = (kept.inspected.not_after, kept.inspected.issuer.clone());
        let now = self.now();
        self.change(id, |one| {
            let made_for = self.made_for(one, &kept.inspected.serial);
            super::show(&self.live, &one.wanted, &kept);
            one.shown = kept.inspected;
            one.in_place = true;
            one.history = History {
                made_for: Some(made_for),
                last_attempt: Some(now),
                ..History::default()
            };
            one.attempts = one.attempts.wrapping_add(1);
            one.told = None;
            tracing::info!(
                certificate = id,
                "a new certificate for {} is shown: from {issuer}, valid until {until}",
                super::status::listed(&one.wanted.names)
            );
        });
        self.write_history(id);
        Ok(())
    }

    pub(super) fn check(
        &self,
        chain_pem: &str,
        key_pem: &Secret<String>,
        one: &Managed,
    ) -> Result<(), Trouble> {
        let what = "what the authority has sent";
        let inspected = Inspected::of_pem(chain_pem.as_bytes(), what)?;
        inspected.certified(key_pem.expose())?;
        inspected.check(&one.wanted.names, self.now())
    }

    /// Asks the authority when it wants a certificate to be renewed, if it is time to ask.
    async fn ask_window_if_time(self: &Arc<Self>, client: &AcmeClient, id: &str) {
        let now = self.now();
        if self.find(id).is_some_and(|one| is_time_to_ask(&one, now)) {
            self.ask_window(client, id).await;
        }
    }

    async fn ask_window(self: &Arc<Self>, client: &AcmeClient, id: &str) {
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
        self.change(id, |now| {
            // There may be a new certificate meanwhile, for which the answer is not.
            if now.shown.serial == one.shown.serial {
                now.history.window = window;
                now.history.ask_window_at = Some(at);
            }
        });
        self.keep_history(id).await;
    }

    /// Asks for all certificates for which it is time.
    pub(super) async fn ask_windows(self: &Arc<Self>) {
        let Some(client) = self.acme.clone() else {
            return;
        };
        let now = self.now();
        let ids: Vec<String> = self
            .managed()
            .iter()
            .filter(|one| one.wanted.origin == Origin::Acme && is_time_to_ask(one, now))
            .map(|one| one.wanted.id.clone())
            .collect();
        for id in ids {
            self.ask_window(&client, &id).await;
        }
    }

    /// Writes down what has happened, away from the runtime's threads.
    pub(super) async fn keep_history(self: &Arc<Self>, id: &str) {
        let shared = Arc::clone(self);
        let name = id.to_owned();
        let written = self
            .writers
            .spawn_blocking(move || shared.write_history(&name));
        if let Err(error) = written.await {
            tracing::error!(error = %error, "writing down what has happened broke off");
        }
    }

    /// Writes down what has happened; a disk that is full is no reason to give up a certificate.
    fn write_history(&self, id: &str) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = self.find(id) else { return };
        if let Err(trouble) = self.stored.save_history(id, &one.history) {
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
        // A record is not tried: what the authority says of it tells more than another trial.
        let mut names = self.ways(one);
        for (_, kinds) in &mut names {
            kinds.retain(|kind| *kind != ChallengeKind::Dns01);
        }
        names.retain(|(_, kinds)| !kinds.is_empty());
        // One that does not give certificates for a name would not do so with better records either.
        if names.is_empty() || trouble.is_about_the_name() {
            return trouble;
        }
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
        let problems = findings
            .into_iter()
            .filter(|finding| finding.verdict == Verdict::Problem);
        for (number, finding) in problems.enumerate() {
            trouble = trouble.because(format!("seen from here: {}", finding.what));
            // The first one is the nearest to the root of it: the name, then the port, then who may.
            if let (0, Some(hint)) = (number, finding.hint) {
                trouble.hint = hint;
            }
        }
        trouble
    }
}

/// Forgets an order that is done with. If that fails, the next one finds that out.
async fn forget(client: &AcmeClient, id: &str) {
    if let Err(trouble) = client.finish(id).await {
        tracing::warn!(certificate = id, error = %trouble, "an order that is done could not be forgotten");
    }
}

/// Whether the authority is to be asked for the time of renewal.
fn is_time_to_ask(one: &Managed, now: Timestamp) -> bool {
    let soon = now.checked_add(2 * ASK_AGAIN.1).unwrap_or(Timestamp::MAX);
    // What lies further ahead was noted with a clock that was.
    one.in_place
        && one
            .history
            .ask_window_at
            .is_none_or(|at| at <= now || at > soon)
}

pub(super) fn broke_off(error: &tokio::task::JoinError) -> Trouble {
    Trouble::new(
        TroubleKind::Other,
        "a task that works on files has broken off",
        "this should not happen: please report it, with the log",
    )
    .because(error.to_string())
}
