//! What `lyceum env r add` and `remove` are asked for, and the right to change the list.

use lyceum_envs::r::{Entry, ListLock};
use lyceum_envs::{Progress, Silent};

use super::meant::Meant;
use super::{BuildArgs, block_on, whole_path};
use crate::cli::Report;
use crate::cli::progress::Bar;

/// The packages that shall be added. A name or a checksum is one package's.
pub(super) fn entries(
    packages: &[String],
    name: Option<&str>,
    sha256: Option<&str>,
    required: bool,
) -> Result<Vec<Entry>, Report> {
    let single = [("--name", name), ("--sha256", sha256)];
    if packages.len() > 1
        && let Some((flag, _)) = single.iter().find(|(_, value)| value.is_some())
    {
        return Err(Report::text(format!(
            "error: {flag} belongs to one package, and {} are named",
            packages.len()
        ))
        .hint("add them one after the other, or write them into the list and run `lyceum env r build`")
        .code(2));
    }
    let entry = |text: &String| {
        let entry = Entry::parse(&whole_path(text), name)
            .map_err(|problem| Report::text(format!("error: {problem}")).code(2))?;
        Ok(Entry {
            sha256: sha256.map(str::to_lowercase),
            required,
            ..entry
        })
    };
    packages.iter().map(entry).collect()
}

/// Waits until nobody else changes the list by a command; a trial changes nothing, and waits for nobody.
pub(super) fn hold_list(meant: &Meant, how: &BuildArgs) -> Result<Option<ListLock>, Report> {
    if how.dry_run {
        return Ok(None);
    }
    let bar = (!how.json).then(Bar::new);
    let progress: &dyn Progress = bar.as_ref().map_or(&Silent, |bar| bar);
    let held = block_on(meant.library.hold_list(progress));
    if let Some(bar) = &bar {
        bar.clear();
    }
    held.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_checksum_belong_to_one_package() {
        let packages = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let two = packages("github:a/xyz github:b/zyx");
        assert!(entries(&two, Some("foo"), None, true).is_err());
        assert!(entries(&two, None, Some("00"), true).is_err());
        assert_eq!(entries(&two, None, None, true).unwrap().len(), 2);
        let one = entries(&two[..1], Some("foo"), Some("AB"), false).unwrap();
        assert_eq!(
            (
                one[0].name.as_str(),
                one[0].sha256.as_deref(),
                one[0].required
            ),
            ("foo", Some("ab"), false)
        );
    }
}
