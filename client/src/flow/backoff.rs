//! When a file is tried again; pure.

use std::time::Duration;

use layover_depot::LONGEST_RETRY_WAIT;

/// The wait behind a try, the first being 1: it doubles with each, and is shortened by up
/// to a quarter (`jitter`, 0 to 255), so that files which failed together do not come back
/// together.
pub(super) fn wait(first_s: u32, tries: u32, jitter: u8) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let full = Duration::from_secs(u64::from(first_s) << doublings).min(LONGEST_RETRY_WAIT);
    let quarter = full / 4;
    full - quarter * u32::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_an_hour_and_is_never_shortened_by_more_than_a_quarter() {
        let waits = [
            (1, 30),
            (2, 60),
            (3, 120),
            (7, 1_920),
            (8, 3_600),
            (1_000, 3_600),
        ];
        for (tries, seconds) in waits {
            let full = Duration::from_secs(seconds);
            assert_eq!(wait(30, tries, 0), full);
            assert_eq!(wait(30, tries, 255), full * 3 / 4);
            let between = wait(30, tries, 128);
            assert!(between < full && between > full * 3 / 4);
        }
        assert_eq!(wait(3_600, 2, 0), LONGEST_RETRY_WAIT);
    }
}
