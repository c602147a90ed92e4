//! What an authority tells of itself (RFC 8555 §7.1.1).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::http::Http;
use super::problem;
use crate::trouble::{Trouble, TroubleKind};

/// What an authority tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryInfo {
    /// Where its terms of service are.
    pub terms_of_service: Option<String>,
    /// Where people can read about it.
    pub website: Option<String>,
    /// The names that stand for it in CAA records.
    pub caa_identities: Vec<String>,
    /// Whether it makes accounts only for those it knows already.
    pub external_account_required: bool,
    /// The profiles of its certificates, and what it says of each.
    pub profiles: BTreeMap<String, String>,
    /// Whether it says when to renew (RFC 9773).
    pub has_renewal_info: bool,
}

/// A directory as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    /// Each has one; it is asked for so that other JSON is not taken for a directory.
    #[serde(rename = "newNonce")]
    _new_nonce: String,
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    terms_of_service: Option<String>,
    website: Option<String>,
    #[serde(default)]
    caa_identities: Vec<String>,
    #[serde(default)]
    external_account_required: bool,
    #[serde(default)]
    profiles: BTreeMap<String, String>,
}

/// Asks for a directory.
pub(super) async fn fetch(http: &Http, url: &str) -> Result<Directory, Trouble> {
    let answer = http
        .get(url)
        .await
        .map_err(|failure| problem::failed(&failure))?;
    serde_json::from_slice(&answer.body).map_err(|error| {
        Trouble::new(
            TroubleKind::Configuration,
            format!("{url} is no ACME directory"),
            "check `tls.acme.directory`: the authority's documentation tells the whole URL",
        )
        .because(error.to_string())
    })
}

impl From<Directory> for DirectoryInfo {
    fn from(directory: Directory) -> Self {
        let meta = directory.meta;
        Self {
            terms_of_service: meta.terms_of_service,
            website: meta.website,
            caa_identities: meta.caa_identities,
            external_account_required: meta.external_account_required,
            profiles: meta.profiles,
            has_renewal_info: directory.renewal_info.is_some(),
        }
    }
}
