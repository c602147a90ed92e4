//! The hub itself: version, info, health, metrics, methods, errors, shutdown.

use crate::list::List;

pub(super) fn add(list: &mut List) {
    list.area("hub");
    list.case("the root of the API tells the version to everybody", |case| {
        let answer = case.anonymous().get("").expect(200)?.has_type("application/json")?;
        let version = answer.json()?["version"].as_str().unwrap_or_default().to_owned();
        crate::failure::ensure!(version.starts_with("6."), "version {version}");
        Ok(())
    });
}
