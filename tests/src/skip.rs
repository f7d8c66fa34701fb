//! Says that a test could not be made here, and why.
//!
//! Rust's test runner knows no skipping at run time, so a skipped test returns early and leaves
//! one line in the file named by `LAYOVER_TEST_SKIPS`; `tests/run` counts those lines and takes
//! them off the number of passed tests.

use std::fs::OpenOptions;
use std::io::Write;

/// Records that the running test is skipped because of `reason`. The caller returns at once.
pub fn skip(reason: &str) {
    let test = std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned();
    let line = format!("skipped: {test}: {reason}\n");
    eprint!("{line}");
    let Some(path) = std::env::var_os("LAYOVER_TEST_SKIPS") else {
        return;
    };
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("open skip log");
    log.write_all(line.as_bytes()).expect("write skip log");
}
