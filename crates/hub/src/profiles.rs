//! Profiles: which kinds of server a user may choose among, and which one a start has.
//!
//! What a profile means, the spawner knows; here it has a name, and people who may choose it.

use std::collections::BTreeSet;

use lyceum_core::GroupName;
use lyceum_core::lifecycle::Cause;
use lyceum_core::limits::Limits;
use lyceum_store::{StoreError, User};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::models::with_told;
use crate::running::MayStart;
use crate::{Action, Hub, ServerPermit, StartError, StartInput};

/// The option that names the profile of a start.
pub const OPTION: &str = "profile";

/// A kind of server that users may choose.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// Its name, in options, links and the API.
    pub name: String,
    /// What people see of it.
    pub title: String,
    /// A sentence about it; may be empty.
    pub description: String,
    /// Members of these groups may choose it; everybody if it is `None`.
    pub groups: Option<BTreeSet<GroupName>>,
    /// What people see of the Python environment that it names, if it names one.
    pub python: Option<String>,
    /// It is the one for whoever has not chosen.
    pub default: bool,
    /// Its own limits.
    pub limits: Limits,
}

impl Profile {
    fn is_for(&self, groups: &[GroupName]) -> bool {
        let may =
            |allowed: &BTreeSet<GroupName>| groups.iter().any(|group| allowed.contains(group));
        self.groups.as_ref().is_none_or(may)
    }
}

/// A profile cannot be had. Whether it exists is not for everybody to know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no profile {} that this user may choose; choose another one", quoted(.0.as_deref()))]
pub struct NoSuchProfile(Option<String>);

fn quoted(name: Option<&str>) -> String {
    name.map_or_else(|| "of that kind".to_owned(), |name| format!("`{name}`"))
}

/// What a user may choose for a server.
#[derive(Debug, Clone, Default)]
pub struct ProfileChoice {
    /// The profiles, in the order in which they are shown.
    pub all: Vec<OfferedProfile>,
    /// The name of the one that a start has if nothing is chosen.
    pub chosen: Option<String>,
}

impl ProfileChoice {
    /// Whether there is anything to choose.
    pub fn is_one(&self) -> bool {
        self.all.len() > 1
    }
}

/// A profile that a user may choose.
#[derive(Debug, Clone)]
pub struct OfferedProfile {
    /// Its name.
    pub name: String,
    /// What people see of it.
    pub title: String,
    /// A sentence about it; may be empty.
    pub description: String,
    /// What people see of the Python environment that it names, if it names one.
    pub python: Option<String>,
    /// The limits that the user's server would have.
    pub limits: Limits,
}

/// All profiles, in the order in which they are shown.
#[derive(Debug, Clone, Default)]
pub struct Profiles(Vec<Profile>);

impl Profiles {
    /// Takes profiles, each name once.
    pub fn new(profiles: Vec<Profile>) -> Self {
        Self(profiles)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in the order in which they are shown.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|profile| profile.name.as_str())
    }

    /// Finds a profile.
    pub fn find(&self, name: &str) -> Option<&Profile> {
        self.0.iter().find(|profile| profile.name == name)
    }

    /// Finds the profile that the options of a server name, for showing it.
    pub fn named_in(&self, options: Option<&Map<String, Value>>) -> Option<&Profile> {
        self.find(options?.get(OPTION)?.as_str()?)
    }

    /// Whether a user who is in these groups of the hub has a choice.
    pub fn is_choice_for(&self, user: &User, groups: &[GroupName]) -> bool {
        let groups = with_told(groups.to_vec(), user);
        self.allowed(&groups).nth(1).is_some()
    }

    fn allowed(&self, groups: &[GroupName]) -> impl Iterator<Item = &Profile> {
        self.0.iter().filter(|profile| profile.is_for(groups))
    }

    /// The one that a start has if nothing is chosen: that of the last start, if it may still be chosen, else the
    /// default one, else the first.
    fn usual(&self, groups: &[GroupName], last: &Last) -> Option<&Profile> {
        let of_last = self
            .named_in(last.options.as_ref())
            .filter(|profile| profile.is_for(groups));
        // What the spawner knows of groups is newer than what the login method told.
        let refused = of_last.filter(|profile| last.refused && profile.groups.is_some());
        let open = |profile: &&Profile| refused.is_none_or(|refused| refused.name != profile.name);
        of_last
            .filter(open)
            .or_else(|| {
                let mut allowed = self.allowed(groups).filter(open);
                allowed.find(|profile| profile.default)
            })
            .or_else(|| self.allowed(groups).find(open))
            .or(of_last)
    }

    /// Finds the profile that options ask for; `None` if they ask for none.
    fn asked(
        &self,
        groups: &[GroupName],
        options: &Map<String, Value>,
    ) -> Result<Option<&Profile>, NoSuchProfile> {
        let name = match options.get(OPTION) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(name)) => name,
            // So come fields of forms, and of links.
            Some(Value::Array(list)) => match list.as_slice() {
                [Value::String(name)] => name,
                _ => return Err(NoSuchProfile(None)),
            },
            Some(_) => return Err(NoSuchProfile(None)),
        };
        let allowed = self.find(name).filter(|profile| profile.is_for(groups));
        // What is repeated to people is short, and nothing that could be taken for words of ours.
        let shown = name.len() <= 64 && name.bytes().all(|c| c.is_ascii_graphic() && c != b'`');
        allowed
            .map(Some)
            .ok_or_else(|| NoSuchProfile(shown.then(|| name.clone())))
    }

    /// Makes the options of a start: those that were given, else those of the last start, and in them the profile.
    fn options_of_start(
        &self,
        groups: &[GroupName],
        given: Option<Map<String, Value>>,
        last: Last,
    ) -> Result<Option<Map<String, Value>>, NoSuchProfile> {
        let asked = match &given {
            Some(options) => self.asked(groups, options)?,
            None => None,
        };
        let profile = asked.or_else(|| self.usual(groups, &last));
        let mut options = given.or(last.options);
        match profile {
            Some(profile) => {
                let name = Value::String(profile.name.clone());
                options
                    .get_or_insert_default()
                    .insert(OPTION.to_owned(), name);
            }
            None => {
                if let Some(options) = &mut options {
                    options.remove(OPTION);
                }
            }
        }
        Ok(options)
    }
}

