//! Holds: what keeps files beyond their time, once two operators have signed.

use std::fmt;

use layover_retention::Timestamp;

use crate::{FileId, HomeId, HomeName, VirtualPath};

/// Longest time from now to the end of a hold: ten years of 365 days.
pub const MAX_HOLD_DAYS: u64 = 3650;

/// Signatures by different operators that make a hold active.
pub(crate) const APPROVALS_NEEDED: i64 = 2;

/// Holds that are proposed or active in one home: each is looked at for a file
/// that comes.
pub(crate) const MAX_OPEN_HOLDS: usize = 100;

/// The number of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub i64);

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a hold is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldScope {
    /// The whole home of an account.
    Account,
    /// A folder and all below it.
    Folder,
    /// One file, whatever name it has.
    File,
}

impl HoldScope {
    /// Its word, in the database and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Folder => "folder",
            Self::File => "file",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Account, Self::Folder, Self::File]
            .into_iter()
            .find(|scope| scope.as_str() == word)
    }
}

/// How far a hold has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// It holds nothing yet.
    Proposed,
    /// It holds files.
    Active,
    /// An operator ended it, or withdrew the proposal.
    Released,
    /// Its time was over.
    Ended,
}

impl HoldState {
    /// Its word, in the database and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Released => "released",
            Self::Ended => "ended",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Proposed, Self::Active, Self::Released, Self::Ended]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// A hold, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its number.
    pub id: HoldId,
    /// In which home.
    pub home: HomeName,
    /// What it is on.
    pub scope: HoldScope,
    /// Where: the root for a whole home; of a file, its name when it was proposed.
    pub path: VirtualPath,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
    /// How far it has come.
    pub state: HoldState,
    /// What its approvers sign, byte for byte.
    pub statement: String,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// When the second signature came.
    pub active_at: Option<Timestamp>,
    /// When it was released.
    pub released_at: Option<Timestamp>,
    /// Why it was released.
    pub released_why: Option<String>,
    /// Who signed, in their order.
    pub approvals: Vec<HoldApproval>,
    /// Stored files that it holds, or held when it ended and that are there yet.
    pub files: u64,
}

impl Hold {
    /// What an operator signs to release it for this reason.
    #[must_use]
    pub fn release_statement(&self, reason: &str) -> String {
        format!("release of {}release reason: {reason}\n", self.statement)
    }
}

/// A signature under a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldApproval {
    /// Who signed.
    pub operator: String,
    /// With which key.
    pub fingerprint: String,
    /// When we learnt of it.
    pub at: Timestamp,
}

/// A hold about to be proposed.
#[derive(Clone, Debug)]
pub(crate) struct NewHold {
    pub(crate) home: HomeId,
    pub(crate) home_name: HomeName,
    pub(crate) scope: HoldScope,
    pub(crate) path: VirtualPath,
    pub(crate) file: Option<FileId>,
    pub(crate) reason: String,
    pub(crate) until: Timestamp,
    pub(crate) now: Timestamp,
}

impl NewHold {
    /// What its approvers sign. Nothing in it has a line break, and it says
    /// everything that the hold does: nobody signs a number alone.
    pub(crate) fn statement(&self, id: HoldId) -> String {
        // Nobody signs a name that looks like another one.
        let path = match std::str::from_utf8(self.path.as_bytes()) {
            Ok(path) if !path.contains(is_deceptive) => path.to_owned(),
            _ => format!("hex {}", hex::encode(self.path.as_bytes())),
        };
        let file = self
            .file
            .map_or_else(String::new, |file| format!("file: {file}\n"));
        format!(
            "layover hold {id}\nhome: {}\nscope: {}\npath: {path}\n{file}until: {}\n\
             proposed: {}\nreason: {}\n",
            self.home_name,
            self.scope.as_str(),
            self.until,
            self.now,
            self.reason,
        )
    }
}

/// Characters that are not seen, or turn what is around them.
fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// An operator's signature, checked.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) operator: String,
    pub(crate) fingerprint: String,
    pub(crate) signature: String,
    pub(crate) now: Timestamp,
}

/// What came of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Approving {
    /// It was noted; another operator must sign.
    Noted,
    /// The hold is active, on so many files.
    Active { files: u64 },
    /// A file that it would hold is being changed just now: ask again.
    Busy,
    /// This operator, or this key, has signed already.
    Twice,
    /// It waits for no approval any more, or the operator is gone.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_says_all_that_the_hold_does() {
        let mut hold = NewHold {
            home: HomeId(1),
            home_name: "acme".parse().unwrap(),
            scope: HoldScope::File,
            path: "/in/a".parse().unwrap(),
            file: Some(FileId(12)),
            reason: "case 4711".to_owned(),
            until: "2027-01-31T00:00:00Z".parse().unwrap(),
            now: "2026-11-21T04:00:00Z".parse().unwrap(),
        };
        assert_eq!(
            hold.statement(HoldId(7)),
            "layover hold 7\nhome: acme\nscope: file\npath: /in/a\nfile: 12\n\
             until: 2027-01-31T00:00:00Z\nproposed: 2026-11-21T04:00:00Z\nreason: case 4711\n"
        );
        for (path, written) in [
            (&b"/in/\xff"[..], "hex 2f696e2fff"),
            ("/\u{202e}a".as_bytes(), "hex 2fe280ae61"),
            ("/ü".as_bytes(), "/ü"),
        ] {
            hold.path = VirtualPath::parse(path).unwrap();
            let statement = hold.statement(HoldId(7));
            assert!(
                statement.contains(&format!("\npath: {written}\n")),
                "{statement}"
            );
        }
    }
}
