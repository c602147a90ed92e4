//! Proofs of names: how each is chosen, and that each is taken away again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use instant_acme::{AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{FailedKinds, OrderRequest};
use crate::challenge::{ChallengeKind, Proof, Shown, Solver};
use crate::name::CertificateName;
use crate::trouble::{Trouble, TroubleKind};

/// How long showing a proof may take at most; solvers have shorter limits of their own, which people can set.
const SHOW_LIMIT: Duration = Duration::from_mins(20);
/// How long taking it away may take.
const CLEAN_UP_LIMIT: Duration = Duration::from_mins(10);

/// A proof that the authority wants to see.
pub(super) struct Task {
    pub(super) name: CertificateName,
    pub(super) kind: ChallengeKind,
    /// Whether the authority was told already, in an earlier attempt.
    pub(super) told: bool,
    token: String,
    key_authorization: String,
    digest: Vec<u8>,
    dns_value: String,
}

impl Task {
    /// Chooses how a name is proven: the first way that the authority offers, that can be done here, and that did not
    /// fail before; `None` if nothing has to be proven any more.
    pub(super) fn choose<'a>(
        handle: &'a mut AuthorizationHandle<'a>,
        request: &OrderRequest,
        solvers: &[Arc<dyn Solver>],
        failed: &FailedKinds,
    ) -> Result<Option<Self>, Trouble> {
        if handle.status != AuthorizationStatus::Pending {
            return Ok(None);
        }
        let name = name_of(handle, request)?;
        let wanted = request.challenges.get(&name).cloned().unwrap_or_default();
        let possible = |kind: &ChallengeKind| {
            handle
                .challenges
                .iter()
                .any(|challenge| challenge.r#type == library_kind(*kind))
                && solvers.iter().any(|solver| solver.kind() == *kind)
        };
        let possible: Vec<_> = wanted.iter().copied().filter(possible).collect();
        let under_way = possible.iter().copied().find(|kind| {
            handle.challenges.iter().any(|challenge| {
                challenge.r#type == library_kind(*kind)
                    && challenge.status == ChallengeStatus::Processing
            })
        });
        let Some(kind) = under_way.or_else(|| pick(&possible, request, &name, failed)) else {
            return Err(no_way(handle, &name, &wanted));
        };
        let Some(challenge) = handle.challenge(library_kind(kind)) else {
            return Ok(None);
        };
        let key = challenge.key_authorization();
        Ok(Some(Self {
            name,
            kind,
            told: under_way.is_some(),
            token: challenge.token.clone(),
            key_authorization: key.as_str().to_owned(),
            digest: key.digest().as_ref().to_vec(),
            dns_value: key.dns_value(),
        }))
    }
}

/// The first way that has not failed yet; when all have, it begins anew.
fn pick(
    possible: &[ChallengeKind],
    request: &OrderRequest,
    name: &CertificateName,
    failed: &FailedKinds,
) -> Option<ChallengeKind> {
    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (request.id.clone(), name.clone());
    let before = failed.get(&key).map(Vec::as_slice).unwrap_or_default();
    let fresh = possible.iter().find(|kind| !before.contains(kind));
    if let Some(kind) = fresh {
        return Some(*kind);
    }
    failed.remove(&key);
    possible.first().copied()
}

/// Remembers that a way has failed.
pub(super) fn note_failure(
    failed: &FailedKinds,
    request: &OrderRequest,
    name: &CertificateName,
    kind: ChallengeKind,
) {
    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    let kinds = failed
        .entry((request.id.clone(), name.clone()))
        .or_default();
    if !kinds.contains(&kind) {
        kinds.push(kind);
    }
}

/// Forgets what has failed for an order, because it has worked.
pub(super) fn forget_failures(failed: &FailedKinds, id: &str) {
    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    failed.retain(|(of, _), _| of != id);
}

/// The name that an authorization is for, as it was asked for.
pub(super) fn name_of(
    handle: &AuthorizationHandle<'_>,
    request: &OrderRequest,
) -> Result<CertificateName, Trouble> {
    let text = handle.identifier().to_string();
    let address = text.parse().ok();
    request
        .names
        .iter()
        .find(|name| name.as_str() == text || (address.is_some() && name.address() == address))
        .cloned()
        .ok_or_else(|| {
            Trouble::new(
                TroubleKind::Unreachable,
                format!("the authority asks for a proof of {text}, for which nobody has asked"),
                "it is the authority's fault; it is tried again",
            )
        })
}

