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
    /// A folder of the home.
    Folder,
}

impl PolicySource {
    /// The name as it appears in output: `appliance`, `entity`, `account` or `folder`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Entity => "entity",
            Self::Account => "account",
            Self::Folder => "folder",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Appliance, Self::Entity, Self::Account, Self::Folder]
            .into_iter()
            .find(|source| source.as_str() == name)
    }
}

impl std::fmt::Display for PolicySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The rule that holds for a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// How long the file stays after it arrived.
    pub keep: Keep,
    /// Who said so.
    pub source: PolicySource,
    /// How long it stays after it was first collected, if that is sooner.
    pub collected_keep: Option<Keep>,
}

/// What an account or a folder says of its files; by default nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct KeepWish {
    /// How long they stay after they arrived.
    pub keep: Option<Keep>,
    /// How long they stay after they were first collected.
    pub collected_keep: Option<Keep>,
}

impl KeepWish {
    /// This wish, and where it says nothing the `outer` one.
    #[must_use]
    pub fn or(self, outer: Self) -> Self {
        Self {
            keep: self.keep.or(outer.keep),
            collected_keep: self.collected_keep.or(outer.collected_keep),
        }
    }
}

/// Everything that is said of how long a file stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyLayers {
    /// What holds where nothing more specific is said.
    pub appliance: Keep,
    /// What no keep time may exceed.
    pub max_keep: Keep,
    /// The entity's wish.
    pub entity: Option<Keep>,
    /// The account's wish.
    pub account: KeepWish,
    /// The wish of the folder that the file lies in.
    pub folder: KeepWish,
}

