//! The rules of retention: how long a stored file stays, and when it must go.
//!
//! This crate alone decides that; everything else asks it. The way in is
//! [`PolicyLayers::effective`] (which rule holds), [`expires_at`] (when a file
//! goes) and [`sweep`] (take out everything that is due). The caller lends it a
//! [`Clock`] and a [`DueShelf`].
//!
//! It must never perform input or output, contain SQL, or ask the operating
//! system for the time.

mod clock;
mod keep;
mod policy;
mod sweep;
mod timestamp;

pub use clock::{Clock, ManualClock};
pub use keep::{Keep, KeepError, MAX_KEEP_SECS};
pub use policy::{
    KeepTooLong, PolicyLayers, PolicySource, RetentionPolicy, expires_at, is_expired,
};
pub use sweep::{DueCursor, DueShelf, Removal, SWEEP_PAGE, SweepReport, sweep};
pub use timestamp::{Timestamp, TimestampError};
