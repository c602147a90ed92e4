//! Reads one TOML file, and tells of every syntax error in it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::mask::mask;
use crate::problem::{Problem, Report};
use crate::schema::is_secret;
use crate::source::{Place, Source, SourceKind, Sources};
use crate::tree::{Data, Node, Table, table_from_toml};

/// The largest file that is read, in bytes. Nobody writes a larger one by hand.
const MAX_BYTES: usize = 1024 * 1024;

/// How often a broken file is read again without its broken lines, before nothing but its errors is told.
const MAX_REPAIRS: usize = 20;

/// Reads a file; if that is not possible, reports it and gives nothing.
pub(crate) fn read(path: &Path, sources: &mut Sources, report: &mut Report) -> Option<Node> {
    let shown = path.display();
    let bytes = match read_bytes(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let help = match error.kind() {
                std::io::ErrorKind::NotFound => "check the path, or leave it out for the defaults",
                std::io::ErrorKind::PermissionDenied => {
                    "it has to be readable for the account that runs Lyceum"
                }
                _ => "it has to be an ordinary file",
            };
            report.add(Problem::error(format!("cannot read {shown}: {error}")).help(help));
            return None;
        }
    };
    if bytes.len() > MAX_BYTES {
        report.add(Problem::error(format!(
            "{shown} is larger than 1 MiB, so it is hardly a configuration"
        )));
        return None;
    }
    // A file that is named relative to the working directory lies in a folder all the same.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let kind = SourceKind::File(path.to_owned());
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let source = sources.add(Source { kind, text, base });
            let at = Place {
                source,
                span: start..start + char::REPLACEMENT_CHARACTER.len_utf8(),
            };
            report.add(
                Problem::error("the file is not valid UTF-8")
                    .mark(&at, "these bytes are not text")
                    .help("save it again as UTF-8"),
            );
            return None;
        }
    };
    Some(parse(kind, &text, base, sources, report))
}

/// Reads an ordinary file up to a little more than what is allowed. Anything else could be without an end.
fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read as _};

    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "this is not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(
    kind: SourceKind,
    text: &str,
    base: PathBuf,
    sources: &mut Sources,
    report: &mut Report,
) -> Node {
    let number = sources.add(Source {
        kind,
        text: text.to_owned(),
        base,
    });
    let place = |span: Range<usize>| Place {
        source: number,
        span,
    };
    let mut errors = DeTable::parse_recoverable(text).1;
    // What the parser makes of a broken line is a guess, and it may stop there. So the rest is read without it.
    let mut rest = text.to_owned();
    let mut broken = lines_of_syntax_errors(&errors, text);
    let mut has_stopped = errors.iter().any(stops_the_parser);
    for _ in 0..MAX_REPAIRS {
        if broken.is_empty() {
            break;
        }
        blank(&mut rest, &broken);
        let more = DeTable::parse_recoverable(&rest).1;
        broken = lines_of_syntax_errors(&more, &rest);
        // If it did not stop, new errors only come of the lines that are gone.
        if has_stopped {
            has_stopped = more.iter().any(stops_the_parser);
            errors.extend(more);
        }
    }
    if !broken.is_empty() {
        rest.clear();
    }
    let document = DeTable::parse_recoverable(&rest).0.into_inner();
    let layer = Node {
        data: Data::Table(table_from_toml(document, &place)),
        at: place(0..0),
    };
    let mut shown: Vec<Range<usize>> = Vec::new();
    for error in &errors {
        let at = &place(error.span().unwrap_or(text.len()..text.len()));
        // One slip makes the parser stumble several times on a line; the first stumble is the telling one.
        let lines = sources.lines(at);
        if shown.contains(&lines) {
            continue;
        }
        shown.push(lines);
        report.add(syntax_problem(error, at, text, &layer));
        // A list that is not closed swallows what follows: nothing more that is said of the text is to be trusted.
        if error.message().contains("array") {
            break;
        }
    }
    let mut masked = text.to_owned();
    mask(&mut masked, &layer);
    sources.set_text(number, masked);
    layer
}

/// After a key without its `=`, values are not looked at any more.
fn stops_the_parser(error: &toml::de::Error) -> bool {
    error.message().starts_with("key with no value")
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().starts_with("duplicate key")
}

