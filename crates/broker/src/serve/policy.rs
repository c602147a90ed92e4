//! The policy in force: the last good one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::policy::Policy;

/// How long a look at the configuration may hold up a question.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Where policies come from: the configuration, as the program reads it.
pub trait PolicySource: fmt::Debug + Send + Sync {
    /// Gives the policy if the configuration has changed since the last call that gave one. May block.
    ///
    /// An error is a sentence for the log; the policy before stays in force. An error that may pass by itself is no
    /// answer: the next call tries again.
    fn changed(&self) -> Result<Option<Policy>, String>;
}

#[derive(Debug)]
pub(super) struct Keeper {
    current: Mutex<Arc<Policy>>,
    source: Option<Arc<dyn PolicySource>>,
    limit: Duration,
    /// The look that is under way, if any; one at a time.
    looking: tokio::sync::Mutex<Option<Look>>,
    /// The error that was logged last, so that it is not told with every question.
    told: Mutex<Option<String>>,
}

type Look = JoinHandle<Result<Option<Policy>, String>>;

impl Keeper {
    pub(super) fn new(policy: Policy, source: Option<Box<dyn PolicySource>>) -> Self {
        Self {
            current: Mutex::new(Arc::new(policy)),
            source: source.map(Arc::from),
            limit: LOOK_LIMIT,
            looking: tokio::sync::Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The policy in force now, after a look whether the configuration has changed. A look that takes long holds up
    /// the first questions alone, and what it finds is in force as soon as a question comes after it.
    pub(super) async fn current(&self) -> Arc<Policy> {
        if let Some(source) = &self.source {
            self.look(source).await;
        }
        Arc::clone(&self.lock())
    }

    async fn look(&self, source: &Arc<dyn PolicySource>) {
        let mut looking = self.looking.lock().await;
        if let Some(late) = &mut *looking {
            if !late.is_finished() {
                return;
            }
            let looked = late.await;
            *looking = None;
            self.take(looked);
        }
        let source = Arc::clone(source);
        let look = looking.insert(tokio::task::spawn_blocking(move || source.changed()));
        match timeout(self.limit, look).await {
            Ok(looked) => {
                *looking = None;
                self.take(looked);
            }
            Err(_) => {
                tracing::warn!("could not see in time whether the configuration has changed");
            }
        }
    }

    fn take(&self, looked: Result<Result<Option<Policy>, String>, JoinError>) {
        let why = match looked {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(policy))) => {
                self.change(policy);
                None
            }
            Ok(Err(why)) => Some(why),
            Err(_) => Some("reading it has ended by a mistake in the broker".to_owned()),
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &why
            && told.as_ref() != Some(why)
        {
            tracing::error!("the changed configuration is not taken: {why}");
        }
        *told = why;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::fuzz_logic;

    /// Gives a policy when it is told to.
    #[derive(Debug)]
    struct Slow(Mutex<mpsc::Receiver<Option<Policy>>>);

    impl PolicySource for Slow {
        fn changed(&self) -> Result<Option<Policy>, String> {
            Ok(self.0.lock().unwrap().recv().ok().flatten())
        }
    }

    #[tokio::test]
    async fn a_change_that_is_read_late_is_in_force_when_it_has_been_read() {
        let (give, gives) = mpsc::channel();
        let source = Box::new(Slow(Mutex::new(gives)));
        let mut keeper = Keeper::new(fuzz_logic::policy(), Some(source));
        keeper.limit = Duration::from_millis(50);
        assert_eq!(keeper.current().await.client_uid, 990);
        keeper.limit = Duration::MAX;
        let again = keeper.current().await;
        assert_eq!(again.client_uid, 990, "nobody waits for it twice");
        let changed = Policy {
            client_uid: 991,
            ..fuzz_logic::policy()
        };
        give.send(Some(changed)).unwrap();
        drop(give);
        while keeper.current().await.client_uid != 991 {
            tokio::task::yield_now().await;
        }
    }
}
