//! How a flow knows what it has moved: keys, kept as long as the file is at its source,
//! and for [`CENSUSES_KEPT`](super::CENSUSES_KEPT) censuses more.

use layover_retention::Timestamp;
use sha2::{Digest, Sha256};

use crate::FileId;
use crate::integration::IdempotencyMode;

/// What a listing tells of a file at its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// Its name, without the folder.
    pub name: Vec<u8>,
    /// Its size, where the server tells it.
    pub size_bytes: Option<u64>,
    /// When it was last changed, where the server tells it.
    pub modified_at: Option<Timestamp>,
    /// The beginning of that day, where a listing leaves the time of day out when a file
    /// is old.
    pub day_at: Option<Timestamp>,
    /// Of a file in a home: its number there. A partner sets size and time as he likes;
    /// another content has another number.
    pub file: Option<FileId>,
}

/// How a file looked at its source when it was read. What is done with it in a later run
/// is done with no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenSource {
    /// Its size; none: it was not told.
    pub size_bytes: Option<u64>,
    /// When it was changed; none: it was not told, or not to the second.
    pub modified_at: Option<Timestamp>,
    /// In a home: its number.
    pub file: Option<FileId>,
}

impl SourceFacts {
    /// Whether the listing shows no more than the day.
    fn shows_the_day(&self) -> bool {
        self.day_at.is_some() && self.day_at == self.modified_at
    }
}

/// The mark of a file that was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey([u8; 32]);

impl FileKey {
    /// What a listing alone says; none in a mode that remembers nothing. By content, a
    /// file is known again by name, size and time as long as these stay, so that it
    /// need not be read to be passed over.
    #[must_use]
    pub fn of_listing(mode: IdempotencyMode, facts: &SourceFacts) -> Option<Self> {
        let kind = match mode {
            IdempotencyMode::None => return None,
            IdempotencyMode::Name => {
                return Some(Self::hashed(b"name", &[&facts.name]));
            }
            IdempotencyMode::NameSizeTime if facts.shows_the_day() => {
                return Self::of_day(mode, facts);
            }
            IdempotencyMode::NameSizeTime => b"look",
            IdempotencyMode::Hash => b"seen",
        };
        let size = facts.size_bytes.map_or(-1, i128::from);
        let time = facts.modified_at.map_or(i64::MIN, Timestamp::as_micros);
        let (size, time) = (size.to_be_bytes(), time.to_be_bytes());
        let file = facts.file.map(|file| file.0.to_be_bytes());
        let parts: [&[u8]; 3] = [&facts.name, &size, &time];
        let parts: Vec<_> = parts
            .into_iter()
            .chain(file.as_ref().map(<[u8; 8]>::as_slice))
            .collect();
        Some(Self::hashed(kind, &parts))
    }

    /// What a listing will say when it shows the day alone, in the mode that goes by time:
    /// a file that moved while its listing told minutes is known by it when it is old.
    #[must_use]
    pub fn of_day(mode: IdempotencyMode, facts: &SourceFacts) -> Option<Self> {
        let day = facts
            .day_at
            .filter(|_| mode == IdempotencyMode::NameSizeTime)?;
        let size = facts.size_bytes.map_or(-1, i128::from).to_be_bytes();
        let day = day.as_micros().to_be_bytes();
        Some(Self::hashed(b"day", &[&facts.name, &size, &day]))
    }

    /// What its content says under this name, in the mode that goes by it. Another name
    /// with the same content is another file: an empty one that marks a day's end must not
    /// be taken for that of the day before.
    #[must_use]
    pub fn of_content(mode: IdempotencyMode, name: &[u8], sha256: &[u8; 32]) -> Option<Self> {
        (mode == IdempotencyMode::Hash).then(|| Self::hashed(b"same", &[name, sha256]))
    }

    /// Every key by which a file may be known that a listing shows so, whatever the mode
    /// was when it moved; the key of its content goes with one of them.
    pub fn all_of_listing(facts: &SourceFacts) -> impl Iterator<Item = Self> {
        use IdempotencyMode::{Hash, Name, NameSizeTime};
        let looks = [Name, NameSizeTime, Hash].map(|mode| Self::of_listing(mode, facts));
        let day = Self::of_day(NameSizeTime, facts);
        looks.into_iter().chain([day]).flatten()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn hashed(kind: &[u8], parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &[u8], size: u64, time: i64) -> SourceFacts {
        SourceFacts {
            name: name.to_vec(),
            size_bytes: Some(size),
            modified_at: Some(Timestamp::from_micros(time)),
            day_at: None,
            file: None,
        }
    }

    #[test]
    fn a_file_is_known_when_its_listing_shows_no_more_than_the_day() {
        let mode = IdempotencyMode::NameSizeTime;
        let shown = |time, day| SourceFacts {
            day_at: Some(Timestamp::from_micros(day)),
            file: None,
            ..facts(b"a", 1, time)
        };
        let (young, old) = (shown(1_000, 900), shown(900, 900));
        let look = |facts: &SourceFacts| FileKey::of_listing(mode, facts);
        assert_eq!(FileKey::of_day(mode, &young), look(&old));
        assert_eq!(FileKey::of_day(mode, &old), look(&old));
        // Minutes tell two files of one day apart as long as they are shown.
        assert_ne!(look(&young), look(&old));
        assert_ne!(look(&young), look(&shown(1_060, 900)));
        assert_ne!(look(&old), look(&shown(800, 800)));
        assert_eq!(FileKey::of_day(IdempotencyMode::Hash, &young), None);
        assert_eq!(FileKey::of_day(mode, &facts(b"a", 1, 900)), None);
    }

    #[test]
    fn each_mode_tells_files_apart_by_what_it_says_and_by_nothing_else() {
        use IdempotencyMode::{Hash, Name, NameSizeTime, None};
        let first = facts(b"a", 1, 1);
        // mode, and whether another name, size or time makes another file
        let cases = [
            (Name, [true, false, false]),
            (NameSizeTime, [true, true, true]),
            (Hash, [true, true, true]),
        ];
        let others = [facts(b"b", 1, 1), facts(b"a", 2, 1), facts(b"a", 1, 2)];
        for (mode, differs) in cases {
            let key = FileKey::of_listing(mode, &first);
            assert!(key.is_some());
            for (other, differs) in others.iter().zip(differs) {
                let other = FileKey::of_listing(mode, other);
                assert_eq!(key != other, differs, "{mode}");
            }
        }
        assert_eq!(FileKey::of_listing(None, &first), Option::None);
        assert_eq!(FileKey::of_content(Name, b"a", &[1; 32]), Option::None);
        let content = FileKey::of_content(Hash, b"a", &[1; 32]);
        assert!(content.is_some() && content != FileKey::of_content(Hash, b"a", &[2; 32]));
        assert_ne!(
            content,
            FileKey::of_content(Hash, b"b", &[1; 32]),
            "another name"
        );
    }

    #[test]
    fn a_name_is_never_taken_for_another_mode_or_for_a_longer_one() {
        use IdempotencyMode::{Hash, NameSizeTime};
        let one = facts(b"a", 1, 1);
        assert_ne!(
            FileKey::of_listing(Hash, &one),
            FileKey::of_listing(NameSizeTime, &one)
        );
        let unknown = SourceFacts {
            size_bytes: None,
            modified_at: None,
            ..one.clone()
        };
        assert_ne!(
            FileKey::of_listing(NameSizeTime, &one),
            FileKey::of_listing(NameSizeTime, &unknown)
        );
    }
}
