# What R runs when it starts, so that it has the site library of Lyceum for its own series, and keeps the same generation
# for itself and for every R that it starts. Written by `lyceum env r`; changes are lost.

local({
  folder <- normalizePath("@FOLDER@", mustWork = FALSE)
  series <- paste(R.version$major, sub("[.].*", "", R.version$minor), sep = ".")
  ours <- normalizePath(file.path(folder, series, "current", "library"), mustWork = FALSE)
  # An R that was started by an R has the library of that one.
  inherited <- Sys.getenv("LYCEUM_R_LIBRARY")
  if (startsWith(inherited, paste0(file.path(folder, series), "/")) && dir.exists(inherited)) ours <- inherited
  site <- unique(normalizePath(.Library.site, mustWork = FALSE))
  # Libraries of the same parent: generations, perhaps of another series or another name.
  foreign <- startsWith(site, paste0(dirname(folder), "/"))
  users <- setdiff(normalizePath(.libPaths(), mustWork = FALSE), c(site, normalizePath(.Library)))
  users <- users[!startsWith(users, paste0(dirname(folder), "/"))]
  site <- unique(c(if (dir.exists(ours)) ours, site[!foreign]))
  # While R starts, the variable is open; later, as for a kernel, it is locked.
  base <- baseenv()
  locked <- bindingIsLocked(".Library.site", base)
  if (locked) unlockBinding(".Library.site", base)
  assign(".Library.site", site, envir = base)
  if (locked) lockBinding(".Library.site", base)
  .libPaths(users)
  if (dir.exists(ours)) Sys.setenv(LYCEUM_R_LIBRARY = ours)
  Sys.setenv(R_LIBS_SITE = paste(site, collapse = ":"))

  # Packages of one's own are for one series of R.
  if (interactive()) {
    own <- strsplit(Sys.getenv("R_LIBS_USER"), ":", fixed = TRUE)[[1]]
    own <- if (length(own)) own[1] else ""
    if (grepl("^[0-9]+[.][0-9]+$", basename(own)) && !length(dir(own))) {
      others <- dir(dirname(own), pattern = "^[0-9]+[.][0-9]+$", full.names = TRUE)
      others <- others[vapply(others, function(one) length(dir(one)) > 0, TRUE)]
      if (length(others)) {
        newest <- basename(others[order(numeric_version(basename(others)), decreasing = TRUE)][1])
        message("You have packages of your own for R ", newest, ", but none for R ", series,
                ". To install them again, type in a terminal: lyceum env r reinstall-mine")
      }
    }
  }
})
