//! Memory that stays for the system: without it, nothing is started.

use std::path::PathBuf;

use crate::{Hub, StartError};

/// What a server that is starting will soon use, in bytes: it is not yet seen in what is available.
const OF_A_START: u64 = 128 << 20;

/// Memory that stays for the system.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// How much, in bytes.
    pub bytes: u64,
    /// The file in which the system says what is available: `/proc/meminfo`.
    pub meminfo: PathBuf,
}

impl Reserve {
    /// Keeps so many bytes of this machine.
    pub fn of_machine(bytes: u64) -> Self {
        Self {
            bytes,
            meminfo: PathBuf::from("/proc/meminfo"),
        }
    }
}

impl Hub {
    /// Refuses a start for which the memory is too short.
    pub(crate) async fn check_memory(&self) -> Result<(), StartError> {
        let Some(reserve) = &self.settings().reserve else {
            return Ok(());
        };
        let available = match tokio::fs::read_to_string(&reserve.meminfo).await {
            Ok(text) => available(&text),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not see how much memory is available: {}",
                    reserve.meminfo.display()
                );
                None
            }
        };
        let starting = u64::from(self.counts().starting).saturating_mul(OF_A_START);
        // Who cannot be asked keeps nobody from working.
        let Some(short) = available
            .map(|available| {
                reserve
                    .bytes
                    .saturating_add(starting)
                    .saturating_sub(available)
            })
            .filter(|short| *short > 0)
        else {
            return Ok(());
        };
        tracing::warn!(
            "a start was refused: {} MiB of memory are missing for `limits.reserve`",
            short >> 20
        );
        Err(StartError::NoMemory)
    }
}

/// Reads how much memory is available, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let rest = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read_in_bytes() {
        let text = "MemTotal:  16384 kB\nMemFree:  1 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        for bad in ["", "MemAvailable: 2048\n", "MemAvailable: x kB\n"] {
            assert_eq!(available(bad), None, "{bad}");
        }
        let real = std::fs::read_to_string("/proc/meminfo").unwrap();
        assert!(available(&real) > Some(1 << 20));
    }
}
