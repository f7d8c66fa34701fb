//! Everything that a verdict is made of. Pure: nothing is read here.

use layover_retention::Timestamp;

use super::change::Change;
use super::sign::{SeenSign, Sign};
use super::{is_of, overlap};
use crate::{Account, AccountName, AllowedNetwork, Network, Protocols};

/// What is the partner's to know of us.
#[derive(Clone, Debug, Default)]
pub struct OurSide {
    /// The name, or address, by which partners reach us.
    pub server: Option<String>,
    /// Ports of passive data connections.
    pub passive_ports: Option<(u16, u16)>,
    /// SSH clients are offered `compatible` algorithms already.
    pub is_compatible: bool,
}

/// What of an account counts here.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its name.
    pub name: AccountName,
    /// Whether anybody may log in as it.
    pub enabled: bool,
    /// From where.
    pub networks: Vec<AllowedNetwork>,
    /// Over which protocols.
    pub protocols: Protocols,
}

impl From<Account> for Examined {
    fn from(account: Account) -> Self {
        Self {
            name: account.name,
            enabled: account.enabled,
            networks: account.networks,
            protocols: account.protocols,
        }
    }
}

/// Everything that a verdict is made of.
#[derive(Clone, Debug)]
pub struct Chart {
    pub(super) account: Examined,
    /// The account's own, and nobody's from its addresses.
    pub(super) signs: Vec<SeenSign>,
    /// Nobody's from elsewhere, the newest first.
    pub(super) elsewhere: Vec<SeenSign>,
    /// Networks that other accounts name, and addresses from which they log in.
    pub(super) others: Vec<OthersPlace>,
    /// What operators have changed of the account since the oldest sign.
    pub(super) changes: Vec<Change>,
    /// Bans that are not over.
    pub(super) bans: Vec<Network>,
    pub(super) last_login_at: Option<Timestamp>,
    pub(super) ours: OurSide,
    pub(super) now: Timestamp,
}

impl Chart {
    /// Of `account`, with its own signs, and nobody's of all addresses.
    #[must_use]
    pub fn new(
        account: Examined,
        mut signs: Vec<SeenSign>,
        nobodys: Vec<SeenSign>,
        last_login_at: Option<Timestamp>,
        ours: OurSide,
        now: Timestamp,
    ) -> Self {
        let came_from: Vec<Network> = signs
            .iter()
            .filter(|sign| sign.sign.needs_login())
            .map(|sign| sign.network)
            .collect();
        let (of_account, elsewhere): (Vec<_>, Vec<_>) = nobodys.into_iter().partition(|sign| {
            came_from.contains(&sign.network) || is_of(&account, sign.network, now)
        });
        signs.extend(of_account);
        Self {
            account,
            signs,
            elsewhere,
            others: Vec::new(),
            changes: Vec::new(),
            bans: Vec::new(),
            last_login_at,
            ours,
            now,
        }
    }

    /// Beside other accounts: who comes from these is one of theirs.
    #[must_use]
    pub fn beside(mut self, others: Vec<OthersPlace>) -> Self {
        self.others = others;
        self.others.retain(|place| !place.network.is_any());
        self
    }

    /// Whether somebody who gave no name may be the partner of another entity: both come
    /// from there, by one NAT.
    pub(super) fn is_shared(&self, seen: &SeenSign) -> bool {
        // What the gate refuses, it refuses to both.
        let has_no_name = seen.account.is_none() && seen.sign != Sign::AddressRefused;
        has_no_name
            && self
                .others
                .iter()
                .any(|place| !place.is_same_entity && overlap(place.network, seen.network))
    }

    /// After these changes of it.
    #[must_use]
    pub fn changed(mut self, changes: Vec<Change>) -> Self {
        self.changes = changes;
        self
    }

    /// While these networks are banned.
    #[must_use]
    pub fn banned(mut self, bans: Vec<Network>) -> Self {
        self.bans = bans;
        self
    }

    /// When the oldest of what is wrong was seen last; changes before that say nothing.
    #[must_use]
    pub fn wrong_since(&self) -> Option<Timestamp> {
        let wrong = self.signs.iter().filter(|seen| !seen.sign.is_good());
        wrong.map(|seen| seen.last_at).min()
    }

    /// Whether the account is known to come from there: it names the network, or has logged
    /// in from the address.
    pub(super) fn is_its_own(&self, network: Network) -> bool {
        // Not only by what says so: that is written some seconds later.
        let came_from = |seen: &SeenSign| {
            seen.account.is_some() && seen.sign.needs_login() && seen.network == network
        };
        is_of(&self.account, network, self.now) || self.signs.iter().any(came_from)
    }

    /// Another sign of the same account, address and protocol.
    pub(super) fn beside_it(&self, of: &SeenSign, sign: Sign) -> Option<&SeenSign> {
        let mut signs = self.signs.iter();
        signs.find(|seen| {
            seen.sign == sign
                && (&seen.account, seen.network, seen.protocol)
                    == (&of.account, of.network, of.protocol)
        })
    }

    pub(super) fn last_login(&self) -> Option<Timestamp> {
        self.last_login_at.max(self.last(Sign::LoggedIn))
    }

    pub(super) fn last(&self, good: Sign) -> Option<Timestamp> {
        let of_it = self.signs.iter().filter(|seen| seen.sign == good);
        of_it.map(|seen| seen.last_at).max()
    }
}

/// Where another account comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OthersPlace {
    /// A network that it names, or an address from which it has logged in.
    pub network: Network,
    /// It is an account of the same entity.
    pub is_same_entity: bool,
}
