//! Says that a test could not be made here, and why, where `tests/run` looks for it.

use std::fs::OpenOptions;
use std::io::Write;

/// Records that the running test is skipped because of `reason`. The caller returns at once.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!(
        "skipped: {}: {reason}\n",
        thread.name().unwrap_or("unnamed")
    );
    eprint!("{line}");
    if let Some(path) = std::env::var_os("LAYOVER_TEST_SKIPS") {
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        log.write_all(line.as_bytes()).unwrap();
    }
}
