//! Which SSH host keys a server has, and what each is for.
//!
//! SSH lets a server show one key of each algorithm, and the client chooses the algorithm
//! (RFC 4253 s.7.1). So keys of different algorithms are served side by side, and of two
//! keys of one algorithm one waits. Partners are told of it before: a key is announced
//! (connection kits have it), served, and in the end retired. The keys that the server
//! made or took over stand in `keys/host_keys.json`; while that is not there, they are the
//! ones that the settings need. Where `[sftp] host_keys` names keys, their order decides,
//! and nothing here changes them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use layover_config::{Algorithms, PemSource, SecretRef, Sftp};
use layover_retention::Timestamp;
use russh::keys::Algorithm;
use russh::keys::ssh_key::EcdsaCurve;
use serde::{Deserialize, Serialize};

use crate::host_key::{HostKey, HostKeyError, KEY_DIR_NAME, fresh, replace, write_once};

/// What stands in [`KEY_DIR_NAME`] of the keys there.
const LIST_NAME: &str = "host_keys.json";

/// Held by whoever changes the list.
const LOCK_NAME: &str = "host_keys.lock";

/// Keys that a server has, retired ones too: more is a mistake, or somebody's script.
const MAX_HOST_KEYS: usize = 64;

/// What becomes of a key of the list that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damaged {
    /// It is an error: nothing is served by half.
    Refuse,
    /// It is an entry without its key, which can be retired.
    Keep,
}

/// What a host key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKeyState {
    /// Clients are shown it, when they choose its algorithm.
    Served,
    /// Connection kits have it; no client is shown it.
    Announced,
    /// Neither.
    Retired,
}

impl HostKeyState {
    /// Its word in tables and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Announced => "announced",
            Self::Retired => "retired",
        }
    }
}

/// A kind of host key that the server makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA on NIST P-256, for clients without Ed25519. An RSA key would reach some more,
    /// but russh signs with the `rsa` crate, whose private-key operations leak their timing
    /// (RUSTSEC-2023-0071).
    Ecdsa,
}

impl HostKeyKind {
    /// The name of its file, as OpenSSH has it.
    const fn file_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh_host_ed25519_key",
            Self::Ecdsa => "ssh_host_ecdsa_key",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Ed25519 => Algorithm::Ed25519,
            Self::Ecdsa => Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
        }
    }

    /// Those that the settings need, the preferred one first.
    const fn needed(algorithms: Algorithms) -> &'static [Self] {
        match algorithms {
            Algorithms::Modern => &[Self::Ed25519],
            Algorithms::Compatible => &[Self::Ed25519, Self::Ecdsa],
        }
    }
}

/// A key of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Its name in [`KEY_DIR_NAME`].
    file: String,
    algorithm: String,
    sha256: String,
    state: HostKeyState,
    since: Timestamp,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    keys: Vec<Record>,
}

/// A host key of a server.
#[derive(Clone, Debug)]
pub struct HostKeyEntry {
    /// As SSH names it: `ssh-ed25519`.
    pub algorithm: String,
    /// `SHA256:...`.
    pub sha256: String,
    /// What it is for.
    pub state: HostKeyState,
    /// Since when it is for that; none: since it was made, or since a setting names it.
    pub since: Option<Timestamp>,
    /// Where it lies.
    pub source: SecretRef,
    /// None of a retired one, and while the list is changed of one that cannot be read.
    key: Option<HostKey>,
}

impl HostKeyEntry {
    fn of(key: HostKey, state: HostKeyState, since: Option<Timestamp>) -> Self {
        Self {
            algorithm: key.algorithm(),
            sha256: key.sha256(),
            state,
            since,
            source: key.source().clone(),
            key: Some(key),
        }
    }

    fn without_key(record: &Record, source: SecretRef) -> Self {
        Self {
            algorithm: record.algorithm.clone(),
            sha256: record.sha256.clone(),
            state: record.state,
            since: Some(record.since),
            source,
            key: None,
        }
    }

    fn of_record(record: &Record, dir: &Path, damaged: Damaged) -> Result<Self, HostKeyError> {
        let source = SecretRef::File(dir.join(&record.file));
        if record.state == HostKeyState::Retired {
            return Ok(Self::without_key(record, source));
        }
        match (HostKey::read(&source), damaged) {
            (Ok(key), _) => Ok(Self::of(key, record.state, Some(record.since))),
            (Err(_), Damaged::Keep) => Ok(Self::without_key(record, source)),
            (Err(error), Damaged::Refuse) => Err(error),
        }
    }

