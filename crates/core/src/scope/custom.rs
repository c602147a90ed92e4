//! The catalogue of scopes: the built-in ones and those that the configuration defines.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::raw::{RawScope, ScopeError, ScopeName};
use super::table::Scope;

/// A scope that the configuration defines, for the use of services among themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomScope {
    /// What it allows, for the confirm page.
    pub description: String,
    /// The custom scopes that it contains.
    pub subscopes: Vec<String>,
}

/// What is wrong with the definition of a custom scope.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CustomScopeError {
    /// The name does not follow the rules.
    #[error(
        "`{0}` cannot be the name of a custom scope: write `custom:` and then lowercase letters, digits and `-_:*`, a letter or digit first, and neither `-` nor `:` last"
    )]
    Name(String),
    /// There is no description.
    #[error("the custom scope `{0}` needs a description")]
    NoDescription(String),
    /// The same name is defined twice, differently.
    #[error("the custom scope `{0}` is defined twice, differently")]
    Redefined(String),
    /// It contains a scope that is not custom.
    #[error(
        "the custom scope `{scope}` cannot contain `{subscope}`: custom scopes contain custom scopes only; use a role to combine others"
    )]
    NotCustom {
        /// The scope.
        scope: String,
        /// What it names.
        subscope: String,
    },
    /// It contains a scope that is not defined.
    #[error("the custom scope `{scope}` contains `{subscope}`, which is not defined")]
    Undefined {
        /// The scope.
        scope: String,
        /// What it names.
        subscope: String,
    },
}

/// All scopes that exist in this hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    custom: BTreeMap<Arc<str>, CustomScope>,
}

impl Catalogue {
    /// The built-in scopes alone.
    pub fn built_in() -> Self {
        Self::default()
    }

    /// The built-in scopes and the given custom ones; all mistakes are found at once.
    pub fn with_custom(
        definitions: impl IntoIterator<Item = (String, CustomScope)>,
    ) -> Result<Self, Vec<CustomScopeError>> {
        let mut custom: BTreeMap<Arc<str>, CustomScope> = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, definition) in definitions {
            if !is_custom_name(&name) {
                errors.push(CustomScopeError::Name(name));
                continue;
            }
            if definition.description.trim().is_empty() {
                errors.push(CustomScopeError::NoDescription(name.clone()));
            }
            match custom.get(name.as_str()) {
                Some(other) if *other != definition => {
                    errors.push(CustomScopeError::Redefined(name));
                }
                _ => {
                    custom.insert(name.into(), definition);
                }
            }
        }
        for (name, definition) in &custom {
            for subscope in &definition.subscopes {
                let (scope, subscope) = (name.to_string(), subscope.clone());
                if Scope::from_name(&subscope).is_some() {
                    errors.push(CustomScopeError::NotCustom { scope, subscope });
                } else if !custom.contains_key(subscope.as_str()) {
                    errors.push(CustomScopeError::Undefined { scope, subscope });
                }
            }
        }
        if errors.is_empty() {
            Ok(Self { custom })
        } else {
            Err(errors)
        }
    }

    /// Finds a scope by its name, without a filter.
    pub fn find(&self, name: &str) -> Option<ScopeName> {
        if let Some(scope) = Scope::from_name(name) {
            return Some(scope.into());
        }
        self.custom
            .get_key_value(name)
            .map(|(name, _)| ScopeName::Custom(Arc::clone(name)))
    }

    /// Reads one scope; it must exist and be well-formed.
    pub fn parse(&self, text: &str) -> Result<RawScope, ScopeError> {
        RawScope::parse_with(text, |name| self.find(name))
    }

    /// Reads scopes that somebody asks for; the first that does not exist is an error.
    pub fn parse_all<T: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<RawScope>, ScopeError> {
        texts
            .into_iter()
            .map(|text| self.parse(text.as_ref()))
            .collect()
    }

    /// Reads scopes that are stored, and leaves out those that exist no more: they grant nothing.
    ///
    /// A custom scope that the configuration no longer defines must not lock its holders out.
    pub fn parse_stored<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>) -> Vec<RawScope> {
        texts
            .into_iter()
            .filter_map(|text| self.parse(text.as_ref()).ok())
            .collect()
    }

    /// What a scope allows, as a sentence.
    pub fn description<'a>(&'a self, name: &ScopeName) -> &'a str {
        match name {
            ScopeName::BuiltIn(scope) => scope.description(),
            ScopeName::Custom(name) => self
                .custom
                .get(name)
                .map_or("", |scope| scope.description.as_str()),
        }
    }

    /// The custom scopes that a custom scope contains directly.
    pub(super) fn custom_subscopes(&self, name: &str) -> impl Iterator<Item = ScopeName> {
        self.custom
            .get(name)
            .into_iter()
            .flat_map(|scope| &scope.subscopes)
            .filter_map(|name| self.find(name))
    }
}

/// Whether a text follows the rules for names of custom scopes (JupyterHub `scopes.define_custom_scopes`).
fn is_custom_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("custom:") else {
        return false;
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    rest.len() >= 3
        && rest.starts_with(plain)
        && rest.ends_with(|c| plain(c) || matches!(c, '_' | '*'))
        && rest
            .chars()
            .all(|c| plain(c) || matches!(c, '_' | '-' | '*' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(description: &str, subscopes: &[&str]) -> CustomScope {
        CustomScope {
            description: description.to_owned(),
            subscopes: subscopes.iter().map(|&sub| sub.to_owned()).collect(),
        }
    }

    fn check_name(name: &str, expected: bool) {
        let result = Catalogue::with_custom([(name.to_owned(), scope("x", &[]))]);
        assert_eq!(result.is_ok(), expected, "{name}");
    }

    #[test]
    fn names_of_custom_scopes_follow_the_rules() {
        for name in ["custom:abc", "custom:a-b:c", "custom:9x*", "custom:a:*_"] {
            check_name(name, true);
        }
        for name in [
            "custom:",
            "custom:a",
            "custom:ab",
            "custom:Abc",
            "custom:abc-",
            "custom:abc:",
            "custom::abc",
            "custom:*abc",
            "custom:a b",
            "custom:ábc",
            "custom:abc\n",
            "other:abc",
            "abc",
        ] {
            check_name(name, false);
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let errors = Catalogue::with_custom([
            (
                "custom:one".to_owned(),
                scope("", &["users", "custom:none"]),
            ),
            ("custom:two".to_owned(), scope("two", &[])),
            ("custom:two".to_owned(), scope("other", &[])),
            ("bad".to_owned(), scope("bad", &[])),
        ])
        .unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 5, "{texts:#?}");
    }
}
