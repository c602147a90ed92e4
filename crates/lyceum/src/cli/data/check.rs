//! `lyceum data check`: whether everything is there as it was put there, and what `lyceum doctor` says of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use lyceum_config::settings::Config;
use lyceum_envs::data::{self, Change, DataError, Found, Rights};
use nix::unistd::geteuid;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Trouble, look, names, rights_of};

/// How long the files of one folder may take to be counted.
const COUNT_LIMIT: Duration = Duration::from_mins(30);

/// What is wrong with a shared folder, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Fault {
    pub(in crate::cli) what: String,
    pub(in crate::cli) hint: String,
    /// Whether somebody may use what they should not, or cannot use what they should.
    pub(in crate::cli) is_serious: bool,
}

impl Fault {
    fn of(name: &str, trouble: Trouble, is_serious: bool) -> Self {
        let hint = trouble.hint;
        Self {
            what: format!("{name}: {}", trouble.text),
            hint: hint.unwrap_or_else(|| format!("look at [shared.{name}] in the configuration")),
            is_serious,
        }
    }
}

/// How closely folders are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Depth {
    /// Whether they are there, and their rights.
    Folders,
    /// All their files, too.
    Files,
}

pub(super) async fn check(config: &Config) -> (String, bool) {
    let (count, faults) = faults(config, Depth::Files).await;
    let mut text: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}\n  hint: {}", fault.what, fault.hint))
        .collect();
    if faults.is_empty() {
        text.push(match count {
            0 => "There is no shared data, and no shared folder is configured.".to_owned(),
            1 => "1 shared folder, and all is well.".to_owned(),
            _ => format!("{count} shared folders, and all is well."),
        });
    }
    if count > 0 && !geteuid().is_root() {
        text.push("note: the rights of what is not yours are looked at only for root".to_owned());
    }
    (text.join("\n"), faults.is_empty())
}

/// Looks at all shared folders; gives how many there are, and what is wrong with them.
pub(in crate::cli) async fn faults(config: &Config, depth: Depth) -> (usize, Vec<Fault>) {
    let names = names(config).await;
    let mut faults = Vec::new();
    for name in &names {
        let path = config.shared_path(name);
        let (rights, asked) = (rights_of(config, name), name.clone());
        let seen = look(&path, move |path| folder(&asked, path, &rights)).await;
        match seen {
            Err(trouble) => faults.push(Fault::of(name, trouble, false)),
            Ok((found, wrong)) => {
                faults.extend(wrong);
                if let (Found::Data(stamp), Depth::Files) = (found, depth) {
                    faults.extend(files(name, &path, stamp).await);
                }
            }
        }
    }
    (names.len(), faults)
}

/// Looks at a folder itself, which takes moments.
fn folder(name: &str, path: &Path, rights: &Rights) -> Result<(Found, Vec<Fault>), DataError> {
    let mut faults = Vec::new();
    let mut add = |what: &str, hint: String, is_serious| {
        faults.push(Fault {
            what: format!("{name}: {what}"),
            hint,
            is_serious,
        });
    };
    let found = data::find(path)?;
    if data::is_unfinished(path) {
        let what = "a change of it was broken off, and has left something beside it";
        let hint =
            format!("`lyceum data add {name} …` goes on, `lyceum data remove {name}` removes it");
        add(what, hint, false);
    }
    if found == Found::Nothing && !path.is_dir() {
        let what = format!("{} is not there", path.display());
        let hint = format!(
            "`lyceum data add {name} …` brings data, `lyceum data apply {name}` makes a folder"
        );
        add(&what, hint, false);
        return Ok((found, faults));
    }
    // Whose it should be, only root can tell of what is not the own.
    let me = geteuid();
    let is_mine = || fs::symlink_metadata(path).is_ok_and(|data| data.uid() == me.as_raw());
    if (me.is_root() || is_mine()) && data::apply(path, rights, true)? != Change::None {
        let what = "its rights are not those of the configuration";
        add(what, format!("`lyceum data apply {name}` gives them"), true);
    }
    Ok((found, faults))
}

/// Counts the files of what was put there.
async fn files(name: &str, path: &Path, stamp: data::DataStamp) -> Vec<Fault> {
    let asked = path.to_owned();
    let counting = spawn_blocking(move || data::check(&asked, &stamp));
    let wrong = match timeout(COUNT_LIMIT, counting).await {
        Ok(Ok(Ok(wrong))) => wrong,
        Ok(Ok(Err(error))) => return vec![Fault::of(name, Trouble::of(&error), true)],
        Ok(Err(error)) => vec![error.to_string()],
        Err(_) => vec!["its files could not be counted in half an hour".to_owned()],
    };
    let fault = |text| Fault {
        what: format!("{name}: {text}"),
        hint: format!("`lyceum data add {name} …`, as it was added, brings it again"),
        is_serious: true,
    };
    wrong.into_iter().map(fault).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use lyceum_config::settings::SharedConfig;
    use lyceum_envs::data::{Audience, FolderWish, add_folder};

    use super::*;

    #[tokio::test]
    async fn what_is_missing_unfinished_damaged_or_open_to_the_wrong_people_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            root: Some(dir.path().to_owned()),
            ..Config::default()
        };
        let data = config.shared_path("data");
        config
            .shared
            .insert("missing".to_owned(), SharedConfig::default());
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("a"), "1").unwrap();
        let wish = FolderWish {
            source: source.path().to_str().unwrap().to_owned(),
            sha256: None,
            max_size: 1 << 20,
            rights: Rights {
                read: Audience::Everybody,
                write: Audience::Nobody,
            },
        };
        add_folder(&data, &wish, &lyceum_envs::Silent)
            .await
            .unwrap();
        let told = async |depth| -> Vec<(String, bool)> {
            let (count, faults) = faults(&config, depth).await;
            assert_eq!(count, 2);
            let faults = faults.into_iter();
            faults.map(|fault| (fault.what, fault.is_serious)).collect()
        };
        let missing = config.shared_path("missing");
        let missing = (
            format!("missing: {} is not there", missing.display()),
            false,
        );
        assert_eq!(told(Depth::Files).await, std::slice::from_ref(&missing));
        fs::write(data.join("b"), "2").unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
        fs::create_dir(data.with_file_name(".data.new")).unwrap();
        let quick = told(Depth::Folders).await;
        assert_eq!(quick.len(), 3, "{quick:?}");
        assert!(quick[0].0.contains("was broken off") && !quick[0].1);
        assert!(quick[1].0.contains("its rights are not") && quick[1].1);
        assert_eq!(quick[2], missing);
        let deep = told(Depth::Files).await;
        assert!(deep[2].0.contains("has changed: 2 files"), "{deep:?}");
    }
}
