//! Rules about `[limits]`, and about the limits of profiles.

use lyceum_core::limits::{Cap, Limits};
use lyceum_core::{GroupName, HumanSize, UserName};

use super::Rules;
use crate::problem::Problem;
use crate::settings::MemoryShare;
use crate::tree::{Step, path_text};

/// What JupyterLab with one kernel needs.
const LEAST_MEMORY: HumanSize = HumanSize::from_bytes(256 << 20);
/// So many processes and threads has JupyterLab with one kernel, and some to spare.
const LEAST_TASKS: u64 = 64;

/// What a limit is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Server,
    Total,
}

impl Rules<'_> {
    pub(super) fn limits(&mut self) {
        let limits = &self.config.limits;
        self.limits_of(&[Step::from("limits")], &limits.limits());
        for (name, entry) in &limits.groups {
            let path = ["limits", "groups", name].map(Step::from);
            if let Err(error) = GroupName::parse(name) {
                let title = format!("`{name}` is not the name of a group");
                self.fault(&path, true, Problem::error(title), &error.to_string());
            }
            self.limits_of(&path, &entry.limits());
        }
        for (name, entry) in &limits.users {
            let path = ["limits", "users", name].map(Step::from);
            if let Err(error) = UserName::normalize(name) {
                let title = format!("`{name}` is not the name of a user");
                self.fault(&path, true, Problem::error(title), &error.to_string());
            }
            self.limits_of(&path, &entry.limits());
        }
        self.total();
        self.named_servers_can_be_reached();
        self.limits_apply();
    }

    /// Checks the limits of one server.
    pub(super) fn limits_of(&mut self, path: &[Step], limits: &Limits) {
        let key = |name: &str| [path, &[Step::from(name)]].concat();
        let memory = limits.memory.and_then(Cap::at);
        if let Some(memory) = memory
            && memory < LEAST_MEMORY
        {
            let title = format!(
                "`{}` is too little for JupyterLab",
                path_text(&key("memory"))
            );
            let problem = Problem::warning(title).help(format!(
                "JupyterLab with one notebook needs some {LEAST_MEMORY}"
            ));
            self.fault(&key("memory"), false, problem, "servers may not start");
        }
        let high = limits.memory_high.and_then(Cap::at);
        if let (Some(high), Some(memory)) = (high, memory)
            && high > memory
        {
            let title = format!(
                "`{}` is larger than `{}`, so that it never counts",
                path_text(&key("memory_high")),
                path_text(&key("memory"))
            );
            let problem = Problem::error(title)
                .help("give `memory_high` some less than `memory`, or leave it out");
            let label = format!("more than {memory}");
            self.fault(&key("memory_high"), false, problem, &label);
        }
        self.processors(&key("cpu"), limits.cpu.and_then(Cap::at), Holder::Server);
        self.tasks(
            &key("tasks"),
            limits.tasks.and_then(Cap::at),
            Holder::Server,
        );
    }

    fn processors(&mut self, path: &[Step], cpu: Option<f64>, holder: Holder) {
        if cpu.is_some_and(|cpu| !(cpu.is_finite() && cpu >= 0.01)) {
            let title = format!("`{}` cannot be used", path_text(path));
            let mut problem = Problem::error(title).help("for example `cpu = 1.5`");
            if holder == Holder::Server {
                problem = problem.help("for no limit, write `cpu = \"unlimited\"`");
            }
            self.fault(path, false, problem, "expected 0.01 or more");
        }
    }

    fn tasks(&mut self, path: &[Step], tasks: Option<u64>, holder: Holder) {
        let Some(tasks) = tasks.filter(|tasks| *tasks < LEAST_TASKS) else {
            return;
        };
        let title = format!("`{}` is too little for JupyterLab", path_text(path));
        let mut problem = if tasks == 0 {
            Problem::error(title)
        } else {
            Problem::warning(title)
        };
        problem = problem.help(format!(
            "JupyterLab with one notebook has some {LEAST_TASKS} processes and threads"
        ));
        if holder == Holder::Server {
            problem = problem.help("for no limit, write `tasks = \"unlimited\"`");
        }
        self.fault(path, false, problem, "servers cannot start");
    }

    /// What all servers together may use must be enough for one.
    fn total(&mut self) {
        let limits = &self.config.limits;
        let (total, one) = (&limits.total, limits.limits());
        let path = |name: &str| ["limits", "total", name].map(Step::from);
        self.processors(&path("cpu"), total.cpu, Holder::Total);
        self.tasks(&path("tasks"), total.tasks, Holder::Total);
        let memory = match total.memory {
            Some(MemoryShare::Size(size)) => Some(size),
            // How much that is, another machine may say.
            Some(MemoryShare::Percent(_)) | None => None,
        };
        let smaller = [
            (
                "memory",
                matches!((memory, one.memory.and_then(Cap::at)), (Some(all), Some(one)) if all < one),
            ),
            (
                "cpu",
                matches!((total.cpu, one.cpu.and_then(Cap::at)), (Some(all), Some(one)) if all < one),
            ),
            (
                "tasks",
                matches!((total.tasks, one.tasks.and_then(Cap::at)), (Some(all), Some(one)) if all < one),
            ),
        ];
        for (name, is_smaller) in smaller {
            if is_smaller {
                let title =
                    format!("all servers together get less than one: `limits.total.{name}`");
                let problem = Problem::error(title).help(format!(
                    "make `limits.total.{name}` larger than `limits.{name}`"
                ));
                let label = format!("less than `limits.{name}`");
                self.fault(&path(name), false, problem, &label);
            }
        }
    }

    /// A number that nobody can use, as there are no named servers.
    fn named_servers_can_be_reached(&mut self) {
        let rules = self.config.limits.named_server_rules();
        let key = "servers.default_name";
        if self.config.servers.default_name.is_some()
            && !self.config.hub.named_servers.allowed()
            && rules.everybody.is_none()
            && rules.allow_any()
        {
            let problem = Problem::warning(format!(
                "`{key}` leads those to their default server who may have no named servers"
            ));
            self.add(problem, &[(key, "for some only")]);
        }
    }

    /// Limits that nobody keeps servers to.
    fn limits_apply(&mut self) {
        if self.config.applies_limits() {
            return;
        }
        let limits = &self.config.limits;
        let none = Limits::default();
        let written = |key: &str| self.node(key).is_some();
        let set = limits.limits() != none
            || limits.groups.values().any(|entry| entry.limits() != none)
            || limits.users.values().any(|entry| entry.limits() != none)
            || written("limits.total");
        let in_profiles = self
            .config
            .profiles
            .values()
            .any(|profile| profile.limits() != none);
        if set || in_profiles {
            let key = if set { "limits" } else { "profiles" };
            let problem = Problem::warning(format!(
                "the limits in `{key}` are not applied: all servers run under Lyceum's own account, where nothing \
                 keeps them to a limit"
            ))
            .help("run each server under its user's own account: see `lyceum config explain spawner`")
            .help("`named_servers`, `reserve`, and the numbers of servers in `[hub]` do count");
            self.add(problem, &[(key, "without effect")]);
        }
    }

    /// Adds what is wrong at a place; `is_key` if the key itself is, and not what stands behind it.
    pub(super) fn fault(&mut self, path: &[Step], is_key: bool, problem: Problem, label: &str) {
        if !self.usable(&[&path_text(path)]) {
            return;
        }
        let problem = match self.place(path, is_key) {
            Some(at) => problem.mark(&at, label),
            None => problem.note(label),
        };
        self.report.add(problem);
    }
}
