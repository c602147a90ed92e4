//! Settings that are paths may be written relative to their file. Which ones are paths is found out here.

use toml::de::Deserializer;

use super::Folder;
use crate::catalog::{self, Setting};
use crate::schema::{Schema, Shape, is_path};
use crate::settings::Config;

/// Whether serde wants a path for a setting: only `PathBuf` says that it expects a "path string".
fn wants_path(setting: &Setting<'_>) -> bool {
    let kind = setting.kind.as_ref().map_or(String::new(), |kind| {
        format!("{}.{} = \"{}\"\n", kind.table, kind.tag, kind.name)
    });
    let text = format!("{kind}{} = true\n", setting.key);
    let document = Deserializer::parse(&text).unwrap();
    let result: Result<Config, _> = serde::Deserialize::deserialize(document);
    result.is_err_and(|error| error.message().contains("expected path string"))
}

/// The schema does not show a `PathBuf`. So each has to be marked in it, with `#[schemars(extend("format" = "path"))]`,
/// or has a name that ends in `_file`.
#[test]
fn every_path_is_known_as_one() {
    let schema = Schema::new();
    let mut paths = 0;
    for setting in catalog::settings(schema.root()) {
        let is_text = matches!(setting.at.shape(), Shape::Scalar(types) if types == ["string"]);
        if !is_text || setting.key.contains('[') {
            continue;
        }
        let known = is_path(setting.at, setting.name());
        assert_eq!(
            wants_path(&setting),
            known,
            "{} is a PathBuf, or is not",
            setting.key
        );
        paths += usize::from(known);
    }
    assert!(paths >= 4, "only {paths} paths");
}

#[test]
fn a_relative_path_counts_from_its_file_also_inside_of_a_kind() {
    let folder =
        Folder::with("[auth]\nkind = \"shared-password\"\nuser_password_file = \"no/such\"\n");
    let errors = folder.load().unwrap_err().to_string();
    let whole = folder.path().join("no/such");
    assert!(errors.contains(&whole.display().to_string()), "{errors}");
}
