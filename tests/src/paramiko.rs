//! paramiko, driven by `clients/paramiko_client.py` with the system's Python.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::external::{Login, Proof};
use crate::process::{self, Ran};

/// The interpreter for which Debian packages paramiko.
const PYTHON: &str = "/usr/bin/python3";

/// Runs the script with `arguments` behind the login's.
#[track_caller]
pub fn paramiko(login: &Login, arguments: &[&str], limit: Duration) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/paramiko_client.py");
    let mut command = Command::new(PYTHON);
    command.arg(script);
    command.args(["--host", &login.server.ip().to_string()]);
    command.args([
        "--port",
        &login.server.port().to_string(),
        "--user",
        &login.user,
    ]);
    match &login.proof {
        Proof::Key(pair) => command.arg("--key").arg(pair.private()),
        Proof::Password(password) => command.args(["--password", password]),
    };
    command.args(arguments);
    process::run(&mut command, b"", limit)
}
