//! The sessions of this process, so that an operator's change can end them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layover_retention::Timestamp;

use crate::session::SessionHandle;
use crate::store::AccountRow;
use crate::{AccountId, EndReason, Protocol, Session, SessionId};

/// One of them.
#[derive(Clone, Debug)]
struct Live {
    handle: SessionHandle,
    account: AccountId,
    peer: IpAddr,
    protocol: Protocol,
}

/// All of them; bounded by the gate's connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveSessions {
    sessions: Arc<Mutex<HashMap<SessionId, Live>>>,
}

impl LiveSessions {
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Live>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, session: &Session, protocol: Protocol, peer: IpAddr) {
        let live = Live {
            handle: session.handle(),
            account: session.account().id,
            peer,
            protocol,
        };
        self.sessions().insert(session.id().clone(), live);
    }

    /// How many there are by protocol.
    pub(crate) fn by_protocol(&self) -> BTreeMap<Protocol, u64> {
        let mut counts = BTreeMap::new();
        let sessions = self.sessions();
        for live in sessions.values().filter(|live| !live.handle.is_over()) {
            let count: &mut u64 = counts.entry(live.protocol).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }

    /// Forgets sessions that are over; returns whose the others are.
    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        let mut sessions = self.sessions();
        sessions.retain(|_, live| !live.handle.is_over());
        let mut accounts: Vec<_> = sessions.values().map(|live| live.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        accounts
    }

    /// Ends those whose account may no longer be in from where they are, and
    /// those that an operator killed; tells the others what they may do now.
    /// Returns how many were told to end.
    pub(crate) fn follow(
        &self,
        standing: &[AccountRow],
        killed: &[SessionId],
        now: Timestamp,
    ) -> usize {
        let mut ended = 0;
        for (id, live) in self.sessions().iter() {
            let row = standing.iter().find(|row| row.id == live.account);
            let reason = if killed.contains(id) {
                Some(EndReason::Killed)
            } else {
                row.and_then(|row| unwanted(row, live, now))
            };
            if let Some(reason) = reason {
                live.handle.end(reason);
                ended += 1;
            } else if let Some(row) = row {
                live.handle.set_terms(&row.terms);
            }
        }
        ended
    }

    /// Ends all of them.
    pub(crate) fn end_all(&self, reason: EndReason) {
        for live in self.sessions().values() {
            live.handle.end(reason);
        }
    }
}

fn unwanted(row: &AccountRow, live: &Live, now: Timestamp) -> Option<EndReason> {
    if !row.enabled || !row.protocols.contains(live.protocol) {
        Some(EndReason::AccountDisabled)
    } else if !row
        .networks
        .iter()
        .any(|network| network.admits(live.peer, now))
    {
        Some(EndReason::NetworkRemoved)
    } else {
        None
    }
}
