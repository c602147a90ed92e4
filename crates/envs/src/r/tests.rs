//! Builds real libraries with the machine's R, from repositories that are made here.

mod failures;
mod life;
mod locks;
mod origins;
mod own;
mod packages_of_the_system;
mod place;
