//! Accounts for tests, made through the real command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::external::{Login, Proof};
use crate::keys::{KeyKind, KeyPair};
use crate::layover::{ENTITY, Layover};
use crate::sftp::Sftp;
use crate::ssh::Ssh;

/// A password for accounts that need one and whose password is not the point.
pub const PASSWORD: &str = "correct-horse-7";

/// An account to be made. Changes reach a running server only after its next look at the database;
/// tests make their accounts before they start the server.
#[derive(Debug)]
#[must_use = "nothing is made before `add`"]
pub struct AccountPlan<'a> {
    layover: &'a Layover,
    name: String,
    entity: String,
    allow: Vec<String>,
    password: Option<String>,
    arguments: Vec<String>,
    key: KeyKind,
}

impl<'a> AccountPlan<'a> {
    pub(crate) fn new(layover: &'a Layover, name: &str) -> Self {
        Self {
            layover,
            name: name.to_owned(),
            entity: ENTITY.to_owned(),
            allow: vec!["127.0.0.0/8".to_owned()],
            password: None,
            arguments: Vec::new(),
            key: KeyKind::Ed25519,
        }
    }

    /// Gives it a password beside its key.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Lets it come from these networks only.
    pub fn only_from(mut self, networks: &[&str]) -> Self {
        self.allow = networks.iter().map(ToString::to_string).collect();
        self
    }

    /// Puts it into another entity.
    pub fn entity(mut self, entity: &str) -> Self {
        self.entity = entity.to_owned();
        self
    }

    /// Adds options of `account add`.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Takes a key of this kind.
    pub fn key(mut self, kind: KeyKind) -> Self {
        self.key = kind;
        self
    }

    /// Makes the account, and its entity when that does not exist.
    #[track_caller]
    pub fn add(self) -> Account {
        let layover = self.layover;
        // Where nothing is yet, only beginnings answer: `entity list` would refuse.
        let added = layover.run(&["entity", "add", &self.entity]);
        assert!(
            added.ok() || added.stderr.contains("already"),
            "no entity: {added}"
        );
        let client_dir = layover.client_dir().join(&self.name);
        std::fs::create_dir(&client_dir).expect("make client folder");
        let key = KeyPair::generate(&client_dir, "id", self.key);
        let public = key.public().to_string_lossy().into_owned();
        let mut arguments = vec!["account", "add", &self.name, "--entity", &self.entity];
        arguments.extend(["--authorized-key", &public]);
        for network in &self.allow {
            arguments.extend(["--allow", network]);
        }
        arguments.extend(self.arguments.iter().map(String::as_str));
        if self.password.is_some() {
            arguments.push("--password-stdin");
        }
        let input = self.password.as_deref().unwrap_or_default();
        layover
            .run_with_input(&arguments, &format!("{input}\n"))
            .expect_ok();
        Account {
            name: self.name,
            key,
            password: self.password,
            client_dir,
        }
    }
}

/// An account that exists, with the means to log in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name, and that of its home.
    pub name: String,
    /// Its key.
    pub key: KeyPair,
    /// Its password, when it has one.
    pub password: Option<String>,
    /// A folder for its clients' own files.
    pub client_dir: PathBuf,
}

impl Account {
    /// The way in with the key.
    pub fn by_key(&self, layover: &Layover) -> Login {
        self.by_key_at(layover.sftp_address())
    }

    /// Like [`Account::by_key`], at any server.
    pub fn by_key_at(&self, server: SocketAddr) -> Login {
        self.login_at(server, Proof::Key(self.key.clone()))
    }

    /// The way in with the password.
    pub fn by_password(&self, layover: &Layover) -> Login {
        let password = self.password.clone().expect("the account has a password");
        self.login_at(layover.sftp_address(), Proof::Password(password))
    }

    fn login_at(&self, server: SocketAddr, proof: Proof) -> Login {
        Login {
            server,
            user: self.name.clone(),
            proof,
            client_dir: self.client_dir.clone(),
        }
    }

    /// Logs in with the key, over a raw SSH connection.
    #[track_caller]
    pub fn ssh(&self, layover: &Layover) -> Ssh {
        self.ssh_at(layover.sftp_address())
    }

    /// Logs in with the key and opens a raw SFTP channel.
    #[track_caller]
    pub fn sftp(&self, layover: &Layover) -> Sftp {
        self.sftp_at(layover.sftp_address())
    }

    /// Like [`Account::ssh`], at any server.
    #[track_caller]
    pub fn ssh_at(&self, server: SocketAddr) -> Ssh {
        let mut ssh = Ssh::connect(server).expect("connect");
        ssh.key(&self.name, &self.key).expect_accepted();
        ssh
    }

    /// Like [`Account::sftp`], at any server.
    #[track_caller]
    pub fn sftp_at(&self, server: SocketAddr) -> Sftp {
        self.ssh_at(server).sftp().expect("open SFTP")
    }
}
