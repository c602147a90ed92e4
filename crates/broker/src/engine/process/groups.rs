//! Control groups, of version 2 or 1 or both, as this machine has them: what a server may use, and who belongs to it.
//!
//! A server has a group of the same name in every hierarchy, below that of all servers, at the top of what we can see:
//! in a container that is the container's own.

mod limits;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lyceum_core::limits::{Limits, TotalLimits};
use serde::{Deserialize, Serialize};

use crate::engine::machine::{flat_value, out_of_memory};
use crate::protocol::Usage;

/// The controllers that we use, and what is not limited without them.
const CONTROLLERS: [(&str, &str, &str); 4] = [
    ("memory", "memory", "The memory of servers is not limited"),
    ("cpu", "cpu", "The processor time of servers is not limited"),
    (
        "pids",
        "pids",
        "The number of processes of servers is not limited",
    ),
    ("io", "blkio", "`io_weight` has no effect"),
];
/// The group of the processes that keep servers.
const KEEPERS: &str = "keepers";
/// Where processes go that are in the way: a group of version 2 has either processes or limited groups below it.
const REST: &str = "lyceum-rest";
/// How often the removal of a group is tried, and with what pauses between.
const REMOVE_TRIES: usize = 100;
const REMOVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// One hierarchy of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    version: Version,
    controllers: BTreeSet<String>,
}

/// The version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Version {
    V1,
    V2,
}

/// All hierarchies that can be used.
#[derive(Debug)]
pub(super) struct Hierarchies(Vec<Hierarchy>);

/// A server's group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) path: PathBuf,
    version: Version,
    controllers: BTreeSet<String>,
}

impl Hierarchies {
    /// Finds them.
    pub(super) fn find() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads proc_pid_mountinfo(5). Of hierarchies that are mounted twice the first one counts.
    fn parse(text: &str) -> Self {
        let mut all: Vec<Hierarchy> = Vec::new();
        for line in text.lines() {
            let Some((mount, kind)) = line.split_once(" - ") else {
                continue;
            };
            let mut mount = mount.split(' ').skip(4);
            let (point, options) = (mount.next(), mount.next());
            let (Some(point), Some(options)) = (point, options) else {
                continue;
            };
            if !options.split(',').any(|option| option == "rw") {
                continue;
            }
            let mut kind = kind.split(' ');
            let point = PathBuf::from(point);
            let found = match kind.next() {
                Some("cgroup2") => Hierarchy {
                    controllers: words(&point.join("cgroup.controllers")),
                    version: Version::V2,
                    mount: point,
                },
                Some("cgroup") => Hierarchy {
                    controllers: kind
                        .nth(1)
                        .unwrap_or_default()
                        .split(',')
                        .filter(|name| {
                            ["memory", "cpu", "cpuacct", "pids", "blkio", "freezer"].contains(name)
                        })
                        .map(str::to_owned)
                        .collect(),
                    version: Version::V1,
                    mount: point,
                },
                _ => continue,
            };
            let known = all.iter().any(|other| {
                other.version == found.version && other.controllers == found.controllers
            });
            if !known && (found.version == Version::V2 || !found.controllers.is_empty()) {
                all.push(found);
            }
        }
        Self(all)
    }

