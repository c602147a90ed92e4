//! Checks from here what an authority will check. Changes nothing that stays.
use crate::challenge::{ChallengeKind, Challenges, Solver};
use crate::dns::Resolver;
use crate::name::CertificateName;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Fine,
    Warning,
    Problem,
}
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub name: Option<CertificateName>,
    pub verdict: Verdict,
    pub what: String,
    pub hint: Option<String>,
}
#[derive(Debug)]
pub struct PreflightOptions<'a> {
    pub names: &'a [(CertificateName, Vec<ChallengeKind>)],
    pub caa_identities: &'a [String],
    pub ports: (u16, u16),
    pub challenges: &'a Challenges,
    pub resolver: &'a Resolver,
    pub dns: Option<Arc<dyn Solver>>,
}
pub async fn check(_options: PreflightOptions<'_>) -> Vec<Finding> {
    Vec::new()
}