    /// Whether nobody needs to know of it any more: it is retired, and its file deleted.
    fn is_gone(&self) -> bool {
        let SecretRef::File(path) = &self.source else {
            return false;
        };
        self.state == HostKeyState::Retired && path.try_exists().is_ok_and(|there| !there)
    }
}

/// The host keys of a server, the preferred one first.
#[derive(Clone, Debug)]
pub struct HostKeySet {
    entries: Vec<HostKeyEntry>,
    /// Files that the settings need and that are not there: the next start makes them.
    missing: Vec<PathBuf>,
}

impl HostKeySet {
    /// Reads the keys; makes none.
    ///
    /// # Errors
    /// When the list or a key that is in use cannot be read, or the list leaves none to show.
    pub fn read(data_dir: &Path, settings: &Sftp) -> Result<Self, HostKeyError> {
        if !settings.host_keys.is_empty() {
            return Self::named(settings);
        }
        let set = Self::listed(data_dir, settings, Damaged::Refuse)?;
        if set.missing.is_empty() && set.served().next().is_none() {
            let path = data_dir.join(KEY_DIR_NAME).join(LIST_NAME);
            return Err(HostKeyError::NoneServed { path });
        }
        Ok(set)
    }

    /// The keys of the list, and those beside it that the settings need.
    fn listed(data_dir: &Path, settings: &Sftp, damaged: Damaged) -> Result<Self, HostKeyError> {
        let dir = data_dir.join(KEY_DIR_NAME);
        let list = read_list(&dir)?.unwrap_or_default();
        let records = list.keys.iter();
        let mut entries = records
            .map(|record| HostKeyEntry::of_record(record, &dir, damaged))
            .collect::<Result<Vec<_>, _>>()?;
        let mut missing = Vec::new();
        for kind in HostKeyKind::needed(settings.algorithms) {
            // One that was retired is not made again.
            let algorithm = kind.algorithm();
            let mut records = list.keys.iter();
            if records.any(|record| record.algorithm == algorithm.as_str()) {
                continue;
            }
            let path = dir.join(kind.file_name());
            if is_there(&path)? {
                let key = HostKey::read(&SecretRef::File(path))?;
                entries.push(HostKeyEntry::of(key, HostKeyState::Served, None));
            } else {
                missing.push(path);
            }
        }
        Ok(Self { entries, missing })
    }

    /// The keys that `[sftp] host_keys` names: of each algorithm the first is served.
    fn named(settings: &Sftp) -> Result<Self, HostKeyError> {
        let mut entries: Vec<HostKeyEntry> = Vec::new();
        for reference in settings.host_keys.iter().map(PemSource::reference) {
            let key = HostKey::read(reference)?;
            let algorithm = key.algorithm();
            let state = match entries.iter().any(|other| other.algorithm == algorithm) {
                true => HostKeyState::Announced,
                false => HostKeyState::Served,
            };
            entries.push(HostKeyEntry::of(key, state, None));
        }
        Ok(Self {
            entries,
            missing: Vec::new(),
        })
    }

    /// Every key, retired ones too.
    #[must_use]
    pub fn entries(&self) -> &[HostKeyEntry] {
        &self.entries
    }

    /// Files of keys that the next start makes.
    #[must_use]
    pub fn missing(&self) -> &[PathBuf] {
        &self.missing
    }

    /// The keys that clients are shown, one of each algorithm.
    pub fn served(&self) -> impl Iterator<Item = &HostKey> {
        self.in_state(HostKeyState::Served)
    }

    /// The keys of this state, but no retired ones: their files need not be there.
    pub fn in_state(&self, state: HostKeyState) -> impl Iterator<Item = &HostKey> {
        let entries = self.entries.iter();
        entries
            .filter(move |entry| entry.state == state)
            .filter_map(|entry| entry.key.as_ref())
    }

