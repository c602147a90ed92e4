//! What is kept of programs that print too much.

use super::*;

async fn pieces(text: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Pieces::new(text);
    let mut all = Vec::new();
    while let Some(piece) = pieces.next().await.unwrap() {
        all.push(piece);
    }
    all
}

#[tokio::test]
async fn lines_come_whole_and_too_long_ones_in_pieces() {
    let all = pieces(b"one\n\ntwo\r\nend").await;
    assert_eq!(all, [&b"one"[..], b"", b"two\r", b"end"]);
    let long = [vec![b'x'; MAX_LINE * 2 + 1], b"\ny\n".to_vec()].concat();
    let lengths: Vec<_> = pieces(&long).await.iter().map(Vec::len).collect();
    assert_eq!(lengths, [MAX_LINE, MAX_LINE, 1, 1]);
}

async fn run_script(folder: &Path, script: &str) -> (usize, usize, u64) {
    let log = Log::create(folder.join("log"), folder.to_owned()).unwrap();
    let step = Step {
        doing: "try",
        program: "sh".as_ref(),
        arguments: vec!["-c".as_ref(), script.as_ref()],
        environment: Vec::new(),
        limit: Duration::from_mins(2),
    };
    let (mut count, mut longest) = (0, 0);
    run(step, &log, &mut |seen| {
        if let Seen::Line(line) = seen {
            count += 1;
            longest = longest.max(line.len());
        }
    })
    .await
    .unwrap();
    let length = std::fs::metadata(log.path()).unwrap().len();
    (count, longest, length)
}

#[tokio::test]
async fn a_program_that_prints_without_end_fills_neither_memory_nor_disk() {
    let dir = tempfile::tempdir().unwrap();
    // No line end in all of it.
    let script = "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo done";
    let (count, longest, length) = run_script(dir.path(), script).await;
    assert_eq!(longest, MAX_LINE);
    assert!(count > 90, "{count}");
    assert!(length <= MAX_LOG + 1000, "{length}");
    let text = std::fs::read(dir.path().join("log")).unwrap();
    let end = String::from_utf8_lossy(&text[text.len() - 100..]).into_owned();
    assert!(end.contains("The log ends here, at 64 MiB"), "{end}");
    assert!(!end.contains("done"), "{end}");
}
