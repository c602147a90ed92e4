//! Lets the linker find PAM's library where only programs need it: every Debian has `libpam.so.0`, and the name
//! without a number comes with libpam0g-dev, which nothing else here needs.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where distributions keep libraries.
const FOLDERS: [&str; 4] = ["/lib", "/usr/lib", "/lib64", "/usr/lib64"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_PAM").is_none() {
        return;
    }
    let Ok(arch) = env::var("CARGO_CFG_TARGET_ARCH") else {
        return;
    };
    let folders: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| {
            [
                Path::new(folder).join(format!("{arch}-linux-gnu")),
                folder.into(),
            ]
        })
        .collect();
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return;
    };
    for name in ["pam", "pam_misc"] {
        let find = |file: String| {
            let paths = folders.iter().map(|folder| folder.join(&file));
            paths.into_iter().find(|path| path.exists())
        };
        if find(format!("lib{name}.so")).is_some() {
            continue;
        }
        // Without any, the linker says itself what it misses.
        let Some(library) = find(format!("lib{name}.so.0")) else {
            continue;
        };
        let script = format!("INPUT({})\n", library.display());
        if fs::write(out.join(format!("lib{name}.so")), script).is_ok() {
            println!("cargo:rustc-link-search=native={}", out.display());
        }
    }
}
