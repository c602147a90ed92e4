//! The pulse of a gateway: whether all its threads still come round to their work. It does not look at what they do.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Asks a gateway's threads whether they still turn; costs them nothing as long as nobody asks.
#[derive(Debug, Clone)]
pub struct Pulse {
    questions: watch::Sender<Option<mpsc::Sender<()>>>,
}

/// What a thread is asked by.
pub(crate) type Questions = watch::Receiver<Option<mpsc::Sender<()>>>;

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            questions: watch::Sender::new(None),
        }
    }

    /// Gives a thread what it answers to.
    pub(crate) fn questions(&self) -> Questions {
        self.questions.subscribe()
    }

    /// Tells whether all threads that run have answered within `limit`; one that a call blocks does not.
    pub async fn is_felt(&self, limit: Duration) -> bool {
        let threads = self.questions.receiver_count();
        let (answer, mut answers) = mpsc::channel(threads.max(1));
        self.questions.send_replace(Some(answer));
        let all = async {
            for _ in 0..threads {
                if answers.recv().await.is_none() {
                    break;
                }
            }
        };
        let felt = tokio::time::timeout(limit, all).await.is_ok();
        self.questions.send_replace(None);
        // A thread that ended instead of answering is no longer among those that could.
        felt || self.questions.receiver_count() == 0
    }
}

/// Answers on a thread, until it is dropped.
pub(crate) async fn answer(mut questions: Questions) {
    while questions.changed().await.is_ok() {
        let asker = questions.borrow_and_update().clone();
        if let Some(asker) = asker {
            let _ = asker.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    /// A thread as the gateway has them; ends when the sender is dropped, and blocks when it is told to.
    fn thread(pulse: &Pulse) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
        let questions = pulse.questions();
        let (told, mut orders) = mpsc::channel(1);
        let handle = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let answering = std::pin::pin!(answer(questions));
                tokio::select! {
                    // Who was told to block does not answer first.
                    biased;
                    order = orders.recv() => if order.is_some() {
                        // What a blocking call does to a thread, until the test lets go of the sender.
                        while orders.try_recv() != Err(mpsc::error::TryRecvError::Disconnected) {
                            std::thread::yield_now();
                        }
                    },
                    () = answering => {}
                }
            });
        });
        (told, handle)
    }

    #[tokio::test]
    async fn threads_that_turn_are_felt_again_and_again() {
        let pulse = Pulse::new();
        let threads = [thread(&pulse), thread(&pulse)];
        for _ in 0..3 {
            assert!(pulse.is_felt(Duration::from_secs(10)).await);
        }
        for (told, handle) in threads {
            drop(told);
            handle.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_thread_that_blocks_is_missed() {
        let pulse = Pulse::new();
        let good = thread(&pulse);
        let questions = pulse.questions();
        assert!(!pulse.is_felt(SHORT).await);
        drop(questions);
        assert!(pulse.is_felt(Duration::from_secs(10)).await);
        let bad = thread(&pulse);
        bad.0.send(()).await.unwrap();
        assert!(!pulse.is_felt(SHORT).await);
        for (told, handle) in [good, bad] {
            drop(told);
            handle.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_gateway_that_has_ended_is_not_missed() {
        let pulse = Pulse::new();
        let (told, handle) = thread(&pulse);
        drop(told);
        handle.join().unwrap();
        assert!(pulse.is_felt(SHORT).await);
    }
}
