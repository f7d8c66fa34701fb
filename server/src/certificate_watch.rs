//! Looks at the TLS certificate's place, and tells what it finds: the journal, and
//! who asks for the status.

use std::sync::{Arc, Mutex, PoisonError};

use layover_depot::{Depot, Outcome, StoreError};
use layover_retention::Clock;
use serde_json::Map;

use crate::address_file::AddressFile;
use crate::tls_certificate::{Looked, Renewal};
use crate::unwritten::{Note, Notes};

/// The entry of another certificate, or of one that cannot be used.
const ACTION: &str = "certificate.renew";

/// The watch over one certificate.
pub(crate) struct CertificateWatch {
    pub(crate) renewal: Renewal,
    clock: Arc<dyn Clock>,
    address_file: Arc<AddressFile>,
    notes: Notes,
    depot: Depot,
    /// What the other nodes know to be shown.
    told: Mutex<Option<String>>,
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
            clock,
            address_file,
            notes: Notes::new(depot.clone(), ACTION),
            depot,
            told: Mutex::default(),
        }
    }

    /// One look. What is wrong with the certificate is told here and is no error.
    ///
    /// # Errors
    /// When journal and other nodes cannot be told; the next look tries again.
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
        let fingerprint = state.fingerprint.clone();
        if looked != Looked::AsBefore {
            self.address_file
                .change(|addresses| addresses.tls_certificate = Some(state));
        }
        let note = entry.map(|(outcome, detail)| Note {
            at: now,
            outcome,
            detail,
        });
        self.notes.write(note).await?;
        self.tell_nodes(fingerprint).await
    }

    async fn tell_nodes(&self, fingerprint: String) -> Result<(), StoreError> {
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told().as_ref() != Some(&fingerprint) {
            self.depot.tell_certificate(&fingerprint).await?;
            *told() = Some(fingerprint);
        }
        Ok(())
    }
}
