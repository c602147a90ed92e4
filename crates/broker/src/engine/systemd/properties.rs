//! From a plan to the properties of a unit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_core::limits::{Limits, TotalLimits};
use zbus::Variant;

use super::manager::Property;
use super::raw;
use crate::engine::devices;
use crate::plan::Plan;
use crate::protocol::Refusal;

/// What every unit of ours is described with.
pub(super) const DESCRIPTION: &str = "Jupyter server of";
/// How long the processes that a server has left get between SIGTERM and SIGKILL, when it has ended by itself or an
/// administrator stops its unit.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Properties that the oldest systemd we know does not have; a server starts without them, and the broker says so.
pub(super) const OPTIONAL: [(&str, u32, &str); 2] = [
    (
        "ProtectProc",
        247,
        "Servers can see the processes and the arguments of other users: that needs systemd 247.",
    ),
    (
        "OOMPolicy",
        243,
        "When one process of a server uses up its memory, systemd ends the whole server: that needs systemd 243.",
    ),
];

/// Makes the properties of a server's unit. The environment's file is a pattern, as systemd takes it; what is said over
/// D-Bus is else taken as it is, without its own `%`.
pub(super) fn of_server(
    plan: &Plan,
    environment: String,
    start_limit: Duration,
) -> Result<Vec<Property>, Refusal> {
    let mut all = Properties::default();
    let program = plan.argv.first().map(String::as_str).unwrap_or_default();
    all.text(
        "Description",
        format!("{DESCRIPTION} {}", plan.account.name),
    );
    all.text("Slice", slice_name(&plan.slice));
    // With `exec`, the start has succeeded when the program runs: a missing one fails the start. With a session of PAM,
    // the process that keeps the session keeps the sign of that as well (seen with systemd 252), so that one waits in
    // vain; there we look ourselves.
    let kind = if plan.session.is_some() {
        "simple"
    } else {
        "exec"
    };
    all.text("Type", kind);
    // systemd puts variables into arguments, as a shell would; two dollars are one.
    let argv: Vec<String> = plan.argv.iter().map(|arg| arg.replace('$', "$$")).collect();
    all.put("ExecStart", vec![(program.to_owned(), argv, false)]);
    // By number: what was decided about this account cannot become true of another one of the same name.
    all.text("User", plan.account.uid.to_string());
    all.text("Group", plan.account.gid.to_string());
    all.text("WorkingDirectory", path_text(&plan.working_dir));
    all.put("EnvironmentFiles", vec![(environment, false)]);
    all.put("UMask", 0o022_u32);
    all.text("SyslogIdentifier", plan.unit.as_str());
    all.text("StandardInput", "null");
    all.text("StandardOutput", "journal");
    all.text("StandardError", "journal");
    all.span("TimeoutStartUSec", start_limit);
    all.span("TimeoutStopUSec", STOP_LIMIT);
    all.text("Restart", "no");
    all.text("KillMode", "control-group");
    // An ended unit stays until the broker was told how it has ended. (One that ended in order goes at once.)
    all.text("CollectMode", "inactive");
    all.text("OOMPolicy", "continue");
    for accounting in [
        "MemoryAccounting",
        "CPUAccounting",
        "TasksAccounting",
        "IOAccounting",
    ] {
        all.put(accounting, true);
    }
    if let Some(session) = &plan.session {
        all.text("PAMName", session.as_str());
    }
    if let Some(files) = plan.open_files {
        all.put("LimitNOFILESoft", files);
    }
    limits(&mut all, &plan.limits);
    sandbox(&mut all, plan);
    for (name, value) in raw::properties(&plan.sandbox.properties)? {
        all.replace(name, value);
    }
    Ok(all.0)
}

/// Makes the properties of the slice of all servers. What is not limited any more is set to infinity.
pub(super) fn of_slice(total: &TotalLimits) -> Vec<Property> {
    let mut all = Properties::default();
    all.put("MemoryAccounting", true);
    all.put("CPUAccounting", true);
    all.put("TasksAccounting", true);
    all.put("MemoryMax", total.memory.unwrap_or(u64::MAX));
    all.put("CPUQuotaPerSecUSec", total.cpu.map_or(u64::MAX, cpu_quota));
    all.put("TasksMax", total.tasks.unwrap_or(u64::MAX));
    all.0
}

