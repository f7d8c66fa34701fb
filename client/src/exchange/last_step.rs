//! What must outlive the process that takes an upload's last step: by it the next one
//! finds out whether the file has its name, and does not send it twice.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Verified;
use super::landing::SourceState;
use super::send::{Attempt, Before, Delivered, Sealed, Stage};
use super::upload::Sum;
use crate::path::RemotePath;
use crate::remote::{Modified, Precision};

/// As it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    version: String,
    /// The name that it is to have, in hexadecimal digits: another one is another try.
    to: String,
    wire: WrittenSum,
    content: WrittenSum,
    moved_bytes: u64,
    resumed_at: u64,
    verified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    before: WrittenBefore,
}

#[derive(Serialize, Deserialize)]
struct WrittenSum {
    bytes: u64,
    /// In hexadecimal digits.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenBefore {
    Unknown,
    Nothing,
    File {
        bytes: Option<u64>,
        /// Where it is exact to the second: less tells no two files apart.
        modified_us: Option<i64>,
    },
}

impl From<Sum> for WrittenSum {
    fn from(sum: Sum) -> Self {
        Self {
            bytes: sum.bytes,
            sha256: hex::encode(sum.sha256),
        }
    }
}

impl WrittenSum {
    fn read(&self) -> Option<Sum> {
        let sha256 = hex::decode(&self.sha256).ok()?;
        Some(Sum {
            bytes: self.bytes,
            sha256: sha256.try_into().ok()?,
        })
    }
}

impl From<Before> for WrittenBefore {
    fn from(before: Before) -> Self {
        match before {
            Before::Unknown => Self::Unknown,
            Before::Nothing => Self::Nothing,
            Before::File(state) => Self::File {
                bytes: state.size_bytes,
                modified_us: state
                    .modified
                    .filter(|modified| modified.precision == Precision::Second)
                    .map(|modified| modified.at.as_microsecond()),
            },
        }
    }
}

impl WrittenBefore {
    fn read(self) -> Before {
        match self {
            Self::Unknown => Before::Unknown,
            Self::Nothing => Before::Nothing,
            Self::File { bytes, modified_us } => Before::File(SourceState {
                size_bytes: bytes,
                modified: modified_us
                    .and_then(|us| Timestamp::from_microsecond(us).ok())
                    .map(|at| Modified {
                        at,
                        precision: Precision::Second,
                        day_at: None,
                    }),
            }),
        }
    }
}

impl Attempt {
    /// What the next process needs when this one does not come to hear how the last step
    /// went, as text; `None` while there is nothing to be found out.
    pub(super) fn last_step(&self) -> Option<String> {
        let (wire, delivered) = (self.wire?, self.delivered.as_ref()?);
        let pgp = delivered.pgp.as_ref();
        let written = Written {
            version: self.version.clone(),
            to: hex::encode(delivered.remote.as_bytes()),
            wire: wire.into(),
            content: Sum {
                bytes: delivered.content_bytes,
                sha256: delivered.sha256,
            }
            .into(),
            moved_bytes: delivered.wire_bytes,
            resumed_at: delivered.resumed_at,
            verified: delivered.verified.as_str().to_owned(),
            encrypted_to: pgp.map(|pgp| pgp.encrypted_to.clone()),
            signed_by: pgp.and_then(|pgp| pgp.signed_by.clone()),
            before: self.before.into(),
        };
        serde_json::to_string(&written).ok()
    }

    /// The attempt of a process that wrote this down with [`Outgoing::last_step`], to send
    /// its file to `to`. `None` when the text is not one of ours, or of another name.
    ///
    /// [`Outgoing::last_step`]: super::Outgoing::last_step
    #[must_use]
    pub fn recalled(text: &str, to: &RemotePath) -> Option<Self> {
        let written: Written = serde_json::from_str(text).ok()?;
        if written.to != hex::encode(to.as_bytes()) {
            return None;
        }
        let (wire, content) = (written.wire.read()?, written.content.read()?);
        let signed_by = written.signed_by;
        let pgp = written.encrypted_to.map(|encrypted_to| Sealed {
            encrypted_to,
            signed_by,
        });
        Some(Self {
            stage: Stage::Finishing,
            version: written.version,
            sent_bytes: wire.bytes,
            before: written.before.read(),
            wire: Some(wire),
            delivered: Some(Delivered {
                remote: to.clone(),
                remote_bytes: wire.bytes,
                wire_bytes: written.moved_bytes,
                resumed_at: written.resumed_at,
                content_bytes: content.bytes,
                sha256: content.sha256,
                pgp,
                verified: Verified::parse(&written.verified)?,
            }),
            ..Self::default()
        })
    }
}
