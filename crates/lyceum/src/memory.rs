//! Keeps what the allocator holds in step with what is used: a burst of starts or logins needs memory for a moment,
//! and glibc would keep most of it, spread over an arena for each of a dozen threads.
//!
//! Nothing depends on it: with another C library nothing is done.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether there is something to give back.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// By how many bytes the process has to have grown for that.
const WORTH_IT: u64 = 1024 * 1024;

/// Lets the threads share few arenas, two for each processor: with fewer they wait for each other. To be called before
/// there are threads.
pub(crate) fn share_arenas() {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    glibc::set_arena_limit(processors.saturating_mul(2));
}

/// Gives unused memory back after each burst, for ever.
pub(crate) async fn give_back() {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut least = u64::MAX;
    loop {
        ticks.tick().await;
        let Some(now) = resident() else { return };
        least = least.min(now);
        if now > least.saturating_add(WORTH_IT) {
            // It goes through all free memory, which may take milliseconds.
            if tokio::task::spawn_blocking(glibc::trim).await.is_err() {
                return;
            }
            least = resident().unwrap_or(now);
        }
    }
}

/// How many bytes of memory the process has; `None` if the system does not tell.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(target_env = "gnu")]
mod glibc {
    /// `M_ARENA_MAX` of `malloc.h`.
    const M_ARENA_MAX: nix::libc::c_int = -8;

    #[expect(unsafe_code, reason = "the allocator's settings are C")]
    pub(super) fn set_arena_limit(count: usize) {
        let count = nix::libc::c_int::try_from(count).unwrap_or(nix::libc::c_int::MAX);
        // SAFETY: the function takes numbers and only sets a limit; there are no other threads yet.
        let _ = unsafe { nix::libc::mallopt(M_ARENA_MAX, count) };
    }

    #[expect(unsafe_code, reason = "the allocator's functions are C")]
    pub(super) fn trim() {
        // SAFETY: it takes the allocator's own locks, and gives back only what nobody has.
        let _ = unsafe { nix::libc::malloc_trim(0) };
    }
}

#[cfg(not(target_env = "gnu"))]
mod glibc {
    pub(super) fn set_arena_limit(_count: usize) {}

    pub(super) fn trim() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_known() {
        let before = resident().unwrap();
        assert!(before > WORTH_IT, "{before}");
        let filled = vec![1_u8; 64 << 20];
        let with = resident().unwrap();
        assert!(
            with >= before + (32 << 20),
            "{before} {with} {}",
            filled.len()
        );
    }
}
