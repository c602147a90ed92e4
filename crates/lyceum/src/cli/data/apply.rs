//! `lyceum data apply`: gives shared folders their rights.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use lyceum_envs::data::{self, Change, Rights};
use tokio::task::spawn_blocking;

use super::{chain, load, look, rights_of};
use crate::cli::{ConfigArgs, Report};

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Only these; otherwise all of the configuration
    names: Vec<String>,
    /// Also for what is in them already
    #[arg(long)]
    recursive: bool,
    /// Tell what would be changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) async fn apply(args: &ApplyArgs) -> Result<(String, bool), Report> {
    let config = load(&args.config)?;
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| !config.shared.contains_key(*name))
    {
        return Err(
            Report::text(format!("error: no shared folder `{unknown}` is configured"))
                .hint(format!(
                    "add a section `[shared.{unknown}]`; `lyceum config explain shared` tells more"
                ))
                .code(2),
        );
    }
    let (mut text, mut fine) = (String::new(), true);
    for name in config.shared.keys() {
        if !args.names.is_empty() && !args.names.contains(name) {
            continue;
        }
        let path = config.shared_path(name);
        let (rights, dry_run) = (rights_of(&config, name), args.dry_run);
        let (wanted, shared) = (rights.clone(), config.shared_folder());
        let done = look(&path, move |path| {
            let is_new = !path.is_symlink() && !path.exists();
            if path.parent() == Some(&shared) && !dry_run && !shared.exists() {
                data::make_folder(&shared)?;
            }
            Ok((data::create(path, &wanted, dry_run)?, is_new))
        });
        let done = done.await;
        // What is wrong with one of them is no reason to leave out the others.
        let is_done = done.is_ok();
        fine &= is_done;
        let said = match done {
            Ok((Change::None, _)) => "is as it should be",
            Ok((Change::Changed, false)) if args.dry_run => "would get its rights",
            Ok((Change::Changed, false)) => "has got its rights",
            Ok((Change::Changed, true)) if args.dry_run => "would be made",
            Ok((Change::Changed, true)) => "has been made",
            Ok((Change::WithoutLists, _)) => {
                "has got its modes; its file system has no access control lists, so the umask of whoever creates \
                 something decides whether others may change it"
            }
            Err(trouble) => {
                let _ = writeln!(text, "{name}: {}", trouble.text);
                if let Some(hint) = trouble.hint {
                    let _ = writeln!(text, "  hint: {hint}");
                }
                continue;
            }
        };
        let _ = writeln!(text, "{name}: {} {said}", path.display());
        if args.recursive && !args.dry_run {
            let (said, is_done) = below(path, rights).await;
            fine &= is_done;
            if let Some(said) = said {
                let _ = writeln!(text, "{name}: {said}");
            }
        }
    }
    if text.is_empty() {
        text.push_str("No shared folder is configured.");
    }
    Ok((text, fine))
}

/// Gives their rights to what is in a folder; what there is to say of it, and whether that is done.
async fn below(path: PathBuf, rights: Rights) -> (Option<String>, bool) {
    match spawn_blocking(move || data::apply_below(&path, &rights)).await {
        Ok(Ok(0)) => (None, true),
        Ok(Ok(left)) => {
            let what = "links, files with several names, programs that run as somebody else, and what is in \
                        hundreds of folders";
            let said = format!("{left} entries were left alone: {what}");
            (Some(said), true)
        }
        Ok(Err(error)) => (Some(chain(&error)), false),
        Err(error) => (Some(error.to_string()), false),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_one_folder_is_no_reason_to_leave_out_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), "no folder").unwrap();
        fs::create_dir(path("b")).unwrap();
        fs::write(path("b").join("old"), "").unwrap();
        fs::set_permissions(path("b").join("old"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut text = "gateway.listen = [\"127.0.0.1:0\"]\nauth.kind = \"dummy\"\n".to_owned();
        for name in ["a", "b"] {
            let _ = writeln!(text, "[shared.{name}]\npath = {:?}", path(name));
            text.push_str("read = \"everybody\"\n");
        }
        fs::write(path("lyceum.toml"), text).unwrap();
        let args = ApplyArgs {
            names: Vec::new(),
            recursive: true,
            dry_run: false,
            config: ConfigArgs {
                config: Some(path("lyceum.toml")),
                set: Vec::new(),
            },
        };
        let (said, fine) = apply(&args).await.unwrap();
        assert!(!fine && said.contains("a: "), "{said}");
        let mode = fs::metadata(path("b").join("old")).unwrap().mode();
        assert_eq!(mode & 0o004, 0o004, "{said}");
    }
}
