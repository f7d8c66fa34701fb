//! Buckets by a clock of the tests'.

use proptest::prelude::*;

use super::*;

const KIB: u64 = 1024;

fn limits(upload: Option<u64>, download: Option<u64>) -> AccountLimits {
    let rate = |bytes: Option<u64>| bytes.map(|bytes| ByteRate::new(bytes).unwrap());
    AccountLimits {
        max_sessions: None,
        upload_rate: rate(upload),
        download_rate: rate(download),
    }
}

#[test]
fn a_debt_is_waited_for_and_no_longer() {
    let second = Duration::from_secs(1);
    let mut bucket = TokenBucket::new(64 * KIB, second);
    assert_eq!(
        bucket.wait(second),
        Duration::ZERO,
        "the first goes at once"
    );
    bucket.take(128 * KIB, second);
    assert_eq!(bucket.wait(second), 2 * second);
    let almost = 3 * second - Duration::from_nanos(1);
    assert!(bucket.wait(almost) > Duration::ZERO);
    assert_eq!(bucket.wait(3 * second), Duration::ZERO);
}

#[test]
fn a_pause_saves_up_no_more_than_a_burst() {
    let mut bucket = TokenBucket::new(64 * KIB, Duration::ZERO);
    let hour = Duration::from_secs(3_600);
    assert_eq!(bucket.wait(hour), Duration::ZERO);
    // An eighth of a second, 8 KiB, is there; the rest is owed.
    bucket.take(72 * KIB, hour);
    assert_eq!(bucket.wait(hour), Duration::from_secs(1));
}

#[test]
fn what_is_owed_is_paid_at_the_new_rate() {
    let mut bucket = TokenBucket::new(64 * KIB, Duration::ZERO);
    bucket.take(128 * KIB, Duration::ZERO);
    bucket.set_rate(32 * KIB, Duration::from_secs(1));
    let wait = bucket.wait(Duration::from_secs(1));
    assert_eq!(wait, Duration::from_secs(2));
    bucket.set_rate(640 * KIB, Duration::from_secs(1));
    let wait = bucket.wait(Duration::from_secs(1));
    assert_eq!(wait, Duration::from_millis(100));
}

proptest! {
    /// Whoever waits when told to, at whatever moments it looks, is as fast as the limit: not
    /// faster than the rate, a burst and one piece; and no slower, since no time is lost
    /// between two looks.
    #[test]
    fn whatever_moves_keeps_to_the_rate(
        rate in 16 * KIB..1 << 32,
        pieces in prop::collection::vec((1_u64..1 << 20, 0_u64..3_000_000), 1..60),
    ) {
        let mut bucket = TokenBucket::new(rate, Duration::ZERO);
        let (mut now, mut moved, mut largest, mut late) = (Duration::ZERO, 0, 0, Duration::ZERO);
        for (bytes, pause_ns) in pieces {
            let wait = bucket.wait(now);
            now += wait;
            prop_assert_eq!(bucket.wait(now), Duration::ZERO);
            let pause = Duration::from_nanos(pause_ns);
            now += pause;
            late += pause;
            bucket.take(bytes, now);
            moved += bytes;
            largest = largest.max(bytes);
        }
        let end = now + bucket.wait(now);
        let may = |span: Duration| span.as_secs_f64() * rate as f64;
        let burst = may(BURST);
        prop_assert!(moved as f64 <= may(end) + burst + 1.0);
        prop_assert!(may(end.saturating_sub(late)) <= moved as f64 + 1.0 + 60.0 * rate as f64 / 1e9);
    }
}

#[test]
fn accounts_and_directions_have_buckets_of_their_own() {
    let all = Bandwidths::default();
    let slow = all.of(AccountId(1), &limits(Some(16 * KIB), None));
    let again = all.of(AccountId(1), &limits(Some(16 * KIB), None));
    let other = all.of(AccountId(2), &limits(Some(16 * KIB), Some(16 * KIB)));
    slow.take(Direction::Upload, 1 << 20);
    assert!(
        again.wait(Direction::Upload) > Duration::ZERO,
        "one account"
    );
    assert_eq!(slow.wait(Direction::Download), Duration::ZERO);
    assert_eq!(other.wait(Direction::Upload), Duration::ZERO);
    drop((slow, again));
    let back = all.of(AccountId(1), &limits(Some(16 * KIB), None));
    let owed = back.wait(Direction::Upload);
    assert!(owed > Duration::ZERO, "who goes and comes again still owes");
    drop((back, other));
    let _third = all.of(AccountId(3), &AccountLimits::default());
    let kept: Vec<_> = all.accounts.lock().unwrap().keys().copied().collect();
    assert!(kept.contains(&AccountId(1)), "in debt");
    assert!(!kept.contains(&AccountId(2)), "who is gone is forgotten");
}