    /// What is not limited here, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        if self.0.is_empty() {
            return vec!["There are no control groups here that can be written to: neither memory nor processor time nor processes of servers are limited, and a server that hides its processes well is not ended as a whole.".to_owned()];
        }
        let has = |version: Version, name: &str| {
            self.0
                .iter()
                .any(|one| one.version == version && one.controllers.contains(name))
        };
        let mut missing: Vec<String> = CONTROLLERS
            .iter()
            .filter(|(v2, v1, _)| !has(Version::V2, v2) && !has(Version::V1, v1))
            .map(|(name, _, what)| format!("{what}: there is no controller `{name}` here."))
            .collect();
        if !has(Version::V2, "memory") {
            missing.push(
                "`memory_high` has no effect: it needs control groups of version 2.".to_owned(),
            );
        }
        let blkio = self
            .0
            .iter()
            .find(|one| one.version == Version::V1 && one.controllers.contains("blkio"));
        if let Some(blkio) = blkio
            && !has(Version::V2, "io")
            && !["blkio.weight", "blkio.bfq.weight"]
                .iter()
                .any(|file| blkio.mount.join(file).exists())
        {
            missing.push(
                "`io_weight` has no effect: this kernel's controller `blkio` has no weights."
                    .to_owned(),
            );
        }
        missing
    }

    /// Makes the group of all servers everywhere, with its limits.
    pub(super) fn limit_all(&self, slice: &str, total: &TotalLimits) -> io::Result<()> {
        for hierarchy in &self.0 {
            let group = hierarchy.parent(slice)?;
            group.set_all(&limits::files_of_all(&group, total));
        }
        Ok(())
    }

    /// Makes a server's group everywhere, with its limits.
    pub(super) fn make(&self, slice: &str, unit: &str, limits: &Limits) -> io::Result<Vec<Group>> {
        let mut made = Vec::new();
        for hierarchy in &self.0 {
            let group = hierarchy.parent(slice)?.below(unit);
            let result = make_dir(&group.path);
            made.push(group);
            if let Err(error) = result {
                remove_all(&made);
                return Err(error);
            }
        }
        for group in &made {
            group.set_all(&limits::files(group, limits));
        }
        Ok(made)
    }

    /// Makes the groups of keepers.
    pub(super) fn keepers(&self, slice: &str) -> Vec<PathBuf> {
        self.0
            .iter()
            .filter_map(|one| one.parent(slice).ok())
            .map(|parent| parent.path.join(KEEPERS))
            .filter(|path| make_dir(path).is_ok())
            .collect()
    }
}

impl Hierarchy {
    /// Makes the group of all servers.
    fn parent(&self, slice: &str) -> io::Result<Group> {
        let name = slice.strip_suffix(".slice").unwrap_or(slice);
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(io::Error::other(format!("{slice:?} is no name of a group")));
        }
        let group = Group {
            path: self.mount.join(name),
            version: self.version,
            controllers: self.controllers.clone(),
        };
        if self.version == Version::V2 {
            self.delegate(&self.mount);
        }
        make_dir(&group.path)?;
        if self.version == Version::V2 {
            self.delegate(&group.path);
        }
        Ok(group)
    }

    /// Lets groups below one have the controllers. What cannot be is missing: the start goes on without.
    fn delegate(&self, above: &Path) {
        let file = above.join("cgroup.subtree_control");
        let wanted: Vec<&String> = self
            .controllers
            .iter()
            .filter(|name| CONTROLLERS.iter().any(|(ours, ..)| ours == name))
            .collect();
        let set = || {
            let enabled = words(&file);
            for name in wanted
                .iter()
                .filter(|name| !enabled.contains(name.as_str()))
            {
                fs::write(&file, format!("+{name}"))?;
            }
            Ok::<_, io::Error>(())
        };
        let Err(error) = set() else { return };
        // Only the top of all groups may have processes beside; that of a container may not. There, those that are in
        // the way, the container's own, move aside.
        let rest = above.join(REST);
        let moved = error.kind() == io::ErrorKind::ResourceBusy
            && make_dir(&rest).is_ok()
            && pids(&above.join("cgroup.procs"))
                .iter()
                .all(|pid| fs::write(rest.join("cgroup.procs"), pid.to_string()).is_ok());
        if !moved || set().is_err() {
            tracing::warn!(group = %above.display(), error = %error, "could not hand controllers down to servers' groups");
        }
    }
}

impl Group {
    fn below(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            ..self.clone()
        }
    }

    fn set_all(&self, files: &[(&str, String)]) {
        for (file, value) in files {
            let path = self.path.join(file);
            if let Err(error) = fs::write(&path, value)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), value, error = %error, "could not set a limit");
            }
        }
    }

    fn has(&self, version: Version, controller: &str) -> bool {
        self.version == version && self.controllers.contains(controller)
    }

    /// Moves the calling process in.
    pub(super) fn enter(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), "0")
    }

    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        text.trim().parse().ok()
    }
}

