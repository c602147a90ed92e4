//! The policy in force: the last good one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::policy::Policy;

/// How long a look at the configuration may hold up a question.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Where policies come from: the configuration, as the program reads it.
pub trait PolicySource: fmt::Debug + Send + Sync {
    /// Gives the policy if the configuration has changed since the last call. Blocks for moments.
    ///
    /// An error is a sentence for the log, told once for each change; the policy before stays in force.
    fn changed(&self) -> Result<Option<Policy>, String>;
}

#[derive(Debug)]
pub(super) struct Keeper {
    current: Mutex<Arc<Policy>>,
    source: Option<Arc<dyn PolicySource>>,
}

impl Keeper {
    pub(super) fn new(policy: Policy, source: Option<Box<dyn PolicySource>>) -> Self {
        Self {
            current: Mutex::new(Arc::new(policy)),
            source: source.map(Arc::from),
        }
    }

    /// The policy in force now, after a look whether the configuration has changed.
    pub(super) async fn current(&self) -> Arc<Policy> {
        if let Some(source) = &self.source {
            let source = Arc::clone(source);
            let looked = tokio::task::spawn_blocking(move || source.changed());
            match timeout(LOOK_LIMIT, looked).await {
                Ok(Ok(Ok(Some(policy)))) => self.change(policy),
                Ok(Ok(Ok(None))) => {}
                Ok(Ok(Err(why))) => {
                    tracing::error!("the changed configuration is not taken: {why}");
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!("could not see in time whether the configuration has changed");
                }
            }
        }
        Arc::clone(&self.lock())
    }

    fn change(&self, mut policy: Policy) {
        let mut current = self.lock();
        let fixed = policy.engine == current.engine
            && policy.state_dir == current.state_dir
            && policy.servers_dir == current.servers_dir
            && policy.client_gid == current.client_gid;
        if !fixed {
            tracing::warn!(
                "the spawner's kind, the broker's folders and Lyceum's group change only with a restart: \
                 `systemctl restart lyceum-broker.service`"
            );
            policy.engine = current.engine;
            policy.state_dir.clone_from(&current.state_dir);
            policy.servers_dir.clone_from(&current.servers_dir);
            policy.client_gid = current.client_gid;
        }
        tracing::info!("the changed configuration is in force");
        *current = Arc::new(policy);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Policy>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
