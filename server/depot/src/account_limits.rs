//! How much an account may use at a time: sessions, and bytes a second.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Serialize, Serializer};

/// Most sessions that a limit may say: beyond any installation's connections.
pub const MAX_SESSION_LIMIT: u64 = 100_000;

/// The slowest that a transfer may be made, in bytes a second: at less, one request of
/// 256 KiB would be held back until clients take the server for dead.
pub const MIN_BYTE_RATE: u64 = 16 * 1024;

/// The fastest limit, in bytes a second: beyond any line.
pub const MAX_BYTE_RATE: u64 = 1 << 40;

/// Most sessions that an account may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit(NonZeroU64);

/// The number is no limit of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a limit of sessions is a number from 1 to {MAX_SESSION_LIMIT}, or `none`; to let an account \
     have none at all: layover account disable NAME"
)]
pub struct SessionLimitError;

impl SessionLimit {
    /// So many sessions.
    ///
    /// # Errors
    /// Not from 1 to [`MAX_SESSION_LIMIT`].
    pub fn new(sessions: u64) -> Result<Self, SessionLimitError> {
        let within = NonZeroU64::new(sessions).filter(|some| some.get() <= MAX_SESSION_LIMIT);
        within.map(Self).ok_or(SessionLimitError)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for SessionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SessionLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

/// How fast files may be moved, in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(NonZeroU64);

/// The number is no rate that transfers may be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteRateError {
    /// Less than [`MIN_BYTE_RATE`].
    #[error(
        "a rate below 16KiB a second would make clients take the server for dead; give more, or \
         `none` for no limit (to stop transfers: layover account disable NAME)"
    )]
    TooSlow,
    /// More than [`MAX_BYTE_RATE`].
    #[error("a rate above 1TiB a second limits nothing; give less, or `none` for no limit")]
    TooFast,
}

impl ByteRate {
    /// So many bytes a second.
    ///
    /// # Errors
    /// Not from [`MIN_BYTE_RATE`] to [`MAX_BYTE_RATE`].
    pub fn new(bytes_per_s: u64) -> Result<Self, ByteRateError> {
        match NonZeroU64::new(bytes_per_s) {
            Some(rate) if rate.get() > MAX_BYTE_RATE => Err(ByteRateError::TooFast),
            Some(rate) if rate.get() >= MIN_BYTE_RATE => Ok(Self(rate)),
            _ => Err(ByteRateError::TooSlow),
        }
    }

    /// Bytes a second.
    #[must_use]
    pub const fn bytes_per_s(self) -> u64 {
        self.0.get()
    }
}

impl Serialize for ByteRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.bytes_per_s())
    }
}

/// What an account may use at a time; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Sessions, on all servers together.
    pub max_sessions: Option<SessionLimit>,
    /// What its uploads bring, all its sessions on one server together.
    pub upload_rate: Option<ByteRate>,
    /// What its downloads fetch, likewise.
    pub download_rate: Option<ByteRate>,
}

/// What of them to change; `None` leaves it as it is, `Some(None)` takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsChange {
    /// Counts from the next login; nobody who is there is sent away.
    pub max_sessions: Option<Option<SessionLimit>>,
    /// Counts for uploads that run, too.
    pub upload_rate: Option<Option<ByteRate>>,
    /// Counts for downloads that run, too.
    pub download_rate: Option<Option<ByteRate>>,
}

impl LimitsChange {
    /// What makes these limits of none.
    #[must_use]
    pub fn of(limits: &AccountLimits) -> Self {
        Self {
            max_sessions: limits.max_sessions.map(Some),
            upload_rate: limits.upload_rate.map(Some),
            download_rate: limits.download_rate.map(Some),
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_within_their_bounds() {
        for (sessions, good) in [
            (0, false),
            (1, true),
            (MAX_SESSION_LIMIT, true),
            (MAX_SESSION_LIMIT + 1, false),
        ] {
            assert_eq!(SessionLimit::new(sessions).is_ok(), good, "{sessions}");
        }
        for (rate, fault) in [
            (0, Some(ByteRateError::TooSlow)),
            (MIN_BYTE_RATE - 1, Some(ByteRateError::TooSlow)),
            (MIN_BYTE_RATE, None),
            (MAX_BYTE_RATE, None),
            (MAX_BYTE_RATE + 1, Some(ByteRateError::TooFast)),
        ] {
            assert_eq!(ByteRate::new(rate).err(), fault, "{rate}");
        }
    }
}
