# Downloads files side by side: lines of an address, a file and an MD5 or "", with tabs between them. What is there
# already and has its MD5 is kept; what has another is removed.

arguments <- commandArgs(TRUE)
lines <- strsplit(readLines(arguments[[1]], encoding = "UTF-8"), "\t", fixed = TRUE)
addresses <- vapply(lines, `[[`, "", 1)
files <- vapply(lines, `[[`, "", 2)
sums <- vapply(lines, function(line) if (length(line) > 2) line[[3]] else "", "")
right <- function(i) file.exists(files[i]) && (!nzchar(sums[i]) || identical(unname(tools::md5sum(files[i])), sums[i]))
for (i in seq_along(files)) if (!nzchar(sums[i]) || !right(i)) unlink(files[i])
options(timeout = max(600, getOption("timeout")), HTTPUserAgent = sprintf(
  "R/%s R (%s)", getRversion(),
  paste(getRversion(), R.version$platform, R.version$arch, R.version$os)))

fetch <- function(which, ...) {
  parts <- paste0(files[which], ".part")
  status <- tryCatch(download.file(addresses[which], parts, quiet = TRUE, mode = "wb", ...), error = function(e) {
    message(conditionMessage(e))
    1L
  })
  for (i in seq_along(which)) {
    # Of several, one that failed is not there, or empty.
    if (length(which) == 1 && status != 0) next
    if (isTRUE(file.size(parts[i]) > 0)) file.rename(parts[i], files[which[i]])
  }
}

for (start in seq(1, length(addresses), by = 16)) {
  which <- start:min(start + 15, length(addresses))
  # Several at once are libcurl's; it knows http, https and ftp.
  remote <- which[grepl("^https?:", addresses[which]) & !file.exists(files[which])]
  if (length(remote) > 1) fetch(remote, method = "libcurl")
  # One after the other whatever is still missing, so that each says why.
  for (one in which) if (!file.exists(files[one])) fetch(one)
  cat("downloaded", sum(file.exists(files)), "of", length(files), "\n")
}
for (i in seq_along(files)) if (file.exists(files[i]) && !right(i)) {
  message(addresses[i], " is not what its repository says: another MD5")
  unlink(files[i])
}
