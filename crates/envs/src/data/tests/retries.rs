//! Downloads whose checksum nobody knows, which break off and go on.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use super::super::fetch::{Fetcher, Wanted, parse};

const OLD: &str = "old old old old ";
const NEW: &str = "new new new new ";

/// What the server does when it is asked for the second time, after it has broken off the old file in its middle.
#[derive(Debug, Clone, Copy)]
enum Second {
    /// The file is the same, and has a version.
    Rest,
    /// It is another one, and the server looks at If-Range.
    Whole,
    /// It is another one, and the server sends the rest of it, whatever was asked for.
    RestOfAnother,
    /// It is another one, and there are no versions.
    Untold,
    /// It is another one, which has become shorter.
    Shorter,
}

/// Serves three answers; gives the lines about ranges of each question, and what was downloaded.
async fn download(second: Second) -> (Vec<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = parse(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
    let half = OLD.len() / 2;
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        loop {
            let mut stream = listener.accept().unwrap().0;
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let lines = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty());
            let mut ranges: Vec<_> = lines
                .map(|line| line.to_lowercase())
                .filter(|line| line.contains("range"))
                .collect();
            if ranges.is_empty() && !asked.is_empty() {
                ranges.push("all".to_owned());
            }
            ranges.sort();
            asked.push(ranges.join(", "));
            let tag = match (asked.len(), second) {
                (_, Second::Untold) => "",
                (1, _) | (_, Second::Rest) => "etag: \"1\"\r\n",
                _ => "etag: \"2\"\r\n",
            };
            let (status, body) = match (asked.len(), second) {
                (1, _) => ("200 OK".to_owned(), &OLD[..half]),
                (2, Second::Rest) => (
                    format!("206 Partial Content\r\ncontent-range: bytes {half}-15/16"),
                    &OLD[half..],
                ),
                (2, Second::RestOfAnother) => (
                    format!("206 Partial Content\r\ncontent-range: bytes {half}-15/16"),
                    &NEW[half..],
                ),
                (2, Second::Shorter) => (
                    "416 Range Not Satisfiable\r\ncontent-range: bytes */4".to_owned(),
                    "",
                ),
                _ => ("200 OK".to_owned(), NEW),
            };
            let length = if asked.len() == 1 {
                OLD.len()
            } else {
                body.len()
            };
            let head = format!(
                "HTTP/1.1 {status}\r\n{tag}connection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            let goes_on = matches!(second, Second::RestOfAnother | Second::Shorter);
            if asked.len() == if goes_on { 3 } else { 2 } {
                return asked;
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    // What an earlier run has left is no beginning without a checksum.
    fs::write(&file, "left").unwrap();
    let wanted = Wanted {
        url: &url,
        file: &file,
        limit: 1 << 20,
        is_known: false,
    };
    let fetcher = Fetcher::new().unwrap();
    fetcher.to_file(wanted, &mut |_| {}).await.unwrap();
    let asked = server.join().unwrap();
    (asked, fs::read_to_string(&file).unwrap())
}

#[tokio::test]
async fn a_download_goes_on_with_the_same_version_only() {
    let from_half = "if-range: \"1\", range: bytes=8-";
    for (second, asked, text) in [
        (Second::Rest, vec!["", from_half], OLD),
        (Second::Whole, vec!["", from_half], NEW),
        (Second::RestOfAnother, vec!["", from_half, "all"], NEW),
        (Second::Shorter, vec!["", from_half, "all"], NEW),
        (Second::Untold, vec!["", "all"], NEW),
    ] {
        let got = download(second).await;
        assert_eq!(got.0, asked, "{second:?}");
        assert_eq!(got.1, text, "{second:?}");
    }
}
