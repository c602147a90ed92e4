//! Reads from the output of R and of compilers why a package could not be installed.

/// A likely cause, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) cause: String,
    pub(super) advice: String,
}

/// Headers, libraries and programs that packages of R look for, and Debian's packages with them.
const SYSTEM: &[(&str, &str)] = &[
    ("curl/curl.h", "libcurl4-openssl-dev"),
    ("libcurl", "libcurl4-openssl-dev"),
    ("openssl/", "libssl-dev"),
    ("libxml/", "libxml2-dev"),
    ("xml2-config", "libxml2-dev"),
    ("-lxml2", "libxml2-dev"),
    ("zlib.h", "zlib1g-dev"),
    ("bzlib.h", "libbz2-dev"),
    ("lzma.h", "liblzma-dev"),
    ("pcre2.h", "libpcre2-dev"),
    ("png.h", "libpng-dev"),
    ("jpeglib.h", "libjpeg-dev"),
    ("tiffio.h", "libtiff-dev"),
    ("ft2build.h", "libfreetype-dev"),
    ("freetype2", "libfreetype-dev"),
    ("fontconfig/", "libfontconfig1-dev"),
    ("hb.h", "libharfbuzz-dev"),
    ("harfbuzz", "libharfbuzz-dev"),
    ("fribidi", "libfribidi-dev"),
    ("cairo.h", "libcairo2-dev"),
    ("gl/gl.h", "libgl-dev"),
    ("gl/glu.h", "libglu1-mesa-dev"),
    ("x11/", "libx11-dev"),
    ("gmp.h", "libgmp-dev"),
    ("mpfr.h", "libmpfr-dev"),
    ("gsl/", "libgsl-dev"),
    ("gsl-config", "libgsl-dev"),
    ("fftw3.h", "libfftw3-dev"),
    ("glpk.h", "libglpk-dev"),
    ("nlopt.h", "libnlopt-dev"),
    ("udunits2.h", "libudunits2-dev"),
    ("gdal-config", "libgdal-dev"),
    ("gdal.h", "libgdal-dev"),
    ("geos-config", "libgeos-dev"),
    ("proj.h", "libproj-dev"),
    ("netcdf.h", "libnetcdf-dev"),
    ("hdf5.h", "libhdf5-dev"),
    ("sodium.h", "libsodium-dev"),
    ("git2.h", "libgit2-dev"),
    ("libpq-fe.h", "libpq-dev"),
    ("mysql.h", "libmariadb-dev"),
    ("sqlite3.h", "libsqlite3-dev"),
    ("sql.h", "unixodbc-dev"),
    ("magick++", "libmagick++-dev"),
    ("poppler", "libpoppler-cpp-dev"),
    ("librsvg", "librsvg2-dev"),
    ("archive.h", "libarchive-dev"),
    ("zmq.h", "libzmq3-dev"),
    ("sys/apparmor.h", "libapparmor-dev"),
    ("jni.h", "default-jdk"),
    ("-lblas", "libblas-dev"),
    ("-llapack", "liblapack-dev"),
    ("-lgfortran", "gfortran"),
    ("cmake", "cmake"),
];

/// Programs without which nothing can be compiled.
const COMPILERS: &[&str] = &["make", "gcc", "g++", "cc", "c++", "gfortran"];

/// Finds the likely cause in the last lines of output.
pub(super) fn find<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Found> {
    let lines: Vec<String> = lines.map(str::to_lowercase).collect();
    if lines.iter().any(|line| {
        line.contains("no space left on device") || line.contains("disk quota exceeded")
    }) {
        return Some(found(
            "the disk is full",
            "make room on the disk and try again: `lyceum env r gc` removes old generations",
        ));
    }
    lines
        .iter()
        .find_map(|line| named_by_the_package(line))
        .or_else(|| lines.iter().find_map(|line| compiler(line)))
        .or_else(|| lines.iter().find_map(|line| system_library(line)))
        .or_else(|| lines.iter().find_map(|line| missing_package(line)))
        .or_else(|| lines.iter().find_map(|line| network(line)))
        .or_else(|| {
            let failed = lines.iter().any(|line| line.contains("compilation failed"));
            failed.then(|| {
                found(
                    "its sources do not compile here",
                    "read the log: the package may be too new or too old for this R or this compiler",
                )
            })
        })
}

