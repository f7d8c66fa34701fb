//! `rclone`, over FTPS: many connections at once, which share their TLS sessions.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::ftps::{Entry, FtpsLogin, Tls};
use crate::process::{self, Ran};
use crate::wait::PATIENCE;

/// The name of the server in rclone's settings.
pub const REMOTE: &str = "layover:";

impl FtpsLogin<'_> {
    /// Runs `rclone` with `arguments`, in which paths on the server begin with [`REMOTE`]. The
    /// certificate is not looked at.
    #[track_caller]
    pub fn rclone(&self, tls: Tls, arguments: &[&str], limit: Duration) -> Ran {
        let home = &self.account.client_dir;
        let server = self.layover.ftps_address(self.entry);
        let way_in = match self.entry {
            Entry::Explicit => "explicit_tls",
            Entry::Implicit => "tls",
        };
        let settings = home.join("rclone.conf");
        let text = format!(
            "[layover]\ntype = ftp\nhost = {}\nport = {}\nuser = {}\npass = {}\n\
             {way_in} = true\nno_check_certificate = true\ndisable_tls13 = {}\n",
            server.ip(),
            server.port(),
            self.account.name,
            self.obscured(),
            tls == Tls::V12,
        );
        fs::write(&settings, text).expect("write rclone.conf");
        let mut command = Command::new("rclone");
        command
            .env("HOME", home)
            .env("RCLONE_CONFIG", settings)
            // A fault must show at once, not be made good by another try.
            .args(["--retries", "1", "--low-level-retries", "1"])
            .args(arguments);
        process::run(&mut command, b"", limit)
    }

    /// The password as rclone wants it in its settings.
    fn obscured(&self) -> String {
        let mut command = Command::new("rclone");
        command
            .env("HOME", &self.account.client_dir)
            .args(["obscure", "-"]);
        let ran = process::run(&mut command, self.password().as_bytes(), PATIENCE).expect_ok();
        ran.stdout.trim().to_owned()
    }
}
