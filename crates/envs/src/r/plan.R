# Chooses the packages that a library needs, and where each comes from. Reads wishes, writes decisions: lines of
# fields with tabs between them, as `plan.rs` describes them. Installs nothing.

arguments <- commandArgs(TRUE)
lines <- strsplit(readLines(arguments[[1]], encoding = "UTF-8"), "\t", fixed = TRUE)
field <- function(line, at) if (length(line) >= at) line[[at]] else ""
of <- function(kind) Filter(function(line) field(line, 1) == kind, lines)
column <- function(kind, at = 2) vapply(of(kind), field, "", at)
answers <- character()
say <- function(...) {
  one <- vapply(list(...), function(x) paste(gsub("[\t\r\n]+", " ", x), collapse = ","), "")
  answers <<- c(answers, paste(one, collapse = "\t"))
}

options(timeout = 120, menu.graphics = FALSE, HTTPUserAgent = sprintf(
  "R/%s R (%s)", getRversion(),
  paste(getRversion(), R.version$platform, R.version$arch, R.version$os)))
options(repos = c(CRAN = "@CRAN@"))

wants <- of("want")
fresh <- column("fresh")
is_fresh <- function(name) "*" %in% fresh || name %in% fresh

repositories <- column("repository")
if (any(vapply(wants, field, "", 4) == "bioc")) {
  version <- tryCatch(as.character(tools:::.BioC_version_associated_with_R_version()),
                      error = function(e) "release")
  base <- paste0(column("bioconductor")[1], "/packages/", version, "/")
  repositories <- c(repositories, paste0(base, c("bioc", "data/annotation", "data/experiment")))
}

# The repositories are asked only if something is needed from them.
indexes <- NULL
index <- function() {
  if (!is.null(indexes)) return(indexes)
  all <- NULL
  for (one in repositories) {
    reason <- ""
    found <- withCallingHandlers(
      tryCatch(
        available.packages(contrib.url(one, "source"), type = "source", ignore_repo_cache = TRUE,
                           filters = c("R_version", "OS_type", "subarch"), fields = "MD5sum"),
        error = function(e) {
          if (!nzchar(reason)) reason <<- conditionMessage(e)
          NULL
        }),
      warning = function(w) {
        # The first one says it; the others repeat it for other forms of the index.
        if (!nzchar(reason)) reason <<- sub("^URL '.*': status was '(.*)'$", "\\1", conditionMessage(w))
        invokeRestart("muffleWarning")
      })
    if (is.null(found) || (nrow(found) == 0 && nzchar(reason))) {
      say("offline", one, trimws(reason))
    } else {
      all <- rbind(all, found)
    }
  }
  if (is.null(all)) all <- matrix("", 0, 8, dimnames = list(NULL, c(
    "Package", "Version", "Depends", "Imports", "LinkingTo", "Repository", "MD5sum", "File")))
  # Of several, the newest; of equal ones, that of the first repository.
  newest <- order(all[, "Package"], package_version(all[, "Version"], strict = FALSE), -seq_len(nrow(all)),
                  decreasing = TRUE)
  all <- all[newest, , drop = FALSE]
  indexes <<- all[!duplicated(all[, "Package"]), , drop = FALSE]
  rownames(indexes) <<- indexes[, "Package"]
  indexes
}

installed <- function(folders) {
  folders <- folders[dir.exists(folders)]
  if (!length(folders)) return(matrix("", 0, 7, dimnames = list(NULL, c(
    "Package", "LibPath", "Version", "Depends", "Imports", "LinkingTo", "Priority"))))
  found <- installed.packages(lib.loc = folders, noCache = TRUE)
  found[!duplicated(found[, "Package"]), , drop = FALSE]
}
here <- installed(column("library"))
kept <- installed(column("previous"))
sources <- of("source")
names(sources) <- vapply(sources, field, "", 2)

# "rlang (>= 1.0), R (>= 4.0)" as names, operators and versions.
needs_of <- function(...) {
  text <- unlist(list(...))
  text <- text[!is.na(text) & nzchar(text)]
  parts <- trimws(unlist(strsplit(text, ",")))
  parts <- parts[nzchar(parts)]
  pattern <- "^([A-Za-z][A-Za-z0-9.]*)[[:space:]]*(\\(([<>=!]+)[[:space:]]*([^)]*)\\))?.*$"
  list(name = sub(pattern, "\\1", parts), operator = sub(pattern, "\\3", parts),
       version = trimws(sub(pattern, "\\4", parts)))
}
holds <- function(version, operator, wanted) {
  if (!nzchar(operator) || !nzchar(wanted)) return(TRUE)
  tryCatch(do.call(operator, list(package_version(version), package_version(wanted))),
           error = function(e) FALSE)
}

chosen <- list()
constraints <- list()
allowed <- function(name, version) {
  all(vapply(constraints[[name]], function(one) holds(version, one[[1]], one[[2]]), TRUE))
}