fn found(cause: impl Into<String>, advice: impl Into<String>) -> Found {
    Found {
        cause: cause.into(),
        advice: advice.into(),
    }
}

/// Many packages say it themselves, as in ` * deb: libssl-dev (Debian, Ubuntu, etc)`.
fn named_by_the_package(line: &str) -> Option<Found> {
    let rest = line.trim_start().strip_prefix("* deb:")?;
    let name = rest.split_whitespace().next()?;
    is_debian_name(name).then(|| needs(name))
}

fn compiler(line: &str) -> Option<Found> {
    if !line.contains("not found") && !line.contains("no such file") {
        return None;
    }
    let words = || line.split([' ', ':', '\'', '‘', '’', '`']);
    let program = COMPILERS
        .iter()
        .find(|name| words().any(|word| word == **name))?;
    Some(found(
        format!("{program}, which compiles packages, is not there"),
        "install what compiles packages: apt install r-base-dev",
    ))
}

fn system_library(line: &str) -> Option<Found> {
    let missing = [
        "no such file",
        "not found",
        "cannot find",
        "was not found",
        "no package '",
    ];
    if !missing.iter().any(|text| line.contains(text)) {
        return None;
    }
    let (_, package) = SYSTEM.iter().find(|(sign, _)| line.contains(sign))?;
    Some(needs(package))
}

fn needs(package: &str) -> Found {
    found(
        format!("it needs {package} of the system"),
        format!("apt install {package}"),
    )
}

fn missing_package(line: &str) -> Option<Found> {
    let rest = ["there is no package called", "dependency ", "dependencies "]
        .iter()
        .find_map(|text| line.split_once(text).map(|(_, rest)| rest))?;
    if line.contains("dependenc") && !line.contains("not available") {
        return None;
    }
    let name = rest
        .trim_start_matches([' ', '‘', '\'', '"'])
        .split(['’', '\'', '"', ' ', ','])
        .next()?;
    Some(found(
        format!("it needs the package {name}, which is not there"),
        format!("see why {name} is missing, or add it to the list"),
    ))
}

fn network(line: &str) -> Option<Found> {
    [
        "could not resolve host",
        "couldn't resolve host",
        "couldn't connect",
        "could not connect",
        "failed to connect",
        "cannot open url",
        "connection refused",
        "network is unreachable",
        "timeout was reached",
    ]
    .iter()
    .any(|text| line.contains(text))
    .then(|| {
        found(
            "its source cannot be reached",
            "check the network connection and try again: what has been downloaded is kept",
        )
    })
}

fn is_debian_name(name: &str) -> bool {
    name.len() > 1
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, cause: &str) {
        let found = find(output.lines());
        assert_eq!(
            found.map(|found| found.cause).as_deref(),
            Some(cause),
            "{output}"
        );
    }

    #[test]
    fn the_missing_piece_of_the_system_is_named() {
        check(
            "curl.c:1:10: fatal error: curl/curl.h: No such file or directory\nERROR: compilation failed for package ‘curl’",
            "it needs libcurl4-openssl-dev of the system",
        );
        check(
            "If openssl is not installed, try:\n * deb: libssl-dev (Debian, Ubuntu, etc)\n * rpm: openssl-devel",
            "it needs libssl-dev of the system",
        );
        check(
            "/usr/bin/ld: cannot find -lxml2",
            "it needs libxml2-dev of the system",
        );
        check(
            "sh: 1: make: not found",
            "make, which compiles packages, is not there",
        );
        check(
            "/bin/bash: line 1: gfortran: command not found",
            "gfortran, which compiles packages, is not there",
        );
        check(
            "ERROR: dependency ‘rlang’ is not available for package ‘vctrs’",
            "it needs the package rlang, which is not there",
        );
        check(
            "Error in loadNamespace(x) : there is no package called ‘R6’",
            "it needs the package r6, which is not there",
        );
        check(
            "foo.c:1:1: error: expected identifier\nERROR: compilation failed for package ‘foo’",
            "its sources do not compile here",
        );
        check(
            "fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com",
            "its source cannot be reached",
        );
        assert_eq!(find("* DONE (foo)".lines()), None);
    }
}
