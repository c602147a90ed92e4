//! Plans over environments of a few files; that kernels run is tried with real ones beside the check of an environment.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A folder with environments that have of a real one what is looked at.
struct Place {
    folder: TempDir,
    titles: BTreeMap<String, String>,
}

impl Place {
    fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self {
            folder,
            titles: BTreeMap::new(),
        };
        for name in names {
            place.titles.insert((*name).to_owned(), (*name).to_owned());
            place.put(name, "bin/python", "", 0o755);
            place.put(name, "bin/jupyterhub-singleuser", "", 0o755);
            let spec = json!({
                "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": format!("Python 3.11 ({name})"),
                "language": "python",
                "metadata": {"debugger": true},
            });
            place.put(
                name,
                "share/jupyter/kernels/python3/kernel.json",
                &spec.to_string(),
                0o644,
            );
            place.put(
                name,
                "share/jupyter/kernels/python3/logo-svg.svg",
                "<svg/>",
                0o644,
            );
            place.put(name, "lib/python3.11/site-packages/x.py", "", 0o644);
            let current = place
                .folder
                .path()
                .join("python")
                .join(name)
                .join("current");
            symlink("1", current).unwrap();
        }
        place
    }

    fn put(&self, environment: &str, path: &str, text: &str, mode: u32) {
        let path = self.generation(environment).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn generation(&self, environment: &str) -> PathBuf {
        self.folder
            .path()
            .join("python")
            .join(environment)
            .join("1")
    }

    /// Adds an extension of JupyterLab, as a package of this name has it.
    fn extension(&self, environment: &str, name: &str, version: &str, package: &str, files: &str) {
        let folder = format!("share/jupyter/labextensions/{name}");
        let text = json!({ "name": name, "version": version }).to_string();
        self.put(environment, &format!("{folder}/package.json"), &text, 0o644);
        let record = format!("../../../{folder}/package.json,sha256=x,1\n{files}");
        let info = format!("lib/python3.11/site-packages/{package}-{version}.dist-info/RECORD");
        self.put(environment, &info, &record, 0o644);
    }

    fn plan(&self, kernels: &[Kernel]) -> Plan {
        let environments = Environments {
            folder: self.folder.path().to_owned(),
            titles: self.titles.clone(),
        };
        Plan::new(&environments, kernels).unwrap()
    }

    fn read(&self, path: &str) -> Value {
        let path = self.folder.path().join("kernels/servers").join(path);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

fn kernel(name: &str, source: KernelSource) -> Kernel {
    Kernel {
        name: name.to_owned(),
        title: None,
        source,
        environment: BTreeMap::new(),
    }
}

fn python(environment: &str) -> KernelSource {
    KernelSource::Python {
        environment: environment.to_owned(),
    }
}

fn shell(title: &str) -> KernelSource {
    KernelSource::Command {
        argv: ["/bin/sh", "{connection_file}"].map(str::to_owned).into(),
        language: "sh".to_owned(),
        title: title.to_owned(),
    }
}

/// The kernels that servers of an environment offer, without those of the machine.
fn shown(plan: &Plan, environment: &str) -> Vec<(String, String)> {
    let offer = plan
        .offers
        .iter()
        .find(|offer| offer.environment == environment)
        .unwrap();
    offer
        .kernels
        .iter()
        .filter(|one| one.origin != "this machine")
        .map(|one| (one.name.clone(), one.title.clone()))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, title): &(&str, &str)| ((*name).to_owned(), (*title).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn servers_offer_the_kernels_of_other_environments_but_their_own_only_once() {
    let place = Place::new(&["base", "stats"]);
    let kernels = [
        kernel("base", python("base")),
        Kernel {
            environment: [("OMP_NUM_THREADS".to_owned(), "2".to_owned())].into(),
            ..kernel("stats", python("stats"))
        },
    ];
    let plan = place.plan(&kernels);
    let own = ("python3", "Python 3.11 (base)");
    assert_eq!(
        shown(&plan, "base"),
        pairs(&[own, ("stats", "Python 3.11 (stats)")])
    );
    let own = ("python3", "Python 3.11 (stats)");
    assert_eq!(
        shown(&plan, "stats"),
        pairs(&[own, ("base", "Python 3.11 (base)")])
    );
    assert!(plan.is_complete());

    assert!(!plan.is_written().unwrap());
    assert!(plan.write().unwrap());
    let spec = place.read("base/kernels/stats/kernel.json");
    let folder = place.folder.path().display();
    assert_eq!(
        spec["argv"],
        json!([
            format!("{folder}/kernels/bin/start-python"),
            format!("{folder}/python/stats"),
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}"
        ])
    );
    assert_eq!(spec["env"], json!({"OMP_NUM_THREADS": "2"}));
    assert_eq!(
        spec["metadata"],
        json!({"debugger": true}),
        "the rest is kept"
    );
    let path = jupyter_path(place.folder.path(), "base").join("kernels/stats");
    assert_eq!(
        fs::read_to_string(path.join("logo-svg.svg")).unwrap(),
        "<svg/>"
    );

    // Once more writes nothing, and a kernel that is not wanted any more goes.
    let before = fs::metadata(path.join("kernel.json")).unwrap();
    assert!(plan.is_written().unwrap() && !plan.write().unwrap());
    assert_eq!(
        fs::metadata(path.join("kernel.json")).unwrap().ino(),
        before.ino()
    );
    assert!(place.plan(&kernels[..1]).write().unwrap());
    assert!(!path.exists() && !path.parent().unwrap().exists());
}

#[test]
fn no_two_kernels_have_the_same_title() {
    let place = Place::new(&["base"]);
    let titled = |name: &str| Kernel {
        title: Some("Python 3.11 (base)".to_owned()),
        ..kernel(name, shell("Shell"))
    };
    let kernels = [
        titled("a"),
        kernel("b", shell("Shell")),
        kernel("c", shell("Shell")),
    ];
    assert_eq!(
        shown(&place.plan(&kernels), "base"),
        pairs(&[
            ("python3", "Python 3.11 (base)"),
            ("a", "Python 3.11 (base) (a)"),
            ("b", "Shell"),
            ("c", "Shell (c)"),
        ])
    );
}

#[test]
fn a_kernel_that_cannot_start_is_left_out_and_says_why() {
    let place = Place::new(&["base", "bare"]);
    let spec = place.generation("bare").join("share/jupyter/kernels");
    fs::remove_dir_all(spec).unwrap();
    let broken = place.folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("kernel.json"), "{").unwrap();
    let gone = KernelSource::Command {
        argv: vec!["/nonexistent/kernel".to_owned()],
        language: "x".to_owned(),
        title: "X".to_owned(),
    };
    let kernels = [
        kernel("bare", python("bare")),
        kernel("broken", KernelSource::Folder(broken)),
        kernel("future", python("future")),
        kernel("gone", gone),
        kernel("lost", KernelSource::Folder("/nonexistent".into())),
        kernel("shell", shell("Shell")),
    ];
    let plan = place.plan(&kernels);
    assert!(!plan.is_complete());
    let offer = &plan.offers[1];
    assert_eq!(offer.environment, "base");
    let why = |name: &str| {
        let found = offer.kernels.iter().find(|one| one.name == name).unwrap();
        found.problem.clone().unwrap_or_default()
    };
    assert!(
        why("bare").contains("--env bare --switch ipykernel"),
        "{}",
        why("bare")
    );
    assert!(
        why("broken").contains("cannot be read"),
        "{}",
        why("broken")
    );
    assert!(
        why("future").contains("lyceum env python build future"),
        "{}",
        why("future")
    );
    assert!(
        why("gone").contains("/nonexistent/kernel is not there"),
        "{}",
        why("gone")
    );
    assert!(
        why("lost").contains("/nonexistent/kernel.json is not there"),
        "{}",
        why("lost")
    );
    assert_eq!(why("shell"), "");
    plan.write().unwrap();
    let placed = fs::read_dir(jupyter_path(place.folder.path(), "base").join("kernels")).unwrap();
    assert_eq!(placed.count(), 1);
}

#[test]
fn a_kernels_folder_is_copied_with_the_places_that_it_means() {
    let place = Place::new(&["base"]);
    let prefix = place.folder.path().join("julia");
    let folder = prefix.join("share/jupyter/kernels/julia");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir(prefix.join("bin")).unwrap();
    fs::copy("/bin/true", prefix.join("bin/julia")).unwrap();
    let spec = json!({
        "argv": ["julia", "{resource_dir}/start.jl", "{connection_file}"],
        "display_name": "Julia",
        "language": "julia",
    });
    fs::write(folder.join("kernel.json"), spec.to_string()).unwrap();
    fs::write(folder.join("logo-64x64.png"), "png").unwrap();
    fs::write(folder.join("secret.txt"), "x").unwrap();
    // What only root can read would be for all.
    symlink(folder.join("secret.txt"), folder.join("logo-svg.svg")).unwrap();
    let plan = place.plan(&[kernel("julia", KernelSource::Folder(folder.clone()))]);
    plan.write().unwrap();
    let written = place.read("base/kernels/julia/kernel.json");
    assert_eq!(
        written["argv"],
        json!([
            prefix.join("bin/julia"),
            folder.join("start.jl"),
            "{connection_file}"
        ])
    );
    let there = jupyter_path(place.folder.path(), "base").join("kernels/julia");
    assert!(there.join("logo-64x64.png").exists() && !there.join("secret.txt").exists());
    assert!(!there.join("logo-svg.svg").exists());
}

#[test]
fn halves_of_extensions_reach_the_server_or_are_named() {
    let place = Place::new(&["base", "stats"]);
    let widgets = "@jupyter-widgets/jupyterlab-manager";
    place.extension("stats", widgets, "5.0.15", "jupyterlab_widgets", "");
    let part = "../../../etc/jupyter/jupyter_server_config.d/git.json,,\n";
    place.extension("stats", "@jupyterlab/git", "0.51.0", "jupyterlab_git", part);
    place.extension("stats", "both", "4.1.0", "both", "");
    place.extension("base", "both", "4.0.0", "both", "");
    place.extension("stats", "older", "1.0.0", "older", "");
    place.extension("base", "older", "2.0.0", "older", "");

    let plan = place.plan(&[kernel("stats", python("stats"))]);
    let offer = plan
        .offers
        .iter()
        .find(|offer| offer.environment == "base")
        .unwrap();
    let found: Vec<_> = offer
        .extensions
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.package.as_deref().unwrap(),
                &one.half,
            )
        })
        .collect();
    let other = Half::OtherVersion {
        server: "2.0.0".to_owned(),
        kernel: "1.0.0".to_owned(),
    };
    assert_eq!(
        found,
        [
            (widgets, "jupyterlab_widgets", &Half::Linked),
            ("@jupyterlab/git", "jupyterlab_git", &Half::NeedsPackage),
            ("older", "older", &other),
        ]
    );
    plan.write().unwrap();
    let linked = jupyter_path(place.folder.path(), "base")
        .join("labextensions")
        .join(widgets);
    assert!(linked.join("package.json").is_file());
    let link = fs::read_link(linked).unwrap();
    assert!(
        link.starts_with(place.folder.path().join("python/stats/current")),
        "{link:?}"
    );
}

#[test]
fn the_folder_is_open_to_all_and_left_overs_go() {
    let place = Place::new(&["base"]);
    let plan = place.plan(&[kernel("shell", shell("Shell"))]);
    let folder = place.folder.path().join("kernels");
    fs::create_dir_all(folder.join("servers")).unwrap();
    fs::write(folder.join("servers/base"), "a file in the way").unwrap();
    fs::write(folder.join("left.new"), "x").unwrap();
    plan.write().unwrap();
    assert!(!folder.join("left.new").exists());
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("servers/base/kernels/shell"), 0o755);
    assert_eq!(mode("servers/base/kernels/shell/kernel.json"), 0o644);
    assert_eq!(mode("bin/start-python"), 0o755);
    // A file that somebody changed is put right.
    fs::write(folder.join("bin/start-python"), "#!/bin/sh\n").unwrap();
    assert!(!plan.is_written().unwrap() && plan.write().unwrap());
}
