//! Settings that follow from others, as long as nobody sets them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use lyceum_certs::CertificateName;

use crate::source::{Place, Source, SourceKind, Sources};
use crate::tree::{Data, Leaf, Node, Step};

/// The folders that `root` moves, and what they are called below it.
const BELOW_ROOT: [(&str, &str, &str); 5] = [
    ("hub", "data_dir", "data"),
    ("hub", "runtime_dir", "run"),
    ("courses", "root", "courses"),
    ("courses", "exchange", "exchange"),
    ("courses", "settings", "course-settings"),
];

/// Gives the folders that are not set their places below `root`.
pub(crate) fn place_below_root(tree: &mut Node, sources: &mut Sources) {
    let path = [Step::Key("root".to_owned())];
    let Some(root) = tree.find(&path) else {
        return;
    };
    let Some(folder) = root.as_str() else {
        return;
    };
    let base = sources.base(&root.at).unwrap_or(Path::new("")).join(folder);
    let number = sources.add(Source {
        kind: SourceKind::Follows("root"),
        text: String::new(),
        base: base.clone(),
    });
    let at = Place {
        source: number,
        span: 0..0,
    };
    for (section, key, name) in BELOW_ROOT {
        let keys = [section.to_owned(), key.to_owned()];
        if tree.find(&keys.clone().map(Step::Key)).is_none() {
            let folder = base.join(name).display().to_string();
            tree.put(&keys, &at, Node::text(folder, at.clone()));
        }
    }
}

/// What follows from names or certificates in `[tls]`: ports, the way from http to https, and our own address. What is
/// set stays as it is.
pub(crate) fn serve_https(tree: &mut Node, sources: &mut Sources) {
    let find = |tree: &Node, keys: [&str; 2]| {
        let path = keys.map(|key| Step::Key(key.to_owned()));
        tree.find(&path).cloned()
    };
    let items = |node: Option<Node>| match node.map(|node| node.data) {
        Some(Data::Array(items)) => items,
        _ => Vec::new(),
    };
    let domains = items(find(tree, ["tls", "domains"]));
    let key = if !domains.is_empty() {
        "tls.domains"
    } else if !items(find(tree, ["tls", "certificates"])).is_empty() {
        "tls.certificates"
    } else {
        return;
    };
    let at = Place {
        source: sources.add(Source {
            kind: SourceKind::Follows(key),
            text: String::new(),
            base: PathBuf::new(),
        }),
        span: 0..0,
    };
    let mut follow = |section: &str, key: &str, data: Data| {
        if find(tree, [section, key]).is_none() {
            let node = Node {
                data,
                at: at.clone(),
            };
            tree.put(&[section.to_owned(), key.to_owned()], &at, node);
        }
    };
    let address = |text: &str| Data::Array(vec![Node::text(text.to_owned(), at.clone())]);
    follow("gateway", "listen", address("[::]:80"));
    follow("gateway", "listen_tls", address("[::]:443"));
    follow("gateway", "https_redirect", Data::Leaf(Leaf::Boolean(true)));
    let port = items(find(tree, ["gateway", "listen_tls"]))
        .iter()
        .find_map(|address| address.as_str()?.parse::<SocketAddr>().ok())
        .map_or(443, |address| address.port());
    // One that cannot be used is told as such, and makes no address.
    let name = domains
        .iter()
        .filter_map(|name| name.as_str()?.parse::<CertificateName>().ok())
        .find(|name| !name.is_wildcard());
    let host = name.map(|name| match name.address() {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        _ => name.to_string(),
    });
    if let Some(name) = host
        && find(tree, ["hub", "public_url"]).is_none()
        && port != 0
    {
        let url = match port {
            443 => format!("https://{name}"),
            port => format!("https://{name}:{port}"),
        };
        let keys = ["hub", "public_url"].map(str::to_owned);
        tree.put(&keys, &at, Node::text(url, at.clone()));
    }
}
