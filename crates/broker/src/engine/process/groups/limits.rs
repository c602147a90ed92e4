//! How limits are written, in the files of each version of control groups.

use lyceum_core::limits::{Cap, Limits, TotalLimits};

use super::{Group, Version};

/// The time in which a share of processor time is counted, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;

/// The files that hold a server's limits.
pub(super) fn files(group: &Group, limits: &Limits) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    let bytes = |cap: Option<Cap<lyceum_core::size::HumanSize>>| {
        cap.and_then(Cap::at)
            .map(lyceum_core::size::HumanSize::bytes)
    };
    if let Some(memory) = bytes(limits.memory) {
        memory_files(group, memory, &mut files);
    }
    if let Some(high) = bytes(limits.memory_high)
        && group.has(Version::V2, "memory")
    {
        files.push(("memory.high", high.to_string()));
    }
    if let Some(cpu) = limits.cpu.and_then(Cap::at) {
        cpu_files(group, cpu, &mut files);
    }
    if let Some(weight) = limits.cpu_weight {
        if group.has(Version::V2, "cpu") {
            files.push(("cpu.weight", weight.to_string()));
        } else if group.has(Version::V1, "cpu") {
            files.push((
                "cpu.shares",
                (u64::from(weight) * 1024 / 100).max(2).to_string(),
            ));
        }
    }
    if let Some(weight) = limits.io_weight {
        if group.has(Version::V2, "io") {
            files.push(("io.weight", format!("default {weight}")));
            files.push(("io.bfq.weight", weight.min(1000).to_string()));
        } else if group.has(Version::V1, "blkio") {
            let weight = (u64::from(weight) * 5).clamp(10, 1000).to_string();
            files.push(("blkio.weight", weight.clone()));
            files.push(("blkio.bfq.weight", weight));
        }
    }
    if let Some(tasks) = limits.tasks.and_then(Cap::at)
        && group.controllers.contains("pids")
    {
        files.push(("pids.max", tasks.to_string()));
    }
    files
}

fn memory_files(group: &Group, bytes: u64, files: &mut Vec<(&'static str, String)>) {
    if group.has(Version::V2, "memory") {
        files.push(("memory.max", bytes.to_string()));
        // Else what does not fit goes to the swap, until that is full, and with it the disk's time of everybody.
        files.push(("memory.swap.max", "0".to_owned()));
        files.push(("memory.oom.group", "0".to_owned()));
    } else if group.has(Version::V1, "memory") {
        files.push(("memory.limit_in_bytes", bytes.to_string()));
        files.push(("memory.memsw.limit_in_bytes", bytes.to_string()));
    }
}

fn cpu_files(group: &Group, cpu: f64, files: &mut Vec<(&'static str, String)>) {
    let quota = format!("{:.0}", (cpu * CPU_PERIOD).max(1000.0));
    if group.has(Version::V2, "cpu") {
        files.push(("cpu.max", format!("{quota} {CPU_PERIOD:.0}")));
    } else if group.has(Version::V1, "cpu") {
        files.push(("cpu.cfs_period_us", format!("{CPU_PERIOD:.0}")));
        files.push(("cpu.cfs_quota_us", quota));
    }
}

/// The files that hold the limits of all servers together. What is not limited any more is set to no limit.
pub(super) fn files_of_all(group: &Group, total: &TotalLimits) -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    match total.memory {
        Some(memory) => memory_files(group, memory, &mut files),
        None if group.has(Version::V2, "memory") => {
            files.push(("memory.max", "max".to_owned()));
            files.push(("memory.swap.max", "max".to_owned()));
        }
        None if group.has(Version::V1, "memory") => {
            files.push(("memory.memsw.limit_in_bytes", "-1".to_owned()));
            files.push(("memory.limit_in_bytes", "-1".to_owned()));
        }
        None => {}
    }
    match total.cpu {
        Some(cpu) => cpu_files(group, cpu, &mut files),
        None if group.has(Version::V2, "cpu") => files.push(("cpu.max", "max".to_owned())),
        None if group.has(Version::V1, "cpu") => {
            files.push(("cpu.cfs_quota_us", "-1".to_owned()));
        }
        None => {}
    }
    if group.controllers.contains("pids") {
        let tasks = total
            .tasks
            .map_or("max".to_owned(), |tasks| tasks.to_string());
        files.push(("pids.max", tasks));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let group = |version, controllers: &[&str]| Group {
            path: "/x".into(),
            version,
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
        };
        let limits = Limits {
            memory: Some(Cap::At("1G".parse().unwrap())),
            cpu: Some(Cap::At(1.5)),
            tasks: Some(Cap::At(9)),
            cpu_weight: Some(50),
            ..Limits::default()
        };
        let of = |group: &Group| -> Vec<String> {
            files(group, &limits)
                .into_iter()
                .map(|(file, value)| format!("{file}={value}"))
                .collect()
        };
        assert_eq!(
            of(&group(Version::V2, &["memory", "cpu", "pids"])),
            [
                "memory.max=1073741824",
                "memory.swap.max=0",
                "memory.oom.group=0",
                "cpu.max=150000 100000",
                "cpu.weight=50",
                "pids.max=9"
            ]
        );
        assert_eq!(
            of(&group(Version::V1, &["cpu"])),
            [
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "cpu.shares=512"
            ]
        );
        assert_eq!(of(&group(Version::V2, &[])), Vec::<String>::new());
    }
}
