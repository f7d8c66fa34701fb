//! Certificates and keys that end: told ahead, once for each of some times before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use layover_client::partner::{self, PartnerEnding};
use layover_client::secret_ref::SecretSources;
use layover_console::{Expiring, WITHIN_DAYS};
use layover_depot::{
    Account, Depot, EntityName, EventKind, Integration, News, RegistryError, StoreError,
};
use layover_retention::{Clock, Timestamp};
use serde_json::{Map, Value};

use crate::certificate_watch::CertificateWatch;
use crate::jobs::{Job, JobFailure, Next};

/// How often ends are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

/// Something that ends.
#[derive(Clone, Debug, PartialEq)]
struct Ending {
    kind: EventKind,
    entity: Option<EntityName>,
    /// `certificate:` or `key:`, whose it is, and its fingerprint.
    subject: String,
    at: Timestamp,
    detail: Vec<(&'static str, String)>,
}

/// The nearest of the times ahead that has come; `None`: none has.
fn days_ahead(end: Timestamp, now: Timestamp) -> Option<u64> {
    let has_come = |days: &u64| now.saturating_add(DAY.saturating_mul(narrow(*days))) >= end;
    WITHIN_DAYS.into_iter().find(has_come)
}

fn narrow(days: u64) -> u32 {
    u32::try_from(days).unwrap_or(u32::MAX)
}

impl Ending {
    /// What is told of it now; `None`: nothing.
    fn news(self, now: Timestamp) -> Option<News> {
        let days = days_ahead(self.at, now)?;
        let once = format!("{}:{}:{days}", self.subject, self.at.as_micros());
        let mut detail = Map::new();
        for (name, value) in self.detail {
            detail.insert(name.to_owned(), value.into());
        }
        detail.insert("ends_at".to_owned(), self.at.to_string().into());
        detail.insert("days_ahead".to_owned(), days.into());
        detail.insert("has_ended".to_owned(), Value::from(self.at <= now));
        Some(News {
            kind: self.kind,
            entity: self.entity,
            subject: self.subject,
            once,
            detail,
        })
    }
}

fn of_account(account: &Account) -> Vec<Ending> {
    let (name, entity) = (&account.name, Some(account.entity.clone()));
    let certificates = account.certificates.iter().map(|certificate| Ending {
        kind: EventKind::CertificateExpiring,
        entity: entity.clone(),
        subject: format!("certificate:account:{name}:{}", certificate.fingerprint),
        at: certificate.not_after,
        detail: vec![
            ("account", name.to_string()),
            ("fingerprint", certificate.fingerprint.clone()),
            ("certificate", certificate.subject.clone()),
        ],
    });
    let keys = account.keys.iter().filter_map(|key| {
        Some(Ending {
            kind: EventKind::KeyExpiring,
            entity: entity.clone(),
            subject: format!("key:account:{name}:{}", key.fingerprint),
            at: key.expires_at?,
            detail: vec![
                ("account", name.to_string()),
                ("fingerprint", key.fingerprint.clone()),
                ("comment", key.comment.clone()),
            ],
        })
    });
    certificates.chain(keys).collect()
}

fn of_partner(integration: &Integration, ending: PartnerEnding) -> Ending {
    let spec = &integration.spec;
    let PartnerEnding {
        what,
        fingerprint,
        at,
    } = ending;
    let (kind, word) = match what.is_a_certificate() {
        true => (EventKind::CertificateExpiring, "certificate"),
        false => (EventKind::KeyExpiring, "key"),
    };
    Ending {
        kind,
        entity: Some(spec.entity.clone()),
        subject: format!("{word}:integration:{}:{fingerprint}", spec.name),
        at,
        detail: vec![
            ("integration", spec.name.to_string()),
            ("what", what.as_str().to_owned()),
            ("fingerprint", fingerprint),
        ],
    }
}

/// Ends as they were found last, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct EndingBoard(Mutex<Option<Vec<(EventKind, Timestamp)>>>);

impl EndingBoard {
    fn put(&self, endings: &[Ending]) {
        let ends = endings.iter().map(|ending| (ending.kind, ending.at));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends.collect());
    }

    /// How many end soon; `None`: nobody has looked yet.
    pub(crate) fn expiring(&self, now: Timestamp) -> Option<Expiring> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = board.as_ref()?;
        let within = |of: EventKind| {
            WITHIN_DAYS.map(|days| {
                let last = now.saturating_add(DAY.saturating_mul(narrow(days)));
                let soon = ends.iter().filter(|(kind, at)| *kind == of && *at <= last);
                u64::try_from(soon.count()).unwrap_or(u64::MAX)
            })
        };
        Some(Expiring {
            certificates: within(EventKind::CertificateExpiring),
            keys: within(EventKind::KeyExpiring),
        })
    }
}

