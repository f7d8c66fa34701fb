//! Certificates and keys that end: told ahead, once for each of some times before.

use std::sync::Arc;
use std::time::Duration;

use layover_client::pgp::PartnerKey;
use layover_depot::{
    Account, Depot, EntityName, EventKind, Integration, News, PgpPublicKeys, RegistryError,
    StoreError,
};
use layover_retention::{Clock, Timestamp};
use serde_json::{Map, Value};

use crate::certificate_watch::CertificateWatch;
use crate::jobs::{Job, JobFailure, Next};

/// How often ends are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// Days before an end at which it is told, the last being the end itself: a month is what
/// an authority or a partner may take, and what is told a day before is urgent.
const DAYS_AHEAD: [u64; 5] = [0, 1, 7, 14, 30];

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
    DAYS_AHEAD.into_iter().find(has_come)
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

fn of_integration(integration: &Integration, now: Timestamp) -> Vec<Ending> {
    let spec = &integration.spec;
    let keys = [
        ("recipient_key", &spec.settings.outbound.recipient_key),
        ("partner_key", &spec.settings.inbound.partner_key),
    ];
    let keys = keys.into_iter().filter_map(|(what, key)| {
        let (fingerprint, at) = end_of_pgp(key.as_ref()?, now)?;
        Some(Ending {
            kind: EventKind::KeyExpiring,
            entity: Some(spec.entity.clone()),
            subject: format!("key:integration:{}:{fingerprint}", spec.name),
            at,
            detail: vec![
                ("integration", spec.name.to_string()),
                ("what", what.to_owned()),
                ("fingerprint", fingerprint),
            ],
        })
    });
    let mut endings: Vec<_> = keys.collect();
    // Both may be the same key.
    endings.dedup_by(|one, other| one.subject == other.subject);
    endings.extend(shown_certificate(integration));
    endings
}

/// The certificate that the partner's server showed last.
fn shown_certificate(integration: &Integration) -> Option<Ending> {
    let spec = &integration.spec;
    let shown = integration
        .learned
        .get(layover_client::partner::CERTIFICATE_LESSON)?;
    let text = |name: &str| shown.get(name)?.as_str().map(ToOwned::to_owned);
    let fingerprint = text("sha256")?;
    Some(Ending {
        kind: EventKind::CertificateExpiring,
        entity: Some(spec.entity.clone()),
        subject: format!("certificate:integration:{}:{fingerprint}", spec.name),
        at: text("expires_at")?.parse().ok()?,
        detail: vec![
            ("integration", spec.name.to_string()),
            ("what", "server certificate".to_owned()),
            ("fingerprint", fingerprint),
        ],
    })
}

/// When nothing can be encrypted to a key any more. Of one that has ended the doctor
/// tells, and every transfer.
fn end_of_pgp(key: &PgpPublicKeys, now: Timestamp) -> Option<(String, Timestamp)> {
    let now = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?;
    let read = PartnerKey::read(key.as_str().as_bytes()).ok()?;
    let report = read.report(now).ok()?;
    let end = report.expires_at?;
    Some((
        report.fingerprint,
        Timestamp::from_micros(end.as_microsecond()),
    ))
}

/// Looks at everything that ends.
pub(crate) struct Endings {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    /// None where FTPS is switched off.
    pub(crate) watch: Option<Arc<CertificateWatch>>,
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
            endings.extend(of_integration(&integration, now));
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
