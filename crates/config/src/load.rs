//! Loads the configuration: defaults, files, environment, command line, in this order; later ones win.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::given::{self, Override};
use crate::problem::{ConfigErrors, Problem, Report};
use crate::schema::{Schema, Shape, is_path};
use crate::semantic;
use crate::settings::Config;
use crate::source::{Origin, Place, Sources};
use crate::tree::{Data, Node, Step, Table, path_text};
use crate::{catalog, check, decode, file, follow};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "/etc/lyceum/lyceum.toml";

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The file that was asked for, which must exist. If `None`, [`DEFAULT_FILE`] is read if there is one.
    pub file: Option<PathBuf>,
    /// The environment; only variables that begin with [`crate::ENVIRONMENT_PREFIX`] count.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line sets; it wins over everything else.
    pub overrides: Vec<Override>,
    /// The folder to which relative paths in the environment and on the command line belong.
    pub current_dir: PathBuf,
}

impl LoadOptions {
    /// Takes environment and current folder of this process.
    pub fn from_process(file: Option<PathBuf>, overrides: Vec<Override>) -> Self {
        Self {
            file,
            environment: std::env::vars_os().collect(),
            overrides,
            current_dir: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// Loads exactly one file, without environment and command line.
    pub fn file_alone(file: impl Into<PathBuf>) -> Self {
        Self {
            file: Some(file.into()),
            ..Self::default()
        }
    }
}

/// A configuration without errors.
#[derive(Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What is probably not meant, though it can be used.
    pub warnings: Vec<Problem>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    pub(crate) tree: Node,
    pub(crate) origins: BTreeMap<String, Origin>,
}

impl fmt::Debug for Loaded {
    /// Leaves the values out as they were written: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .field("warnings", &self.warnings)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Tells where the value of a key, such as `hub.base_url`, comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Loads the configuration, or tells everything that is wrong with it.
pub fn load(options: &LoadOptions) -> Result<Loaded, ConfigErrors> {
    load_or_default(options, Path::new(DEFAULT_FILE))
}

/// Loads with another file in place of [`DEFAULT_FILE`].
pub(crate) fn load_or_default(
    options: &LoadOptions,
    default_file: &Path,
) -> Result<Loaded, ConfigErrors> {
    let schema = Schema::new();
    let mut sources = Sources::default();
    let mut report = Report::default();
    let (mut tree, files) = merged(options, default_file, &schema, &mut sources, &mut report);

    let mut unusable = check::check(&tree, &schema, &mut report);
    remove_all(&mut tree, &unusable);
    name_kinds(&mut tree, &schema);
    follow::place_below_root(&mut tree, &mut sources);
    follow::serve_https(&mut tree, &mut sources);
    make_paths_absolute(&mut tree, &schema, &sources);

    // What is left is read, so that values of the right type but without sense are found as well.
    let mut readable = tree.clone();
    let (config, unreadable) =
        decode::decode::<Config>(&mut readable, &unusable, &schema, &mut report);
    unusable.extend(unreadable);
    if let Some(config) = &config {
        let unusable: Vec<String> = unusable.iter().map(|path| path_text(path)).collect();
        semantic::check(config, &tree, &unusable, &sources, &mut report);
    }

    let mut origins = BTreeMap::new();
    note_origins(&tree, &mut Vec::new(), &sources, &mut origins);
    let (errors, warnings) = report.finish(&Arc::new(sources));
    let loaded = config.map(|config| Loaded {
        config,
        warnings: warnings.clone(),
        files,
        tree,
        origins,
    });
    match loaded {
        Some(loaded) if errors.is_empty() => Ok(loaded),
        readable => Err(ConfigErrors {
            errors,
            warnings,
            readable: readable.map(Box::new),
        }),
    }
}

/// Reads all sources and lays them over each other.
fn merged(
    options: &LoadOptions,
    default_file: &Path,
    schema: &Schema,
    sources: &mut Sources,
    report: &mut Report,
) -> (Node, Vec<PathBuf>) {
    let mut tree = Node {
        data: Data::Table(Table::new()),
        at: nowhere(),
    };
    let files = files(options, default_file, report);
    for path in &files {
        if let Some(layer) = file::read(path, sources, report) {
            lay_over(&mut tree, layer);
        }
    }
    let base = options.current_dir.as_path();
    let mut layers = given::from_environment(&options.environment, base, schema, sources, report);
    layers.extend(given::from_overrides(
        &options.overrides,
        base,
        schema,
        sources,
        report,
    ));
    for layer in layers {
        lay_over(&mut tree, layer);
    }
    (tree, files)
}

/// The lists whose entries of all sources are taken together.
const GATHERED: [&str; 2] = ["services", "roles"];

/// Lays a source over those before it.
fn lay_over(tree: &mut Node, mut layer: Node) {
    for key in GATHERED {
        let path = [Step::Key(key.to_owned())];
        let earlier = match tree.find(&path).map(|node| &node.data) {
            Some(Data::Array(items)) => items.clone(),
            _ => continue,
        };
        if let Data::Table(table) = &mut layer.data
            && let Some(entry) = table.get_mut(key)
            && let Data::Array(items) = &mut entry.node.data
        {
            items.splice(0..0, earlier);
        }
    }
    tree.merge(layer);
}

/// Lists the file and those of the folder beside it (`lyceum.d` for `lyceum.toml`), in the order of their names.
fn files(options: &LoadOptions, default_file: &Path, report: &mut Report) -> Vec<PathBuf> {
    let (main, is_wanted) = match &options.file {
        Some(file) => (file.clone(), true),
        None => (default_file.to_owned(), false),
    };
    let mut files = Vec::new();
    if is_wanted || main.exists() {
        files.push(main.clone());
    }
    let folder = main.with_extension("d");
    if folder == main {
        return files;
    }
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            let mut more: Vec<PathBuf> = entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .filter(|path| is_fragment(path))
                .collect();
            more.sort();
            files.extend(more);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => report.add(
            Problem::error(format!(
                "cannot read the folder {}: {error}",
                folder.display()
            ))
            .help("the files in it belong to the configuration, so it has to be a readable folder"),
        ),
    }
    files
}

/// Whether a file of the folder counts: `*.toml`, but not the hidden ones that editors leave.
fn is_fragment(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|end| end == "toml")
}

