//! Reads a list of packages that is written as R code, without running it.
//!
//! What is looked for are lists of names and of records, as in
//! `list("AER", list(name = "limma", method = "bioc"), list(name = "xml2", method = "apt"))`; all else is passed over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::error::{RError, io};
use super::list::{Entry, Method, PackageList, is_package_name};

/// How deep calls may lie in each other.
const DEPTH: usize = 64;

/// What was found in a file of R code.
#[derive(Debug, Default)]
pub struct Imported {
    /// The packages.
    pub list: PackageList,
    /// Libraries of the system that are named among them: packages of Debian, none of R.
    pub system: Vec<String>,
    /// What was passed over, or changed, with its line: sentences for a person.
    pub notes: Vec<String>,
}

/// Reads a file.
pub fn import(path: &Path) -> Result<Imported, RError> {
    let bytes = fs::read(path).map_err(io("read", path))?;
    let imported = import_text(&String::from_utf8_lossy(&bytes));
    if imported.list.entries.is_empty() {
        return Err(RError::List {
            path: path.to_owned(),
            line: 1,
            problem: "found no list of packages: expected `list(\"name\", list(name = \"name\", method = \"apt\"), …)`"
                .to_owned(),
        });
    }
    Ok(imported)
}

/// Reads a text of R code.
pub fn import_text(text: &str) -> Imported {
    let mut imported = Imported::default();
    let mut seen = BTreeSet::new();
    let tokens = tokens(text);
    let mut at = 0;
    while at < tokens.len() {
        // A call such as `library("x")` or `file.path("a", "b")` is no list of packages.
        let is_list = matches!(word(&tokens, at), Some("list" | "c"))
            && at > 0
            && is_assignment(&tokens, at - 1);
        match is_list.then(|| call(&tokens, at, 0)).flatten() {
            Some((items, next)) => {
                for item in items {
                    take(item, &mut imported, &mut seen);
                }
                at = next;
            }
            None => at += 1,
        }
    }
    imported
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A name or a number.
    Word(String),
    Text(String),
    Sign(char),
}

/// A token and its line.
type Placed = (Token, usize);

/// One argument of a call.
#[derive(Debug)]
struct Item {
    name: Option<String>,
    value: Value,
    line: usize,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Word(String),
    List(Vec<Item>),
    Other,
}

fn tokens(text: &str) -> Vec<Placed> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        match first {
            '\n' => line += 1,
            '#' => while chars.next_if(|next| *next != '\n').is_some() {},
            '"' | '\'' | '`' => {
                let begun = line;
                let mut value = String::new();
                while let Some(next) = chars.next() {
                    match next {
                        '\\' => match chars.next() {
                            Some('n') => value.push('\n'),
                            Some(other) => value.push(other),
                            None => {}
                        },
                        _ if next == first => break,
                        _ => {
                            line += usize::from(next == '\n');
                            value.push(next);
                        }
                    }
                }
                tokens.push((Token::Text(value), begun));
            }
            _ if first.is_alphanumeric() || first == '.' || first == '_' => {
                let mut word = String::from(first);
                while let Some(next) =
                    chars.next_if(|next| next.is_alphanumeric() || *next == '.' || *next == '_')
                {
                    word.push(next);
                }
                tokens.push((Token::Word(word), line));
            }
            _ if first.is_whitespace() => {}
            _ => tokens.push((Token::Sign(first), line)),
        }
    }
    tokens
}

fn word(tokens: &[Placed], at: usize) -> Option<&str> {
    match tokens.get(at) {
        Some((Token::Word(word), _)) => Some(word),
        _ => None,
    }
}

fn is_sign(tokens: &[Placed], at: usize, sign: char) -> bool {
    matches!(tokens.get(at), Some((Token::Sign(found), _)) if *found == sign)
}

/// Whether a value stands behind this token: `x <- list(…)`, `x = c(…)`, `for (p in list(…))`, `f(list(…))`.
fn is_assignment(tokens: &[Placed], at: usize) -> bool {
    match tokens.get(at) {
        Some((Token::Sign('-' | '=' | '(' | ','), _)) => true,
        Some((Token::Word(word), _)) => word == "in",
        _ => false,
    }
}

