//! What a job does less often than it runs.

use std::time::Duration;

use layover_retention::Timestamp;

/// When something is due again: at the start, every so often, and whenever the clock was
/// set back, because what was put off by it is to come then.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    done_at: Option<Timestamp>,
    seen_at: Option<Timestamp>,
}

impl Pace {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            done_at: None,
            seen_at: None,
        }
    }

    /// Whether it is due; asked in each run of the job.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        if self.seen_at.replace(now).is_some_and(|seen| now < seen) {
            self.done_at = None;
        }
        self.done_at
            .is_none_or(|done| done.saturating_add(self.every) <= now)
    }

    /// It was done.
    pub(crate) fn done(&mut self, now: Timestamp) {
        self.done_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_the_start_every_so_often_and_when_the_clock_goes_back() {
        let mut pace = Pace::new(Duration::from_micros(10));
        let at = Timestamp::from_micros;
        assert!(pace.is_due(at(100)));
        assert!(pace.is_due(at(101)), "it was not done");
        pace.done(at(101));
        assert!(!pace.is_due(at(110)));
        assert!(pace.is_due(at(111)));
        pace.done(at(111));
        assert!(!pace.is_due(at(112)));
        assert!(pace.is_due(at(111)), "back");
        assert!(pace.is_due(at(112)), "and not done since");
        pace.done(at(112));
        assert!(!pace.is_due(at(113)));
    }
}
