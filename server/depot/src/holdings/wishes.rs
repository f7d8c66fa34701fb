//! What accounts wished when they last published: a guess that spares the
//! question. Whoever publishes on a guess checks it in the same transaction.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::AccountId;
use crate::ledger::Wishes;

/// Accounts remembered; beyond it all are forgotten, and asked for again.
const MAX_ACCOUNTS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct KnownWishes {
    known: Mutex<HashMap<AccountId, Wishes>>,
}

impl KnownWishes {
    pub(crate) fn of(&self, account: AccountId) -> Option<Wishes> {
        self.locked().get(&account).copied()
    }

    pub(crate) fn remember(&self, account: AccountId, wishes: Wishes) {
        let mut known = self.locked();
        if known.len() >= MAX_ACCOUNTS && !known.contains_key(&account) {
            known.clear();
        }
        known.insert(account, wishes);
    }

    pub(crate) fn forget(&self, account: AccountId) {
        self.locked().remove(&account);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<AccountId, Wishes>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_memory_is_forgotten_and_filled_again() {
        let wishes = Wishes {
            entity_s: Some(7),
            account_s: None,
        };
        let known = KnownWishes::default();
        let accounts = i64::try_from(MAX_ACCOUNTS).unwrap();
        for account in 0..accounts {
            known.remember(AccountId(account), wishes);
        }
        known.remember(AccountId(0), wishes);
        assert_eq!(known.of(AccountId(1)), Some(wishes), "just full");
        known.remember(AccountId(accounts), wishes);
        assert_eq!(known.of(AccountId(1)), None);
        assert_eq!(known.of(AccountId(accounts)), Some(wishes));
        known.forget(AccountId(accounts));
        assert_eq!(known.of(AccountId(accounts)), None);
    }
}
