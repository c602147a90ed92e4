//! Keys for signing updates (TSIG), as they stand in files. What is read here never gets into messages.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::TSigner;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm as Algorithm;

use super::lookup::{name, plain};
use crate::config::{Rfc2136Config, TsigAlgorithm};
use crate::disk;
use crate::trouble::{Trouble, TroubleKind};

/// How far the clocks of both sides may differ, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;

/// Reads the key that updates are signed with; `None` if they are not signed.
pub(super) fn read(config: &Rfc2136Config) -> Result<Option<TSigner>, Trouble> {
    let (Some(key_name), Some(path)) = (&config.tsig_name, &config.tsig_secret_file) else {
        return Ok(None);
    };
    let text = fs::read_to_string(path).map_err(|error| disk::failed("read", path, &error))?;
    warn_if_readable(path);
    let written = Written::read(&text).ok_or_else(|| no_key(path))?;
    let signer_name = name(key_name).map_err(|error| {
        Trouble::new(
            TroubleKind::Configuration,
            "`tsig_name` is not the name of a key",
            "write the name that stands behind `key` in the name server's configuration",
        )
        .caused_by(&error)
    })?;
    if let Some(other) = &written.name
        && name(other).ok().as_ref() != Some(&signer_name)
    {
        return Err(Trouble::new(
            TroubleKind::Configuration,
            format!(
                "{} holds the key `{other}`, and `tsig_name` is `{key_name}`",
                path.display()
            ),
            format!("write `tsig_name = \"{other}\"`, or take the file of the other key"),
        ));
    }
    let algorithm_name = algorithm_name(config.tsig_algorithm);
    if let Some(other) = &written.algorithm
        && !other.eq_ignore_ascii_case(algorithm_name)
    {
        return Err(Trouble::new(
            TroubleKind::Configuration,
            format!(
                "{} holds a key for {other}, and `tsig_algorithm` is `{algorithm_name}`",
                path.display()
            ),
            "write the algorithm of the key as `tsig_algorithm`: hmac-sha256, hmac-sha384 or hmac-sha512",
        ));
    }
    TSigner::new(
        written.secret,
        algorithm(config.tsig_algorithm),
        signer_name,
        FUDGE,
    )
    .map(Some)
    .map_err(|_| no_key(path))
}

/// A key's name, for messages.
pub(super) fn name_of(key: &TSigner) -> String {
    plain(key.signer_name())
}

fn no_key(path: &Path) -> Trouble {
    Trouble::new(
        TroubleKind::Configuration,
        format!("{} holds no key for updates of the DNS", path.display()),
        "put there what `tsig-keygen NAME` prints, or the text behind `secret` in it",
    )
}

fn warn_if_readable(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(
            file = %path.display(),
            "everybody on this machine can read the key for updates of the DNS: `chmod 600` or `chmod 640` its file"
        );
    }
}

fn algorithm(kind: TsigAlgorithm) -> Algorithm {
    match kind {
        TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
        TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
        TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
    }
}

fn algorithm_name(kind: TsigAlgorithm) -> &'static str {
    match kind {
        TsigAlgorithm::HmacSha256 => "hmac-sha256",
        TsigAlgorithm::HmacSha384 => "hmac-sha384",
        TsigAlgorithm::HmacSha512 => "hmac-sha512",
    }
}

/// What stands in a key's file: the bare secret, or a whole `key` statement.
struct Written {
    name: Option<String>,
    algorithm: Option<String>,
    secret: Vec<u8>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Written {
    fn read(text: &str) -> Option<Self> {
        let (name, algorithm, secret) = if text.contains(['{', '"']) {
            let text = without_comments(text);
            let words = words(&text);
            let behind = |key: &str| {
                words
                    .iter()
                    .position(|word| word == key)
                    .and_then(|at| words.get(at + 1))
                    .cloned()
            };
            (behind("key"), behind("algorithm"), behind("secret")?)
        } else {
            (None, None, text.split_ascii_whitespace().collect())
        };
        let secret = STANDARD.decode(&secret).ok()?;
        (!secret.is_empty()).then_some(Self {
            name,
            algorithm,
            secret,
        })
    }
}

/// Takes out what is for people: from `#` or `//` to the end of the line. The letters of base64 have slashes too, so
/// quoted text stays.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        let mut quoted = false;
        let mut end = line.len();
        for (at, letter) in line.char_indices() {
            let rest = line.get(at..).unwrap_or_default();
            if letter == '"' {
                quoted = !quoted;
            } else if !quoted && (letter == '#' || rest.starts_with("//")) {
                end = at;
                break;
            }
        }
        kept.push_str(line.get(..end).unwrap_or_default());
        kept.push('\n');
    }
    kept
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '{' | '}' | ';'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_bare_and_from_a_whole_statement() {
        let bare = Written::read(" c2VjcmV0\n").unwrap();
        assert_eq!((bare.secret.as_slice(), bare.name), (&b"secret"[..], None));
        let whole = "# made by us\nkey \"lyceum\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2V//3JldA==\"; // mine\n};\n";
        let whole = Written::read(whole).unwrap();
        assert_eq!(whole.name.as_deref(), Some("lyceum"));
        assert_eq!(whole.algorithm.as_deref(), Some("hmac-sha512"));
        assert_eq!(whole.secret, STANDARD.decode("c2V//3JldA==").unwrap());
        let line = "key lyceum. { secret \"c2VjcmV0\"; algorithm hmac-sha256; };";
        assert_eq!(Written::read(line).unwrap().secret, b"secret");
        for text in [
            "",
            "  \n",
            "not base64!",
            "key \"a\" { };",
            "key a { secret \"\"; };",
        ] {
            assert!(Written::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_in_debug_output() {
        let written = Written::read("c2VjcmV0").unwrap();
        assert!(!format!("{written:?}").contains("secret"));
    }

    #[test]
    fn a_file_of_another_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(
            &path,
            "key \"other\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };",
        )
        .unwrap();
        let mut config = Rfc2136Config {
            tsig_name: Some("lyceum".to_owned()),
            tsig_secret_file: Some(path),
            ..Rfc2136Config::default()
        };
        let told = |config: &Rfc2136Config| read(config).err().map(|trouble| trouble.what);
        assert!(told(&config).unwrap().contains("holds the key `other`"));
        config.tsig_name = Some("Other.".to_owned());
        assert_eq!(told(&config), None);
        config.tsig_algorithm = TsigAlgorithm::HmacSha384;
        assert!(told(&config).unwrap().contains("for hmac-sha256"));
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_read_without_a_panic(text: String) {
            let _ = Written::read(&text);
            let _ = Written::read(&format!("key \"a\" {{ secret {text}; }};"));
        }
    }
}