base <- rownames(installed.packages(.Library, priority = "base", noCache = TRUE))

take <- function(name, kind, version, needs, linking, ...) {
  others <- setdiff(unique(needs$name), c("R", base))
  chosen[[name]] <<- list(kind = kind, version = version, needs = others, linking = setdiff(linking, base), rest = list(...))
  for (i in seq_along(needs$name)) require_package(needs$name[i], needs$operator[i], needs$version[i], name)
}

choose <- function(name, pinned = "", method = "cran") {
  # Sources are what the list says, whatever else there is.
  if (name %in% names(sources)) {
    one <- sources[[name]]
    needs <- needs_of(field(one, 4), field(one, 5), field(one, 6))
    return(take(name, "source", field(one, 3), needs, needs_of(field(one, 6))$name))
  }
  if (name %in% column("absent")) {
    say("missing", name, "its source could not be got")
    chosen[[name]] <<- list(kind = "missing")
    return(invisible())
  }
  linked <- function(row) needs_of(row[["LinkingTo"]])$name
  from <- function(row) needs_of(row[["Depends"]], row[["Imports"]], row[["LinkingTo"]])
  right <- function(version) (!nzchar(pinned) || package_version(version) == package_version(pinned)) && allowed(name, version)
  prefer <- column("prefer")
  if ((!is_fresh(name) || name %in% column("stay")) && name %in% rownames(kept) && right(kept[name, "Version"])) {
    row <- kept[name, ]
    return(take(name, "keep", row[["Version"]], from(row), linked(row)))
  }
  # The distribution's are ready, and everybody's; of a package that is asked for by name, only if that is wanted.
  asked <- name %in% vapply(wants, field, "", 2)
  if (name %in% rownames(here) && right(here[name, "Version"]) && (!asked || "here" %in% prefer || method == "apt" ||
      here[name, "Priority"] %in% c("base", "recommended") && !is_fresh(name))) {
    row <- here[name, ]
    return(take(name, "here", row[["Version"]], needs_of(""), character(), row[["LibPath"]]))
  }
  if (method == "apt") {
    say("missing", name, "it is not installed, and it comes from apt")
    chosen[[name]] <<- list(kind = "missing")
    return(invisible())
  }
  db <- index()
  if (!name %in% rownames(db)) {
    say("missing", name, if (length(repositories)) "no repository has it for this R" else "no repository is configured")
    chosen[[name]] <<- list(kind = "missing")
    return(invisible())
  }
  row <- db[name, ]
  version <- row[["Version"]]
  address <- paste0(row[["Repository"]], "/", name, "_", version, ".tar.gz")
  if ("File" %in% names(row) && !is.na(row[["File"]]) && nzchar(row[["File"]])) address <- paste0(row[["Repository"]], "/", row[["File"]])
  sum <- if (is.na(row[["MD5sum"]])) "" else row[["MD5sum"]]
  if (nzchar(pinned) && package_version(version) != package_version(pinned)) {
    version <- pinned
    address <- paste0(row[["Repository"]], "/Archive/", name, "/", name, "_", version, ".tar.gz")
    sum <- ""
  }
  if (!allowed(name, version)) {
    wanted <- vapply(constraints[[name]], function(one) paste0(one[[3]], " needs ", one[[1]], " ", one[[2]]), "")
    say("missing", name, paste0("there is ", version, ", and ", paste(wanted, collapse = ", ")))
    chosen[[name]] <<- list(kind = "missing")
    return(invisible())
  }
  take(name, "get", version, from(row), linked(row), address, sum)
}

require_package <- function(name, operator, version, by) {
  if (name == "R") {
    if (!holds(as.character(getRversion()), operator, version))
      say("missing", by, paste("needs R", operator, version))
    return(invisible())
  }
  if (name %in% base) return(invisible())
  if (nzchar(operator)) constraints[[name]] <<- c(constraints[[name]], list(list(operator, version, by)))
  before <- chosen[[name]]
  if (!is.null(before) && (before$kind == "missing" || holds(before$version, operator, version))) return(invisible())
  wish <- Filter(function(line) field(line, 2) == name, wants)
  pinned <- if (length(wish)) field(wish[[1]], 3) else ""
  method <- if (length(wish)) field(wish[[1]], 4) else "cran"
  chosen[[name]] <<- NULL
  # What is kept may be too old for a new neighbour: then it is got anew.
  choose(name, pinned, method)
}

for (line in wants) require_package(field(line, 2), "", "", "the list")

for (name in names(chosen)) {
  one <- chosen[[name]]
  if (one$kind == "missing") next
  say(one$kind, name, one$version, one$needs, one$linking,
      if (length(one$rest) >= 1) one$rest[[1]] else "", if (length(one$rest) >= 2) one$rest[[2]] else "")
}
writeLines(c(answers, "end"), arguments[[2]], useBytes = TRUE)
