//! Keeps heavy tests from running into each other's deadlines on a small machine, and does what
//! they do many times.

use std::sync::atomic::{AtomicUsize, Ordering};
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

/// Does `job` so many times, by so many threads; what they made, in no order.
pub fn in_parallel<T: Send>(
    count: usize,
    threads: usize,
    job: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let (next, made) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let one = job(number);
                    made.lock().expect("no panic").push(one);
                }
            });
        }
    });
    made.into_inner().expect("no panic")
}
