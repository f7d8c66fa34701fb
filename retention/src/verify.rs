//! Reading an exported chain with nothing but the public key.

use std::fmt;

use serde::Serialize;

use crate::Timestamp;
use crate::chain::{ChainHead, ChainName, Checkpoint, PublicKey};
use crate::export::{EXPORT_FORMAT, Line};

/// Bytes of a line that are read at most; a longer one is none of ours.
pub const MAX_LINE_BYTES: usize = 256 * 1024;

/// What is wrong with an export, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Flaw {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with an export.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The line is not one of ours.
    #[error("this cannot be read: {0}")]
    Unreadable(String),
    /// It does not begin as an export does.
    #[error("an export begins with a `chain` line")]
    NoBeginning,
    /// A second beginning.
    #[error("a second beginning; two exports were joined")]
    SecondBeginning,
    /// A form that this version does not know.
    #[error("this is form {0} of an export, and this version reads form {EXPORT_FORMAT}")]
    Format(u32),
    /// A record was changed, or its hash was.
    #[error("entry {seq} was changed: its content and its hash do not belong together")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// Records are not there.
    #[error("entry {first} is missing{}", up_to(*.first, *.last))]
    Missing {
        /// The first that is not there.
        first: u64,
        /// The last.
        last: u64,
    },
    /// A record stands in another place.
    #[error("entry {seq} stands out of its order; entry {expected} belongs here")]
    Reordered {
        /// Which.
        seq: u64,
        /// What belongs there.
        expected: u64,
    },
    /// The end was cut off.
    #[error("the end is missing: after entry {last} no signed checkpoint follows")]
    CutOff {
        /// The last entry that is there.
        last: u64,
    },
    /// A checkpoint of another history.
    #[error("the checkpoint says that the chain stood at entry {seq} with another content")]
    OtherHistory {
        /// Of which entry it speaks.
        seq: u64,
    },
    /// A signature is not by the key it names.
    #[error("the signature of the checkpoint at entry {seq} is wrong")]
    BadSignature {
        /// Of which entry it speaks.
        seq: u64,
    },
    /// The beginning was cut off at an ordinary checkpoint.
    #[error(
        "the beginning is missing: nothing signed says that the entries up to {last} were pruned"
    )]
    NotPruned {
        /// The last entry that is not there.
        last: u64,
    },
    /// A key that is not trusted.
    #[error(
        "the checkpoint at entry {seq} was signed by key {key}, which is not among the trusted ones"
    )]
    UnknownKey {
        /// Of which entry it speaks.
        seq: u64,
        /// Its name for itself.
        key: String,
    },
}

fn up_to(first: u64, last: u64) -> impl fmt::Display {
    struct UpTo(u64, u64);
    impl fmt::Display for UpTo {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.0 == self.1 {
                return Ok(());
            }
            write!(f, ", and all up to entry {}", self.1)
        }
    }
    UpTo(first, last)
}

/// What a whole and unchanged export holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    /// Which chain it is.
    pub chain: ChainName,
    /// Entries that are there.
    pub entries: u64,
    /// Number of the first entry; 1 unless earlier ones were pruned.
    pub first_seq: u64,
    /// Number of the last; one less than the first when there are none.
    pub last_seq: u64,
    /// When the last checkpoint was signed.
    pub signed_at: Timestamp,
    /// Checkpoints that hold.
    pub checkpoints: u64,
}

/// Reads an export line by line, in memory that does not grow.
#[derive(Debug)]
pub struct Verifier<'a> {
    keys: &'a [PublicKey],
    line: u64,
    state: Option<State>,
    /// Entries are not there, or in another place: which, is told by what follows.
    gap: Option<Gap>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    chain: ChainName,
    first_seq: u64,
    head: ChainHead,
    entries: u64,
    checkpoints: u64,
    /// The last checkpoint's entry and moment.
    signed: Option<(u64, Timestamp)>,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    line: u64,
    expected: u64,
    found: u64,
}

impl<'a> Verifier<'a> {
    /// A verifier that trusts `keys` alone.
    #[must_use]
    pub const fn new(keys: &'a [PublicKey]) -> Self {
        Self {
            keys,
            line: 0,
            state: None,
            gap: None,
        }
    }