/// The name of a slice's unit.
pub(super) fn slice_name(slice: &str) -> String {
    if Path::new(slice)
        .extension()
        .is_some_and(|end| end == "slice")
    {
        slice.to_owned()
    } else {
        format!("{slice}.slice")
    }
}

fn limits(all: &mut Properties, limits: &Limits) {
    if let Some(memory) = limits.memory.and_then(lyceum_core::limits::Cap::at) {
        all.put("MemoryMax", memory.bytes());
        // Else what does not fit goes to the swap, until that is full, and with it the disk's time of everybody.
        all.put("MemorySwapMax", 0_u64);
    }
    if let Some(high) = limits.memory_high.and_then(lyceum_core::limits::Cap::at) {
        all.put("MemoryHigh", high.bytes());
    }
    if let Some(cpu) = limits.cpu.and_then(lyceum_core::limits::Cap::at) {
        all.put("CPUQuotaPerSecUSec", cpu_quota(cpu));
    }
    if let Some(weight) = limits.cpu_weight {
        all.put("CPUWeight", u64::from(weight));
    }
    if let Some(weight) = limits.io_weight {
        all.put("IOWeight", u64::from(weight));
    }
    // Without a limit of ours, systemd's own (a part of what the machine may have) stays; unlimited is said aloud.
    if let Some(tasks) = limits.tasks {
        all.put("TasksMax", tasks.at().unwrap_or(u64::MAX));
    }
}

fn sandbox(all: &mut Properties, plan: &Plan) {
    let sandbox = &plan.sandbox;
    // Not a choice: others' arguments and states are nobody's business.
    all.text("ProtectProc", "invisible");
    all.put("PrivateTmp", sandbox.private_tmp);
    all.put("NoNewPrivileges", sandbox.no_new_privileges);
    if sandbox.protect_system {
        // `full` and not `strict`: homes and shared data may be anywhere, and their modes say who may write.
        all.text("ProtectSystem", "full");
        if ["/usr", "/boot", "/efi", "/etc"]
            .iter()
            .any(|folder| plan.account.home.starts_with(folder))
        {
            all.put(
                "ReadWritePaths",
                vec![format!("-{}", path_text(&plan.account.home))],
            );
        }
    }
    if sandbox.private_devices {
        all.put("PrivateDevices", true);
        all.text("DevicePolicy", "closed");
        let devices = devices::find(&sandbox.devices);
        // In a private /dev there is nothing but what is put there.
        let bind = |device: &PathBuf| (path_text(device), path_text(device), true, 0_u64);
        all.put("BindPaths", devices.iter().map(bind).collect::<Vec<_>>());
        let allow = |device: &PathBuf| (path_text(device), "rw".to_owned());
        all.put("DeviceAllow", devices.iter().map(allow).collect::<Vec<_>>());
    }
    // A folder that is not there has nothing to hide or to protect.
    let optional = |paths: &[PathBuf]| -> Vec<String> {
        paths
            .iter()
            .map(|path| format!("-{}", path_text(path)))
            .collect()
    };
    if !sandbox.read_only.is_empty() {
        all.put("ReadOnlyPaths", optional(&sandbox.read_only));
    }
    if !sandbox.hidden.is_empty() {
        all.put("InaccessiblePaths", optional(&sandbox.hidden));
    }
}

fn cpu_quota(cpu: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits are positive, and no machine has so many processors"
    )]
    let micros = (cpu * 1_000_000.0).round() as u64;
    micros.max(1_000)
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[derive(Debug, Default)]
struct Properties(Vec<Property>);

impl Properties {
    fn put(&mut self, name: &str, value: impl Into<Variant<'static>>) {
        self.0.push((name.to_owned(), value.into()));
    }

    fn text(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, value.into());
    }

    fn span(&mut self, name: &str, span: Duration) {
        self.put(name, u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes the place of a property; those that are lists are added to.
    fn replace(&mut self, name: String, value: Variant<'static>) {
        if !matches!(value, Variant::Array(_)) {
            self.0.retain(|(other, _)| *other != name);
        }
        self.0.push((name, value));
    }
}
