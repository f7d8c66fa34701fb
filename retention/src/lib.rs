//! The rules of retention: how long a stored file stays, and when it must go.
//!
//! This crate alone decides that; everything else asks it. The way in is
//! [`PolicyLayers::effective`] (which rule holds), [`expires_at`] (when a file
//! goes) and [`sweep`] (take out everything that is due). The caller lends it a
//! [`Clock`] and a [`DueShelf`]. What was deleted is proven by a [`DeletionCertificate`] in a
//! chain ([`ChainHead`], [`Checkpoint`]), which anybody can check ([`Verifier`]).
//!
//! It must never perform input or output, contain SQL, or ask the operating
//! system for the time.

mod certificate;
mod chain;
mod clock;
mod export;
mod keep;
mod policy;
mod sweep;
mod timekeeper;
mod timestamp;
mod verify;

pub use certificate::{DeletionCause, DeletionCertificate};
pub use chain::{
    ChainHash, ChainHashError, ChainHead, ChainName, Checkpoint, KeyId, KeyIdError,
    PUBLIC_KEY_BYTES, PublicKey, PublicKeyError, SEED_BYTES, SeedError, Signature, SigningKey,
};
pub use clock::{Clock, ManualClock};
pub use export::{EXPORT_FORMAT, Line};
pub use keep::{Keep, KeepError, MAX_KEEP_SECS};
pub use policy::{
    FileTimes, KeepTooLong, KeepWish, PolicyLayers, PolicySource, RetentionPolicy, expires_at,
    is_expired,
};
pub use sweep::{DueCursor, DueShelf, Removal, SWEEP_PAGE, SweepReport, sweep};
pub use timekeeper::{
    ClockDoubt, ClockNews, ClockRecord, Correction, JUMP_HOLD, JUMP_THRESHOLD,
    MAX_DATABASE_DIFFERENCE, PLAUSIBLE_DOWNTIME, Reading, SUSPICIOUS_JUMP, SUSPICIOUS_JUMP_HOLD,
    Timekeeper, Times,
};
pub use timestamp::{Timestamp, TimestampError};
pub use verify::{Fault, Flaw, MAX_LINE_BYTES, Verified, Verifier};
