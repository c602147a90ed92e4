//! Units: which ones are ours, and what the configuration makes of them.

use std::path::Path;

use lyceum_broker::engine::Engine as _;
use lyceum_core::limits::{Cap, Limits, TotalLimits};

use crate::host::{account, engine, new_engine, property, run, service, shell};
use crate::plans::{self, memory};

#[tokio::test]
async fn units_of_others_are_neither_listed_nor_stopped() {
    let (engine, _quiet) = engine().await;
    run("systemd-run", &["--unit=lyceum-stranger", "sleep", "600"]);
    engine.stop("lyceum-stranger", None, None).await.unwrap();
    assert_eq!(property("lyceum-stranger", "ActiveState"), "active");
    let names = engine.list().await.unwrap();
    assert!(
        names.iter().all(|(name, _)| name != "lyceum-stranger"),
        "{names:?}"
    );
    for name in ["dbus", "lyceum-../x", "lyceum-a b", "lyceum-*"] {
        engine.stop(name, None, None).await.unwrap_err();
    }
    run("systemctl", &["stop", "lyceum-stranger"]);
}

#[tokio::test]
async fn limits_become_properties_of_the_unit() {
    let (engine, _quiet) = engine().await;
    let user = account("limited");
    let mut plan = shell(&user, "exec sleep 600");
    plan.limits = Limits {
        cpu: Some(Cap::At(1.5)),
        cpu_weight: Some(50),
        io_weight: Some(70),
        tasks: Some(Cap::At(33)),
        memory_high: Some(Cap::At("90M".parse().unwrap())),
        ..memory(100)
    };
    plan.sandbox.properties = [
        ("PrivateNetwork", "yes"),
        ("MemorySwapMax", "10M"),
        ("LimitNOFILE", "100:200"),
        ("SystemCallFilter", "~@reboot @swap"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET"),
        ("ReadWritePaths", "-/srv/a -/srv/b"),
        ("RuntimeMaxSec", "8h"),
        ("Nice", "5"),
        ("ProtectHostname", "yes"),
        ("IOReadBandwidthMax", "/ 10M"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let running = engine.start(&plan).await.unwrap();
    for (name, value) in [
        ("MemoryMax", "104857600"),
        ("MemoryHigh", "94371840"),
        ("MemorySwapMax", "10485760"),
        ("CPUQuotaPerSecUSec", "1.500000s"),
        ("CPUWeight", "50"),
        ("IOWeight", "70"),
        ("TasksMax", "33"),
        ("OOMPolicy", "continue"),
        ("PrivateNetwork", "yes"),
        ("LimitNOFILE", "200"),
        ("LimitNOFILESoft", "100"),
        ("RuntimeMaxUSec", "8h"),
        ("Nice", "5"),
        ("ProtectProc", "invisible"),
        ("ProtectHostname", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_UNIX"),
        ("ReadWritePaths", "-/srv/a -/srv/b"),
        ("IOReadBandwidthMax", "/ 10485760"),
    ] {
        assert_eq!(property(&service(&plan), name), value, "{name}");
    }
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn properties_are_tried_before_any_server_starts_and_leave_nothing() {
    let (engine, _quiet) = engine().await;
    let mut sandbox = plans::sandbox();
    engine.try_sandbox(&sandbox).await.unwrap();
    sandbox.properties = [
        ("ProtectHome", "tmpfs"),
        ("NoExecPaths", "/"),
        ("SystemCallFilter", "@system-service"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    // Whether `nobody` could run anything so is another matter.
    engine.try_sandbox(&sandbox).await.unwrap();
    let units = run("systemctl", &["list-units", "--all", "lyceumtrial-*"]).1;
    assert!(!units.contains(".service"), "{units}");
}

#[tokio::test]
async fn all_servers_together_are_limited() {
    let (engine, _quiet) = engine().await;
    let total = TotalLimits {
        memory: Some(3 << 30),
        cpu: Some(1.5),
        tasks: Some(4000),
    };
    engine
        .limit_all("lyceum-total.slice", &total)
        .await
        .unwrap();
    let user = account("member");
    let mut plan = shell(&user, "exec sleep 600");
    plan.slice = "lyceum-total.slice".to_owned();
    let running = engine.start(&plan).await.unwrap();
    let of = |name: &str| property("lyceum-total.slice", name);
    assert_eq!(
        (of("MemoryMax"), of("TasksMax")),
        ((3_u64 << 30).to_string(), "4000".to_owned())
    );
    assert_eq!(of("CPUQuotaPerSecUSec"), "1.500000s");
    engine
        .limit_all("lyceum-total.slice", &TotalLimits::default())
        .await
        .unwrap();
    assert_eq!(
        (of("MemoryMax"), of("TasksMax")),
        ("infinity".to_owned(), "infinity".to_owned())
    );
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_missing_is_said_in_sentences() {
    let missing = new_engine().missing(&TotalLimits::default()).await;
    println!("{missing:#?}");
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert_eq!(missing.is_empty(), v2, "{missing:?}");
    assert!(
        missing.iter().all(|line| line.ends_with('.')),
        "{missing:?}"
    );
}
