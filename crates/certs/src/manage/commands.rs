//! What people can ask for: a renewal, a trial, a check beforehand, an end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt::{Why, broke_off};
use super::{Managed, Manager, client};
use crate::acme::OrderRequest;
use crate::config::Origin;
use crate::dns::Resolver;
use crate::inspect::Inspected;
use crate::name::CertificateName;
use crate::preflight::{self, Finding, PreflightOptions};
use crate::trouble::{Trouble, TroubleKind};

pub use crate::acme::RevocationReason;

/// What became of a wish for one certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name in commands.
    pub id: String,
    /// What was done, in words; nothing if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

impl Outcome {
    fn of(id: &str, result: Result<String, Trouble>) -> Self {
        let (done, trouble) = match result {
            Ok(done) => (Some(done), None),
            Err(trouble) => (None, Some(trouble)),
        };
        Self {
            id: id.to_owned(),
            done,
            trouble,
        }
    }
}

impl Manager {
    /// Renews certificates now: those that are named; without names, those that are due or have failed, or all if
    /// `all`. Takes as long as the authority does, minutes at most for each.
    pub async fn renew(&self, ids: &[String], all: bool) -> Result<Vec<Outcome>, Trouble> {
        let mut outcomes = Vec::new();
        for one in self.chosen(ids)? {
            let id = &one.wanted.id;
            let named = !ids.is_empty();
            let outcome = match &one.wanted.origin {
                Origin::Acme => {
                    let is_due = self.0.is_due(&one, self.0.now());
                    let why = named || all || is_due || self.0.trouble(&one).is_some();
                    if why {
                        let result = self.attempt(id, Why::Asked).await;
                        result.map(|()| match self.0.find(id) {
                            Some(one) => format!("renewed: valid until {}", one.shown.not_after),
                            None => "renewed".to_owned(),
                        })
                    } else {
                        Ok(format!(
                            "not due: valid until {}; name it, or say --all, to renew it all the same",
                            one.shown.not_after
                        ))
                    }
                }
                Origin::SelfSigned if named || all => {
                    self.make_own(id).await;
                    Ok("made anew, signed by itself".to_owned())
                }
                Origin::SelfSigned => Ok("not due: it is signed by itself".to_owned()),
                Origin::Files(chain, _) => {
                    self.0.wake.notify_one();
                    Ok(format!(
                        "not ours to renew: it is read from {} when that changes",
                        chain.display()
                    ))
                }
            };
            outcomes.push(Outcome::of(id, outcome));
        }
        Ok(outcomes)
    }

    /// Gets certificates from the authority's place for trials, and throws them away: all that a renewal needs is tried,
    /// and no limit of the real one is touched.
    pub async fn try_out(&self, ids: &[String]) -> Result<Vec<Outcome>, Trouble> {
        let configured = &self.0.config.acme.directory;
        let Some(authority) = configured.staging() else {
            return Err(Trouble::new(
                TroubleKind::Configuration,
                format!("no place for trials is known that belongs to {configured}"),
                "set `tls.acme.directory` to the URL of its place for trials, try, and set it back",
            ));
        };
        self.try_out_at(&authority, ids).await
    }

