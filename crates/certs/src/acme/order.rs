//! How a certificate is got: order, proofs, request, download, each step from wherever an earlier attempt has stopped.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, ChallengeStatus, Error, Identifier, NewOrder, Order, OrderStatus,
};
use lyceum_core::Secret;

use super::account::Opened;
use super::patience::Patience;
use super::pending::{self, Pending};
use super::problem::{self, Proving, Said};
use super::proofs::{Proofs, Task, forget_failures, kind_of, library_kind, name_of, note_failure};
use super::{Inner, Issued, OrderRequest, aside, directory, renewal};
use crate::challenge::{ChallengeKind, Solver};
use crate::keys;
use crate::name::CertificateName;
use crate::pem;
use crate::trouble::{Trouble, TroubleKind};

/// How long the authority may take for looking at the proofs, and again for issuing.
const LIMIT: Duration = Duration::from_mins(5);
/// How long an order may stay as it is after the authority has refused to look at a proof.
const REFUSED_LIMIT: Duration = Duration::from_secs(5);

/// What an authority may say when it does not like which certificate is replaced (RFC 9773 §5), or has lost what it knew of
/// that one: Pebble calls that a fault of its own.
const NOT_REPLACED: [&str; 6] = [
    "alreadyReplaced",
    "conflict",
    "malformed",
    "notFound",
    "serverInternal",
    "unauthorized",
];
/// What it may say when the account is gone. Some say it only by way of something else.
const MAYBE_NO_ACCOUNT: [&str; 3] = ["accountDoesNotExist", "unauthorized", "malformed"];
/// What it says when the same request may be taken later.
const PASSING: [&str; 4] = ["rateLimited", "serverInternal", "badNonce", "orderNotReady"];

/// Why it stopped.
enum Stop {
    /// For a reason that is in words already.
    Trouble(Trouble),
    /// For one that is still looked at.
    Acme(Error),
    /// Because the order of an earlier attempt has turned out to be of no use.
    Anew,
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Acme(error)
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Trouble(trouble) => trouble,
            Stop::Acme(error) => problem::trouble(&error),
            Stop::Anew => dropped(),
        }
    }
}

/// Gets a certificate. An account that the authority has lost is replaced, once.
pub(super) async fn get(
    inner: &Inner,
    request: &OrderRequest,
    solvers: &[Arc<dyn Solver>],
) -> Result<Issued, Trouble> {
    let opened = inner.accounts.open().await?;
    let work = Work {
        inner,
        opened: &opened,
        request,
        solvers,
        resumed: false,
    };
    match work.run().await {
        Err(Stop::Acme(error)) if problem::is(&error, &MAYBE_NO_ACCOUNT) => {
            let id = opened.account.id();
            if !inner.accounts.replace_if_gone(id).await? {
                return Err(problem::trouble(&error));
            }
            let opened = inner.accounts.open().await?;
            let work = Work {
                opened: &opened,
                ..work
            };
            Ok(work.run().await?)
        }
        outcome => Ok(outcome?),
    }
}

#[derive(Clone, Copy)]
struct Work<'a> {
    inner: &'a Inner,
    opened: &'a Opened,
    request: &'a OrderRequest,
    solvers: &'a [Arc<dyn Solver>],
    /// Whether the order is that of an earlier attempt.
    resumed: bool,
}