    /// Drops what is gone; but the last of an algorithm tells that the settings' need of it
    /// is no reason to make another.
    fn forget_gone(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let (gone, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(HostKeyEntry::is_gone);
        self.entries = kept;
        for entry in gone {
            let mut others = self.entries.iter();
            if !others.any(|other| other.algorithm == entry.algorithm) {
                self.entries.push(entry);
            }
        }
    }

    fn find(&mut self, sha256: &str) -> Result<&mut HostKeyEntry, HostKeyError> {
        let entry = self.entries.iter_mut().find(|entry| entry.sha256 == sha256);
        entry.ok_or_else(|| HostKeyError::Unknown {
            sha256: sha256.chars().take(80).collect(),
        })
    }
}

/// A change of the list, which nobody else changes meanwhile.
#[derive(Debug)]
pub struct HostKeyChange {
    dir: PathBuf,
    set: HostKeySet,
    now: Timestamp,
    /// Unlocked when dropped.
    _lock: File,
}

impl HostKeyChange {
    /// Begins one; the keys that the settings need are made first.
    ///
    /// # Errors
    /// When `[sftp] host_keys` names the keys, or they cannot be read or made.
    pub fn begin(data_dir: &Path, settings: &Sftp, now: Timestamp) -> Result<Self, HostKeyError> {
        if !settings.host_keys.is_empty() {
            return Err(HostKeyError::NamedBySettings);
        }
        make_missing(data_dir, settings)?;
        let dir = data_dir.join(KEY_DIR_NAME);
        let path = dir.join(LOCK_NAME);
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|source| unwritable(&path, source))?;
        let mut set = HostKeySet::listed(data_dir, settings, Damaged::Keep)?;
        for entry in &mut set.entries {
            entry.since.get_or_insert(now);
        }
        set.forget_gone();
        Ok(Self {
            dir,
            set,
            now,
            _lock: lock,
        })
    }

    /// The keys as they are going to be.
    #[must_use]
    pub fn set(&self) -> &HostKeySet {
        &self.set
    }

    /// Makes a key, which is announced. Returns its fingerprint.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&mut self, kind: HostKeyKind) -> Result<HostKeyEntry, HostKeyError> {
        let text = fresh(&kind.algorithm())?;
        self.add(kind.file_name(), text.as_bytes())
    }

    /// Takes over an OpenSSH private key, which is announced; also one that was retired, from
    /// a backup perhaps.
    ///
    /// # Errors
    /// When it is none, has a passphrase, or is there already.
    pub fn take_over(&mut self, file: &Path) -> Result<HostKeyEntry, HostKeyError> {
        let source = SecretRef::File(file.to_owned());
        let key = HostKey::read(&source)?;
        let sha256 = key.sha256();
        let is_it = |entry: &HostKeyEntry| entry.sha256 == sha256;
        let mut known = self.set.entries.iter();
        if known.any(|entry| is_it(entry) && entry.state != HostKeyState::Retired) {
            return Err(HostKeyError::Known { sha256 });
        }
        let text = source
            .resolve()
            .map_err(|source| HostKeyError::Unreadable { source })?;
        let kind = key
            .algorithm()
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        // The parser wants the line end that a reference cuts off.
        let text = zeroize::Zeroizing::new([text.as_slice(), b"\n"].concat());
        let added = self.add(&format!("ssh_host_{kind}_key"), &text)?;
        self.set
            .entries
            .retain(|entry| !is_it(entry) || entry.state != HostKeyState::Retired);
        Ok(added)
    }

    fn add(&mut self, name: &str, text: &[u8]) -> Result<HostKeyEntry, HostKeyError> {
        if self.set.entries.len() >= MAX_HOST_KEYS {
            return Err(HostKeyError::TooMany {
                most: MAX_HOST_KEYS,
            });
        }
        let path = self.free_path(name)?;
        write_once(&path, text).map_err(|source| unwritable(&path, source))?;
        let key = HostKey::read(&SecretRef::File(path))?;
        let entry = HostKeyEntry::of(key, HostKeyState::Announced, Some(self.now));
        self.set.entries.push(entry.clone());
        Ok(entry)
    }

    /// A name that no key has, of this run or of an earlier one.
    fn free_path(&self, name: &str) -> Result<PathBuf, HostKeyError> {
        let names = (2..).map(|number| format!("{name}-{number}"));
        for name in std::iter::once(name.to_owned()).chain(names) {
            let path = self.dir.join(name);
            if !is_there(&path)? {
                return Ok(path);
            }
        }
        Err(unwritable(&self.dir, io::ErrorKind::AlreadyExists.into()))
    }

    /// From now on clients are shown this key, also a retired one whose file is still there;
    /// the one of its algorithm that they were shown before is announced again, and returned.
    ///
    /// # Errors
    /// When there is no such key, or it cannot be read.
    pub fn serve(&mut self, sha256: &str) -> Result<Option<HostKeyEntry>, HostKeyError> {
        let now = self.now;
        let entry = self.set.find(sha256)?;
        if entry.key.is_none() {
            let key = HostKey::read(&entry.source)?;
            if key.sha256() != entry.sha256 {
                return Err(HostKeyError::Other {
                    key: entry.source.clone(),
                    sha256: entry.sha256.clone(),
                });
            }
            entry.key = Some(key);
        }
        if entry.state == HostKeyState::Served {
            return Ok(None);
        }
        let algorithm = entry.algorithm.clone();
        entry.state = HostKeyState::Served;
        entry.since = Some(now);
        let mut others = self.set.entries.iter_mut();
        let before = others.find(|other| {
            other.algorithm == algorithm
                && other.state == HostKeyState::Served
                && other.sha256 != sha256
        });
        Ok(before.map(|before| {
            before.state = HostKeyState::Announced;
            before.since = Some(now);
            before.clone()
        }))
    }

    /// Clients are not shown this key any more, and kits do not have it. Its file stays.
    ///
    /// # Errors
    /// When there is no such key, or no other is served.
    pub fn retire(&mut self, sha256: &str) -> Result<HostKeyEntry, HostKeyError> {
        let now = self.now;
        let others = self.set.entries.iter();
        let others_served = others
            .filter(|other| other.state == HostKeyState::Served && other.sha256 != sha256)
            .count();
        let entry = self.set.find(sha256)?;
        if entry.state == HostKeyState::Served && others_served == 0 {
            let sha256 = entry.sha256.clone();
            return Err(HostKeyError::Last { sha256 });
        }
        if entry.state != HostKeyState::Retired {
            entry.state = HostKeyState::Retired;
            entry.since = Some(now);
            entry.key = None;
        }
        Ok(entry.clone())
    }

    /// Writes the list: a running server takes it over within seconds.
    ///
    /// # Errors
    /// When it cannot be written; then nothing has changed.
    pub fn finish(self) -> Result<HostKeySet, HostKeyError> {
        let keys = self.set.entries.iter().map(|entry| Record {
            file: match &entry.source {
                SecretRef::File(path) => path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default(),
                other => other.to_string(),
            },
            algorithm: entry.algorithm.clone(),
            sha256: entry.sha256.clone(),
            state: entry.state,
            since: entry.since.unwrap_or(self.now),
        });
        let list = List {
            keys: keys.collect(),
        };
        let path = self.dir.join(LIST_NAME);
        let written = serde_json::to_vec_pretty(&list).map_err(io::Error::from);
        written
            .and_then(|text| replace(&path, &[&text, b"\n".as_slice()].concat()))
            .map_err(|source| unwritable(&path, source))?;
        Ok(self.set)
    }
}