    /// Does the same at any authority.
    pub async fn try_out_at(
        &self,
        authority: &crate::Authority,
        ids: &[String],
    ) -> Result<Vec<Outcome>, Trouble> {
        let shared = Arc::clone(&self.0);
        let place = authority.clone();
        // It reads the authorities that this machine knows.
        let making = tokio::task::spawn_blocking(move || {
            client(&shared.config, &place, &shared.stored, &shared.clock)
        });
        let client = making.await.map_err(|error| broke_off(&error))??;
        let mut outcomes = Vec::new();
        for one in self.chosen(ids)? {
            if one.wanted.origin != Origin::Acme {
                continue;
            }
            if let Some(trouble) = self.0.never_given_by(authority, &one) {
                outcomes.push(Outcome::of(&one.wanted.id, Err(trouble)));
                continue;
            }
            let _working = self.0.working.lock().await;
            let id = format!("trial-{}", one.wanted.id);
            let request = OrderRequest {
                id: id.clone(),
                names: one.wanted.names.clone(),
                key_type: self.0.config.key_type,
                profile: self.0.config.acme.profile.clone(),
                replaces: None,
                challenges: self.0.ways(&one).into_iter().collect(),
            };
            let result = async {
                let issued = client.order(&request, &self.0.solvers()).await?;
                client.finish(&id).await?;
                let made =
                    Inspected::of_pem(issued.chain_pem.as_bytes(), "what the authority has sent")?;
                made.check(&one.wanted.names, self.0.now())?;
                Ok(format!(
                    "the trial worked: {} has made a certificate, which was thrown away",
                    made.issuer
                ))
            };
            outcomes.push(Outcome::of(&one.wanted.id, result.await));
        }
        if outcomes.is_empty() {
            return Err(Trouble::new(
                TroubleKind::Configuration,
                "no certificate comes from an authority",
                "name the server in `tls.domains`",
            ));
        }
        Ok(outcomes)
    }

    /// Checks from here what the authority will check: the DNS, the ports, who may give certificates (CAA).
    pub async fn check(&self, ids: &[String]) -> Result<Vec<Finding>, Trouble> {
        let mut names: Vec<_> = self
            .chosen(ids)?
            .iter()
            .filter(|one| one.wanted.origin == Origin::Acme)
            .flat_map(|one| self.0.ways(one))
            .collect();
        let mut findings = Vec::new();
        let acme = &self.0.config.acme;
        names.retain(|(name, _)| match acme.never_gives(&acme.directory, name) {
            None => true,
            Some(trouble) => {
                findings.push(Finding {
                    name: Some(name.clone()),
                    verdict: preflight::Verdict::Problem,
                    what: trouble.what,
                    hint: Some(trouble.hint),
                });
                false
            }
        });
        if names.is_empty() {
            return Ok(findings);
        }
        let mut caa = Vec::new();
        if let Some(client) = &self.0.acme {
            match client.directory().await {
                Ok(directory) => caa = directory.caa_identities,
                Err(trouble) => findings.push(Finding {
                    name: None,
                    verdict: preflight::Verdict::Problem,
                    what: trouble.to_string(),
                    hint: Some(trouble.hint),
                }),
            }
        }
        let resolver = Resolver::from_system()?;
        let options = PreflightOptions {
            names: &names,
            caa_identities: &caa,
            ports: self.0.ports,
            public_authority: self.0.asks_public_authority(),
            challenges: self.0.live.challenges(),
            resolver: &resolver,
            dns: self.0.dns.clone(),
        };
        // Answers for trial would be in the way of an order's.
        let _working = self.0.working.lock().await;
        findings.extend(preflight::check(&options).await);
        Ok(findings)
    }

