//! NLTK's index of packages and collections, as `nltk.download()` reads it.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node, ParsingOptions};

use super::DataError;

/// The largest index, in bytes; the real one has 140 KiB.
pub(super) const MAX_INDEX: u64 = 8 << 20;
/// The most elements of an index.
const MAX_NODES: u32 = 100_000;

/// What there is to get.
#[derive(Debug)]
pub(super) struct Index {
    packages: BTreeMap<String, Entry>,
    collections: BTreeMap<String, Vec<String>>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// The folder in which NLTK looks for it.
    pub(super) subdir: String,
    pub(super) url: String,
    /// Whether it is used unpacked.
    pub(super) unzip: bool,
    pub(super) size: u64,
    pub(super) unzipped_size: u64,
    pub(super) checksum: Checksum,
}

/// What a package's file has to have: all that the index tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) md5: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Checksum {
    /// What tells one version from another.
    pub(super) fn text(&self) -> &str {
        let best = self.sha256.as_deref().or(self.md5.as_deref());
        best.unwrap_or_default()
    }
}

impl Index {
    /// Reads an index. `what` says where it is.
    pub(super) fn parse(text: &str, what: &str) -> Result<Self, DataError> {
        let bad = |why: String| DataError::BadIndex {
            what: what.to_owned(),
            why,
        };
        let options = ParsingOptions {
            // No entities of its own: an index needs none, and they can be made to grow without end.
            allow_dtd: false,
            nodes_limit: MAX_NODES,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| bad(format!("it is no XML ({error})")))?;
        let root = document.root_element();
        if !root.has_tag_name("nltk_data") {
            return Err(bad("it does not begin with <nltk_data>".to_owned()));
        }
        let mut index = Self {
            packages: BTreeMap::new(),
            collections: BTreeMap::new(),
        };
        for node in root.descendants() {
            if node.has_tag_name("package") {
                let entry = package(node).map_err(bad)?;
                index.packages.insert(entry.id.clone(), entry);
            } else if node.has_tag_name("collection") {
                let id = node.attribute("id").unwrap_or_default().to_owned();
                let items = node.children().filter(|item| item.has_tag_name("item"));
                let items = items.filter_map(|item| item.attribute("ref"));
                let items = items.map(str::to_owned).collect();
                index.collections.insert(id, items);
            }
        }
        if index.packages.is_empty() {
            return Err(bad("it has no packages".to_owned()));
        }
        Ok(index)
    }

    /// Finds the packages of these names, and those of the collections of these names, each once, in order.
    pub(super) fn choose(&self, names: &[String]) -> Result<Vec<Entry>, DataError> {
        let mut chosen = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut missing = Vec::new();
        // What a collection names and the index does not have is the index's mistake, not the caller's.
        let mut todo: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), true)).collect();
        while let Some((name, asked)) = todo.pop() {
            if !seen.insert(name) {
                continue;
            }
            if let Some(entry) = self.packages.get(name) {
                chosen.insert(name, entry.clone());
            } else if let Some(items) = self.collections.get(name) {
                todo.extend(items.iter().map(|item| (item.as_str(), false)));
            } else if asked {
                missing.push(name.to_owned());
            }
        }
        if missing.is_empty() {
            return Ok(chosen.into_values().collect());
        }
        missing.sort();
        let near = |name: &&String| {
            let name = name.to_lowercase();
            missing.iter().any(|asked| {
                let asked = asked.to_lowercase();
                name.contains(&asked) || asked.contains(&name)
            })
        };
        let all = self.packages.keys().chain(self.collections.keys());
        Err(DataError::NoSuchPackage {
            similar: all.filter(near).take(5).cloned().collect(),
            names: missing,
        })
    }
}

fn package(node: Node<'_, '_>) -> Result<Entry, String> {
    let id = node.attribute("id").unwrap_or_default();
    let text = |name: &str| node.attribute(name).unwrap_or_default();
    let number = |name: &str| text(name).parse().unwrap_or(0);
    for (name, value) in [("id", id), ("subdir", text("subdir"))] {
        if !is_name(value) {
            return Err(format!("the {name} {value:?} of a package is no name"));
        }
    }
    let sum = |name: &str, digits: usize| {
        let sum = node.attribute(name).map(str::to_ascii_lowercase);
        sum.filter(|sum| sum.len() == digits && sum.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    let checksum = Checksum {
        md5: sum("checksum", 32),
        sha256: sum("sha256_checksum", 64).or_else(|| sum("sha256", 64)),
    };
    if checksum.text().is_empty() {
        return Err(format!("the package {id} has no checksum"));
    }
    Ok(Entry {
        id: id.to_owned(),
        subdir: text("subdir").to_owned(),
        url: text("url").to_owned(),
        unzip: text("unzip") != "0",
        size: number("size"),
        unzipped_size: number("unzipped_size"),
        checksum,
    })
}

/// Whether it can be the name of a folder, and nothing else.
pub(super) fn is_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"_-.".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "0123456789abcdef0123456789abcdef";

    fn index(packages: &str, collections: &str) -> Result<Index, DataError> {
        let text = format!(
            "<?xml version='1.0'?><?xml-stylesheet href='index.xsl'?><nltk_data><packages>{packages}</packages>\
             <collections>{collections}</collections></nltk_data>"
        );
        Index::parse(&text, "here")
    }

    fn entry(id: &str) -> String {
        format!(
            "<package id='{id}' subdir='corpora' checksum='{SUM}' size='7' unzip='1' url='http://x/y.zip'/>"
        )
    }

    #[test]
    fn collections_lead_to_their_packages_once() {
        let index = index(
            &[entry("a"), entry("b"), entry("c")].concat(),
            "<collection id='popular'><item ref='a'/><item ref='inner'/><item ref='gone'/></collection>\
             <collection id='inner'><item ref='b'/><item ref='popular'/></collection>",
        )
        .unwrap();
        let names = |asked: &[&str]| -> Vec<String> {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            let chosen = index.choose(&asked).unwrap();
            chosen.into_iter().map(|entry| entry.id).collect()
        };
        assert_eq!(names(&["popular"]), ["a", "b"]);
        assert_eq!(names(&["c", "a", "a"]), ["a", "c"]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_similar() {
        let index = index(&[entry("punkt"), entry("punkt_tab")].concat(), "").unwrap();
        let error = index.choose(&["Punk".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "the index has no `Punk`");
        assert_eq!(error.hint().unwrap(), "it has `punkt`, `punkt_tab`");
    }

    #[test]
    fn an_index_that_could_do_harm_is_refused() {
        for bad in [
            format!("<package id='../x' subdir='corpora' checksum='{SUM}'/>"),
            format!("<package id='x' subdir='..' checksum='{SUM}'/>"),
            format!("<package id='x' subdir='a/b' checksum='{SUM}'/>"),
            format!("<package id='' subdir='corpora' checksum='{SUM}'/>"),
            "<package id='x' subdir='corpora'/>".to_owned(),
            "<package id='x' subdir='corpora' checksum='no'/>".to_owned(),
            String::new(),
            "<package".to_owned(),
        ] {
            assert!(index(&bad, "").is_err(), "{bad}");
        }
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'>]><nltk_data>&a;</nltk_data>";
        assert!(Index::parse(bomb, "here").is_err());
    }
}
