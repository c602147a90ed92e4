//! The way to the disk: on threads that may block, a bounded number at a time, and never for long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::hot::HotFiles;

/// How many reads may be under way: a disk that hangs must not take all threads that the hub needs.
const AT_ONCE: usize = 32;
/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What all files share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hot: HotFiles,
    turns: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            hot: HotFiles::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Shared {
    /// Does something that blocks, on a thread of that runtime. Dropped, or too slow, it goes on by itself, and
    /// keeps its turn until it ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        disk: &Handle,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let turns = Arc::clone(&self.turns);
        let working = async {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            disk.spawn_blocking(move || {
                let _turn = turn;
                work()
            })
            .await
            .map_err(io::Error::other)?
        };
        if let Ok(done) = tokio::time::timeout(LIMIT, working).await {
            done
        } else {
            tracing::warn!("the disk took more than {LIMIT:?} for a static file");
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}
