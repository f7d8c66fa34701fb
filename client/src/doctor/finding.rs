//! What a step came to.

use std::fmt;

use serde::Serialize;

use super::diagnosis::Diagnosis;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStep {
    /// Settings, secrets, keys and certificates of ours.
    Settings,
    /// Host name to addresses.
    NameResolution,
    /// TCP, to each address.
    Tcp,
    /// What the server says first.
    Greeting,
    /// FTPS explicit: whether the server agrees to TLS.
    AuthTls,
    /// TLS with the server's certificate; that there is none with plain FTP.
    Tls,
    /// SSH algorithms.
    Algorithms,
    /// The SSH server's key.
    HostKey,
    /// User name with password, key or certificate.
    Login,
    /// FTP: the connection that lists and files take.
    DataConnection,
    /// The listing of a location.
    List,
    /// Writing, renaming and removing a probe file in a location.
    Write,
    /// PGP keys, ours and the partner's.
    Pgp,
}

impl fmt::Display for CheckStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Settings => "settings and secrets",
            Self::NameResolution => "name resolution",
            Self::Tcp => "TCP",
            Self::Greeting => "greeting",
            Self::AuthTls => "AUTH TLS",
            Self::Tls => "TLS",
            Self::Algorithms => "SSH algorithms",
            Self::HostKey => "host key",
            Self::Login => "login",
            Self::DataConnection => "data connection",
            Self::List => "list",
            Self::Write => "write, rename, delete",
            Self::Pgp => "PGP keys",
        })
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it must be.
    Ok,
    /// It works, and somebody should know.
    Warning,
    /// It does not work.
    Failed,
    /// It was not tried.
    Skipped,
}

/// One step of the examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub step: CheckStep,
    /// The location, where the step is about one.
    pub subject: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen; why it was skipped.
    pub seen: Vec<String>,
    /// What failed, or what should be known.
    pub fault: Option<String>,
    /// Why, most likely.
    pub likely_cause: Option<String>,
    /// What to do.
    pub what_to_do: Option<String>,
}

impl Finding {
    fn new(step: CheckStep, outcome: Outcome, seen: Vec<String>) -> Self {
        Self {
            step,
            subject: None,
            outcome,
            seen,
            fault: None,
            likely_cause: None,
            what_to_do: None,
        }
    }

    pub(super) fn ok(step: CheckStep, seen: Vec<String>) -> Self {
        Self::new(step, Outcome::Ok, seen)
    }

    pub(super) fn skipped(step: CheckStep, because: String) -> Self {
        Self::new(step, Outcome::Skipped, vec![because])
    }

    pub(super) fn failed(step: CheckStep, seen: Vec<String>, diagnosis: Diagnosis) -> Self {
        Self::new(step, Outcome::Failed, seen).with(diagnosis)
    }

    pub(super) fn warning(step: CheckStep, seen: Vec<String>, diagnosis: Diagnosis) -> Self {
        Self::new(step, Outcome::Warning, seen).with(diagnosis)
    }

    fn with(self, diagnosis: Diagnosis) -> Self {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            fault: text(diagnosis.fault),
            likely_cause: text(diagnosis.likely_cause),
            what_to_do: text(diagnosis.what_to_do),
            ..self
        }
    }

    pub(super) fn of(self, subject: &str) -> Self {
        Self {
            subject: Some(subject.to_owned()),
            ..self
        }
    }
}
