//! Templates into text: the built-in ones, and the administrator's over them.
//!
//! One minijinja environment for each language, in which `t("key", name=…)` speaks that language. A template
//! of the administrator's may extend or include the one that it replaces, as `builtin/NAME`. If it fails,
//! the built-in one is shown and the log says so once: a typo in a template must not lock everybody out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use lyceum_core::size;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, context,
    escape_formatter,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rust_embed::RustEmbed;
use thiserror::Error;
use tracing::warn;

use super::assets::asset_url;
use super::catalog::Catalog;
use super::language::Language;
use super::pages::Page;
use super::site::{Options, Visit};

#[derive(RustEmbed)]
#[folder = "templates/"]
struct BuiltIn;

/// Makes pages out of their contexts.
#[derive(Debug)]
pub struct Renderer {
    options: Options,
    engines: Vec<Engine>,
    /// The administrator's templates that have failed, each of which is logged once.
    complained: Mutex<BTreeSet<String>>,
}

/// The templates in one language.
#[derive(Debug)]
struct Engine {
    language: Language,
    catalog: Arc<Catalog>,
    built_in: Environment<'static>,
    /// The same with the administrator's templates over them, if there are any.
    overridden: Option<Environment<'static>>,
}

/// Why a page could not be made.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The texts of a language cannot be read.
    #[error("could not read the texts in language `{0}`")]
    Texts(&'static str, #[source] toml::de::Error),
    /// A built-in template is broken.
    #[error("could not use the built-in template `{template}`")]
    Template {
        /// The template's name.
        template: String,
        /// What is wrong with it.
        #[source]
        source: Error,
    },
    /// The administrator's templates cannot be read.
    #[error("could not read the templates in {}", path.display())]
    OverrideFolder {
        /// The folder, or the file in it.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl Renderer {
    /// Reads and checks all templates and texts. A broken template of the administrator's is left out and logged.
    pub fn new(options: Options) -> Result<Self, RenderError> {
        let overrides = match &options.override_dir {
            Some(folder) => read_overrides(folder)?,
            None => Vec::new(),
        };
        let engines = Language::ALL
            .into_iter()
            .map(|language| Engine::new(language, &options.base_url, &overrides))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            options,
            engines,
            complained: Mutex::default(),
        })
    }

    /// The URL path of the hub, with slashes at both ends.
    pub fn base_url(&self) -> &str {
        &self.options.base_url
    }

    /// Makes the HTML of a page.
    pub fn render<P: Page>(&self, visit: &Visit, page: &P) -> Result<String, RenderError> {
        let failed = |source| RenderError::Template {
            template: P::TEMPLATE.to_owned(),
            source,
        };
        let engine = self
            .engines
            .iter()
            .find(|engine| engine.language == visit.language)
            .ok_or_else(|| failed(Error::new(ErrorKind::InvalidOperation, "no such language")))?;
        let context = self.context(visit, page);
        if let Some(environment) = &engine.overridden {
            let special = page
                .special_template()
                .filter(|name| environment.get_template(name).is_ok());
            for name in special.iter().map(String::as_str).chain([P::TEMPLATE]) {
                match render(environment, name, &context) {
                    Ok(html) => return Ok(html),
                    Err(error) => self.complain(name, &error),
                }
            }
        }
        render(&engine.built_in, P::TEMPLATE, &context).map_err(failed)
    }

    /// Gives a text that has no place on a page of ours; its placeholders stay for whoever shows it.
    pub(crate) fn text(&self, language: Language, key: &str) -> Option<String> {
        let engine = self
            .engines
            .iter()
            .find(|engine| engine.language == language)?;
        engine.catalog.raw(key).map(str::to_owned)
    }

    fn context<P: Page>(&self, visit: &Visit, page: &P) -> Value {
        let Options {
            base_url,
            version,
            branding,
            ..
        } = &self.options;
        let languages: Vec<Value> = Language::ALL
            .into_iter()
            .map(|language| {
                let url = visit.here.as_deref().map(|here| {
                    let next = utf8_percent_encode(here, NON_ALPHANUMERIC);
                    format!("{base_url}language/{}?next={next}", language.code())
                });
                context! {
                    code => language.code(),
                    name => language.native_name(),
                    current => language == visit.language,
                    url => url,
                }
            })
            .collect();
        context! {
            site => context! {
                title => branding.title.as_str(),
                login_text => branding.login_text.as_deref(),
                links => Serde(&branding.links),
                announcement => Serde(&branding.announcement),
                base_url => base_url,
                logo_url => format!("{base_url}logo"),
                version => version,
                user => Serde(&visit.user),
                notices => Serde(&visit.notices),
                language => visit.language.code(),
                languages => languages,
            },
            page => Serde(page),
        }
    }

    fn complain(&self, template: &str, error: &Error) {
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complained.insert(template.to_owned()) {
            warn!(
                template,
                error = %with_causes(error),
                "A template of the administrator's failed; the built-in one is shown instead."
            );
        }
    }
}

