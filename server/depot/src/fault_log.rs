//! Faults of ours in the log, as far as a partner cannot fill it: the first of a kind,
//! then one line a minute with the count of those that were left out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::timer::Stopwatch;
use crate::vfs::VfsError;
use crate::{LoginError, Session};

/// How long a kind is silent after a line.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct FaultLog(Arc<Mutex<BTreeMap<&'static str, Kind>>>);

#[derive(Debug)]
struct Kind {
    told: Stopwatch,
    untold: u64,
}

impl FaultLog {
    /// Whether a line may be written about something of this kind: how many were left
    /// out since the last one.
    #[must_use]
    pub fn turn(&self, kind: &'static str) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kinds.get_mut(kind)
            && known.told.elapsed() < SILENT_FOR
        {
            known.untold = known.untold.saturating_add(1);
            return None;
        }
        let told = Stopwatch::start();
        let last = kinds.insert(kind, Kind { told, untold: 0 });
        Some(last.map_or(0, |last| last.untold))
    }

    /// Logs why a request of a peer failed, when a person on the server's side must act.
    pub fn request(&self, session: Option<&Session>, fault: &VfsError) {
        if !fault.is_ours() {
            return;
        }
        let Some(untold) = self.turn(fault.word()) else {
            return;
        };
        let id = session.map(|session| tracing::field::display(session.id()));
        let account = session.map(|session| tracing::field::display(session.account_name()));
        let error = fault as &dyn std::error::Error;
        // Partners fill disks: they are refused, and everybody else is served.
        if matches!(fault, VfsError::DiskFull) {
            tracing::warn!(
                session.id = id,
                account.name = account,
                untold,
                "refused: {fault}"
            );
        } else {
            tracing::error!(
                session.id = id,
                account.name = account,
                error,
                untold,
                "a request failed for a reason of ours: {fault}"
            );
        }
    }

    /// Logs why a login could not be checked.
    pub fn login(&self, peer: IpAddr, fault: &LoginError) {
        let error = fault as &dyn std::error::Error;
        match fault {
            LoginError::DiskFull => {
                if let Some(untold) = self.turn("login-disk-full") {
                    tracing::warn!(peer.addr = %peer, untold, "logins are refused: {fault}");
                }
            }
            _ => {
                if let Some(untold) = self.turn("login") {
                    tracing::error!(peer.addr = %peer, error, untold, "a login could not be checked");
                }
            }
        }
    }

    /// Logs that the journal could not be told of something that a peer did; `what` is
    /// the whole sentence.
    pub fn unrecorded(&self, what: &'static str, error: &dyn std::error::Error) {
        if let Some(untold) = self.turn(what) {
            tracing::error!(error = %chain(error), untold, "{what}");
        }
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_of_a_kind_is_told_and_then_one_a_minute_with_the_count() {
        let log = FaultLog::default();
        assert_eq!(log.turn("a"), Some(0));
        assert_eq!((log.turn("a"), log.turn("a")), (None, None));
        assert_eq!(log.clone().turn("b"), Some(0), "another kind");
        crate::timer::sleep(SILENT_FOR - Duration::from_millis(1)).await;
        assert_eq!(log.turn("a"), None);
        crate::timer::sleep(Duration::from_millis(1)).await;
        assert_eq!(log.turn("a"), Some(3));
        assert_eq!(log.turn("a"), None);
    }
}