/// Reads the call that begins here: its arguments, and the place behind it.
fn call(tokens: &[Placed], at: usize, depth: usize) -> Option<(Vec<Item>, usize)> {
    if depth > DEPTH {
        return None;
    }
    word(tokens, at)?;
    if !is_sign(tokens, at + 1, '(') {
        return None;
    }
    let mut items = Vec::new();
    let mut at = at + 2;
    loop {
        if is_sign(tokens, at, ')') {
            return Some((items, at + 1));
        }
        let (_, line) = tokens.get(at)?;
        let line = *line;
        let name = match tokens.get(at) {
            Some((Token::Word(name) | Token::Text(name), _))
                if is_sign(tokens, at + 1, '=') && !is_sign(tokens, at + 2, '=') =>
            {
                at += 2;
                Some(name.clone())
            }
            _ => None,
        };
        let (mut value, mut next) = match tokens.get(at)? {
            (Token::Text(text), _) => (Value::Text(text.clone()), at + 1),
            (Token::Word(name), _) => match call(tokens, at, depth + 1) {
                Some((inner, next)) if name == "list" || name == "c" => (Value::List(inner), next),
                Some((_, next)) => (Value::Other, next),
                None if is_sign(tokens, at + 1, '(') => return None,
                None => (Value::Word(name.clone()), at + 1),
            },
            (Token::Sign(_), _) => (Value::Other, at),
        };
        // Whatever follows until the comma makes it something that we do not read.
        let mut open = 0_usize;
        while let Some((token, _)) = tokens.get(next) {
            match token {
                Token::Sign(',' | ')') if open == 0 => break,
                Token::Sign('(' | '[' | '{') => open += 1,
                Token::Sign(')' | ']' | '}') => open = open.saturating_sub(1),
                _ => {}
            }
            value = Value::Other;
            next += 1;
        }
        if is_sign(tokens, next, ',') {
            next += 1;
        } else if !is_sign(tokens, next, ')') {
            return None;
        }
        let empty = matches!(tokens.get(at), Some((Token::Sign(',' | ')'), _)));
        if !empty {
            items.push(Item { name, value, line });
        }
        at = next;
    }
}

/// Takes one element of a list: a name, or a record.
fn take(item: Item, imported: &mut Imported, seen: &mut BTreeSet<String>) {
    let line = item.line;
    match item.value {
        Value::Text(name) => add(
            entry_of(&name, None, None, line, imported),
            line,
            imported,
            seen,
        ),
        Value::List(fields) => {
            if fields
                .iter()
                .any(|field| field.name.as_deref() == Some("name"))
            {
                let text = |key: &str| {
                    fields
                        .iter()
                        .find(|field| field.name.as_deref() == Some(key))
                        .and_then(|field| match &field.value {
                            Value::Text(text) => Some(text.clone()),
                            Value::Word(word) if word != "NULL" && word != "NA" => {
                                Some(word.clone())
                            }
                            _ => None,
                        })
                };
                let Some(name) = text("name") else {
                    imported.notes.push(format!(
                        "line {line}: a record's name is no text, passed over"
                    ));
                    return;
                };
                let (locator, method) = (text("locator"), text("method"));
                let entry = entry_of(&name, locator, method.as_deref(), line, imported);
                add(entry, line, imported, seen);
            } else {
                for field in fields {
                    take(field, imported, seen);
                }
            }
        }
        Value::Word(_) | Value::Other => {
            imported.notes.push(format!(
                "line {line}: an element is neither a text nor a record, passed over"
            ));
        }
    }
}

fn entry_of(
    name: &str,
    locator: Option<String>,
    method: Option<&str>,
    line: usize,
    imported: &mut Imported,
) -> Option<Entry> {
    let locator = locator.filter(|locator| locator != name && !locator.is_empty());
    let named = |method| Entry::named(method, name);
    let located = |method, locator| Entry {
        locator: Some(locator),
        ..Entry::named(method, name)
    };
    let is_address = |text: &str| text.contains("://");
    let entry = match (method.unwrap_or_default(), locator) {
        ("" | "cran" | "default", None) => {
            if !is_package_name(name) {
                if name.starts_with("lib") {
                    imported.system.push(name.to_owned());
                } else {
                    imported.notes.push(format!(
                        "line {line}: `{name}` is no package of R, passed over"
                    ));
                }
                return None;
            }
            named(Method::Cran)
        }
        ("" | "cran" | "default", Some(locator)) if is_address(&locator) => {
            located(Method::Url, locator)
        }
        ("" | "cran" | "default", Some(locator)) if is_package_name(&locator) => {
            Entry::named(Method::Cran, &locator)
        }
        ("apt", locator) => return apt(name, locator.as_deref(), line, imported),
        ("bioc" | "bioconductor", _) => named(Method::Bioc),
        ("github", locator) => located(Method::Github, locator.unwrap_or_else(|| name.to_owned())),
        ("git", Some(locator)) => located(Method::Git, locator),
        ("url", Some(locator)) => located(Method::Url, locator),
        ("local", Some(locator)) => located(Method::Local, locator),
        (method, _) => {
            let text =
                format!("line {line}: {name}: the method `{method}` is not known, passed over");
            imported.notes.push(text);
            return None;
        }
    };
    if entry.method == Method::Url {
        imported.notes.push(format!(
            "line {line}: {name} comes from an address: `lyceum env r build` tells the sha256 that its entry needs"
        ));
    }
    Some(entry)
}

