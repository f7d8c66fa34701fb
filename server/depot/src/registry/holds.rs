//! Operators, and the holds that they sign.

use std::time::Duration;

use layover_retention::Timestamp;

use super::folders::require_reason;
use super::{Registry, RegistryError};
use crate::account::Actor;
use crate::hold::{
    Approving, Hold, HoldId, HoldScope, HoldState, MAX_HOLD_DAYS, MAX_OPEN_HOLDS, NewHold, Signed,
};
use crate::holdings::{CLAIM_RETRY, CLAIM_WAIT};
use crate::journal::{JournalKind, NewEntry};
use crate::operator::{Operator, signer};
use crate::{EntityName, FileState, HomeName, NewKey, OperatorName, VirtualPath, timer};

/// The longest hold, as a span.
const MAX_HOLD: Duration = Duration::from_secs(MAX_HOLD_DAYS * 86_400);

/// What came of a signature under a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// The operator who signed.
    pub operator: OperatorName,
    /// The hold, as it is now.
    pub hold: Hold,
}

impl Approved {
    /// Whether the hold holds now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.hold.state == HoldState::Active
    }
}

impl Registry {
    /// Gives a person the right to approve holds.
    ///
    /// # Errors
    /// `OperatorKey`, `OperatorExists`, `Store`.
    pub async fn add_operator(
        &self,
        actor: &Actor,
        name: &OperatorName,
        key: &NewKey,
    ) -> Result<Operator, RegistryError> {
        let operator = Operator::new(name.clone(), key, self.holdings.now())?;
        let entry = self
            .entry(actor, "operator.add")
            .with("operator", name.as_str())
            .with("fingerprint", operator.fingerprint.as_str());
        match self.holdings.store.add_operator(&operator, &entry).await? {
            Some(()) => Ok(operator),
            None => Err(RegistryError::OperatorExists {
                name: name.clone(),
                fingerprint: operator.fingerprint,
            }),
        }
    }

