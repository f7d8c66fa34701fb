//! Which keep time holds for a file, and when the file goes.

use serde::{Deserialize, Serialize};

use crate::{Keep, Timestamp};

/// Who set the keep time that holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicySource {
    /// The settings of the appliance.
    Appliance,
    /// The account's entity.
    Entity,
    /// The account itself.
    Account,
}

impl PolicySource {
    /// The name as it appears in output: `appliance`, `entity` or `account`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Entity => "entity",
            Self::Account => "account",
        }
    }
}

impl std::fmt::Display for PolicySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The keep time that holds for an account's files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// How long each file stays.
    pub keep: Keep,
    /// Who said so.
    pub source: PolicySource,
}

/// Every keep time that could hold for an account's files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyLayers {
    /// What holds where nothing more specific is said.
    pub appliance: Keep,
    /// What no keep time may exceed.
    pub max_keep: Keep,
    /// The entity's wish.
    pub entity: Option<Keep>,
    /// The account's wish.
    pub account: Option<Keep>,
}

impl PolicyLayers {
    /// The most specific keep time (account over entity over appliance), never
    /// more than `max_keep`: a limit that was lowered later cuts what was
    /// agreed before.
    #[must_use]
    pub fn effective(&self) -> RetentionPolicy {
        let (keep, source) = match (self.account, self.entity) {
            (Some(keep), _) => (keep, PolicySource::Account),
            (None, Some(keep)) => (keep, PolicySource::Entity),
            (None, None) => (self.appliance, PolicySource::Appliance),
        };
        RetentionPolicy {
            keep: keep.min(self.max_keep),
            source,
        }
    }

    /// Whether `keep` may be agreed under the limit `max`.
    ///
    /// # Errors
    /// [`KeepTooLong`] when it exceeds the limit.
    pub fn check(keep: Keep, max: Keep) -> Result<(), KeepTooLong> {
        if keep > max {
            Err(KeepTooLong {
                keep,
                max_keep: max,
            })
        } else {
            Ok(())
        }
    }
}

/// A keep time beyond the appliance's limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a keep time of {keep} exceeds the limit of {max_keep} (max_keep in [retention])")]
pub struct KeepTooLong {
    /// What was wished.
    pub keep: Keep,
    /// What is allowed at most.
    pub max_keep: Keep,
}

/// When a file that arrived at `arrived_at` must go.
///
/// Nothing but our own clock's arrival and the policy decides. There is
/// deliberately no parameter for the file's own modification time (R01).
#[must_use]
pub fn expires_at(arrived_at: Timestamp, policy: &RetentionPolicy) -> Timestamp {
    arrived_at.saturating_add(policy.keep.as_duration())
}

/// Whether a file with this expiry is gone for clients and due for removal.
/// The moment of expiry itself belongs to the time after.
#[must_use]
pub fn is_expired(expires_at: Timestamp, now: Timestamp) -> bool {
    expires_at <= now
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::{Keep, KeepTooLong, PolicyLayers, PolicySource, Timestamp, expires_at, is_expired};
    use crate::{MAX_KEEP_SECS, RetentionPolicy};

    fn keep(text: &str) -> Keep {
        text.parse().unwrap()
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        (1..=MAX_KEEP_SECS).prop_map(|secs| Keep::from_secs(secs).unwrap())
    }

    #[test]
    fn the_most_specific_keep_wins_and_the_limit_cuts_it() {
        let (two, three, five, nine) = (keep("2d"), keep("3d"), keep("5d"), keep("9d"));
        for (entity, account, expected, source) in [
            (None, None, five, PolicySource::Appliance),
            (Some(three), None, three, PolicySource::Entity),
            (Some(three), Some(two), two, PolicySource::Account),
            (Some(two), Some(three), three, PolicySource::Account),
            (None, Some(nine), five, PolicySource::Account),
            (Some(nine), None, five, PolicySource::Entity),
        ] {
            let layers = PolicyLayers {
                appliance: five,
                max_keep: five,
                entity,
                account,
            };
            assert_eq!(
                layers.effective(),
                RetentionPolicy {
                    keep: expected,
                    source
                }
            );
        }
    }

    #[test]
    fn a_keep_as_long_as_the_limit_is_allowed_and_one_second_more_is_not() {
        let limit = keep("5d");
        let longer = Keep::from_secs(limit.as_secs() + 1).unwrap();
        assert_eq!(PolicyLayers::check(limit, limit), Ok(()));
        let refused = KeepTooLong {
            keep: longer,
            max_keep: limit,
        };
        assert_eq!(PolicyLayers::check(longer, limit), Err(refused));
        assert!(refused.to_string().contains("5d1s"), "{refused}");
    }

    #[test]
    fn a_file_expires_at_the_moment_of_expiry_and_not_a_microsecond_before() {
        let expiry = Timestamp::from_micros(1_000_000);
        assert!(!is_expired(expiry, Timestamp::from_micros(999_999)));
        assert!(is_expired(expiry, expiry));
        assert!(is_expired(expiry, Timestamp::MAX));
    }

    proptest! {
        #[test]
        fn r01_a_file_stays_exactly_its_keep_time_counted_from_arrival(
            arrived_us in 0..4_102_444_800_000_000_i64, keep in any_keep(),
        ) {
            let arrived_at = Timestamp::from_micros(arrived_us);
            let policy = RetentionPolicy { keep, source: PolicySource::Account };
            let expiry = expires_at(arrived_at, &policy);
            prop_assert_eq!(expiry.duration_since(arrived_at), keep.as_duration());
            prop_assert!(!is_expired(expiry, expiry.saturating_sub(Duration::from_micros(1))));
        }

        #[test]
        fn r01_who_set_the_keep_time_changes_nothing_about_the_expiry(
            arrived_us in any::<i64>(), keep in any_keep(),
        ) {
            let arrived_at = Timestamp::from_micros(arrived_us);
            let by_account = RetentionPolicy { keep, source: PolicySource::Account };
            let by_entity = RetentionPolicy { keep, source: PolicySource::Entity };
            prop_assert_eq!(expires_at(arrived_at, &by_account), expires_at(arrived_at, &by_entity));
            prop_assert!(expires_at(arrived_at, &by_account) >= arrived_at);
        }

        #[test]
        fn no_combination_of_layers_exceeds_the_limit(
            appliance in any_keep(), max_keep in any_keep(),
            entity in proptest::option::of(any_keep()), account in proptest::option::of(any_keep()),
        ) {
            let layers = PolicyLayers { appliance, max_keep, entity, account };
            prop_assert!(layers.effective().keep <= max_keep);
        }
    }
}
