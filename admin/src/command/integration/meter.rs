//! How far a transfer is, for whoever watches a terminal.

use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::sync::PoisonError;

use indicatif::{ProgressBar, ProgressStyle};
use layover_client::{Extent, Progress};

/// One bar for one file, on stderr; nothing where nobody watches.
pub(super) struct Meter {
    is_shown: bool,
    bar: Mutex<ProgressBar>,
}

impl Meter {
    /// Of a command that prints tables or lines; JSON is read by programs.
    pub(super) fn new(is_json: bool) -> Self {
        Self {
            is_shown: !is_json && io::stderr().is_terminal(),
            bar: Mutex::new(ProgressBar::hidden()),
        }
    }

    /// The next file.
    pub(super) fn begin(&self, name: &str) {
        if !self.is_shown {
            return;
        }
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:!32} {bar:24} {bytes:>11} / {total_bytes:11} {binary_bytes_per_sec} {eta}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        *self.bar() = bar;
    }

    /// The file is done, or is not.
    pub(super) fn end(&self) {
        self.bar().finish_and_clear();
    }

    /// Prints a line that the bar does not overwrite.
    pub(super) fn tell(&self, text: &str) {
        self.bar().suspend(|| crate::output::note(text));
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Meter {
    fn begins(&self, extent: Extent) {
        let bar = self.bar();
        if let Some(total) = extent.total_bytes {
            bar.set_length(total);
        }
        bar.set_position(extent.from_bytes);
    }

    fn moved(&self, bytes: u64) {
        self.bar().inc(bytes);
    }
}
