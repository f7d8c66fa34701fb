//! `lftp`, over `sftp://`.

use std::process::Command;
use std::time::Duration;

use crate::external::{Login, Proof};
use crate::process::{self, Ran};

/// Runs `lftp` with `commands`, one a line; the first that fails ends it with a failure.
#[track_caller]
pub fn lftp(login: &Login, commands: &str, limit: Duration) -> Ran {
    let options = login.ssh_options().join(" ");
    let password = match &login.proof {
        Proof::Password(password) => password.as_str(),
        Proof::Key(_) => "unused",
    };
    let script = format!(
        "set cmd:fail-exit yes\n\
         set net:max-retries 1\n\
         set net:timeout 60\n\
         set sftp:connect-program \"ssh -a -x {options}\"\n\
         open -u {},{password} -p {} sftp://{}\n\
         {commands}\n",
        login.user,
        login.server.port(),
        login.server.ip(),
    );
    let mut command = Command::new("lftp");
    // A home of its own: no rc file, no history, no cached settings of the person who runs it.
    command
        .env("HOME", &login.client_dir)
        .env("LFTP_HOME", &login.client_dir);
    command
        .env_remove("SSH_AUTH_SOCK")
        .args(["-f", "/dev/stdin"]);
    process::run(&mut command, script.as_bytes(), limit)
}
