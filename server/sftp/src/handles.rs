//! What a channel has open: files and directories, each under a number.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use layover_depot::{DirectoryListing, Download, FileInfo, Upload};

use crate::codec::Handle;
use crate::waiting::Waiting;

/// Files and directories that one channel may have open. `sftp` has one,
/// mirroring clients a few dozen; told to clients by `limits@openssh.com`.
pub const MAX_HANDLES: usize = 256;

/// A directory being listed. What it holds in memory is the depot's business, and
/// little: a client may open one under every handle (S05).
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    /// What `.` and `..` are told to be, until they are told.
    pub(crate) own: Option<FileInfo>,
    pub(crate) listing: Box<DirectoryListing>,
}

/// What stands behind a handle.
#[derive(Debug)]
pub(crate) enum Open {
    /// Opened for reading alone.
    Reading {
        file: Download,
        /// Bytes that READ has returned.
        sent_bytes: u64,
        /// Whether the end of the file was reached.
        reached_end: bool,
    },
    /// Opened for writing.
    Writing {
        file: Upload,
        /// Whether it may be read, too.
        readable: bool,
    },
    /// Opened for listing.
    Listing(OpenDirectory),
}

/// A handle: what is open, and the requests for it that wait.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) open: Open,
    /// Requests that wait behind a READ without budget, or behind one that the account's
    /// limit of bytes a second holds back, oldest first. Later
    /// ones for the same handle wait too, so that their order stays.
    pub(crate) waiting: Waiting,
}

/// All handles of one channel.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    slots: HashMap<Handle, Slot>,
    next: u32,
}

impl Handles {
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= MAX_HANDLES
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Gives `open` a number that no other handle has.
    pub(crate) fn add(&mut self, open: Open) -> Handle {
        // At most MAX_HANDLES numbers are taken, so this ends.
        loop {
            let handle = Handle(self.next);
            self.next = self.next.wrapping_add(1);
            if let Entry::Vacant(free) = self.slots.entry(handle) {
                free.insert(Slot {
                    open,
                    waiting: Waiting::default(),
                });
                return handle;
            }
        }
    }

    pub(crate) fn get(&mut self, handle: Option<Handle>) -> Option<&mut Slot> {
        self.slots.get_mut(&handle?)
    }

    /// The requests for a handle that wait.
    pub(crate) fn waiting(&self, handle: Handle) -> Option<&Waiting> {
        self.slots.get(&handle).map(|slot| &slot.waiting)
    }

    /// What stands behind a handle; beside it, another may be looked at.
    pub(crate) fn open(&self, handle: Option<Handle>) -> Option<&Open> {
        self.slots.get(&handle?).map(|slot| &slot.open)
    }

    /// Everything that is open.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Open> {
        self.slots.values().map(|slot| &slot.open)
    }

    pub(crate) fn remove(&mut self, handle: Option<Handle>) -> Option<Slot> {
        self.slots.remove(&handle?)
    }

    /// Takes everything that is still open.
    pub(crate) fn drain(&mut self) -> Vec<Slot> {
        self.slots.drain().map(|(_, slot)| slot).collect()
    }
}
