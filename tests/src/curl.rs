//! `curl`, over `sftp://`: libssh2, which many embedded clients use, too.

use std::process::Command;
use std::time::Duration;

use crate::external::{Login, Proof};
use crate::process::{self, Ran};

/// Runs `curl` with `arguments`, then the URL of `path` on the server. By password: keys reach
/// libssh2 in other ways than OpenSSH's. Host keys are not looked at.
#[track_caller]
pub fn curl(login: &Login, arguments: &[&str], path: &str, limit: Duration) -> Ran {
    let Proof::Password(password) = &login.proof else {
        unreachable!("curl logs in by password");
    };
    let mut command = Command::new("curl");
    // No rc file and no known hosts of the person who runs the tests.
    command
        .env("HOME", &login.client_dir)
        .env("CURL_HOME", &login.client_dir)
        .args(["--disable", "--silent", "--show-error", "--insecure"])
        .args(["--user", &format!("{}:{password}", login.user)])
        .args(arguments)
        .arg(format!("sftp://{}{path}", login.server));
    process::run(&mut command, b"", limit)
}