impl PolicyLayers {
    /// The most specific rule (folder over account over entity over appliance),
    /// never more than `max_keep`: a limit that was lowered later cuts what was
    /// agreed before.
    #[must_use]
    pub fn effective(&self) -> RetentionPolicy {
        let (keep, source) = match (self.folder.keep, self.account.keep, self.entity) {
            (Some(keep), _, _) => (keep, PolicySource::Folder),
            (None, Some(keep), _) => (keep, PolicySource::Account),
            (None, None, Some(keep)) => (keep, PolicySource::Entity),
            (None, None, None) => (self.appliance, PolicySource::Appliance),
        };
        RetentionPolicy {
            keep: keep.min(self.max_keep),
            source,
            collected_keep: self.folder.or(self.account).collected_keep,
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

/// What is known of a file, of all that its expiry depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileTimes {
    /// When our server had its whole content.
    pub arrived_at: Timestamp,
    /// When it was first downloaded completely.
    pub collected_at: Option<Timestamp>,
    /// The latest end of the holds that it is under.
    pub held_until: Option<Timestamp>,
}

impl FileTimes {
    /// Of a file that has just arrived.
    #[must_use]
    pub const fn arrived(arrived_at: Timestamp) -> Self {
        Self {
            arrived_at,
            collected_at: None,
            held_until: None,
        }
    }
}

/// When a file must go: its keep after its arrival, or sooner when it was
/// collected and its rule says so, but not while it is held.
///
/// Nothing but our own clock and the policy decides. There is deliberately no
/// place for the file's own modification time (R01).
#[must_use]
pub fn expires_at(times: &FileTimes, policy: &RetentionPolicy) -> Timestamp {
    let by_arrival = times.arrived_at.saturating_add(policy.keep.as_duration());
    let by_rule = match (times.collected_at, policy.collected_keep) {
        (Some(collected_at), Some(keep)) => {
            by_arrival.min(collected_at.saturating_add(keep.as_duration()))
        }
        _ => by_arrival,
    };
    times
        .held_until
        .map_or(by_rule, |held_until| held_until.max(by_rule))
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

    use proptest::option;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_compose, proptest};

    use super::{
        FileTimes, Keep, KeepTooLong, KeepWish, PolicyLayers, PolicySource, Timestamp, expires_at,
        is_expired,
    };
    use crate::{MAX_KEEP_SECS, RetentionPolicy};

    fn keep(text: &str) -> Keep {
        text.parse().unwrap()
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        (1..=MAX_KEEP_SECS).prop_map(|secs| Keep::from_secs(secs).unwrap())
    }

    fn any_time() -> impl Strategy<Value = Timestamp> {
        (0..4_102_444_800_000_000_i64).prop_map(Timestamp::from_micros)
    }

    prop_compose! {
        fn any_wish()(
            keep in option::of(any_keep()), collected_keep in option::of(any_keep()),
        ) -> KeepWish {
            KeepWish { keep, collected_keep }
        }
    }

    prop_compose! {
        fn any_layers()(
            appliance in any_keep(), max_keep in any_keep(), entity in option::of(any_keep()),
            account in any_wish(), folder in any_wish(),
        ) -> PolicyLayers {
            PolicyLayers { appliance, max_keep, entity, account, folder }
        }
    }

    prop_compose! {
        fn any_times()(
            arrived_at in any_time(), collected_at in option::of(any_time()),
            held_until in option::of(any_time()),
        ) -> FileTimes {
            FileTimes { arrived_at, collected_at, held_until }
        }
    }

    fn only_keep(keep: Option<Keep>) -> KeepWish {
        KeepWish {
            keep,
            collected_keep: None,
        }
    }

    #[test]
    fn the_most_specific_keep_wins_and_the_limit_cuts_it() {
        let (two, three, five, nine) = (keep("2d"), keep("3d"), keep("5d"), keep("9d"));
        for (entity, account, folder, expected, source) in [
            (None, None, None, five, PolicySource::Appliance),
            (Some(three), None, None, three, PolicySource::Entity),
            (Some(three), Some(two), None, two, PolicySource::Account),
            (Some(two), Some(three), None, three, PolicySource::Account),
            (
                Some(two),
                Some(three),
                Some(five),
                five,
                PolicySource::Folder,
            ),
            (None, None, Some(two), two, PolicySource::Folder),
            (None, Some(nine), None, five, PolicySource::Account),
            (Some(nine), None, None, five, PolicySource::Entity),
            (None, Some(two), Some(nine), five, PolicySource::Folder),
        ] {
            let layers = PolicyLayers {
                appliance: five,
                max_keep: five,
                entity,
                account: only_keep(account),
                folder: only_keep(folder),
            };
            assert_eq!(
                layers.effective(),
                RetentionPolicy {
                    keep: expected,
                    source,
                    collected_keep: None,
                }
            );
        }
    }

    #[test]
    fn a_folder_that_speaks_of_collected_files_alone_leaves_the_rest_to_the_account() {
        let (one, two, three, five) = (keep("1d"), keep("2d"), keep("3d"), keep("5d"));
        let account = KeepWish {
            keep: Some(three),
            collected_keep: Some(two),
        };
        for (folder, expected, source, collected) in [
            (KeepWish::default(), three, PolicySource::Account, two),
            (only_keep(Some(one)), one, PolicySource::Folder, two),
            (
                KeepWish {
                    keep: None,
                    collected_keep: Some(one),
                },
                three,
                PolicySource::Account,
                one,
            ),
        ] {
            let layers = PolicyLayers {
                appliance: five,
                max_keep: five,
                entity: None,
                account,
                folder,
            };
            let policy = layers.effective();
            assert_eq!(
                (policy.keep, policy.source),
                (expected, source),
                "{folder:?}"
            );
            assert_eq!(policy.collected_keep, Some(collected), "{folder:?}");
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
            arrived_at in any_time(), keep in any_keep(), collected_keep in option::of(any_keep()),
        ) {
            let policy = RetentionPolicy { keep, source: PolicySource::Account, collected_keep };
            let expiry = expires_at(&FileTimes::arrived(arrived_at), &policy);
            prop_assert_eq!(expiry.duration_since(arrived_at), keep.as_duration());
            prop_assert!(!is_expired(expiry, expiry.saturating_sub(Duration::from_micros(1))));
        }

        #[test]
        fn r01_who_set_the_keep_time_changes_nothing_about_the_expiry(
            arrived_us in any::<i64>(), keep in any_keep(),
        ) {
            let times = FileTimes::arrived(Timestamp::from_micros(arrived_us));
            let by = |source| RetentionPolicy { keep, source, collected_keep: None };
            let by_account = expires_at(&times, &by(PolicySource::Account));
            for source in [PolicySource::Appliance, PolicySource::Entity, PolicySource::Folder] {
                prop_assert_eq!(by_account, expires_at(&times, &by(source)));
            }
            prop_assert!(by_account >= times.arrived_at);
        }

        #[test]
        fn no_combination_of_layers_exceeds_the_limit(layers in any_layers()) {
            prop_assert!(layers.effective().keep <= layers.max_keep);
        }

        #[test]
        fn collecting_a_file_never_makes_it_stay_longer(
            layers in any_layers(), times in any_times(),
        ) {
            let policy = layers.effective();
            let uncollected = FileTimes { collected_at: None, ..times };
            prop_assert!(expires_at(&times, &policy) <= expires_at(&uncollected, &policy));
        }

        #[test]
        fn a_collected_file_stays_its_collected_keep_unless_its_keep_ends_sooner(
            arrived_at in any_time(), collected_after in any_keep(), keep in any_keep(),
            collected_keep in any_keep(),
        ) {
            let policy = RetentionPolicy {
                keep, source: PolicySource::Folder, collected_keep: Some(collected_keep),
            };
            let collected_at = arrived_at.saturating_add(collected_after.as_duration());
            let times = FileTimes {
                collected_at: Some(collected_at), ..FileTimes::arrived(arrived_at)
            };
            let after_arrival = arrived_at.saturating_add(keep.as_duration());
            let after_collection = collected_at.saturating_add(collected_keep.as_duration());
            prop_assert_eq!(expires_at(&times, &policy), after_arrival.min(after_collection));
        }

        #[test]
        fn a_held_file_stays_until_the_hold_ends_and_then_follows_its_rule_again(
            layers in any_layers(), times in any_times(), held_until in any_time(),
        ) {
            let policy = layers.effective();
            let free = expires_at(&FileTimes { held_until: None, ..times }, &policy);
            let held = expires_at(&FileTimes { held_until: Some(held_until), ..times }, &policy);
            prop_assert_eq!(held, free.max(held_until));
            prop_assert!(!is_expired(held, held_until.saturating_sub(Duration::from_micros(1))));
        }
    }
}
