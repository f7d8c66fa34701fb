//! Runs a program to its end, with a deadline and without a terminal.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait;

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, lossily as text.
    pub stdout: String,
    /// Standard error, lossily as text.
    pub stderr: String,
}

impl Ran {
    /// Whether the exit code was 0.
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns itself after making sure that the program succeeded.
    ///
    /// # Panics
    /// With everything it printed, when it did not.
    #[track_caller]
    pub fn expect_ok(self) -> Self {
        assert!(self.ok(), "should have succeeded: {self}");
        self
    }

    /// Returns itself after making sure that the program failed with `code`.
    ///
    /// # Panics
    /// With everything it printed, when it ended otherwise.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "wrong exit code: {self}");
        self
    }

    /// Standard output and standard error behind each other.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

/// Runs `command` to its end with `input` on standard input.
///
/// # Panics
/// When it cannot be started, or is not done within `limit` (it is killed then).
#[track_caller]
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> Ran {
    start(command, input).finish(limit)
}

/// A program under way; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    output: Option<(JoinHandle<String>, JoinHandle<String>)>,
}

/// Starts `command` with `input` on standard input, which is closed behind it.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn start(command: &mut Command, input: &[u8]) -> Running {
    let line = describe(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    // A program that ends without reading its input is judged by its exit code, not by the pipe.
    thread::spawn(move || stdin.write_all(&input).ok());
    let stdout = drain(child.stdout.take().expect("stdout is piped"));
    let stderr = drain(child.stderr.take().expect("stderr is piped"));
    Running {
        child,
        line,
        output: Some((stdout, stderr)),
    }
}

impl Running {
    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program is still running.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When the program is not done within `limit`; it is killed then.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Ran {
        let status = wait::within(limit, || self.child.try_wait().expect("wait for child"));
        if status.is_none() {
            self.child.kill().ok();
        }
        let line = self.line.clone();
        let code = status.and_then(|status| status.code());
        let (stdout, stderr) = self.output.take().expect("finished once");
        let ran = Ran {
            command: line,
            code,
            stdout: stdout.join().expect("stdout reader"),
            stderr: stderr.join().expect("stderr reader"),
        };
        assert!(status.is_some(), "not done within {limit:?}, killed: {ran}");
        ran
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        let id = i32::try_from(self.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.expect("a process id"), rustix::process::Signal::INT)
            .expect("send SIGINT");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
