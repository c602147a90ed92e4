//! What homes are shown of `[shared]`, and where the broker finds what is known of courses.

use std::collections::BTreeSet;

use lyceum_broker::beside::{CoursePolicy, HomeLink, Readers};
use lyceum_config::settings::{Config, SharedConfig, SharedNames, SharedWith, SharedWord};

/// Links in homes: for each shared folder that has one, whoever may read it.
pub(super) fn links(config: &Config) -> Vec<HomeLink> {
    let link = |(name, shared): (&String, &SharedConfig)| {
        Some(HomeLink {
            name: shared.link.clone()?,
            target: config.shared_path(name),
            readers: readers(shared)?,
        })
    };
    config.shared.iter().filter_map(link).collect()
}

/// Where courses are written down.
pub(super) fn courses(config: &Config) -> CoursePolicy {
    CoursePolicy {
        settings: config.courses.settings.clone(),
    }
}

/// Those who may read or write; `None` if that is nobody.
fn readers(shared: &SharedConfig) -> Option<Readers> {
    let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for with in [&shared.read, &shared.write] {
        match with {
            SharedWith::Word(SharedWord::Everybody) => return Some(Readers::Everybody),
            SharedWith::Word(SharedWord::Nobody) => {}
            SharedWith::Names(SharedNames {
                users: by_name,
                groups: by_group,
            }) => {
                users.extend(by_name.iter().cloned());
                groups.extend(by_group.iter().cloned());
            }
        }
    }
    (!users.is_empty() || !groups.is_empty()).then_some(Readers::Some { users, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_read_or_write_gets_the_link() {
        let names = |groups: &[&str]| {
            SharedWith::Names(SharedNames {
                users: Vec::new(),
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            })
        };
        let mut config = Config::default();
        let mut put = |name: &str, link: Option<&str>, read, write| {
            let shared = SharedConfig {
                link: link.map(str::to_owned),
                read,
                write,
                ..SharedConfig::default()
            };
            config.shared.insert(name.to_owned(), shared);
        };
        let word = SharedWith::Word;
        put("a", Some("all"), word(SharedWord::Everybody), names(&["t"]));
        put("b", Some("some"), names(&["s"]), names(&["t"]));
        put(
            "c",
            Some("none"),
            word(SharedWord::Nobody),
            word(SharedWord::Nobody),
        );
        put("d", None, word(SharedWord::Everybody), names(&[]));
        let found = links(&config);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].readers, Readers::Everybody);
        let groups = BTreeSet::from(["s".to_owned(), "t".to_owned()]);
        let users = BTreeSet::new();
        assert_eq!(found[1].readers, Readers::Some { users, groups });
    }
}