impl Engine {
    fn new(
        language: Language,
        base_url: &str,
        overrides: &[(String, String)],
    ) -> Result<Self, RenderError> {
        let catalog = Catalog::load(language)
            .map_err(|source| RenderError::Texts(language.code(), source))?;
        let catalog = Arc::new(catalog);
        let mut built_in = environment(Arc::clone(&catalog), base_url.to_owned(), language);
        for name in BuiltIn::iter() {
            add(&mut built_in, &name, &built_in_source(&name)).map_err(|source| {
                RenderError::Template {
                    template: name.clone().into_owned(),
                    source,
                }
            })?;
        }
        let overridden = (!overrides.is_empty()).then(|| {
            let mut environment = built_in.clone();
            for name in BuiltIn::iter() {
                let copy = format!("builtin/{name}");
                if let Err(error) = add(&mut environment, &copy, &built_in_source(&name)) {
                    warn!(template = copy, %error, "A built-in template cannot be extended.");
                }
            }
            for (name, source) in overrides {
                // The texts of the three languages differ, the templates do not: once is enough.
                if let Err(error) = add(&mut environment, name, source)
                    && language == Language::default()
                {
                    warn!(
                        template = name,
                        error = %with_causes(&error),
                        "A template of the administrator's is broken and is left out."
                    );
                }
            }
            environment
        });
        Ok(Self {
            language,
            catalog,
            built_in,
            overridden,
        })
    }
}

/// The built-in templates with their names.
#[cfg(test)]
pub(super) fn built_in_sources() -> impl Iterator<Item = (String, String)> {
    BuiltIn::iter().map(|name| (name.clone().into_owned(), built_in_source(&name)))
}

fn built_in_source(name: &str) -> String {
    BuiltIn::get(name).map_or_else(String::new, |file| {
        String::from_utf8_lossy(&file.data).into_owned()
    })
}

fn add(environment: &mut Environment<'static>, name: &str, source: &str) -> Result<(), Error> {
    environment.add_template_owned(name.to_owned(), source.to_owned())
}

/// An environment without templates: strict, escaping, with our functions.
fn environment(
    catalog: Arc<Catalog>,
    base_url: String,
    language: Language,
) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    // The usual delimiters are kept, so this cannot fail.
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.add_function("t", move |key: &str, values: Kwargs| {
        translate(&catalog, key, &values)
    });
    environment.add_function("asset", move |path: &str| {
        asset_url(&base_url, path).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOperation,
                format!("there is no static file `{path}`"),
            )
        })
    });
    environment.add_filter("utc", utc);
    environment.add_filter("bytes", move |bytes: u64| {
        decimal(size::about(bytes), language)
    });
    environment.add_filter("number", move |number: f64| {
        decimal(number.to_string(), language)
    });
    environment.set_formatter(escape);
    environment
}

fn translate(catalog: &Catalog, key: &str, values: &Kwargs) -> Result<String, Error> {
    let mut texts = Vec::new();
    for name in values.args() {
        let value: Value = values.get(name)?;
        texts.push((name.to_owned(), value.to_string()));
    }
    catalog
        .fill(key, |wanted| {
            texts
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, text)| text.as_str())
        })
        .map_err(|problem| Error::new(ErrorKind::InvalidOperation, problem))
}

/// Escapes what HTML needs escaped, in text and in quoted attributes; minijinja's own way would escape the
/// slashes of every URL too.
fn escape(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let (AutoEscape::Html, false, Some(text)) =
        (state.auto_escape(), value.is_safe(), value.as_str())
    else {
        return escape_formatter(output, state, value);
    };
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        let (plain, special) = rest.split_at(at);
        let (escaped, after) = match special.as_bytes().first() {
            Some(b'&') => ("&amp;", 1),
            Some(b'<') => ("&lt;", 1),
            Some(b'>') => ("&gt;", 1),
            Some(b'"') => ("&quot;", 1),
            Some(b'\'') => ("&#39;", 1),
            _ => ("", special.len()),
        };
        output.write_str(plain).map_err(not_written)?;
        output.write_str(escaped).map_err(not_written)?;
        rest = special.get(after..).unwrap_or_default();
    }
    output.write_str(rest).map_err(not_written)
}

fn not_written(error: std::fmt::Error) -> Error {
    Error::new(ErrorKind::WriteFailure, "could not write the page").with_source(error)
}

/// Writes the mark before decimals as the language does.
fn decimal(text: String, language: Language) -> String {
    match language {
        Language::English => text,
        Language::Czech | Language::German => text.replace('.', ","),
    }
}

/// A time as people without JavaScript read it; the others get it in their own zone.
fn utc(time: &str) -> Result<String, Error> {
    let time: Timestamp = time.parse().map_err(|_| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("`{time}` is not a time"),
        )
    })?;
    Ok(time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn render(environment: &Environment<'_>, name: &str, context: &Value) -> Result<String, Error> {
    environment.get_template(name)?.render(context.clone())
}

/// A template error with its place and everything below it, in one line.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Reads the `*.html` files of a folder, sorted by name.
fn read_overrides(folder: &Path) -> Result<Vec<(String, String)>, RenderError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RenderError::OverrideFolder { path, source }
    };
    let mut overrides = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let is_template = path
            .extension()
            .is_some_and(|extension| extension == "html");
        if let (true, Some(name)) = (is_template, path.file_name().and_then(|name| name.to_str())) {
            let source = std::fs::read_to_string(&path).map_err(failed(&path))?;
            overrides.push((name.to_owned(), source));
        }
    }
    overrides.sort();
    Ok(overrides)
}
