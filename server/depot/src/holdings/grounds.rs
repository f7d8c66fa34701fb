//! The rules that held for accounts when they last published: a guess that spares
//! the question. Whoever publishes on a guess checks it in the same transaction.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::AccountId;
use crate::rules::Grounds;

/// Accounts remembered; beyond it all are forgotten, and asked for again.
const MAX_ACCOUNTS: usize = 10_000;

/// Folders' rules and holds remembered for all of them, likewise: about 20 MB.
const MAX_RULES: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct KnownGrounds {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_account: HashMap<AccountId, Grounds>,
    /// Rules of all of them.
    rules: usize,
}

impl Known {
    fn forget(&mut self, account: AccountId) {
        if let Some(grounds) = self.by_account.remove(&account) {
            self.rules = self.rules.saturating_sub(grounds.rules.count());
        }
    }
}

impl KnownGrounds {
    pub(crate) fn of(&self, account: AccountId) -> Option<Grounds> {
        self.locked().by_account.get(&account).cloned()
    }

    pub(crate) fn remember(&self, account: AccountId, grounds: Grounds) {
        let mut known = self.locked();
        known.forget(account);
        let rules = known.rules.saturating_add(grounds.rules.count());
        if known.by_account.len() >= MAX_ACCOUNTS || rules > MAX_RULES {
            *known = Known::default();
        }
        known.rules = known.rules.saturating_add(grounds.rules.count());
        known.by_account.insert(account, grounds);
    }

    pub(crate) fn forget(&self, account: AccountId) {
        self.locked().forget(account);
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use layover_retention::Timestamp;

    use super::*;
    use crate::hold::HoldId;
    use crate::ledger::Wishes;
    use crate::rules::{FolderHold, HomeRules};

    #[test]
    fn rules_beyond_the_limit_push_the_others_out_and_replaced_ones_do_not_count() {
        let hold = FolderHold {
            id: HoldId(1),
            path: crate::VirtualPath::root(),
            until: Timestamp::MAX,
        };
        let with_rules = |count| Grounds {
            wishes: Wishes::default(),
            rules: Arc::new(HomeRules::new(Vec::new(), vec![hold.clone(); count])),
        };
        let known = KnownGrounds::default();
        for _ in 0..3 {
            known.remember(AccountId(1), with_rules(MAX_RULES / 2));
        }
        known.remember(AccountId(2), with_rules(MAX_RULES / 2));
        assert!(known.of(AccountId(1)).is_some(), "just full");
        known.forget(AccountId(2));
        known.remember(AccountId(2), with_rules(MAX_RULES / 2));
        assert!(
            known.of(AccountId(1)).is_some(),
            "what was forgotten makes room"
        );
        known.remember(AccountId(3), with_rules(1));
        assert!(known.of(AccountId(1)).is_none());
        assert!(known.of(AccountId(3)).is_some());
    }

    #[test]
    fn a_full_memory_is_forgotten_and_filled_again() {
        let grounds = Grounds {
            wishes: Wishes {
                entity_s: Some(7),
                ..Wishes::default()
            },
            rules: Arc::default(),
        };
        let known = KnownGrounds::default();
        let accounts = i64::try_from(MAX_ACCOUNTS).unwrap();
        for account in 0..accounts {
            known.remember(AccountId(account), grounds.clone());
        }
        known.remember(AccountId(0), grounds.clone());
        assert_eq!(known.of(AccountId(1)), Some(grounds.clone()), "just full");
        known.remember(AccountId(accounts), grounds.clone());
        assert_eq!(known.of(AccountId(1)), None);
        assert_eq!(known.of(AccountId(accounts)), Some(grounds));
        known.forget(AccountId(accounts));
        assert_eq!(known.of(AccountId(accounts)), None);
    }
}
