//! Logging in over SSH: key, password, keyboard-interactive, in the order that
//! the server lets us.

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::PrivateKeyWithHashAlg;
use russh::keys::ssh_key::HashAlg;
use russh::{Error, MethodKind, MethodSet};

use super::key_pair::KeyPair;
use super::link::{Link, Watcher};
use super::options::{Credential, Proof};
use crate::fault::{RemoteError, RemoteFault, Step};

/// Questions in a row that a server may ask by keyboard-interactive: PAM asks
/// once and closes with a question without prompts.
const MAX_QUESTIONS: usize = 4;

/// Prompts that one question may have.
const MAX_PROMPTS: usize = 8;

/// Logs in and says with what.
pub(super) async fn log_in(
    ssh: &mut Handle<Watcher>,
    link: &Link,
    username: &str,
    credential: &Credential,
) -> Result<Vec<Proof>, RemoteError> {
    Login {
        ssh,
        link,
        username,
        offered: MethodSet::empty(),
        proofs: Vec::new(),
    }
    .run(credential)
    .await
}

struct Login<'a> {
    ssh: &'a mut Handle<Watcher>,
    link: &'a Link,
    username: &'a str,
    /// What the server takes next, by its last answer.
    offered: MethodSet,
    proofs: Vec<Proof>,
}

/// What one try came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    LoggedIn,
    /// Right, and the server wants another proof besides.
    Partly,
    Refused,
}

impl Login<'_> {
    async fn run(mut self, credential: &Credential) -> Result<Vec<Proof>, RemoteError> {
        // The server's answer to `none` names the methods that it takes, so
        // that none is tried in vain: each refusal counts against the account.
        let answer = self.ssh.authenticate_none(self.username).await;
        if self.note(answer)? == Outcome::LoggedIn {
            return Ok(self.proofs);
        }
        let mut key_tried = false;
        let mut password_tried = false;
        // Where a key is to prove who we are, a password beside it is the second proof:
        // alone it would let a key that was refused go unnoticed.
        let is_second = credential.keys().is_some();
        loop {
            let outcome = match (credential.keys(), credential.password()) {
                (Some(keys), _) if !key_tried && self.takes(MethodKind::PublicKey) => {
                    key_tried = true;
                    let mut outcome = self.key(&keys.current, Proof::CurrentKey).await?;
                    if let (Outcome::Refused, Some(previous)) = (outcome, &keys.previous)
                        && self.takes(MethodKind::PublicKey)
                    {
                        outcome = self.key(previous, Proof::PreviousKey).await?;
                    }
                    outcome
                }
                (_, Some(password))
                    if !password_tried
                        && (!is_second || !self.proofs.is_empty())
                        && self.takes_password() =>
                {
                    password_tried = true;
                    self.password(password).await?
                }
                _ => return Err(self.refused()),
            };
            if outcome == Outcome::LoggedIn {
                return Ok(self.proofs);
            }
        }
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.offered.contains(&method)
    }

    fn takes_password(&self) -> bool {
        self.takes(MethodKind::Password) || self.takes(MethodKind::KeyboardInteractive)
    }

    /// Our refusal, with the methods that the server would still take.
    fn refused(&self) -> RemoteError {
        let names: Vec<&str> = self.offered.iter().map(<&'static str>::from).collect();
        let words = if names.is_empty() {
            "no further method".to_owned()
        } else {
            format!("it still takes {}", names.join(", "))
        };
        RemoteError::new(Step::Login, RemoteFault::LoginRefused).with_words(&words)
    }

    fn lost(&self) -> RemoteError {
        self.link.error(Step::Login)
    }

    fn note(&mut self, answer: Result<AuthResult, Error>) -> Result<Outcome, RemoteError> {
        match answer {
            Ok(AuthResult::Success) => Ok(Outcome::LoggedIn),
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => self.remaining(remaining_methods, partial_success),
            Err(_) => Err(self.lost()),
        }
    }

    fn remaining(&mut self, methods: MethodSet, partly: bool) -> Result<Outcome, RemoteError> {
        // russh answers so, too, when the connection has ended.
        if methods.is_empty() && self.ssh.is_closed() {
            return Err(self.lost());
        }
        self.offered = methods;
        Ok(if partly {
            Outcome::Partly
        } else {
            Outcome::Refused
        })
    }

    async fn key(&mut self, pair: &KeyPair, proof: Proof) -> Result<Outcome, RemoteError> {
        let hash = if pair.is_rsa() {
            match self.ssh.best_supported_rsa_hash().await {
                // SHA-1 signatures are never made (S04).
                Ok(Some(None)) => return Ok(Outcome::Refused),
                Ok(Some(hash)) => hash,
                // RFC 8332 s.3.3: a server that does not say may still know.
                Ok(None) => Some(HashAlg::Sha512),
                Err(_) => return Err(self.lost()),
            }
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(pair.key().clone(), hash);
        let answer = self.ssh.authenticate_publickey(self.username, key).await;
        let outcome = self.note(answer)?;
        if outcome != Outcome::Refused {
            self.proofs.push(proof);
        }
        Ok(outcome)
    }

    async fn password(&mut self, password: &str) -> Result<Outcome, RemoteError> {
        let outcome = if self.takes(MethodKind::Password) {
            let answer = self
                .ssh
                .authenticate_password(self.username, password)
                .await;
            self.note(answer)?
        } else {
            self.questions(password).await?
        };
        if outcome != Outcome::Refused {
            self.proofs.push(Proof::Password);
        }
        Ok(outcome)
    }

    /// Answers the one hidden question with the password. A server that asks
    /// for more (a one-time code) cannot be logged in to by a machine.
    async fn questions(&mut self, password: &str) -> Result<Outcome, RemoteError> {
        let mut answer = self
            .ssh
            .authenticate_keyboard_interactive_start(self.username, None)
            .await;
        let mut given = false;
        for _ in 0..MAX_QUESTIONS {
            let prompts = match answer {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(Outcome::LoggedIn),
                Ok(KeyboardInteractiveAuthResponse::Failure {
                    remaining_methods,
                    partial_success,
                }) => return self.remaining(remaining_methods, partial_success),
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => prompts,
                Err(_) => return Err(self.lost()),
            };
            if prompts.len() > MAX_PROMPTS {
                break;
            }
            let responses = match prompts.as_slice() {
                [] => Vec::new(),
                [prompt] if !given && !prompt.echo => {
                    given = true;
                    vec![password.to_owned()]
                }
                // Asked once more for the same: it was wrong.
                [prompt] if given && prompt.prompt.to_lowercase().contains("password") => {
                    return Err(self.refused());
                }
                asked => {
                    let words = asked
                        .first()
                        .map(|prompt| prompt.prompt.as_str())
                        .unwrap_or_default();
                    return Err(RemoteError::new(
                        Step::Login,
                        RemoteFault::Unsupported {
                            what: "a login that asks for more than a password",
                        },
                    )
                    .with_words(words));
                }
            };
            answer = self
                .ssh
                .authenticate_keyboard_interactive_respond(responses)
                .await;
        }
        Err(RemoteError::new(
            Step::Login,
            RemoteFault::OverLimit {
                what: "the number of questions at login",
                limit: MAX_QUESTIONS as u64,
            },
        ))
    }
}