    /// Who may approve holds, by name.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_operators(&self) -> Result<Vec<Operator>, RegistryError> {
        Ok(self.holdings.store.operators().await?)
    }

    /// Takes the right away. Holds that are active stay so; what the operator signed
    /// under others counts no more.
    ///
    /// # Errors
    /// `UnknownOperator`, `Store`.
    pub async fn remove_operator(
        &self,
        actor: &Actor,
        name: &OperatorName,
    ) -> Result<(), RegistryError> {
        let entry = self
            .entry(actor, "operator.remove")
            .with("operator", name.as_str());
        let (store, now) = (&self.holdings.store, self.holdings.now());
        store
            .remove_operator(name, now, &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownOperator { name: name.clone() })
    }

    /// Proposes a hold on a home, a folder or a stored file, until a time that may
    /// be later than `max_keep`. It holds nothing before two operators have signed
    /// its statement.
    ///
    /// # Errors
    /// `UnknownHome`, `UnknownPath`, `NoReason`, `BadReason`, `HoldEnd`,
    /// `TooManyHolds`, `Files`, `Store`.
    pub async fn propose_hold(
        &self,
        actor: &Actor,
        home: &HomeName,
        path: &VirtualPath,
        reason: &str,
        until: Timestamp,
    ) -> Result<Hold, RegistryError> {
        require_reason(reason)?;
        let now = self.holdings.now();
        if until <= now || until > now.saturating_add(MAX_HOLD) {
            return Err(RegistryError::HoldEnd { until });
        }
        let (home, entity) = self.home(home).await?;
        let store = &self.holdings.store;
        let open = usize::try_from(store.open_holds(home.id).await?).unwrap_or(usize::MAX);
        if open >= MAX_OPEN_HOLDS {
            return Err(RegistryError::TooManyHolds { home: home.name });
        }
        let rows = store.rows_at(home.id, path).await?;
        let file = rows
            .iter()
            .find(|row| row.state == FileState::Stored && !row.is_expired(now));
        let scope = match file {
            _ if path.is_root() => HoldScope::Account,
            Some(_) => HoldScope::File,
            None => HoldScope::Folder,
        };
        if scope == HoldScope::Folder {
            // Says so when neither the ledger nor the tree has such a folder.
            self.list_home(&home.name, path).await?;
        }
        let new = NewHold {
            home: home.id,
            home_name: home.name.clone(),
            scope,
            path: path.clone(),
            file: file.map(|row| row.id),
            reason: reason.to_owned(),
            until,
            now,
        };
        let entry = self
            .hold_entry(actor, "hold.add", &home.name, &entity, path)
            .with("scope", scope.as_str())
            .with("until", until.to_string())
            .with("reason", reason);
        let id = store.propose_hold(&new, &entry).await?;
        self.hold(id).await
    }

    /// A hold.
    ///
    /// # Errors
    /// `UnknownHold`, `Store`.
    pub async fn hold(&self, id: HoldId) -> Result<Hold, RegistryError> {
        let found = self.holdings.store.holds(Some(id), None).await?;
        let hold = found.into_iter().next();
        hold.ok_or(RegistryError::UnknownHold { id })
    }

    /// The holds of a home, or all there are, ended ones too; by number.
    ///
    /// # Errors
    /// `UnknownHome`, `Store`.
    pub async fn list_holds(&self, home: Option<&HomeName>) -> Result<Vec<Hold>, RegistryError> {
        let home = match home {
            Some(home) => Some(self.home(home).await?.0.id),
            None => None,
        };
        Ok(self.holdings.store.holds(None, home).await?)
    }

    /// Notes an operator's signature of a hold's statement. The second one, by
    /// another operator, makes it active.
    ///
    /// # Errors
    /// `UnknownHold`, `Signature`, `SignedTwice`, `HoldOver`, `HoldBusy`, `Store`.
    pub async fn approve_hold(
        &self,
        actor: &Actor,
        id: HoldId,
        signature: &str,
    ) -> Result<Approved, RegistryError> {
        let hold = self.hold(id).await?;
        let (operator, signed) = self.signed(&hold.statement, signature).await?;
        let entry = self
            .signed_entry(actor, "hold.approve", &hold, &signed)
            .await?;
        let (store, appliance) = (&self.holdings.store, self.holdings.appliance);
        let waiting = timer::Stopwatch::start();
        loop {
            match store.approve_hold(id, &signed, appliance, &entry).await? {
                Approving::Noted | Approving::Active { .. } => break,
                Approving::Busy if waiting.elapsed() < CLAIM_WAIT => {
                    timer::sleep(CLAIM_RETRY).await;
                }
                Approving::Busy => return Err(RegistryError::HoldBusy { id }),
                Approving::Twice => return Err(RegistryError::SignedTwice { id, operator }),
                Approving::Over => {
                    let hold = self.hold(id).await?;
                    let state = if hold.until <= self.holdings.now() {
                        HoldState::Ended
                    } else {
                        hold.state
                    };
                    return Err(RegistryError::HoldOver { id, state });
                }
            }
        }
        Ok(Approved {
            operator,
            hold: self.hold(id).await?,
        })
    }

    /// Ends a hold, or withdraws the proposal, with one operator's signature of the
    /// release statement. Its files follow their rules again. Returns how many of
    /// them got another expiry.
    ///
    /// # Errors
    /// `UnknownHold`, `NoReason`, `BadReason`, `Signature`, `HoldOver`, `Store`.
    pub async fn release_hold(
        &self,
        actor: &Actor,
        id: HoldId,
        reason: &str,
        signature: &str,
    ) -> Result<u64, RegistryError> {
        require_reason(reason)?;
        let hold = self.hold(id).await?;
        let statement = hold.release_statement(reason);
        let (_, signed) = self.signed(&statement, signature).await?;
        let entry = self
            .signed_entry(actor, "hold.release", &hold, &signed)
            .await?
            .with("reason", reason);
        let (store, appliance) = (&self.holdings.store, self.holdings.appliance);
        store
            .release_hold(id, &signed, reason, appliance, &entry)
            .await?
            .ok_or(RegistryError::HoldOver {
                id,
                state: hold.state,
            })
    }

    async fn signed(
        &self,
        statement: &str,
        signature: &str,
    ) -> Result<(OperatorName, Signed), RegistryError> {
        let operators = self.holdings.store.operators().await?;
        let operator = signer(&operators, statement, signature)?;
        let signed = Signed {
            operator: operator.name.to_string(),
            fingerprint: operator.fingerprint.clone(),
            signature: signature.to_owned(),
            now: self.holdings.now(),
        };
        Ok((operator.name.clone(), signed))
    }

    async fn signed_entry(
        &self,
        actor: &Actor,
        action: &'static str,
        hold: &Hold,
        signed: &Signed,
    ) -> Result<NewEntry, RegistryError> {
        let (_, entity) = self.home(&hold.home).await?;
        Ok(self
            .hold_entry(actor, action, &hold.home, &entity, &hold.path)
            .with("hold", hold.id.0)
            .with("operator", signed.operator.as_str())
            .with("fingerprint", signed.fingerprint.as_str()))
    }

    /// An entry about a hold: among what happens to files.
    fn hold_entry(
        &self,
        actor: &Actor,
        action: &'static str,
        home: &HomeName,
        entity: &EntityName,
        path: &VirtualPath,
    ) -> NewEntry {
        let (now, node) = (self.holdings.now(), &self.holdings.node);
        NewEntry::new(now, JournalKind::Retention, action, node)
            .entity(entity)
            .path(path)
            .with("home", home.as_str())
            .with("actor", actor.as_str())
    }
}
