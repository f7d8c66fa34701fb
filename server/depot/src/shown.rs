//! Which TLS certificate each server of the database shows its clients. Partners find the
//! servers under one name: whoever pins the certificate of one is refused by another's.

use serde::Serialize;
use serde_json::Value;

use crate::account::JobRun;
use crate::recover::SILENT_AFTER;
use crate::{Depot, StoreError};

/// What a node's name has in front where it tells of its certificate.
const JOB: &str = "certificate:";

/// What a server shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownCertificate {
    /// The server's node.
    pub node: String,
    /// `SHA256:...` of its TLS certificate, in hexadecimal digits.
    pub fingerprint: String,
}

impl Depot {
    /// Tells the other nodes which TLS certificate this one shows: at its start, and when it
    /// shows another.
    ///
    /// # Errors
    /// The database is away.
    pub async fn tell_certificate(&self, fingerprint: &str) -> Result<(), StoreError> {
        let holdings = self.holdings();
        let run = JobRun {
            at: holdings.now(),
            next_due_at: None,
            report: Value::from(fingerprint),
        };
        let job = format!("{JOB}{}", holdings.node);
        holdings.store.note_job(&job, &run).await
    }

    /// What the servers show that live and serve FTPS, by their nodes' names.
    ///
    /// # Errors
    /// The database is away.
    pub async fn certificates_shown(&self) -> Result<Vec<ShownCertificate>, StoreError> {
        let holdings = self.holdings();
        let silent_before = holdings.now().saturating_sub(SILENT_AFTER);
        let told = holdings.store.told_by_nodes(JOB, silent_before).await?;
        let shown = told.into_iter().filter_map(|(node, run)| {
            // What another version wrote is not worth a failure.
            let fingerprint = run.report.as_str()?.to_owned();
            Some(ShownCertificate { node, fingerprint })
        });
        Ok(shown.collect())
    }
}
