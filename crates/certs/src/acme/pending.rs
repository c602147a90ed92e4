//! Orders that are not done, as they are kept on the disk: with them an order goes on after any end.

use std::path::{Path, PathBuf};

use lyceum_core::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use super::{OrderRequest, aside, read, write};
use crate::disk;
use crate::keys::KeyType;
use crate::name::CertificateName;
use crate::trouble::{Trouble, TroubleKind};

/// After how many hours an order is not gone on with. Authorities drop them after a week or earlier.
const OLD_HOURS: i64 = 5 * 24;

/// An order that is not done, with the key of its certificate.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    /// The order at the authority.
    pub(super) url: String,
    /// The account that has made it.
    pub(super) account: String,
    pub(super) names: Vec<CertificateName>,
    pub(super) key_type: KeyType,
    pub(super) profile: Option<String>,
    /// PKCS#8 in PEM.
    pub(super) key: String,
    pub(super) made_at: Timestamp,
}

impl Pending {
    /// Whether it is an order for what is wanted now.
    pub(super) fn is_for(&self, request: &OrderRequest, account: &str, now: Timestamp) -> bool {
        let sorted = |names: &[CertificateName]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        let age = now.duration_since(self.made_at).as_hours().abs();
        self.account == account
            && self.key_type == request.key_type
            && self.profile == request.profile
            && sorted(&self.names) == sorted(&request.names)
            && age < OLD_HOURS
    }
}

/// Finds the order of an id. One that cannot be understood is as good as none.
pub(super) async fn find(folder: &Path, id: &str) -> Result<Option<Pending>, Trouble> {
    let Some(text) = read(file(folder, id)?).await?.map(Secret::new) else {
        return Ok(None);
    };
    let pending = serde_json::from_str(text.expose()).ok();
    if pending.is_none() {
        tracing::warn!("the order that is kept for {id} cannot be understood: a new one is made");
    }
    Ok(pending)
}

/// Keeps an order.
pub(super) async fn keep(folder: &Path, id: &str, pending: &Pending) -> Result<(), Trouble> {
    let path = file(folder, id)?;
    let text = serde_json::to_string_pretty(pending)
        .map_err(|error| disk::failed("write", &path, &error.into()))?;
    write(path, Secret::new(text)).await
}

/// Forgets the order of an id.
pub(super) async fn forget(folder: &Path, id: &str) -> Result<(), Trouble> {
    let path = file(folder, id)?;
    aside(move || disk::remove(&path)).await
}

fn file(folder: &Path, id: &str) -> Result<PathBuf, Trouble> {
    if id.is_empty() || id.starts_with('.') || id.contains(['/', '\0']) {
        return Err(Trouble::new(
            TroubleKind::Other,
            format!("`{id}` is not a name for an order"),
            "this should not happen: please report it, with the log",
        ));
    }
    Ok(folder.join(format!("{id}.json")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn names(names: &[&str]) -> Vec<CertificateName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn pending() -> Pending {
        Pending {
            url: "https://ca/order/1".to_owned(),
            account: "https://ca/account/1".to_owned(),
            names: names(&["a.org", "b.org"]),
            key_type: KeyType::Ecdsa,
            profile: None,
            key: "key".to_owned(),
            made_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_order_is_gone_on_with_for_the_same_names_only_and_not_for_ever() {
        let request = |of: &[&str]| OrderRequest {
            id: "a.org".to_owned(),
            names: names(of),
            key_type: KeyType::Ecdsa,
            profile: None,
            replaces: None,
            challenges: HashMap::new(),
        };
        let account = "https://ca/account/1";
        let at = |hours: i64| Timestamp::from_second(hours * 3600).unwrap();
        let kept = pending();
        assert!(kept.is_for(&request(&["b.org", "a.org"]), account, at(1)));
        assert!(!kept.is_for(&request(&["a.org"]), account, at(1)));
        assert!(!kept.is_for(&request(&["a.org", "b.org"]), account, at(OLD_HOURS)));
        assert!(!kept.is_for(&request(&["a.org", "b.org"]), "https://ca/account/2", at(1)));
        let rsa = OrderRequest {
            key_type: KeyType::Rsa,
            ..request(&["a.org", "b.org"])
        };
        assert!(!kept.is_for(&rsa, account, at(1)));
    }

    #[tokio::test]
    async fn a_spoilt_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let orders = folder.path();
        keep(orders, "a.org", &pending()).await.unwrap();
        assert!(find(orders, "a.org").await.unwrap().is_some());
        std::fs::write(orders.join("a.org.json"), "{\"url\": 1").unwrap();
        assert!(find(orders, "a.org").await.unwrap().is_none());
        forget(orders, "a.org").await.unwrap();
        forget(orders, "a.org").await.unwrap();
        for id in ["", "../a", ".a", "a/b"] {
            assert!(find(orders, id).await.is_err(), "{id}");
        }
    }
}
