//! The parent of a server that forgets its children.
//!
//! vsftpd has three processes for a session and waits for one of them: what the others used would
//! be counted nowhere. Below a parent that takes in orphans all of it is in the parent's account.

use std::process::{Command, ExitCode};

use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

/// The argument that makes this program such a parent: the server's command line comes behind it.
pub(crate) const REAP: &str = "--reap";

/// Runs `command_line` until it and all that came of it have ended.
#[expect(
    clippy::zombie_processes,
    reason = "whatever child ends first is waited for below"
)]
pub(crate) fn reap(mut command_line: impl Iterator<Item = String>) -> ExitCode {
    let program = command_line.next().expect("a program behind --reap");
    set_child_subreaper(Some(getpid())).expect("take in orphans");
    Command::new(program)
        .args(command_line)
        .spawn()
        .expect("start the server");
    while let Ok(Some(_)) = wait(WaitOptions::empty()) {}
    ExitCode::SUCCESS
}
