//! Measures static files of an environment: `cargo run --release -p lyceum-gateway --example static_files -- PREFIX`.
//!
//! Prints how long the index takes, how long and how small each coding is, what an answer from memory costs,
//! and what compression on the way costs at the levels that are used. `docs/benchmarks.md` has the figures.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for people at a terminal"
)]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use lyceum_core::{Route, RouteSpec, Upstream};
use lyceum_gateway::{Coding, CompressMode, Compression, StaticRequest, StaticSet, StaticSets};

/// How often a body is compressed.
const BODIES: u32 = 300;
/// How often an answer from memory is repeated.
const ROUNDS: u32 = 100_000;

fn main() {
    let prefix: PathBuf = std::env::args_os().nth(1).expect("PREFIX").into();
    let cache = std::env::temp_dir().join(format!("static-files-{}", std::process::id()));
    precompress(&prefix, &cache);
    answer(&prefix, &cache);
    let settings = script(&prefix);
    on_the_way(&settings);
    fs::remove_dir_all(&cache).unwrap();
}

/// The processor time of something on this thread, in seconds: other work on the machine does not count.
fn seconds<T>(what: impl FnOnce() -> T) -> (T, f64) {
    let begun = processor_time();
    let made = what();
    (made, since(begun).as_secs_f64())
}

fn since(begun: Duration) -> Duration {
    processor_time().saturating_sub(begun)
}

fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn precompress(prefix: &Path, cache: &Path) {
    let (set, took) = seconds(|| StaticSet::read(prefix, cache).unwrap());
    println!("index {took:.3} s, {:?}", set.summary());
    for coding in [Coding::Gzip, Coding::Zstd, Coding::Brotli] {
        let ((), took) = seconds(|| set.compress(coding, &mut |_| true).unwrap());
        println!("{:5} {took:.2} s", coding.name());
    }
    for extension in ["gz", "zst", "br"] {
        let (mut files, mut bytes) = (0, 0);
        for entry in fs::read_dir(cache.join("1")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|one| one == extension) {
                files += 1;
                bytes += path.metadata().unwrap().len();
            }
        }
        println!("{extension:5} {files} files, {bytes} bytes");
    }
    let (_, took) = seconds(|| StaticSet::read(prefix, cache).unwrap());
    println!("index of the next start {took:.3} s");
    let (_, took) = seconds(|| black_box(set.is_current()));
    println!("look whether it is current {:.1} ms", took * 1e3);
}

fn answer(prefix: &Path, cache: &Path) {
    let sets = StaticSets::new();
    sets.put("env", &Arc::new(StaticSet::read(prefix, cache).unwrap()));
    let data = serde_json::json!({ Route::ENVIRONMENT: "env" });
    let route = Route {
        spec: RouteSpec::path("/user/ada/"),
        target: Upstream::Unix(PathBuf::new()),
        target_path: String::new(),
        data: data.as_object().unwrap().clone(),
    };
    let name = core(prefix);
    let path = format!("/user/ada/static/lab/{}", name.display());
    let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"))]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = async || {
        let file = sets.find(&route, &path).unwrap();
        let request = StaticRequest {
            method: &Method::GET,
            headers: &headers,
        };
        file.respond(request, runtime.handle()).await.unwrap()
    };
    runtime.block_on(async {
        let begun = Instant::now();
        let response = ask().await;
        println!(
            "first answer {:?}: {:?}",
            begun.elapsed(),
            response.headers()
        );
        let begun = processor_time();
        for _ in 0..ROUNDS {
            black_box(ask().await);
        }
        let each = since(begun) / ROUNDS;
        println!("each further one {each:?}");
        let begun = processor_time();
        for _ in 0..ROUNDS {
            black_box(sets.find(&route, "/user/ada/api/kernels"));
        }
        let each = since(begun) / ROUNDS;
        println!("a request for the server {each:?}");
    });
}

/// The name of JupyterLab's largest script.
fn core(prefix: &Path) -> PathBuf {
    let entries = fs::read_dir(prefix.join("share/jupyter/lab/static")).unwrap();
    let mut names = entries.map(|entry| PathBuf::from(entry.unwrap().file_name()));
    names
        .find(|name| name.to_string_lossy().starts_with("jlab_core."))
        .unwrap()
}

/// JupyterLab's schemas in one: what `lab/api/settings` is made of, 150 KB.
fn script(prefix: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    let mut folders = vec![prefix.join("share/jupyter/lab/schemas")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.extend(fs::read(path).unwrap());
            }
        }
    }
    all.truncate(157_000);
    all
}

fn on_the_way(body: &[u8]) {
    let compression = Compression::new(CompressMode::Data);
    for accept in ["zstd", "gzip", "br"] {
        let request = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
        let mut length = 0;
        let begun = processor_time();
        for _ in 0..BODIES {
            let mut answer = HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]);
            let mut encoder = compression
                .plan(&Method::GET, &request, StatusCode::OK, &answer)
                .begin(&compression, &mut answer)
                .unwrap();
            let mut out = Vec::new();
            for piece in body.chunks(64 * 1024) {
                encoder.push(piece, &mut out).unwrap();
                encoder.flush(&mut out).unwrap();
            }
            encoder.finish(&mut out).unwrap();
            length = out.len();
        }
        let each = since(begun) / BODIES;
        println!("{accept:5} {} → {length} bytes in {each:?}", body.len());
    }
}