    /// Takes the next line, without its line feed.
    ///
    /// # Errors
    /// The first flaw. After a gap it is told as soon as it is clear what it is:
    /// here or in [`Verifier::end`].
    pub fn line(&mut self, text: &[u8]) -> Result<(), Flaw> {
        self.line = self.line.saturating_add(1);
        let line = self.parse(text)?;
        if let Some(gap) = self.gap {
            return self.after_gap(gap, &line);
        }
        match line {
            Line::Chain {
                format,
                chain,
                after,
                keys: _,
            } => {
                if self.state.is_some() {
                    return self.fault(Fault::SecondBeginning);
                }
                if format != EXPORT_FORMAT {
                    return self.fault(Fault::Format(format));
                }
                let head = match &after {
                    Some(checkpoint) => {
                        self.check_pruning(chain, checkpoint)?;
                        checkpoint.head
                    }
                    None => ChainHead::EMPTY,
                };
                self.state = Some(State {
                    chain,
                    first_seq: head.seq.saturating_add(1),
                    head,
                    entries: 0,
                    checkpoints: u64::from(after.is_some()),
                    signed: after.map(|checkpoint| (head.seq, checkpoint.at)),
                });
                Ok(())
            }
            Line::Entry { seq, hash, record } => {
                let Some(mut state) = self.state else {
                    return self.fault(Fault::NoBeginning);
                };
                let next = state.head.next(state.chain, record.get().as_bytes());
                if seq != next.seq {
                    return self.out_of_order(seq, next.seq);
                }
                if hash != next.hash {
                    return self.fault(Fault::Changed { seq });
                }
                state.head = next;
                state.entries = state.entries.saturating_add(1);
                self.state = Some(state);
                Ok(())
            }
            Line::Checkpoint(checkpoint) => {
                let Some(mut state) = self.state else {
                    return self.fault(Fault::NoBeginning);
                };
                let seq = checkpoint.head.seq;
                if seq > state.head.seq {
                    return self.fault(Fault::Missing {
                        first: state.head.seq.saturating_add(1),
                        last: seq,
                    });
                }
                if checkpoint.head != state.head {
                    return self.fault(Fault::OtherHistory { seq });
                }
                self.check_signature(state.chain, &checkpoint)?;
                state.checkpoints = state.checkpoints.saturating_add(1);
                state.signed = Some((seq, checkpoint.at));
                self.state = Some(state);
                Ok(())
            }
        }
    }

    /// All lines were taken.
    ///
    /// # Errors
    /// What is wrong with the end.
    pub fn end(self) -> Result<Verified, Flaw> {
        let at = |line, fault| Err(Flaw { line, fault });
        if let Some(gap) = self.gap {
            return at(gap.line, gap.missing());
        }
        let Some(state) = self.state else {
            return at(self.line.saturating_add(1), Fault::NoBeginning);
        };
        let last = state.head.seq;
        match state.signed {
            Some((seq, signed_at)) if seq == last => Ok(Verified {
                chain: state.chain,
                entries: state.entries,
                first_seq: state.first_seq,
                last_seq: last,
                signed_at,
                checkpoints: state.checkpoints,
            }),
            _ => at(self.line.saturating_add(1), Fault::CutOff { last }),
        }
    }

    fn parse(&self, text: &[u8]) -> Result<Line, Flaw> {
        let unreadable = |why: String| Flaw {
            line: self.line,
            fault: Fault::Unreadable(why),
        };
        if text.len() > MAX_LINE_BYTES {
            let why = format!("the line has more than {MAX_LINE_BYTES} bytes");
            return Err(unreadable(why));
        }
        serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))
    }

    fn fault(&self, fault: Fault) -> Result<(), Flaw> {
        Err(Flaw {
            line: self.line,
            fault,
        })
    }

    fn out_of_order(&mut self, found: u64, expected: u64) -> Result<(), Flaw> {
        if found < expected {
            return self.fault(Fault::Reordered {
                seq: found,
                expected,
            });
        }
        self.gap = Some(Gap {
            line: self.line,
            expected,
            found,
        });
        Ok(())
    }

    /// The entry that belonged into the gap comes later: then they were
    /// exchanged; anything else leaves it missing.
    fn after_gap(&self, gap: Gap, line: &Line) -> Result<(), Flaw> {
        match line {
            Line::Entry { seq, .. } if *seq == gap.expected => Err(Flaw {
                line: gap.line,
                fault: Fault::Reordered {
                    seq: gap.found,
                    expected: gap.expected,
                },
            }),
            Line::Entry { .. } | Line::Checkpoint(_) | Line::Chain { .. } => Ok(()),
        }
    }

    fn key_of(&self, checkpoint: &Checkpoint) -> Result<&'a PublicKey, Flaw> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.id() == checkpoint.key_id)
            .ok_or_else(|| Flaw {
                line: self.line,
                fault: Fault::UnknownKey {
                    seq: checkpoint.head.seq,
                    key: checkpoint.key_id.to_string(),
                },
            })
    }

    fn check_signature(&self, chain: ChainName, checkpoint: &Checkpoint) -> Result<(), Flaw> {
        if checkpoint.is_signed_by(chain, self.key_of(checkpoint)?) {
            return Ok(());
        }
        let seq = checkpoint.head.seq;
        self.fault(Fault::BadSignature { seq })
    }

    /// Only who signed that a beginning was pruned lets a chain begin later.
    fn check_pruning(&self, chain: ChainName, checkpoint: &Checkpoint) -> Result<(), Flaw> {
        let key = self.key_of(checkpoint)?;
        let seq = checkpoint.head.seq;
        if checkpoint.is_pruning_signed_by(chain, key) {
            Ok(())
        } else if checkpoint.is_signed_by(chain, key) {
            self.fault(Fault::NotPruned { last: seq })
        } else {
            self.fault(Fault::BadSignature { seq })
        }
    }
}

impl Gap {
    const fn missing(self) -> Fault {
        Fault::Missing {
            first: self.expected,
            last: self.found.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests;
