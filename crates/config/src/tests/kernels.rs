//! `[kernels]`: what is read of it, and what people see when it makes no sense.

use std::path::Path;

use insta::assert_snapshot;

use super::Folder;

#[test]
fn kernels_that_cannot_be_are_all_shown() {
    assert_snapshot!(
        Folder::with(
            "\
[env.python.base]

[kernels.python3]
python = \"base\"

[kernels.Stats]
python = \"bose\"
r = \"base\"
title = \" \"

[kernels.r]
r = \"nowhere\"

[kernels.nothing]

[kernels.shell]
argv = [\"bash-kernel\"]

[kernels.deaf]
argv = [\"/usr/bin/deaf\"]
language = \"deaf\"

[kernels.julia]
path = \"julia\"
language = \"julia\"
environment = { \"JULIA DEPOT\" = \"/x\" }
"
        )
        .bad()
    );
}

#[test]
fn a_kernel_is_given_by_an_environment_a_folder_or_a_command() {
    let folder = Folder::with(
        "\
[env.python.stats-2026]
[kernels.stats]
python = \"stats-2026\"
[kernels.ir]
r = \"system\"
[kernels.julia]
path = \"julia\"
[kernels.bash]
argv = [\"/usr/bin/bash-kernel\", \"-f\", \"{connection_file}\"]
language = \"bash\"
",
    );
    let kernels = folder.load().unwrap().config.kernels;
    assert_eq!(kernels["stats"].python.as_deref(), Some("stats-2026"));
    assert_eq!(kernels["ir"].r.as_deref(), Some("system"));
    let julia = folder.path().join("julia");
    assert_eq!(kernels["julia"].path.as_deref(), Some(Path::new(&julia)));
    assert_eq!(kernels["bash"].argv.len(), 3);
}
