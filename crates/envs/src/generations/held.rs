//! Keeps a lock for as long as a thread works under it: work that is interrupted drops its futures at once, and what they
//! have begun on threads goes on for a while. Whoever waits for the lock must not begin before that has ended.

use std::sync::Arc;

use super::Lock;

tokio::task_local! {
    static HELD: Arc<Lock>;
}

/// Does work under a lock. What it begins on threads keeps the lock by [`held_now`].
pub(crate) async fn held<T>(lock: &Arc<Lock>, work: impl Future<Output = T>) -> T {
    HELD.scope(Arc::clone(lock), work).await
}

/// The lock under which the work of this task is done, for a thread to keep until its end; `None` if there is none.
pub(crate) fn held_now() -> Option<Arc<Lock>> {
    HELD.try_with(Arc::clone).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::error::EnvError;
    use crate::generations::Generations;

    #[tokio::test]
    async fn a_lock_stays_until_the_last_thread_under_it_has_ended() {
        let root = tempfile::tempdir().unwrap();
        let generations = Generations::new(root.path().join("base"));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let lock = Arc::new(generations.lock(Duration::ZERO, |_| {}).await.unwrap());
        let work = async move {
            held(
                &lock,
                crate::library::blocking(move || {
                    let _ = begun.send(());
                    let _ = ended.recv();
                    Ok(())
                }),
            )
            .await
        };
        // As by Ctrl-C: the future goes, and the thread goes on.
        tokio::select! {
            _ = work => panic!("ended by itself"),
            _ = has_begun => {}
        }
        let busy = generations.lock(Duration::ZERO, |_| {}).await;
        assert!(matches!(busy, Err(EnvError::Busy { .. })), "{busy:?}");
        end.send(()).unwrap();
        generations
            .lock(Duration::from_mins(1), |_| {})
            .await
            .unwrap();
    }
}
