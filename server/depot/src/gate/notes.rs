//! Refusals of peers that never came to a login: in the journal all the same, so
//! that an operator can tell a partner what is wrong.

use std::net::IpAddr;

use super::bans::{NO_LOGIN, POINT, weight};
use super::{Gate, LoginError, Reason, RefusedOffers, logged};
use crate::doctor::Sign;
use crate::figures::Ending;
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::network::normalise_ip;
use crate::rights::Protocol;

impl Gate {
    /// Tells the journal which keys a connection offered in vain that ended
    /// without a login; nothing when it offered none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_offers(
        &self,
        peer: IpAddr,
        protocol: Protocol,
        offers: RefusedOffers,
    ) -> Result<(), LoginError> {
        let Some(user) = offers.user else {
            return Ok(());
        };
        let weight_milli = offers.reason.as_ref().map_or(POINT, weight);
        let sign = offers
            .reason
            .as_ref()
            .map_or(Sign::KeyRefused, Reason::sign);
        let reason = offers.reason.map(|reason| reason.to_string());
        let told = match &reason {
            Some(reason) => format!("{} ({reason})", offers.keys.join(", ")),
            None => offers.keys.join(", "),
        };
        let mut entry = self
            .refused(peer, protocol, "publickey")
            .with("offered", offers.count)
            .with("keys", offers.keys);
        if let Some(reason) = &reason {
            entry = entry.with("reason", reason.as_str());
        }
        self.note_of(entry, &user, reason.as_deref(), weight_milli, (sign, &told))
            .await
    }

    /// Tells the journal of a name that came over FTP without TLS, which is refused
    /// before any proof: whose client is set so sees nothing but refusals.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_without_tls(&self, user: &str, peer: IpAddr) -> Result<(), LoginError> {
        let reason = Reason::WithoutTls.to_string();
        let entry = self
            .refused(peer, Protocol::Ftps, "none")
            .with("reason", reason.as_str());
        let weight_milli = weight(&Reason::WithoutTls);
        let told = (Sign::WithoutTls, user);
        self.note_of(entry, user, Some(&reason), weight_milli, told)
            .await
    }

    /// Tells the journal of a TLS client certificate that no handshake could use: its
    /// peer never came to say who he is. `reason` is for people.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_unusable_certificate(
        &self,
        peer: IpAddr,
        protocol: Protocol,
        reason: &str,
    ) -> Result<(), LoginError> {
        let entry = self
            .refused(peer, protocol, "certificate")
            .with("reason", reason);
        self.append(&entry, NO_LOGIN).await
    }

    /// Tells the journal of a peer whose TLS never came to be, though it tried: its
    /// partner asks the operator why nothing works. `reason` is for people.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_failed_tls(
        &self,
        peer: IpAddr,
        protocol: Protocol,
        reason: &str,
    ) -> Result<(), LoginError> {
        let entry = self.refused(peer, protocol, "none").with("reason", reason);
        self.append(&entry, NO_LOGIN).await
    }

    /// Counts a peer that spoke something else than the protocol, or broke it, and says
    /// nothing: there may be very many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_abuse(&self, peer: IpAddr) -> Result<(), LoginError> {
        if self.holdings.room.refuses() {
            return Ok(());
        }
        let counted = self.count(normalise_ip(peer), NO_LOGIN, None).await;
        counted.map_err(|source| LoginError::Unavailable { source })
    }

    fn refused(&self, peer: IpAddr, protocol: Protocol, method: &'static str) -> NewEntry {
        let now = self.holdings.now();
        let counters = &self.holdings.counters;
        counters.login(protocol, method, Ending::Refused);
        NewEntry::new(now, JournalKind::Login, "login", &self.holdings.node)
            .outcome(Outcome::Refused)
            .peer(normalise_ip(peer))
            .protocol(protocol)
            .with("method", method)
    }

    /// The entry of somebody who gave a name, with the entity if there is one; also
    /// in the log.
    async fn note_of(
        &self,
        entry: NewEntry,
        user: &str,
        reason: Option<&str>,
        weight_milli: i64,
        (sign, told): (Sign, &str),
    ) -> Result<(), LoginError> {
        let row = self.look_up(user).await?;
        let mut entry = entry.account(user);
        if let (Some(peer), Some(protocol)) = (entry.peer, entry.protocol) {
            let account = row.as_ref().map(|row| row.account.name.clone());
            self.see_refused(account, peer, protocol, sign, told);
        }
        if let Some(row) = row {
            entry = entry.entity(&row.account.entity);
        }
        tracing::info!(
            account.name = %logged(user),
            peer.addr = entry.peer.map(tracing::field::display),
            outcome = "refused",
            reason,
            "login refused"
        );
        self.append(&entry, weight_milli).await
    }

    async fn append(&self, entry: &NewEntry, weight_milli: i64) -> Result<(), LoginError> {
        if self.holdings.room.refuses() {
            return Ok(());
        }
        let appended = match entry.peer {
            Some(peer) => self.count(peer, weight_milli, Some(entry)).await,
            None => self.holdings.store.append(entry).await,
        };
        appended.map_err(|source| LoginError::Unavailable { source })
    }
}