/// Takes values out of the tree; from the back, so that the numbers of list entries stay right.
fn remove_all(tree: &mut Node, paths: &[Vec<Step>]) {
    let mut paths: Vec<_> = paths.iter().collect();
    paths.sort();
    for path in paths.into_iter().rev() {
        tree.remove(path);
    }
}

/// The place of what nobody has written.
fn nowhere() -> Place {
    Place {
        source: usize::MAX,
        span: 0..0,
    }
}

/// Gives sections that have kinds, but do not name theirs, the default one.
fn name_kinds(tree: &mut Node, schema: &Schema) {
    for section in catalog::sections(schema.root()) {
        let Shape::Tagged { tag, .. } = section.at.shape() else {
            continue;
        };
        let default = section
            .at
            .default()
            .and_then(|whole| whole.get(tag)?.as_str());
        let path = [section.name, tag].map(|key| Step::Key(key.to_owned()));
        let (Some(default), Some(_), None) =
            (default, tree.find(path.split_at(1).0), tree.find(&path))
        else {
            continue;
        };
        let keys = [section.name, tag].map(str::to_owned);
        tree.put(&keys, &nowhere(), Node::text(default.to_owned(), nowhere()));
    }
}

/// Joins relative paths to the folder of the source that they stand in.
fn make_paths_absolute(tree: &mut Node, schema: &Schema, sources: &Sources) {
    let shape = tree.clone();
    tree.change_texts(&mut Vec::new(), &|path, text, at| {
        let Some(Step::Key(key)) = path.last() else {
            return None;
        };
        let tag = |path: &[Step], tag: &str| decode::tag_in(&shape, path, tag);
        let place = schema.root().find(path, &tag)?;
        let parent = path.split_last().map_or(&[][..], |(_, parents)| parents);
        let free = schema
            .root()
            .find(parent, &tag)
            .is_some_and(|parent| parent.is_free_key(key));
        if free || !is_path(place, key) || text.is_empty() || Path::new(text).is_absolute() {
            return None;
        }
        Some(sources.base(at)?.join(text).display().to_string())
    });
}

fn note_origins(
    node: &Node,
    path: &mut Vec<Step>,
    sources: &Sources,
    origins: &mut BTreeMap<String, Origin>,
) {
    match &node.data {
        Data::Table(table) => {
            for (key, entry) in table {
                path.push(Step::Key(key.clone()));
                note_origins(&entry.node, path, sources, origins);
                path.pop();
            }
        }
        Data::Array(items) => {
            origins.insert(path_text(path), sources.origin(&node.at));
            for (index, item) in items.iter().enumerate() {
                if item.as_table().is_some() {
                    path.push(Step::Index(index));
                    note_origins(item, path, sources, origins);
                    path.pop();
                }
            }
        }
        Data::Leaf(_) => {
            origins.insert(path_text(path), sources.origin(&node.at));
        }
    }
}