/// A kind as the library calls it.
pub(super) fn library_kind(kind: ChallengeKind) -> ChallengeType {
    match kind {
        ChallengeKind::Http01 => ChallengeType::Http01,
        ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        ChallengeKind::Dns01 => ChallengeType::Dns01,
    }
}

/// The other way around.
pub(super) fn kind_of(kind: &ChallengeType) -> Option<ChallengeKind> {
    match kind {
        ChallengeType::Http01 => Some(ChallengeKind::Http01),
        ChallengeType::TlsAlpn01 => Some(ChallengeKind::TlsAlpn01),
        ChallengeType::Dns01 => Some(ChallengeKind::Dns01),
        _ => None,
    }
}

fn no_way(
    handle: &AuthorizationHandle<'_>,
    name: &CertificateName,
    wanted: &[ChallengeKind],
) -> Trouble {
    let offered: Vec<_> = handle
        .challenges
        .iter()
        .filter_map(|challenge| kind_of(&challenge.r#type))
        .map(ChallengeKind::name)
        .collect();
    let wanted: Vec<_> = wanted.iter().map(|kind| kind.name()).collect();
    let or_nothing = |kinds: Vec<&str>| match kinds.as_slice() {
        [] => "nothing".to_owned(),
        kinds => kinds.join(", "),
    };
    Trouble::new(
        TroubleKind::Configuration,
        format!("there is no way to prove {name} to the authority"),
        "change `challenge` in `[tls.acme]`, or set `tls.acme.dns`, so that one of the ways is among those the authority \
         offers",
    )
    .because(format!(
        "the authority offers {}, and the settings allow {}",
        or_nothing(offered),
        or_nothing(wanted)
    ))
}

/// Proofs that are shown. Dropped without having been cleaned up, they are taken away in the background.
#[derive(Debug, Default)]
pub(super) struct Proofs(Vec<Box<dyn Shown>>);

impl Proofs {
    /// Shows a proof.
    pub(super) async fn show(
        &mut self,
        task: &Task,
        solvers: &[Arc<dyn Solver>],
    ) -> Result<(), Trouble> {
        let Some(solver) = solvers.iter().find(|solver| solver.kind() == task.kind) else {
            return Ok(());
        };
        let proof = Proof {
            name: task.name.base(),
            token: &task.token,
            key_authorization: &task.key_authorization,
            digest: &task.digest,
            dns_value: &task.dns_value,
        };
        let shown = timeout(SHOW_LIMIT, solver.show(proof))
            .await
            .unwrap_or_else(|_| {
                Err(Trouble::new(
                    TroubleKind::Other,
                    format!("could not show the proof of {} in time", task.name),
                    "look at what shows it: the DNS, or the program in `tls.acme.dns`",
                ))
            })?;
        self.0.push(shown);
        Ok(())
    }

    /// Takes all of them away. Dropped in the middle, the others go in the background.
    pub(super) async fn clean_up(mut self) {
        while let Some(one) = self.0.pop() {
            clean_up(one).await;
        }
    }
}

impl Drop for Proofs {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        // Whoever waited for the order is gone, and with them the owner of this work: it owns itself for the little time
        // that it takes. Without a runtime, what is shown by this process ends with it.
        if let Ok(runtime) = Handle::try_current() {
            let rest = std::mem::take(&mut self.0);
            runtime.spawn(async move {
                for one in rest {
                    clean_up(one).await;
                }
            });
        }
    }
}

async fn clean_up(shown: Box<dyn Shown>) {
    match timeout(CLEAN_UP_LIMIT, shown.clean_up()).await {
        Ok(Ok(())) => {}
        Ok(Err(trouble)) => {
            tracing::warn!(
                "a proof that was shown to the authority could not be taken away: {trouble}; hint: {}",
                trouble.hint
            );
        }
        Err(_) => {
            tracing::warn!(
                "a proof that was shown to the authority could not be taken away in time"
            );
        }
    }
}
