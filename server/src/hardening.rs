//! What a server's process gives up at its start, whoever starts it.

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::process::{set_dumpable_behavior, setrlimit, umask};

/// Files that it makes are for its own user alone; and no core file is written, nor may
/// another process of its user look into its memory (ptrace(2)): keys lie there.
pub fn harden_process() {
    umask(Mode::RWXG | Mode::RWXO);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Lowering a limit and giving up a right are refused to nobody, but by a filter of
    // system calls: then whoever set that has said what he wants.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Says in the log that root is more than any part of the server needs.
pub fn warn_of_root() {
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "the server runs as root, which nothing of it needs: run it as a user of its own \
             (config/layover.service shows how, ports below 1024 included)"
        );
    }
}
