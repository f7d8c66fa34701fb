//! Looks at the TLS certificate's place, and tells what it finds: the journal, and
//! who asks for the status.

use std::sync::{Arc, Mutex, PoisonError};

use layover_depot::{Depot, JournalKind, Outcome, StoreError};
use layover_retention::{Clock, Timestamp};
use serde_json::{Map, Value};

use crate::address_file::AddressFile;
use crate::tls_certificate::{Looked, Renewal};

/// The entry of another certificate, or of one that cannot be used.
const ACTION: &str = "certificate.renew";

/// What is to be journalled.
#[derive(Debug)]
struct Entry {
    at: Timestamp,
    outcome: Outcome,
    detail: Map<String, Value>,
}

/// The watch over one certificate.
pub(crate) struct CertificateWatch {
    pub(crate) renewal: Renewal,
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) address_file: Arc<AddressFile>,
    /// What the database did not take yet, in order.
    unwritten: Mutex<Vec<Entry>>,
}

impl CertificateWatch {
    pub(crate) fn new(
        renewal: Renewal,
        depot: Depot,
        clock: Arc<dyn Clock>,
        address_file: Arc<AddressFile>,
    ) -> Self {
        Self {
            renewal,
            depot,
            clock,
            address_file,
            unwritten: Mutex::default(),
        }
    }

    /// One look. What is wrong with the certificate is told here and is no error.
    ///
    /// # Errors
    /// When the journal cannot be written; the next look tries again.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let looked = self.renewal.look(now);
        let state = self.renewal.state();
        let entry = match &looked {
            Looked::AsBefore => None,
            Looked::Mended => {
                tracing::info!("the TLS certificate at its place can be used again");
                None
            }
            Looked::Renewed { from } => {
                tracing::info!(
                    "another TLS certificate is in use: {}, until {}",
                    state.fingerprint,
                    state.not_after
                );
                let mut detail = Map::new();
                detail.insert("from".to_owned(), from.clone().into());
                detail.insert("to".to_owned(), state.fingerprint.clone().into());
                detail.insert("not_after".to_owned(), state.not_after.to_string().into());
                Some((Outcome::Ok, detail))
            }
            Looked::Unusable { reason } => {
                tracing::error!("{reason}; the certificate in use stays");
                let mut detail = Map::new();
                detail.insert("reason".to_owned(), reason.clone().into());
                detail.insert("in_use".to_owned(), state.fingerprint.clone().into());
                detail.insert("not_after".to_owned(), state.not_after.to_string().into());
                Some((Outcome::Failed, detail))
            }
        };
        if looked != Looked::AsBefore {
            self.address_file
                .change(|addresses| addresses.tls_certificate = Some(state));
        }
        self.journal(entry.map(|(outcome, detail)| Entry {
            at: now,
            outcome,
            detail,
        }))
        .await
    }

    async fn journal(&self, entry: Option<Entry>) -> Result<(), StoreError> {
        let mut left = self.take_unwritten();
        left.extend(entry);
        let mut left = left.into_iter();
        while let Some(entry) = left.next() {
            let journal = self.depot.journal();
            let Entry {
                at,
                outcome,
                detail,
            } = &entry;
            let kind = JournalKind::System;
            let noted = journal
                .note(*at, kind, ACTION, *outcome, detail.clone())
                .await;
            if let Err(error) = noted {
                let mut unwritten = self
                    .unwritten
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                unwritten.splice(0..0, [entry].into_iter().chain(left));
                return Err(error);
            }
        }
        Ok(())
    }

    fn take_unwritten(&self) -> Vec<Entry> {
        let unwritten = self.unwritten.lock();
        std::mem::take(&mut unwritten.unwrap_or_else(PoisonError::into_inner))
    }
}