/// The last start of a server.
#[derive(Debug, Default)]
struct Last {
    options: Option<Map<String, Value>>,
    /// The spawner's rules refused it.
    refused: bool,
}

impl Hub {
    /// Tells what a user may choose for a server, and what a start has without a choice.
    pub async fn profile_choice<A: MayStart>(
        &self,
        permit: &ServerPermit<A>,
    ) -> Result<ProfileChoice, StoreError> {
        let settings = self.settings();
        if settings.profiles.is_empty() {
            return Ok(ProfileChoice::default());
        }
        let groups = self.groups_that_count(permit.user()).await?;
        let last = self.last_start(permit).await?;
        let usual = settings.profiles.usual(&groups, &last);
        let offer = |profile: &Profile| OfferedProfile {
            name: profile.name.clone(),
            title: profile.title.clone(),
            description: profile.description.clone(),
            python: profile.python.clone(),
            limits: settings
                .limit_rules
                .of(&permit.user().name, &groups, Some(&profile.limits)),
        };
        Ok(ProfileChoice {
            all: settings.profiles.allowed(&groups).map(offer).collect(),
            chosen: usual.map(|profile| profile.name.clone()),
        })
    }

    /// Puts the profile into the options of a start.
    pub(crate) async fn choose_profile<A: Action>(
        &self,
        permit: &ServerPermit<A>,
        mut input: StartInput,
    ) -> Result<StartInput, StartError> {
        let profiles = &self.settings().profiles;
        if !profiles.is_empty() {
            let groups = self.groups_that_count(permit.user()).await?;
            let last = self.last_start(permit).await?;
            let options = input.user_options.take();
            input.user_options = profiles.options_of_start(&groups, options, last)?;
        }
        Ok(input)
    }

    /// Checks options that are stored for a later start: a profile among them has to be one that the owner may choose.
    pub(crate) async fn check_profile(
        &self,
        owner: &User,
        options: Option<Map<String, Value>>,
    ) -> Result<Result<Option<Map<String, Value>>, NoSuchProfile>, StoreError> {
        let profiles = &self.settings().profiles;
        let Some(mut options) = options else {
            return Ok(Ok(None));
        };
        if profiles.is_empty() {
            return Ok(Ok(Some(options)));
        }
        let groups = self.groups_that_count(owner).await?;
        Ok(profiles.asked(&groups, &options).map(|asked| {
            if let Some(profile) = asked {
                let name = Value::String(profile.name.clone());
                options.insert(OPTION.to_owned(), name);
            }
            Some(options)
        }))
    }