/// The processes in groups. All groups of a server have the same ones, but for the moment of a start.
pub(super) fn members(groups: &[Group]) -> BTreeSet<i32> {
    groups
        .iter()
        .flat_map(|group| pids(&group.path.join("cgroup.procs")))
        .collect()
}

/// Kills everything in groups; to be repeated until nobody is there.
pub(super) fn kill(groups: &[Group]) {
    for group in groups {
        // Linux 5.14: all at once, whatever forks meanwhile.
        if fs::write(group.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
    }
    let freezer = groups
        .iter()
        .find(|group| group.has(Version::V1, "freezer"));
    let state = |word: &str| {
        freezer.is_some_and(|group| fs::write(group.path.join("freezer.state"), word).is_ok())
    };
    state("FROZEN");
    super::family::send(|| members(groups), &[rustix::process::Signal::KILL]);
    state("THAWED");
}

/// Removes groups that are empty. What has just ended holds its group for a moment longer, which is waited for; one that
/// stays is removed at the next start or stop. Blocks.
pub(super) fn remove_all(groups: &[Group]) {
    for _ in 0..REMOVE_TRIES {
        let held = |group: &&Group| {
            let removed = fs::remove_dir(&group.path);
            removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        };
        if groups.iter().filter(held).count() == 0 {
            return;
        }
        super::family::pause(REMOVE_PAUSE);
    }
}

/// How often the system has ended a process of these groups because of their memory.
pub(super) fn kills(groups: &[Group]) -> u64 {
    groups
        .iter()
        .filter(|group| group.controllers.contains("memory"))
        .find_map(|group| out_of_memory(&group.path))
        .unwrap_or(0)
}

/// What is used in these groups.
pub(super) fn usage(groups: &[Group]) -> Usage {
    let mut usage = Usage {
        out_of_memory: kills(groups),
        ..Usage::default()
    };
    for group in groups {
        if group.has(Version::V2, "memory") {
            usage.memory = group.number("memory.current");
            usage.memory_limit = group.number("memory.max");
        } else if group.has(Version::V1, "memory") {
            usage.memory = group.number("memory.usage_in_bytes");
            // Without a limit it is the largest number of pages there can be.
            usage.memory_limit = group
                .number("memory.limit_in_bytes")
                .filter(|limit| *limit < i64::MAX as u64 / 2);
        }
        if group.controllers.contains("pids") {
            usage.tasks = group.number("pids.current");
        }
        if group.version == Version::V2 {
            let stat = fs::read_to_string(group.path.join("cpu.stat")).unwrap_or_default();
            usage.cpu_micros = usage.cpu_micros.or(flat_value(&stat, "usage_usec"));
        } else if group.has(Version::V1, "cpuacct") {
            usage.cpu_micros = group.number("cpuacct.usage").map(|nanos| nanos / 1000);
        }
    }
    usage
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn pids(file: &Path) -> Vec<i32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn words(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_among_mounts() {
        let text = "\
31 1 0:27 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
32 31 0:28 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
34 31 0:30 / /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n\
35 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
36 31 0:28 / /elsewhere rw - cgroup cgroup rw,memory\n\
37 31 0:32 / /nowhere/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(text);
        let mounts: Vec<&str> = found
            .0
            .iter()
            .map(|one| one.mount.to_str().unwrap())
            .collect();
        assert_eq!(
            mounts,
            [
                "/sys/fs/cgroup/memory",
                "/sys/fs/cgroup/cpu,cpuacct",
                "/nowhere/unified"
            ]
        );
        let missing = found.missing();
        assert!(
            missing.iter().any(|line| line.contains("`pids`")),
            "{missing:?}"
        );
        assert!(Hierarchies::parse("").missing()[0].contains("no control groups"));
    }
}
