# Loads one package in a process of its own, and says its version and where it is.

name <- commandArgs(TRUE)[[1]]
suppressPackageStartupMessages(library(name, character.only = TRUE))
cat("loaded\t", as.character(packageVersion(name)), "\t", dirname(system.file(package = name)), "\n", sep = "")