/// What apt installs: `xml2` means `r-cran-xml2`, and names of libraries are no packages of R.
fn apt(name: &str, locator: Option<&str>, line: usize, imported: &mut Imported) -> Option<Entry> {
    let wanted = locator.unwrap_or(name).to_lowercase();
    let debian = if wanted.starts_with("r-") {
        wanted
    } else if wanted.starts_with("lib") && wanted.contains('-') {
        imported.system.push(wanted);
        return None;
    } else {
        imported.notes.push(format!(
            "line {line}: {name}: `r-cran-{wanted}` is the package of the distribution; the prefix was missing"
        ));
        format!("r-cran-{wanted}")
    };
    let plain = debian
        .split_once('-')
        .and_then(|(_, rest)| rest.split_once('-'))
        .map(|(_, rest)| rest);
    let name = if is_package_name(name) {
        name.to_owned()
    } else {
        plain.unwrap_or(name).to_owned()
    };
    let entry = Entry::named(Method::Apt, &name);
    if entry.debian_name().as_deref() == Some(&debian) {
        return Some(entry);
    }
    Some(Entry {
        locator: Some(debian),
        ..entry
    })
}

fn add(entry: Option<Entry>, line: usize, imported: &mut Imported, seen: &mut BTreeSet<String>) {
    let Some(entry) = entry else { return };
    if !seen.insert(entry.name.clone()) {
        imported.notes.push(format!(
            "line {line}: {} is named twice, the first counts",
            entry.name
        ));
        return;
    }
    // The list's own rules decide, so that what is written can be read.
    let alone = PackageList {
        entries: vec![entry],
    };
    match PackageList::parse(&alone.to_toml(), Path::new("")) {
        Ok(read) => imported.list.entries.extend(read.entries),
        Err(RError::List { problem, .. }) => imported
            .notes
            .push(format!("line {line}: {problem}, passed over")),
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = r#"
#!/usr/bin/env Rscript
source("https://bioconductor.org/biocLite.R")   # "not" this
repos <- c("https://cloud.r-project.org")
system("apt-get install -y libmpfr-dev")
packages = list(
    'AER', "data.table",  # econometrics, "tables"
    list(name = "Rcpp", method = "apt"),
    list(name="XML", locator="r-cran-xml", method='apt'),
    list(method="apt", name="lme4", locator="LME4"),
    list(name = "BLAS", locator = "libopenblas-dev", method = "apt"),
    list(name = "limma", method = "bioc"),
    list(name = "rethinking", locator = "rmcelreath/rethinking", method = "github"),
    list(name = "DAAGextra", locator = "https://example.org/DAAGextra_1.0.tar.gz"),
    list(name = "weird", method = "conda"),
    paste0("a", "b"),
    "AER",
    "ggplot2"
)
for (p in packages) {
    if (!require(p[["name"]], character.only = TRUE)) install.packages(p$name)
}
"#;

    #[test]
    fn the_lists_of_the_old_script_are_understood() {
        let imported = import_text(ORIGINAL);
        let found: Vec<_> = imported
            .list
            .entries
            .iter()
            .map(|entry| {
                format!(
                    "{} {} {}",
                    entry.method,
                    entry.name,
                    entry.locator.as_deref().unwrap_or("-")
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "cran AER -",
                "cran data.table -",
                "apt Rcpp -",
                "apt XML -",
                "apt lme4 -",
                "bioc limma -",
                "github rethinking rmcelreath/rethinking",
                "url DAAGextra https://example.org/DAAGextra_1.0.tar.gz",
                "cran ggplot2 -",
            ]
        );
        assert_eq!(imported.system, ["libopenblas-dev"]);
        let notes = imported.notes.join("\n");
        assert!(
            notes.contains("line 8: Rcpp: `r-cran-rcpp` is the package"),
            "{notes}"
        );
        assert!(
            notes.contains("line 15: weird: the method `conda`"),
            "{notes}"
        );
        assert!(notes.contains("line 16: an element is neither"), "{notes}");
        assert!(notes.contains("line 17: AER is named twice"), "{notes}");
        assert_eq!(
            imported.list.find("XML").unwrap().debian_name().as_deref(),
            Some("r-cran-xml")
        );
    }

    #[test]
    fn broken_code_is_no_danger() {
        for text in [
            "x <- list(",
            "x <- list(\"a",
            "x = list(list(list(",
            "))((,,",
            "list(name=,)",
            "x <- list(,,\"AB\",)",
        ] {
            let _ = import_text(text);
        }
        let deep = format!("x <- {}\"AB\"{}", "list(".repeat(5000), ")".repeat(5000));
        assert!(import_text(&deep).list.entries.len() <= 1);
    }
}
