//! Rules about secrets: none in the file itself, and the files that hold them are nobody else's to read.

use std::path::Path;

use super::Rules;
use crate::given::{ENVIRONMENT_PREFIX, variable_of};
use crate::mask::url_password;
use crate::problem::Problem;
use crate::schema::is_secret_file;
use crate::source::Origin;
use crate::tree::{Data, Node, Step, path_text};

impl Rules<'_> {
    /// Passwords that stand in a file that everybody may copy, print and send by mail.
    pub(super) fn inline_secrets(&mut self) {
        let mut found = Vec::new();
        inline_passwords(self.tree, &mut Vec::new(), &mut found);
        for (path, node) in found {
            if !matches!(self.sources.origin(&node.at), Origin::File { .. }) {
                continue;
            }
            let key = path_text(&path);
            let problem = Problem::warning(format!("`{key}` contains a password"))
                .mark(&node.at, "whoever reads this file knows it")
                .help(format!(
                    "put the password into a file of its own, or set `{ENVIRONMENT_PREFIX}{}`",
                    variable_of(&key)
                ));
            self.report.add(problem);
        }
    }

    /// Files with secrets: there, and nobody else's to read.
    pub(super) fn secret_files(&mut self) {
        let mut found = Vec::new();
        secret_files(self.tree, &mut Vec::new(), &mut found);
        for (path, file, node) in found {
            let key = path_text(&path);
            match secret_file_fault(Path::new(&file)) {
                Some((label, help)) if self.usable(&[&key]) => {
                    let problem =
                        Problem::error(format!("the secret file of `{key}` cannot be used"))
                            .mark(&node.at, label)
                            .help(help);
                    self.report.add(problem);
                }
                _ => {}
            }
        }
    }
}

/// Finds URLs with a password. A server's own variables are left alone: what they mean is not for us to know.
fn inline_passwords<'a>(
    node: &'a Node,
    path: &mut Vec<Step>,
    found: &mut Vec<(Vec<Step>, &'a Node)>,
) {
    let Some(table) = node.as_table() else {
        return;
    };
    for (key, entry) in table {
        if key == "environment" {
            continue;
        }
        path.push(Step::Key(key.clone()));
        match entry.node.as_str() {
            Some(text) if url_password(text).is_some() => found.push((path.clone(), &entry.node)),
            _ => inline_passwords(&entry.node, path, found),
        }
        path.pop();
    }
}

fn secret_files<'a>(
    node: &'a Node,
    path: &mut Vec<Step>,
    found: &mut Vec<(Vec<Step>, String, &'a Node)>,
) {
    let table = match &node.data {
        Data::Table(table) => table,
        Data::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                secret_files(item, path, found);
                path.pop();
            }
            return;
        }
        Data::Leaf(_) => return,
    };
    for (key, entry) in table {
        // What a program's own variables mean is not for us to know.
        if key == "environment" || key == "info" || key == "properties" {
            continue;
        }
        path.push(Step::Key(key.clone()));
        match entry.node.as_str() {
            Some(file) if is_secret_file(key) => {
                found.push((path.clone(), file.to_owned(), &entry.node));
            }
            _ => secret_files(&entry.node, path, found),
        }
        path.pop();
    }
}

/// What is wrong with a file that holds a secret, and what helps.
fn secret_file_fault(file: &Path) -> Option<(String, String)> {
    use std::os::unix::fs::PermissionsExt as _;

    let shown = file.display();
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) => metadata,
        // Who checks the configuration need not be who runs Lyceum.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
        Err(error) => {
            return Some((
                format!("{error}"),
                format!(
                    "make it: `install -m 600 /dev/null '{shown}'`, then write the secret into it"
                ),
            ));
        }
    };
    if !metadata.is_file() {
        return Some((
            "this is no file".to_owned(),
            "name a file with the secret".to_owned(),
        ));
    }
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then(|| {
        (
            format!("everybody on this machine can use it (mode {mode:03o})"),
            format!("chmod o= '{shown}'"),
        )
    })
}