    /// Has a certificate declared void, after a new one with a new key has taken its place. If none can be got, nothing
    /// is done, unless `anyway`.
    pub async fn revoke(
        &self,
        id: &str,
        reason: RevocationReason,
        anyway: bool,
    ) -> Result<Outcome, Trouble> {
        let Some(one) = self.chosen(std::slice::from_ref(&id.to_owned()))?.pop() else {
            return Err(Trouble::new(
                TroubleKind::Configuration,
                "no certificate was named",
                "`lyceum cert status` lists them",
            ));
        };
        let id = one.wanted.id.as_str();
        let configured = self.0.config.acme.directory.url();
        let made_for = one.history.made_for.as_ref();
        let theirs = one.in_place && made_for.is_none_or(|made| made.authority == configured);
        let (Some(client), Some(leaf), true, Origin::Acme) = (
            self.0.acme.clone(),
            one.shown.chain.first().cloned(),
            theirs,
            &one.wanted.origin,
        ) else {
            return Err(Trouble::new(
                TroubleKind::Configuration,
                format!("{id} has no certificate that came from the configured authority"),
                "`lyceum cert status` lists them",
            ));
        };
        let renewed = self.attempt(id, Why::Asked).await;
        if let (Err(trouble), false) = (&renewed, anyway) {
            let mut trouble = trouble.clone();
            trouble.what = format!(
                "nothing was revoked, as no new certificate could be got: {}",
                trouble.what
            );
            return Err(trouble);
        }
        let shown = self
            .0
            .find(id)
            .and_then(|one| one.shown.chain.first().cloned());
        if renewed.is_ok() && shown.as_ref() == Some(&leaf) && !anyway {
            return Err(Trouble::new(
                TroubleKind::Other,
                "nothing was revoked, as the authority has given the same certificate again",
                "try once more",
            ));
        }
        client.revoke(&leaf, reason).await?;
        if renewed.is_err() {
            // What is shown is void: another one is wanted soon, and people are told.
            let trouble = Trouble::new(
                TroubleKind::BadCertificate,
                "the certificate that is shown was revoked, and there is no new one yet",
                "`lyceum cert renew` tries again",
            );
            let now = self.0.now();
            self.0.change(id, |one| {
                one.history.made_for = None;
                one.history.failed(now, trouble);
                one.in_place = false;
            });
            // Or the next start would take it for a good one.
            let (stored, name) = (self.0.stored.clone(), id.to_owned());
            let writing = self.0.writers.spawn_blocking(move || stored.forget(&name));
            if let Ok(Err(trouble)) = writing.await {
                tracing::warn!(certificate = id, error = %trouble, "a void certificate is kept; {}", trouble.hint);
            }
            self.0.keep_history(id).await;
        }
        tracing::info!(
            certificate = id,
            serial = one.shown.serial,
            "a certificate was revoked"
        );
        let done = match renewed {
            Ok(()) => "declared void; a new certificate is shown",
            Err(_) => {
                "declared void; no new certificate could be got, and the void one is shown still"
            }
        };
        Ok(Outcome::of(id, Ok(done.to_owned())))
    }

    /// Gives the account at the authority a new key.
    pub async fn roll_account_key(&self) -> Result<(), Trouble> {
        let Some(client) = self.0.acme.clone() else {
            return Err(Trouble::new(
                TroubleKind::Configuration,
                "there is no account: no certificate comes from an authority",
                "name the server in `tls.domains`",
            ));
        };
        let _working = self.0.working.lock().await;
        client.roll_account_key().await?;
        tracing::info!("the account for certificates has a new key");
        Ok(())
    }

    /// The certificates of these names; all without any.
    fn chosen(&self, ids: &[String]) -> Result<Vec<Managed>, Trouble> {
        let managed = self.0.managed().clone();
        if ids.is_empty() {
            return Ok(managed);
        }
        let mut chosen: Vec<Managed> = Vec::new();
        for one in ids.iter().map(|id| {
            let by_id = managed.iter().find(|one| one.wanted.id == *id);
            // As in the configuration: capitals and a dot at the end make no other name.
            let name = id.parse::<CertificateName>().ok();
            let by_name = || {
                let is_it = |own: &CertificateName| Some(own) == name.as_ref();
                managed
                    .iter()
                    .find(|one| one.wanted.names.iter().any(is_it))
            };
            by_id.or_else(by_name).cloned().ok_or_else(|| {
                let known: Vec<&str> = managed.iter().map(|one| one.wanted.id.as_str()).collect();
                Trouble::new(
                    TroubleKind::Configuration,
                    format!("there is no certificate `{id}`"),
                    format!("there are: {}", known.join(", ")),
                )
            })
        }) {
            let one = one?;
            if !chosen.iter().any(|other| other.wanted.id == one.wanted.id) {
                chosen.push(one);
            }
        }
        Ok(chosen)
    }
}
