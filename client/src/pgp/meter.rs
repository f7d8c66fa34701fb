//! Limits on what the OpenPGP library reads before we see any of it.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What one layer of a message may still read, shared between its [`Meter`] and
/// the one who sets limits.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    left: AtomicU64,
    read: AtomicU64,
    used_up: AtomicBool,
    broken: Mutex<Option<io::Error>>,
}

impl Allowance {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(bytes),
            ..Self::default()
        })
    }

    /// `bytes` may be read from here on, whatever was left.
    pub(super) fn renew(&self, bytes: u64) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Bytes read so far.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether reading was stopped because nothing was left.
    pub(super) fn used_up(&self) -> bool {
        self.used_up.load(Ordering::Relaxed)
    }

    /// The error of the reader itself, if it had one.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// A reader that gives no more than its [`Allowance`].
pub(super) struct Meter<R> {
    inner: R,
    allowance: Arc<Allowance>,
}

impl<R: BufRead> Meter<R> {
    pub(super) fn new(inner: R, allowance: Arc<Allowance>) -> Self {
        Self { inner, allowance }
    }
}

impl<R: BufRead> BufRead for Meter<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let allowance = &self.allowance;
        while let Err(error) = self.inner.fill_buf() {
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // Never `UnexpectedEof`: where the library looks for the next
            // packet, it takes that for the message's proper end.
            let told = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            *allowance
                .broken
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(error);
            return Err(told);
        }
        let buffer = self.inner.fill_buf()?;
        let left = usize::try_from(allowance.left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        if left == 0 && !buffer.is_empty() {
            allowance.used_up.store(true, Ordering::Relaxed);
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more than this part of a message may hold",
            ));
        }
        Ok(buffer.get(..left).unwrap_or(buffer))
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        self.allowance.read.fetch_add(amount, Ordering::Relaxed);
        let left = self.allowance.left.load(Ordering::Relaxed);
        self.allowance
            .left
            .store(left.saturating_sub(amount), Ordering::Relaxed);
    }
}

impl<R: BufRead> Read for Meter<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R> fmt::Debug for Meter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_gives_its_allowance_and_not_one_byte_more() {
        for (given, allowed, complete) in [(10, 10, true), (11, 10, false), (0, 0, true)] {
            let data = vec![7; given];
            let allowance = Allowance::new(allowed);
            let mut meter = Meter::new(&data[..], Arc::clone(&allowance));
            let mut read = Vec::new();
            assert_eq!(meter.read_to_end(&mut read).is_ok(), complete, "{given}");
            assert_eq!(read.len(), given.min(10));
            assert_eq!(allowance.used_up(), !complete);
        }
    }

    #[test]
    fn an_early_end_below_is_never_told_as_an_end() {
        struct Cut;
        impl Read for Cut {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let allowance = Allowance::new(10);
        let mut meter = Meter::new(io::BufReader::new(Cut), Arc::clone(&allowance));
        let told = meter.read(&mut [0; 4]).expect_err("the reader is cut");
        assert_eq!(told.kind(), io::ErrorKind::InvalidData);
        assert!(allowance.take_error().is_some());
    }
}
