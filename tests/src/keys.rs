//! SSH key pairs, made by OpenSSH's own `ssh-keygen`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use russh::keys::PrivateKey;

use crate::process;
use crate::wait::PATIENCE;

/// A key type as `ssh-keygen -t` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ed25519.
    Ed25519,
    /// ECDSA on NIST P-256.
    Ecdsa,
    /// RSA with 3,072 bits.
    Rsa,
}

/// A key pair on disk.
#[derive(Debug, Clone)]
pub struct KeyPair {
    private: PathBuf,
}

impl KeyPair {
    /// Makes a pair `dir/name` and `dir/name.pub`.
    pub fn generate(dir: &Path, name: &str, kind: KeyKind) -> Self {
        let private = dir.join(name);
        let (kind, bits) = match kind {
            KeyKind::Ed25519 => ("ed25519", "256"),
            KeyKind::Ecdsa => ("ecdsa", "256"),
            KeyKind::Rsa => ("rsa", "3072"),
        };
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", name, "-f"])
            .arg(&private);
        process::run(&mut command, b"", PATIENCE).expect_ok();
        Self { private }
    }

    /// A pair that exists.
    pub fn at(private: PathBuf) -> Self {
        Self { private }
    }

    /// File of the private half.
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// File of the public half.
    pub fn public(&self) -> PathBuf {
        self.private.with_extension("pub")
    }

    /// The public half as one line of an `authorized_keys` file, without a line end.
    pub fn line(&self) -> String {
        std::fs::read_to_string(self.public())
            .expect("read public key")
            .trim_end()
            .to_owned()
    }

    /// The private half, loaded.
    pub fn load(&self) -> Arc<PrivateKey> {
        Arc::new(russh::keys::load_secret_key(&self.private, None).expect("load private key"))
    }
}