/// Looks at everything that ends.
pub(crate) struct Endings {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    /// None where FTPS is switched off.
    pub(crate) watch: Option<Arc<CertificateWatch>>,
    /// Where certificates of ours may be that are kept elsewhere.
    pub(crate) sources: SecretSources,
    pub(crate) board: Arc<EndingBoard>,
}

impl Endings {
    async fn all(&self, now: Timestamp) -> Result<Vec<Ending>, RegistryError> {
        let registry = self.depot.registry();
        let mut endings = Vec::new();
        if let Some(watch) = &self.watch {
            let state = watch.renewal.state();
            endings.push(Ending {
                kind: EventKind::CertificateExpiring,
                entity: None,
                subject: format!("certificate:server:{}", state.fingerprint),
                at: state.not_after,
                detail: vec![("fingerprint", state.fingerprint.clone())],
            });
        }
        for account in registry.list_accounts().await? {
            endings.extend(of_account(&account));
        }
        for integration in registry.list_integrations().await? {
            let ends = partner::endings(&integration, now, &self.sources).await;
            let ends = ends
                .into_iter()
                .map(|ending| of_partner(&integration, ending));
            endings.extend(ends);
        }
        Ok(endings)
    }

    async fn tell(&self, endings: Vec<Ending>, now: Timestamp) -> Result<(), StoreError> {
        for news in endings.into_iter().filter_map(|ending| ending.news(now)) {
            if self.depot.events().tell_once(&news).await? {
                tracing::warn!(subject = news.subject, "{} ends soon, or has", news.subject);
            }
        }
        Ok(())
    }
}

impl Job for Endings {
    fn name(&self) -> &'static str {
        "endings"
    }

    fn period(&self) -> Duration {
        LOOK_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let now = self.clock.now();
        let endings = self.all(now).await?;
        self.board.put(&endings);
        self.tell(endings, now).await?;
        Ok(Next::WhenDue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_at_the_nearest_of_its_times() {
        let end = Timestamp::from_micros(2_000_000_000_000_000);
        let before = |days: u32, hours: u32| {
            end.saturating_sub(DAY * days + Duration::from_secs(3_600) * hours)
        };
        for (now, days) in [
            (before(30, 1), None),
            (before(30, 0), Some(30)),
            (before(14, 1), Some(30)),
            (before(14, 0), Some(14)),
            (before(7, 0), Some(7)),
            (before(1, 1), Some(7)),
            (before(0, 1), Some(1)),
            (end, Some(0)),
            (end.saturating_add(DAY * 100), Some(0)),
        ] {
            assert_eq!(days_ahead(end, now), days, "{now}");
        }
    }

    #[test]
    fn who_asks_is_told_how_many_end_soon() {
        let end = Timestamp::from_micros(2_000_000_000_000_000);
        let ending = |kind, days: u32| Ending {
            kind,
            entity: None,
            subject: String::new(),
            at: end.saturating_add(DAY * days),
            detail: Vec::new(),
        };
        let board = EndingBoard::default();
        assert_eq!(board.expiring(end), None);
        let (certificate, key) = (EventKind::CertificateExpiring, EventKind::KeyExpiring);
        let ends = [
            (certificate, 0),
            (certificate, 7),
            (certificate, 31),
            (key, 30),
        ];
        board.put(&ends.map(|(kind, days)| ending(kind, days)));
        let found = board.expiring(end).unwrap();
        assert_eq!(found.certificates, [1, 1, 2, 2, 2]);
        assert_eq!(found.keys, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn each_time_is_told_once_and_a_new_end_anew() {
        let end = Timestamp::from_micros(2_000_000_000_000_000);
        let ending = |at| Ending {
            kind: EventKind::KeyExpiring,
            entity: None,
            subject: "key:account:alice:SHA256:x".to_owned(),
            at,
            detail: Vec::new(),
        };
        let once = |at, now| ending(at).news(now).unwrap().once;
        let soon = end.saturating_sub(DAY * 5);
        assert_eq!(once(end, soon), once(end, soon.saturating_add(DAY)));
        assert_ne!(once(end, soon), once(end, end));
        assert_ne!(once(end, soon), once(end.saturating_add(DAY), soon));
    }
}
