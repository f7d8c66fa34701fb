//! FTPS with the clients that partners use: `curl`, `lftp`, Python's `ftplib` and Node's
//! `basic-ftp`.

pub mod raw;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::account::Account;
use crate::layover::Layover;
use crate::process::{self, Ran};
use crate::skip::skip;

/// The system's interpreter, whose `ftplib` partners' scripts use.
const PYTHON: &str = "/usr/bin/python3";

/// Names the folder of Node's packages in which `basic-ftp` is; `tests/run` installs it.
const NODE_MODULES: &str = "LAYOVER_TEST_NODE_MODULES";

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// With AUTH TLS.
    Explicit,
    /// With the first byte.
    Implicit,
}

impl Entry {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Explicit, Self::Implicit];
}

/// The TLS version that a client is told to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

impl Tls {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V12, Self::V13];

    /// As the journal has it.
    pub fn journalled(self) -> &'static str {
        match self {
            Self::V12 => "TLS 1.2",
            Self::V13 => "TLS 1.3",
        }
    }
}

/// One account's way in over FTPS.
#[derive(Debug, Clone, Copy)]
pub struct FtpsLogin<'a> {
    /// Where to.
    pub layover: &'a Layover,
    /// Who; with a password.
    pub account: &'a Account,
    /// How.
    pub entry: Entry,
}

impl FtpsLogin<'_> {
    pub(crate) fn password(&self) -> &str {
        let password = self.account.password.as_deref();
        password.expect("the account has a password")
    }

    fn url(&self) -> String {
        let scheme = match self.entry {
            Entry::Explicit => "ftp",
            Entry::Implicit => "ftps",
        };
        format!("{scheme}://{}", self.layover.ftps_address(self.entry))
    }

    /// Runs `curl` with `arguments`, then the URL of `path`. The certificate is not looked at.
    #[track_caller]
    pub fn curl(&self, arguments: &[&str], path: &str, limit: Duration) -> Ran {
        let mut command = Command::new("curl");
        command
            .env("HOME", &self.account.client_dir)
            .env("CURL_HOME", &self.account.client_dir)
            .args([
                "--disable",
                "--silent",
                "--show-error",
                "--insecure",
                "--ssl-reqd",
            ])
            .args([
                "--user",
                &format!("{}:{}", self.account.name, self.password()),
            ])
            .args(arguments)
            .arg(format!("{}{path}", self.url()));
        process::run(&mut command, b"", limit)
    }

    /// Runs `lftp` with `commands`, one a line; the first that fails ends it with a failure.
    #[track_caller]
    pub fn lftp(&self, commands: &str, limit: Duration) -> Ran {
        lftp_at(&self.url(), self.account, commands, limit)
    }

    /// Like [`FtpsLogin::lftp`], with this TLS version; lftp knows it by GnuTLS's priorities.
    #[track_caller]
    pub fn lftp_with(&self, tls: Tls, commands: &str, limit: Duration) -> Ran {
        let version = match tls {
            Tls::V12 => "1.2",
            Tls::V13 => "1.3",
        };
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
        self.lftp(&format!("set ssl:priority {priority}\n{commands}"), limit)
    }

    /// Runs `clients/ftplib_client.py` with `arguments` behind the login's.
    #[track_caller]
    pub fn ftplib(&self, arguments: &[&str], limit: Duration) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/ftplib_client.py");
        let server = self.layover.ftps_address(self.entry);
        let mut command = Command::new(PYTHON);
        command.arg(script);
        command.args(["--host", &server.ip().to_string()]);
        command.args(["--port", &server.port().to_string()]);
        command.args(["--user", &self.account.name, "--password", self.password()]);
        if self.entry == Entry::Implicit {
            command.arg("--implicit");
        }
        command.args(arguments);
        process::run(&mut command, b"", limit)
    }

    /// Runs `clients/basic_ftp_client.js` with `arguments` behind the login's. Asked for first:
    /// [`basic_ftp_available`].
    #[track_caller]
    pub fn basic_ftp(&self, tls: Tls, arguments: &[&str], limit: Duration) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/basic_ftp_client.js");
        let modules = std::env::var_os(NODE_MODULES).expect("asked whether it is available");
        let server = self.layover.ftps_address(self.entry);
        let mut command = Command::new("node");
        command
            .env("NODE_PATH", modules)
            .env("HOME", &self.account.client_dir);
        command.arg(script).args([
            &server.ip().to_string(),
            &server.port().to_string(),
            &self.account.name,
            self.password(),
        ]);
        command.arg(match self.entry {
            Entry::Explicit => "explicit",
            Entry::Implicit => "implicit",
        });
        command.arg(match tls {
            Tls::V12 => "TLSv1.2",
            Tls::V13 => "TLSv1.3",
        });
        command.args(arguments);
        process::run(&mut command, b"", limit)
    }
}

/// Runs `lftp` at the FTPS server that `url` names; see [`FtpsLogin::lftp`].
#[track_caller]
pub fn lftp_at(url: &str, account: &Account, commands: &str, limit: Duration) -> Ran {
    let password = account.password.as_deref();
    let script = format!(
        "set cmd:fail-exit yes\n\
         set net:max-retries 1\n\
         set net:timeout 60\n\
         set ssl:verify-certificate no\n\
         set ftp:ssl-force yes\n\
         open -u {},{} {url}\n\
         {commands}\n",
        account.name,
        password.expect("the account has a password"),
    );
    let mut command = Command::new("lftp");
    command
        .env("HOME", &account.client_dir)
        .env("LFTP_HOME", &account.client_dir)
        .args(["-f", "/dev/stdin"]);
    process::run(&mut command, script.as_bytes(), limit)
}

/// Whether tests can use Node and `basic-ftp` here; says that the test is skipped when not.
pub fn basic_ftp_available() -> bool {
    let available = std::env::var_os(NODE_MODULES).is_some();
    if !available {
        skip(&format!("{NODE_MODULES} is not set; `tests/run` sets it"));
    }
    available
}
