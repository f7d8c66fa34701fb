//! OpenSSH's `sftp` and `ssh`.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::external::{Login, Proof};
use crate::process::{self, Ran, Running};

/// Runs `sftp` with `commands`, one a line, stopping at the first that fails; a line beginning
/// with `-` may fail. `options` go before the destination, for instance `-B 261120 -R 128`.
#[track_caller]
pub fn sftp(login: &Login, options: &[&str], commands: &str, limit: Duration) -> Ran {
    start_sftp(login, options, commands).finish(limit)
}

/// Like [`sftp`], not waiting for the end.
#[track_caller]
pub fn start_sftp(login: &Login, options: &[&str], commands: &str) -> Running {
    start_sftp_by(Command::new("sftp"), login, options, commands)
}

/// Like [`start_sftp`], with a command that runs `sftp` elsewhere.
#[track_caller]
pub fn start_sftp_by(
    mut command: Command,
    login: &Login,
    options: &[&str],
    commands: &str,
) -> Running {
    // The options come before `-b`, which sets batch mode: OpenSSH heeds the first value it reads.
    command
        .args(login.ssh_options())
        .args(["-P", &login.server.port().to_string()]);
    command.args(options).args(["-b", "-"]);
    let host = match login.server.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    command.arg(format!("{}@{host}", login.user));
    answer_for_password(&mut command, login);
    process::start(&mut command, commands.as_bytes())
}

/// Fetches `remote` with `scp`, over SFTP.
#[track_caller]
pub fn scp(login: &Login, remote: &str, local: &Path, limit: Duration) -> Ran {
    let mut command = Command::new("scp");
    command
        .args(login.ssh_options())
        .args(["-s", "-P", &login.server.port().to_string()])
        .arg(format!("{}@{}:{remote}", login.user, login.server.ip()))
        .arg(local);
    answer_for_password(&mut command, login);
    process::run(&mut command, b"", limit)
}

/// Runs `ssh` with `arguments` behind the destination, and `options` before it.
#[track_caller]
pub fn ssh(login: &Login, options: &[&str], arguments: &[&str], limit: Duration) -> Ran {
    let mut command = Command::new("ssh");
    command
        .args(login.ssh_options())
        .args(["-p", &login.server.port().to_string()]);
    command
        .args(options)
        .arg(format!("{}@{}", login.user, login.server.ip()))
        .args(arguments);
    answer_for_password(&mut command, login);
    process::run(&mut command, b"", limit)
}

fn answer_for_password(command: &mut Command, login: &Login) {
    command.env_remove("SSH_AUTH_SOCK");
    if let Proof::Password(password) = &login.proof {
        command.env("SSH_ASKPASS", login.askpass(password));
        command.env("SSH_ASKPASS_REQUIRE", "force");
    }
}
