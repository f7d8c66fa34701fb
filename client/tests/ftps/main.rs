//! The FTPS engine against servers that others wrote, and against one that plays by a script.

mod authority;
mod cuts;
mod partners;
mod play;
mod servers;
mod sessions;
mod skip;
mod traps;
mod trust;
