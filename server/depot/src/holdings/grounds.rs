//! The rules that held for accounts when they last published: a guess that spares
//! the question. Whoever publishes on a guess checks it in the same transaction.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::AccountId;
use crate::rules::Grounds;

/// Accounts remembered; beyond it all are forgotten, and asked for again.
const MAX_ACCOUNTS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct KnownGrounds {
    known: Mutex<HashMap<AccountId, Grounds>>,
}

impl KnownGrounds {
    pub(crate) fn of(&self, account: AccountId) -> Option<Grounds> {
        self.locked().get(&account).cloned()
    }

    pub(crate) fn remember(&self, account: AccountId, grounds: Grounds) {
        let mut known = self.locked();
        if known.len() >= MAX_ACCOUNTS && !known.contains_key(&account) {
            known.clear();
        }
        known.insert(account, grounds);
    }

    pub(crate) fn forget(&self, account: AccountId) {
        self.locked().remove(&account);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<AccountId, Grounds>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ledger::Wishes;

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
