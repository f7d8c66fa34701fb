//! Keeps heavy tests from running into each other's deadlines on a small machine.

use std::sync::{Condvar, Mutex};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have so many files open, if it may; says why not.
pub fn allow_open_files(count: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(count),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("{count} open files: {error}"))
}

static HEAVY: Gate = Gate {
    busy: Mutex::new(false),
    freed: Condvar::new(),
};

struct Gate {
    busy: Mutex<bool>,
    freed: Condvar,
}

/// Permission to move much data or measure time; the next heavy test starts when it is dropped.
#[derive(Debug)]
#[must_use = "the next heavy test starts as soon as this is dropped"]
pub struct Heavy(());

/// Waits for the turn of the calling test among the heavy ones. Light tests go on meanwhile.
pub fn heavy() -> Heavy {
    let mut busy = HEAVY
        .busy
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    while *busy {
        busy = HEAVY
            .freed
            .wait(busy)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
    }
    *busy = true;
    Heavy(())
}

impl Drop for Heavy {
    fn drop(&mut self) {
        *HEAVY
            .busy
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = false;
        HEAVY.freed.notify_one();
    }
}
