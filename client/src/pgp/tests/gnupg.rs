//! A GnuPG with a home of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// GnuPG, whose clock stands still at the tests' moment. Its agent is ended on drop.
pub(crate) struct Gnupg {
    home: TempDir,
}

/// What one run of `gpg` gave.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) out: Vec<u8>,
    /// Messages and status lines.
    pub(crate) said: String,
}

impl Ran {
    pub(crate) fn expect(self, what: &str) -> Self {
        assert!(self.ok, "{what}: {}", self.said);
        self
    }

    /// The words of a status line, without its name.
    pub(crate) fn status(&self, name: &str) -> Option<Vec<&str>> {
        self.said.lines().find_map(|line| {
            let mut words = line.strip_prefix("[GNUPG:] ")?.split(' ');
            (words.next() == Some(name)).then(|| words.collect())
        })
    }
}

impl Gnupg {
    /// `None`, and one line that says so, where `gpg` is not installed.
    pub(crate) fn new() -> Option<Self> {
        let found = Command::new("gpg")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            skip("gpg is not installed");
            return None;
        }
        // The agent's socket must have a short path.
        let home = tempfile::Builder::new()
            .prefix("gpg-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in("/tmp")
            .expect("make a home");
        Some(Self { home })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Ran {
        self.run_at("20260601T120000!", arguments, input)
    }

    /// The same with another moment at which the clock stands.
    pub(crate) fn run_at(&self, clock: &str, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--no-tty", "--yes", "--status-fd", "2"])
            .args(["--pinentry-mode", "loopback", "--trust-model", "always"])
            .args(["--faked-system-time", clock])
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start gpg");
        let mut stdin = child.stdin.take().expect("stdin");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // A gpg that has seen enough closes its end.
            let _ = stdin.write_all(&input);
        });
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("wait for gpg");
        writer.join().expect("write to gpg");
        Ran {
            ok: status.success(),
            out: stdout,
            said: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Makes a key without passphrase whose user id is `name`: `default` is RSA
    /// 3072, `future-default` is Ed25519 with Curve25519.
    pub(crate) fn make_key(&self, name: &str, algorithm: &str, expires: &str) -> String {
        let primary = self
            .run(
                &[
                    "--passphrase",
                    "",
                    "--quick-gen-key",
                    name,
                    algorithm,
                    "default",
                    expires,
                ],
                b"",
            )
            .expect("make a key");
        let fingerprint = primary
            .status("KEY_CREATED")
            .and_then(|words| words.get(1).map(|word| (*word).to_owned()))
            .expect("a fingerprint");
        if !algorithm.contains("default") {
            self.run(
                &[
                    "--passphrase",
                    "",
                    "--quick-add-key",
                    &fingerprint,
                    algorithm,
                    "encr",
                    expires,
                ],
                b"",
            )
            .expect("make a subkey");
        }
        fingerprint
    }

    /// Makes a key as a file of GnuPG's parameters says.
    pub(crate) fn make_key_by(&self, parameters: &str) -> String {
        self.run(
            &["--passphrase", "", "--gen-key"],
            format!("%no-protection\n{parameters}\nExpire-Date: 0\n%commit\n").as_bytes(),
        )
        .expect("make a key")
        .status("KEY_CREATED")
        .and_then(|words| words.get(1).map(|word| (*word).to_owned()))
        .expect("a fingerprint")
    }

    pub(crate) fn export(&self, name: &str) -> Vec<u8> {
        self.run(&["--export", name], b"")
            .expect("export a key")
            .out
    }

    pub(crate) fn import(&self, key: &[u8]) {
        self.run(&["--import"], key).expect("import a key");
    }

    /// Takes a key back with the certificate that was made with it.
    pub(crate) fn revoke(&self, fingerprint: &str) {
        let path = self.file(&format!("openpgp-revocs.d/{fingerprint}.rev"));
        let certificate = std::fs::read_to_string(path).expect("read the certificate");
        self.import(certificate.replace(":-----BEGIN", "-----BEGIN").as_bytes());
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--kill", "all"])
            .status();
    }
}

/// One line in the file that `tests/run` counts; see `tests/src/skip.rs`.
fn skip(reason: &str) {
    let test = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", test.name().unwrap_or("unnamed"));
    eprint!("{line}");
    if let Some(path) = std::env::var_os("LAYOVER_TEST_SKIPS") {
        let mut log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("open skip log");
        log.write_all(line.as_bytes()).expect("write skip log");
    }
}