impl Work<'_> {
    async fn run(self) -> Result<Issued, Stop> {
        if let Some((order, pending)) = self.resume().await? {
            let resumed = Self {
                resumed: true,
                ..self
            };
            match resumed.go_on(order, pending).await {
                Err(Stop::Anew) => {}
                outcome => return outcome,
            }
        }
        let (order, pending) = self.begin().await?;
        self.go_on(order, pending).await
    }

    /// Finds the order of an earlier attempt, if there is one that can be gone on with.
    async fn resume(&self) -> Result<Option<(Order, Pending)>, Stop> {
        let Some(pending) = pending::find(&self.inner.orders, &self.request.id).await? else {
            return Ok(None);
        };
        let account = &self.opened.account;
        if pending.is_for(self.request, account.id(), self.inner.clock.now()) {
            match again!(account.order(pending.url.clone())) {
                Ok(mut order) => {
                    if order.state().status != OrderStatus::Invalid {
                        tracing::debug!("goes on with the order for {}", self.request.id);
                        return Ok(Some((order, pending)));
                    }
                }
                Err(error) if problem::is(&error, &["accountDoesNotExist"]) => {
                    return Err(error.into());
                }
                Err(error) if problem::is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.forget().await?;
        Ok(None)
    }

    /// Makes an order, and keeps it with a new key.
    async fn begin(&self) -> Result<(Order, Pending), Stop> {
        let request = self.request;
        let account = &self.opened.account;
        self.check_profile()?;
        let key_type = request.key_type;
        // Made before the order, so that nothing stands between the authority's answer and the disk.
        let key = aside(move || Ok(keys::new_key(key_type)?.serialize_pem())).await?;
        let identifiers: Vec<_> = request.names.iter().map(identifier).collect();
        let plain = || {
            let new = NewOrder::new(&identifiers);
            match request.profile.as_deref() {
                Some(profile) => new.profile(profile),
                None => new,
            }
        };
        let replaced = request.replaces.as_ref().and_then(renewal::identifier);
        let order = match replaced {
            None => again!(account.new_order(&plain()))?,
            Some(replaced) => {
                match again!(account.new_order(&plain().replaces(replaced.clone()))) {
                    Ok(order) => order,
                    Err(Error::Unsupported(_)) => again!(account.new_order(&plain()))?,
                    Err(error) if problem::is(&error, &NOT_REPLACED) => {
                        tracing::debug!(
                            "the authority does not take the order for {} as a replacement: {}",
                            request.id,
                            problem::trouble(&error)
                        );
                        again!(account.new_order(&plain()))?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let pending = Pending {
            url: order.url().to_owned(),
            account: account.id().to_owned(),
            names: request.names.clone(),
            key_type,
            profile: request.profile.clone(),
            key,
            made_at: self.inner.clock.now(),
        };
        pending::keep(&self.inner.orders, &request.id, &pending).await?;
        Ok((order, pending))
    }

    /// Does what is left of an order.
    async fn go_on(&self, mut order: Order, pending: Pending) -> Result<Issued, Stop> {
        if order.state().status == OrderStatus::Pending {
            self.prove(&mut order).await?;
        }
        if order.state().status == OrderStatus::Ready {
            self.finalize(&mut order, &pending).await?;
        }
        let mut patience = Patience::new(LIMIT);
        while order.state().status != OrderStatus::Valid {
            if order.state().status == OrderStatus::Invalid {
                return Err(self.invalid(&mut order).await);
            }
            patience.wait(self.opened.session.pause(), "issue").await?;
            again!(order.refresh())?;
        }
        let chain_pem = again!(order.certificate())?
            .ok_or_else(|| problem::not_understood().because("there is no certificate"))?;
        let leaf = pem::certificates(chain_pem.as_bytes())
            .map_err(|error| problem::not_understood().because(error.to_string()))?
            .into_iter()
            .next();
        forget_failures(&self.inner.failed, &self.request.id);
        if leaf.is_some() && self.request.replaces == leaf {
            self.forget().await?;
            // It was done already, and only the end was not noted.
            return Err(if self.resumed {
                Stop::Anew
            } else {
                Stop::Trouble(old_again())
            });
        }
        Ok(Issued {
            chain_pem,
            key_pem: Secret::new(pending.key),
        })
    }

    /// Proves all names that are not proven yet.
    async fn prove(&self, order: &mut Order) -> Result<(), Stop> {
        let mut proofs = Proofs::default();
        let outcome = self.prove_with(order, &mut proofs).await;
        proofs.clean_up().await;
        outcome
    }

    async fn prove_with(&self, order: &mut Order, proofs: &mut Proofs) -> Result<(), Stop> {
        again!(load(order))?;
        let mut tasks = Vec::new();
        let mut hopeless = false;
        let mut authorizations = order.authorizations();
        while let Some(handle) = authorizations.next().await {
            let mut handle = handle?;
            if !matches!(
                handle.status,
                AuthorizationStatus::Pending | AuthorizationStatus::Valid
            ) {
                hopeless = true;
                break;
            }
            tasks.extend(Task::choose(
                &mut handle,
                self.request,
                self.solvers,
                &self.inner.failed,
            )?);
        }
        if hopeless {
            return Err(self.not_proven(order).await);
        }
        for task in &tasks {
            if let Err(trouble) = proofs.show(task, self.solvers).await {
                note_failure(&self.inner.failed, self.request, &task.name, task.kind);
                return Err(trouble.into());
            }
        }
        let refused = self.tell(order, &tasks).await?;
        let limit = if refused.is_some() {
            REFUSED_LIMIT
        } else {
            LIMIT
        };
        let mut patience = Patience::new(limit);
        loop {
            let waited = patience
                .wait(self.opened.session.pause(), "look at the proofs")
                .await;
            match (waited, &refused) {
                (Err(_), Some(error)) => {
                    self.forget().await?;
                    if self.resumed {
                        return Err(Stop::Anew);
                    }
                    return Err(problem::explain(error, None).into());
                }
                (Err(trouble), None) => {
                    // Some authorities leave an order as it is when a proof has failed.
                    return Err(match self.failures(order).await {
                        Ok(failures) if !failures.is_empty() => self.not_proven(order).await,
                        _ => trouble.into(),
                    });
                }
                (Ok(()), _) => {}
            }
            match again!(order.refresh())?.status {
                OrderStatus::Pending => {}
                OrderStatus::Invalid => {
                    return Err(self.not_proven(order).await);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Tells the authority that the proofs can be seen. Gives what it has said against one: that may be because it has
    /// looked before, which the order's state shows.
    async fn tell(&self, order: &mut Order, tasks: &[Task]) -> Result<Option<Said>, Stop> {
        let mut refused = None;
        let mut authorizations = order.authorizations();
        while let Some(handle) = authorizations.next().await {
            let mut handle = handle?;
            let name = name_of(&handle, self.request)?;
            let Some(task) = tasks.iter().find(|task| task.name == name && !task.told) else {
                continue;
            };
            let Some(mut challenge) = handle.challenge(library_kind(task.kind)) else {
                continue;
            };
            if let Err(error) = again!(challenge.set_ready()) {
                match problem::said(&error) {
                    Some(said) if !PASSING.contains(&said.kind()) => refused = Some(said),
                    _ => return Err(error.into()),
                }
            }
        }
        Ok(refused)
    }

    /// Tells what the authority did not find.
    async fn not_proven(&self, order: &mut Order) -> Stop {
        if self.resumed {
            return self.invalid(order).await;
        }
        let failures = self.failures(order).await.unwrap_or_default();
        for (name, kind, _) in &failures {
            note_failure(&self.inner.failed, self.request, name, *kind);
        }
        let Some(((name, kind, said), others)) = failures.split_first() else {
            return self.invalid(order).await;
        };
        let mut caa_identities = Vec::new();
        if said.kind() == "caa"
            && let Ok(found) = directory::fetch(&self.inner.http, &self.inner.directory).await
        {
            caa_identities = super::DirectoryInfo::from(found).caa_identities;
        }
        let proving = Proving {
            name: name.as_str(),
            kind: *kind,
            caa_identities: &caa_identities,
        };
        let mut trouble = problem::explain(said, Some(&proving));
        for (name, kind, said) in others {
            trouble = trouble.because(format!("{name} by {kind}: {said}"));
        }
        if let Err(error) = self.forget().await {
            return error.into();
        }
        trouble.into()
    }

    async fn failures(
        &self,
        order: &mut Order,
    ) -> Result<Vec<(CertificateName, ChallengeKind, Said)>, Stop> {
        again!(load(order))?;
        let mut failures = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(handle) = authorizations.next().await {
            let handle = handle?;
            if handle.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = name_of(&handle, self.request)?;
            for challenge in &handle.challenges {
                if let (Some(kind), Some(error)) = (kind_of(&challenge.r#type), &challenge.error)
                    && challenge.status == ChallengeStatus::Invalid
                {
                    failures.push((name.clone(), kind, Said::from(error)));
                }
            }
        }
        Ok(failures)
    }

    /// Asks for the certificate.
    async fn finalize(&self, order: &mut Order, pending: &Pending) -> Result<(), Stop> {
        let names = pending.names.clone();
        let key = Secret::new(pending.key.clone());
        let csr = aside(move || keys::request(&names, &keys::read_key_pair(key.expose())?)).await?;
        if let Err(error) = again!(order.finalize_csr(&csr)) {
            if problem::said(&error).is_some() && is_under_way(order).await {
                return Ok(());
            }
            // With the same key it would be refused for ever.
            if problem::said(&error).is_some_and(|said| !PASSING.contains(&said.kind())) {
                self.forget().await?;
            }
            return Err(problem::trouble(&error).into());
        }
        Ok(())
    }

    fn check_profile(&self) -> Result<(), Trouble> {
        let Some(wanted) = self.request.profile.as_deref() else {
            return Ok(());
        };
        let names: Vec<_> = self
            .opened
            .account
            .profiles()
            .map(|profile| profile.name)
            .collect();
        if names.contains(&wanted) {
            return Ok(());
        }
        let known = if names.is_empty() {
            "it has none".to_owned()
        } else {
            format!("it has {}", names.join(", "))
        };
        Err(Trouble::new(
            TroubleKind::Configuration,
            format!("the authority has no profile `{wanted}`"),
            "correct `tls.acme.profile`, or remove it",
        )
        .because(known))
    }

    /// Forgets an order that can come to nothing. That of an earlier attempt may be so because its proofs went away when
    /// it was stopped, which says nothing about them.
    async fn invalid(&self, order: &mut Order) -> Stop {
        if let Err(error) = self.forget().await {
            return error.into();
        }
        if self.resumed {
            return Stop::Anew;
        }
        let trouble = match &order.state().error {
            Some(error) => problem::explain(&error.into(), None),
            None => dropped(),
        };
        trouble.into()
    }

    async fn forget(&self) -> Result<(), Trouble> {
        pending::forget(&self.inner.orders, &self.request.id).await
    }
}

fn dropped() -> Trouble {
    Trouble::new(
        TroubleKind::Unreachable,
        "the authority has dropped the order",
        "nothing needs to be done: it is tried again",
    )
}

fn old_again() -> Trouble {
    Trouble::new(
        TroubleKind::BadCertificate,
        "the authority has given the old certificate again",
        "it is the authority's fault; it is tried again",
    )
}

/// Whether an earlier attempt has asked for the certificate already.
async fn is_under_way(order: &mut Order) -> bool {
    match again!(order.refresh()) {
        Ok(state) => matches!(state.status, OrderStatus::Processing | OrderStatus::Valid),
        Err(_) => false,
    }
}

/// Asks for all authorizations that are not known yet.
async fn load(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(handle) = authorizations.next().await {
        handle?;
    }
    Ok(())
}

fn identifier(name: &CertificateName) -> Identifier {
    match name.address() {
        Some(address) => Identifier::Ip(address),
        None => Identifier::Dns(name.as_str().to_owned()),
    }
}