/// The lines, as bytes, on which there are errors other than keys that are set twice.
fn lines_of_syntax_errors(errors: &[toml::de::Error], text: &str) -> Vec<Range<usize>> {
    errors
        .iter()
        .filter(|error| !is_duplicate(error))
        .map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            // An error at the very end belongs to the last line that says something.
            let said = text.trim_end().len();
            let start = span.start.min(said);
            let end = span.end.clamp(start, text.len());
            let line_start = text
                .get(..start)
                .and_then(|before| before.rfind('\n'))
                .map_or(0, |at| at + 1);
            let line_end = text
                .get(end..)
                .and_then(|after| after.find('\n'))
                .map_or(text.len(), |at| end + at);
            line_start..line_end
        })
        .collect()
}

/// Writes spaces over lines. After the head of a section all of its lines go too: they would join another section.
fn blank(text: &mut String, lines: &[Range<usize>]) {
    for line in lines {
        let mut end = line.end;
        let is_head = |line: &str| line.trim_start().starts_with('[');
        if text.get(line.clone()).is_some_and(is_head) {
            for next in text.get(end..).unwrap_or_default().split_inclusive('\n') {
                if is_head(next) {
                    break;
                }
                end += next.len();
            }
        }
        let Some(part) = text.get(line.start..end) else {
            continue;
        };
        let spaces: String = part
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect();
        text.replace_range(line.start..end, &spaces);
    }
}

fn syntax_problem(error: &toml::de::Error, at: &Place, text: &str, layer: &Node) -> Problem {
    if is_duplicate(error) {
        return duplicate(at, text, layer.as_table());
    }
    let message = error.message();
    let message = if message.starts_with("string values must be quoted") {
        "a text must stand in quotes"
    } else {
        message
    };
    let problem = Problem::error("this is not valid TOML").mark(at, message);
    match open_list(text, at).filter(|_| message.contains("array")) {
        Some(open) => problem.mark(&open, "in the list that begins here"),
        None => problem.maybe_help(syntax_help(text, at)),
    }
}

/// The bracket of the list that an error is in: the last one that stands as a value.
fn open_list(text: &str, at: &Place) -> Option<Place> {
    let before = text.get(..at.span.start)?;
    let start = before
        .rmatch_indices('[')
        .find(|(index, _)| {
            let ahead = before.get(..*index).unwrap_or_default().trim_end();
            ahead.ends_with(['=', ',', '['])
        })?
        .0;
    Some(Place {
        source: at.source,
        span: start..start + 1,
    })
}

/// A key that stands twice; both places are shown if the first one can be found.
fn duplicate(at: &Place, text: &str, table: Option<&Table>) -> Problem {
    let key = text
        .get(at.span.clone())
        .unwrap_or_default()
        .trim_matches(['"', '\'', '[', ']', ' ']);
    let mut places = Vec::new();
    if let Some(table) = table {
        find_keys(table, key, &mut places);
    }
    let is_head = |line: &&str| line.trim_start().starts_with('[');
    let head = |end: usize| {
        let before = text.get(..end).unwrap_or_default();
        before.lines().rev().find(is_head).map(str::trim)
    };
    let start = at.span.start;
    let line_start = text.get(..start).and_then(|before| before.rfind('\n'));
    let is_section = text
        .get(line_start.map_or(0, |at| at + 1)..)
        .is_some_and(|line| is_head(&line));
    // The same key under another head is another key; of a section, the head is what stands twice.
    places.retain(|place| {
        place.span.end <= start && (is_section || head(place.span.start) == head(start))
    });
    let what = if is_section { "the section " } else { "" };
    let problem = Problem::error(format!("{what}`{key}` is there twice")).mark(at, "again here");
    match places.iter().max_by_key(|place| place.span.start) {
        Some(first) => problem.mark(first, "first here"),
        None => problem,
    }
}

fn find_keys(table: &Table, key: &str, places: &mut Vec<Place>) {
    for (name, entry) in table {
        if name == key {
            places.push(entry.key_at.clone());
        }
        if let Some(inner) = entry.node.as_table() {
            find_keys(inner, key, places);
        }
    }
}

/// What helps with the usual slips.
fn syntax_help(text: &str, at: &Place) -> Option<String> {
    let start = text
        .get(..at.span.start)?
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let line = text.get(start..)?.lines().next()?;
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let first = value.chars().next()?;
    if first.is_alphabetic() || first == '/' || (first.is_ascii_digit() && !value.contains('"')) {
        let key = key.trim();
        if is_secret(None, key.rsplit('.').next().unwrap_or(key)) {
            return Some("a text stands in quotes".to_owned());
        }
        let value = value.split('#').next().unwrap_or(value).trim();
        return Some(format!("a text stands in quotes: `{key} = \"{value}\"`"));
    }
    None
}