/// The keys that clients are shown; makes those that are needed and not there, and says
/// what is to be said against them.
pub(crate) fn load(data_dir: &Path, settings: &Sftp) -> Result<Vec<HostKey>, HostKeyError> {
    make_missing(data_dir, settings)?;
    let set = HostKeySet::read(data_dir, settings)?;
    let keys: Vec<_> = set.served().cloned().collect();
    for key in &keys {
        key.warn();
    }
    Ok(keys)
}

fn make_missing(data_dir: &Path, settings: &Sftp) -> Result<(), HostKeyError> {
    if !settings.host_keys.is_empty() {
        return Ok(());
    }
    let set = HostKeySet::listed(data_dir, settings, Damaged::Keep)?;
    for path in set.missing() {
        let kinds = HostKeyKind::needed(settings.algorithms).iter();
        let named = |kind: &&HostKeyKind| path.ends_with(kind.file_name());
        if let Some(kind) = kinds.clone().find(named) {
            let text = fresh(&kind.algorithm())?;
            write_once(path, text.as_bytes()).map_err(|source| unwritable(path, source))?;
            tracing::info!(file.path = %path.display(), "made the SSH host key {}", path.display());
        }
    }
    Ok(())
}

fn is_there(path: &Path) -> Result<bool, HostKeyError> {
    path.try_exists().map_err(|source| unwritable(path, source))
}

fn read_list(dir: &Path) -> Result<Option<List>, HostKeyError> {
    let path = dir.join(LIST_NAME);
    let unusable = |source| HostKeyError::ListUnusable {
        path: path.clone(),
        source,
    };
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| unusable(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error)),
    }
}

fn unwritable(path: &Path, source: io::Error) -> HostKeyError {
    HostKeyError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
