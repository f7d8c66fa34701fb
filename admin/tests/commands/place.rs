//! A folder with settings of its own, and commands run in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// One installation, removed with the value.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }
}

impl Ran {
    /// The result of a command that must have worked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The reason of a command that must have failed with `code`.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, reason: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stderr.contains(reason), "no `{reason}` in {self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl Place {
    /// A place whose server would listen on any free port of loopback.
    pub(crate) fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().expect("make a folder"),
        };
        place.settings("[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n[storage]\nfsync = \"never\"\n");
        place
    }

    /// A place with an entity `acme` and an account `partner` in it.
    pub(crate) fn with_account() -> Self {
        let place = Self::new();
        place.run(&["entity", "add", "acme"]).ok();
        place
            .run(&[
                "account",
                "add",
                "partner",
                "--entity",
                "acme",
                "--allow",
                "127.0.0.1",
            ])
            .ok();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes `layover.toml`.
    pub(crate) fn settings(&self, text: &str) {
        fs::write(self.path().join("layover.toml"), text).expect("write layover.toml");
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layover"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LAYOVER__") {
                command.env_remove(name);
            }
        }
        // Tests run side by side, and what they set is mostly SFTP's.
        command
            .env("LAYOVER__FTPS__LISTEN", "127.0.0.1")
            .env("LAYOVER__FTPS__EXPLICIT_PORT", "0")
            .env("LAYOVER__FTPS__IMPLICIT_PORT", "0")
            .env("LAYOVER__CONSOLE__LISTEN", "127.0.0.1:0")
            .current_dir(self.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments)
            .output()
            .expect("run layover")
            .into()
    }

    #[track_caller]
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run layover");
        // A command that refuses before it reads closes the pipe: no failure.
        let _ = child
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(input.as_bytes());
        child.wait_with_output().expect("wait for layover").into()
    }

    /// The result of a command that must work, as JSON.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).ok().json()
    }
}