    async fn last_start<A: Action>(&self, permit: &ServerPermit<A>) -> Result<Last, StoreError> {
        let (user, server) = (permit.user().id, &permit.server().server);
        let row = self.store().find_server(user, server).await?;
        Ok(row.map_or_else(Last::default, |row| Last {
            options: row.user_options,
            refused: row
                .failure
                .is_some_and(|failure| failure.cause == Cause::NotAllowed),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    fn profiles(default: &str) -> Profiles {
        let profile = |name: &str, groups: Option<&str>| Profile {
            name: name.to_owned(),
            title: name.to_uppercase(),
            groups: groups.map(|name| BTreeSet::from([group(name)])),
            default: name == default,
            ..Profile::default()
        };
        Profiles::new(vec![
            profile("gpu", Some("research")),
            profile("small", None),
            profile("large", None),
        ])
    }

    /// What a start gets, from what was given and stored.
    fn start(default: &str, groups: &[&str], given: Value, stored: Value) -> Value {
        let groups: Vec<_> = groups.iter().map(|name| group(name)).collect();
        let map = |value: Value| value.as_object().cloned();
        let last = Last {
            options: map(stored),
            refused: false,
        };
        let made = profiles(default).options_of_start(&groups, map(given), last);
        made.map_or_else(|error| json!(error.to_string()), |options| json!(options))
    }

    #[test]
    fn a_start_has_the_profile_that_was_asked_for() {
        let asked = |profile: Value| start("", &[], json!({"profile": profile, "x": 1}), json!({}));
        assert_eq!(asked(json!("large")), json!({"profile": "large", "x": 1}));
        assert_eq!(asked(json!(["large"])), json!({"profile": "large", "x": 1}));
        assert_eq!(asked(json!(null)), json!({"profile": "small", "x": 1}));
        for wrong in [
            json!("gpu"),
            json!("none"),
            json!(""),
            json!(1),
            json!(["large", "small"]),
        ] {
            let error = asked(wrong.clone());
            assert!(
                error.as_str().unwrap().starts_with("there is no profile"),
                "{wrong}"
            );
        }
        assert_eq!(
            asked(json!("x\n`y")),
            "there is no profile of that kind that this user may choose; choose another one"
        );
        assert_eq!(
            start("", &["research"], json!({"profile": "gpu"}), json!(null)),
            json!({"profile": "gpu"})
        );
    }

    #[test]
    fn a_start_without_a_choice_has_the_profile_of_the_last_one_else_the_default_else_the_first() {
        let nothing = json!(null);
        let again = |groups: &[&str], stored| start("large", groups, json!(null), stored);
        assert_eq!(
            again(&[], json!({"profile": "small"})),
            json!({"profile": "small"})
        );
        assert_eq!(
            again(&[], json!({"a": 1})),
            json!({"profile": "large", "a": 1})
        );
        // One that is for others by now, or is there no more.
        assert_eq!(
            again(&[], json!({"profile": "gpu"})),
            json!({"profile": "large"})
        );
        assert_eq!(
            again(&[], json!({"profile": "old"})),
            json!({"profile": "large"})
        );
        assert_eq!(
            again(&["research"], json!({"profile": "gpu"})),
            json!({"profile": "gpu"})
        );
        assert_eq!(
            start("", &[], nothing.clone(), nothing.clone()),
            json!({"profile": "small"})
        );
        assert_eq!(
            start("", &["research"], nothing.clone(), nothing),
            json!({"profile": "gpu"})
        );
        // Other options without a profile replace all but the profile.
        let given = start(
            "",
            &[],
            json!({"b": 2}),
            json!({"profile": "large", "a": 1}),
        );
        assert_eq!(given, json!({"profile": "large", "b": 2}));
    }

    #[test]
    fn a_profile_that_the_spawner_refused_is_not_the_usual_one_any_more() {
        let research = [group("research")];
        let after = |profile: &str, default: &str| {
            let last = Last {
                options: json!({ "profile": profile }).as_object().cloned(),
                refused: true,
            };
            let profiles = profiles(default);
            let usual = profiles.usual(&research, &last);
            usual.map(|profile| profile.name.clone())
        };
        assert_eq!(after("gpu", "large").as_deref(), Some("large"));
        // Nor if it is the default one, or the first.
        assert_eq!(after("gpu", "gpu").as_deref(), Some("small"));
        assert_eq!(after("gpu", "").as_deref(), Some("small"));
        // What everybody may choose was not what was refused.
        assert_eq!(after("large", "small").as_deref(), Some("large"));
    }

    #[test]
    fn who_may_choose_none_starts_as_usual() {
        let only = Profiles(profiles("").0.into_iter().take(1).collect());
        let map = |value: Value| value.as_object().cloned();
        let made = only.options_of_start(&[], None, Last::default()).unwrap();
        assert_eq!(made, None);
        let last = Last {
            options: map(json!({"profile": "gpu", "a": 1})),
            refused: false,
        };
        let made = only.options_of_start(&[], None, last).unwrap();
        assert_eq!(made, map(json!({"a": 1})));
        let asked = map(json!({"profile": "gpu"}));
        assert!(only.options_of_start(&[], asked, Last::default()).is_err());
    }
}
