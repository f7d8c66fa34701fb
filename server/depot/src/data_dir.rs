//! The data directory of one node: the lock that keeps a second server out,
//! and the node's name.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use layover_retention::{SEED_BYTES, SigningKey};
use rustix::fs::FlockOperation;
use zeroize::Zeroizing;

use crate::NodeId;
use crate::chain_memory::ChainMemory;

/// Where the host keys lie.
const KEYS_DIR: &str = "keys";
/// The file that the running server holds locked.
const LOCK_FILE: &str = "layover.lock";
/// The file with the node's name.
const NODE_FILE: &str = "node-id";
/// The key of this node's part in the hash chains.
const SIGNING_KEY_FILE: &str = "signing_key";
/// Where the hash chains stood when this node last looked: not beside the key, so that
/// keys that are brought back do not bring an old memory with them.
const CHAIN_HEADS_FILE: &str = "chain_heads.json";
/// Bytes of it that are read at most.
const MAX_CHAIN_HEADS_BYTES: u64 = 1 << 20;
/// The master keys that secrets in the database are sealed with.
const MASTER_KEYS_FILE: &str = "master_keys";
/// Held locked while they are rotated.
const MASTER_KEYS_LOCK: &str = "master_keys.lock";
/// Longest node name, in bytes.
const MAX_NODE_BYTES: usize = 64;
/// There while a backup is restored here: empty until the database says so itself.
const RESTORING_FILE: &str = "restoring";
/// Marks of command lines that move files.
const COURIERS_DIR: &str = "couriers";
/// Marks of dead command lines that one look takes: more would be a fault of its own.
const MAX_DEAD_COURIERS: usize = 1000;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, read or written.
    #[error("the data directory `{}` cannot be used", path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server runs on it.
    #[error("another `layover serve` is running on the data directory `{}`; stop it first, or give this one its own `data_dir`", path.display())]
    AlreadyServing {
        /// The data directory.
        path: PathBuf,
    },
    /// The key that signs the hash chains is none.
    #[error("`{}` does not hold the {SEED_BYTES} bytes of a signing key; restore it from a backup, or remove it to get a new one (auditors need its public half, too)", path.display())]
    BadSigningKey {
        /// The file.
        path: PathBuf,
    },
    /// What this node remembers of the hash chains cannot be read.
    #[error("`{}` does not hold where the hash chains stood; restore it, or remove it: the journal then says that this node had forgotten them", path.display())]
    BadChainHeads {
        /// The file.
        path: PathBuf,
    },
    /// The node's name is not one.
    #[error("`{}` does not hold a node name; restore it, or remove it to get a new one", path.display())]
    BadNode {
        /// The file.
        path: PathBuf,
    },
}

/// Holds the lock while it lives; the system frees it when the process dies.
#[derive(Debug)]
pub(crate) struct ServerLock {
    _file: File,
}

/// Makes a directory for this user alone, and its parents.
pub(crate) fn make_private(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| DataDirError::Unusable {
            path: path.to_owned(),
            source,
        })
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Makes a file for SQLite, unless it is there: it would make one that everybody may read, and
/// gives those beside it the same mode. What cannot be made here it fails at, and says why.
pub(crate) fn make_private_file(path: &Path) {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    drop(made);
}

/// Whether there is nothing at `path`. What cannot be seen counts as there:
/// whoever opens it is told why it cannot.
pub(crate) fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether a backup may be restored here: nothing is there but perhaps an empty
/// directory for the homes, and the mark of a restore that made nothing else. What cannot be seen counts as something.
pub(crate) fn is_unused(data_dir: &Path) -> bool {
    match fs::read_dir(data_dir) {
        Ok(mut entries) => {
            let ours = |name: &OsStr| name == "homes" || name == RESTORING_FILE;
            entries.all(|entry| entry.is_ok_and(|entry| ours(&entry.file_name())))
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Marks the data directory, durably: a backup is being restored into it.
pub(crate) fn mark_restoring(data_dir: &Path) -> Result<(), DataDirError> {
    let path = data_dir.join(RESTORING_FILE);
    let marked = private_file(&path)
        .and_then(|mark| mark.sync_all())
        .and_then(|()| File::open(data_dir)?.sync_all());
    marked.map_err(|source| DataDirError::Unusable { path, source })
}

/// The restore has ended.
pub(crate) fn unmark_restoring(data_dir: &Path) -> Result<(), DataDirError> {
    let path = data_dir.join(RESTORING_FILE);
    fs::remove_file(&path).map_err(|source| DataDirError::Unusable { path, source })
}

/// Whether a restore into it has begun and not ended.
pub(crate) fn is_restoring(data_dir: &Path) -> bool {
    !is_missing(&data_dir.join(RESTORING_FILE))
}

/// Which file `path` is: device and inode.
pub(crate) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Whether partners' homes below `homes` could hold what is ours in `data_dir`:
/// keys, addresses, the database in `database`.
pub(crate) fn overlaps(homes: &Path, data_dir: &Path, database: Option<&Path>) -> bool {
    let (homes, data_dir) = (resolved(homes), resolved(data_dir));
    let database = database.map(resolved);
    data_dir.starts_with(&homes)
        || homes.starts_with(data_dir.join(KEYS_DIR))
        || database.is_some_and(|file| file.starts_with(&homes))
}

/// `path` without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path
        .ancestors()
        .find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let Some((above, mut real)) = found else {
        return path;
    };
    for part in path
        .strip_prefix(above)
        .into_iter()
        .flat_map(Path::components)
    {
        match part {
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
    }
    real
}

/// Links that are followed to a file: as many as Linux follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The file that `path` leads to, also one that is not there yet; `path` itself where it is no
/// link. SQLite follows links, makes what the last one names, and puts its log beside that
/// (os_unix.c, unixFullPathname).
pub(crate) fn behind_links(path: &Path) -> PathBuf {
    let mut file = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&file) else {
            return file;
        };
        // A relative one counts from the folder that the link really lies in.
        let link = std::path::absolute(&file).unwrap_or(file);
        let folder = resolved(link.parent().unwrap_or(Path::new("/")));
        file = resolved_folder(&folder.join(target));
    }
    file
}

/// `file` in its folder's real place, as far as that is there.
fn resolved_folder(file: &Path) -> PathBuf {
    match (file.parent(), file.file_name()) {
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => file.to_owned(),
    }
}

/// Keeps every other server off this data directory.
pub(crate) fn lock(data_dir: &Path) -> Result<ServerLock, DataDirError> {
    let path = data_dir.join(LOCK_FILE);
    let file = private_file(&path).map_err(|source| DataDirError::Unusable {
        path: path.clone(),
        source,
    })?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(ServerLock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::AlreadyServing {
            path: data_dir.to_owned(),
        }),
        Err(error) => Err(DataDirError::Unusable {
            path,
            source: error.into(),
        }),
    }
}

/// Whether a server holds the lock just now.
pub(crate) fn is_locked(data_dir: &Path) -> bool {
    matches!(lock(data_dir), Err(DataDirError::AlreadyServing { .. }))
}

/// This node's name: random, made at the first start, kept for ever.
pub(crate) fn node(data_dir: &Path) -> Result<NodeId, DataDirError> {
    let path = data_dir.join(NODE_FILE);
    let unusable = |source| DataDirError::Unusable {
        path: path.clone(),
        source,
    };
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(MAX_NODE_BYTES as u64 + 1)
                .read_to_string(&mut text)
                .map_err(unusable)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            text = random_name("node")?;
            write_once(&path, text.as_bytes()).map_err(unusable)?;
        }
        Err(error) => return Err(unusable(error)),
    }
    let name = text.trim();
    let fits = !name.is_empty()
        && name.len() <= MAX_NODE_BYTES
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits {
        Ok(NodeId(name.to_owned()))
    } else {
        Err(DataDirError::BadNode { path })
    }
}

/// The name that [`node`] gave, if it did.
pub(crate) fn existing_node(data_dir: &Path) -> Result<Option<NodeId>, DataDirError> {
    if is_missing(&data_dir.join(NODE_FILE)) {
        return Ok(None);
    }
    node(data_dir).map(Some)
}

/// The key that signs what this node writes into the hash chains: made at the
/// first start, kept for ever.
pub(crate) fn signing_key(data_dir: &Path) -> Result<SigningKey, DataDirError> {
    let keys = data_dir.join(KEYS_DIR);
    make_private(&keys)?;
    let path = keys.join(SIGNING_KEY_FILE);
    let unusable = |source| DataDirError::Unusable {
        path: path.clone(),
        source,
    };
    let mut seed = Zeroizing::new(Vec::with_capacity(SEED_BYTES + 1));
    match File::open(&path) {
        Ok(file) => {
            file.take(SEED_BYTES as u64 + 1)
                .read_to_end(&mut seed)
                .map_err(unusable)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            seed.resize(SEED_BYTES, 0);
            getrandom::fill(&mut seed).map_err(|error| unusable(io::Error::other(error)))?;
            write_once(&path, &seed).map_err(unusable)?;
        }
        Err(error) => return Err(unusable(error)),
    }
    SigningKey::from_seed(&seed).map_err(|_| DataDirError::BadSigningKey { path })
}

/// Where [`chain_memory`] is kept.
pub(crate) fn chain_heads_file(data_dir: &Path) -> PathBuf {
    data_dir.join(CHAIN_HEADS_FILE)
}

/// What was kept; nothing before the first entry was signed.
pub(crate) fn chain_memory(data_dir: &Path) -> Result<ChainMemory, DataDirError> {
    let path = chain_heads_file(data_dir);
    let mut content = Vec::new();
    match File::open(&path) {
        Ok(file) => {
            file.take(MAX_CHAIN_HEADS_BYTES)
                .read_to_end(&mut content)
                .map_err(|source| DataDirError::Unusable {
                    path: path.clone(),
                    source,
                })?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ChainMemory::default()),
        Err(source) => return Err(DataDirError::Unusable { path, source }),
    }
    serde_json::from_slice(&content).map_err(|_| DataDirError::BadChainHeads { path })
}

/// Keeps what is known of the chains, whole or not at all.
pub(crate) fn keep_chain_memory(path: &Path, heads: &ChainMemory) -> io::Result<()> {
    write_once(path, &serde_json::to_vec(heads)?)
}

/// Where the master keys lie, in a directory for this user alone.
pub(crate) fn master_keys(data_dir: &Path) -> Result<PathBuf, DataDirError> {
    let keys = data_dir.join(KEYS_DIR);
    make_private(&keys)?;
    Ok(keys.join(MASTER_KEYS_FILE))
}

/// Keeps everybody else from rotating the master keys while the file lives; `None`
/// when somebody is about it.
pub(crate) fn lock_master_keys(data_dir: &Path) -> Result<Option<File>, DataDirError> {
    let path = data_dir.join(KEYS_DIR).join(MASTER_KEYS_LOCK);
    let unusable = |source| DataDirError::Unusable {
        path: path.clone(),
        source,
    };
    let file = private_file(&path).map_err(unusable)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(unusable(error.into())),
    }
}

/// A secret's file, up to one byte over `limit`, and its permission bits.
pub(crate) fn read_secret(path: &Path, limit: usize) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    let mut content = Zeroizing::new(Vec::with_capacity(limit + 2));
    let over = u64::try_from(limit).map_or(u64::MAX, |limit| limit + 1);
    file.take(over).read_to_end(&mut content)?;
    Ok((content, mode))
}

/// A whole file where there was none. A file that is there already, even since
/// a moment ago, stays as it is.
pub(crate) fn write_unless_there(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut suffix = [0_u8; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", hex::encode(suffix)));
    let fresh = Path::new(&fresh);
    let written = private_file(fresh).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        // Unlike a rename, a link replaces nothing.
        match fs::hard_link(fresh, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let removed = fs::remove_file(fresh);
    written.and(removed)
}

/// A whole file, or none.
pub(crate) fn write_once(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = private_file(Path::new(&fresh))?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// Says that a command line moves files, as long as it is held: the lock on its file goes
/// with the process, however that dies.
#[derive(Debug)]
pub(crate) struct CourierMark {
    path: PathBuf,
    _file: File,
}

impl Drop for CourierMark {
    fn drop(&mut self) {
        // One that stays is taken for a dead one's, and there is nothing to settle.
        let _ = fs::remove_file(&self.path);
    }
}

/// Marks this process, whose name among the nodes is `node`.
pub(crate) fn mark_courier(data_dir: &Path, node: &NodeId) -> Result<CourierMark, DataDirError> {
    let dir = data_dir.join(COURIERS_DIR);
    make_private(&dir)?;
    let path = dir.join(node.as_str());
    let unusable = |source| DataDirError::Unusable {
        path: path.clone(),
        source,
    };
    // Locked before it has its name, so that nobody finds it without its lock.
    let fresh = dir.join(format!(".{}", node.as_str()));
    let file = private_file(&fresh).map_err(unusable)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| unusable(error.into()))?;
    fs::rename(&fresh, &path).map_err(unusable)?;
    Ok(CourierMark { path, _file: file })
}

/// Command lines that died while they moved files. Each mark is held until it is dropped,
/// so that two that come at once do not both settle what is left.
pub(crate) fn dead_couriers(data_dir: &Path) -> Result<Vec<(NodeId, CourierMark)>, DataDirError> {
    let dir = data_dir.join(COURIERS_DIR);
    let unusable = |source| DataDirError::Unusable {
        path: dir.clone(),
        source,
    };
    let mut dead = Vec::new();
    for entry in fs::read_dir(&dir).map_err(unusable)? {
        if dead.len() >= MAX_DEAD_COURIERS {
            break;
        }
        let entry = entry.map_err(unusable)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let path = entry.path();
        // Gone: its process has just ended.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            dead.push((NodeId(name.to_owned()), CourierMark { path, _file: file }));
        }
    }
    Ok(dead)
}

/// The name of a process that is no server.
pub(crate) fn tool_node() -> Result<NodeId, DataDirError> {
    random_name("tool").map(NodeId)
}

fn random_name(prefix: &str) -> Result<String, DataDirError> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| DataDirError::Unusable {
        path: PathBuf::from("the system's random source"),
        source: io::Error::other(error),
    })?;
    Ok(format!("{prefix}-{}", hex::encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock(dir.path()).unwrap();
        assert!(matches!(
            lock(dir.path()),
            Err(DataDirError::AlreadyServing { .. })
        ));
        assert!(is_locked(dir.path()));
        drop(first);
        assert!(!is_locked(dir.path()));
        assert!(lock(dir.path()).is_ok());
    }

    #[test]
    fn a_courier_is_dead_when_nobody_holds_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let (living, dead) = (NodeId("tool-1".to_owned()), NodeId("tool-2".to_owned()));
        let _mark = mark_courier(dir.path(), &living).unwrap();
        assert!(dead_couriers(dir.path()).unwrap().is_empty());
        // As a process leaves it that is killed.
        fs::write(dir.path().join(COURIERS_DIR).join("tool-2"), b"").unwrap();
        let found = dead_couriers(dir.path()).unwrap();
        let names: Vec<_> = found.iter().map(|(node, _)| node.clone()).collect();
        assert_eq!(names, [dead]);
        assert!(
            dead_couriers(dir.path()).unwrap().is_empty(),
            "held by the first who saw it"
        );
        drop(found);
        assert!(dead_couriers(dir.path()).unwrap().is_empty(), "settled");
    }

    #[test]
    fn the_node_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let name = node(dir.path()).unwrap();
        assert_eq!(node(dir.path()).unwrap(), name);
        fs::write(dir.path().join(NODE_FILE), "a b").unwrap();
        assert!(matches!(
            node(dir.path()),
            Err(DataDirError::BadNode { .. })
        ));
    }

    #[test]
    fn the_signing_key_is_made_once_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let key = signing_key(dir.path()).unwrap().public();
        assert_eq!(signing_key(dir.path()).unwrap().public(), key);
        let file = dir.path().join(KEYS_DIR).join(SIGNING_KEY_FILE);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        for broken in [SEED_BYTES - 1, SEED_BYTES + 1] {
            fs::write(&file, vec![1; broken]).unwrap();
            let refused = signing_key(dir.path());
            assert!(matches!(refused, Err(DataDirError::BadSigningKey { .. })));
        }
    }

    #[test]
    fn links_are_followed_to_the_file_that_is_there_or_is_to_be() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(folder.path()).unwrap();
        let at = |name: &str| folder.join(name);
        fs::create_dir_all(at("real/below")).unwrap();
        fs::write(at("real/file"), b"").unwrap();
        symlink(at("real/file"), at("whole")).unwrap();
        symlink("real/to-come", at("relative")).unwrap();
        symlink("relative", at("twice")).unwrap();
        symlink(at("real/below"), at("folder")).unwrap();
        symlink("../to-come", at("real/below/upwards")).unwrap();
        symlink(at("nowhere/file"), at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        for (named, real) in [
            ("real/file", "real/file"),
            ("absent/file", "absent/file"),
            ("whole", "real/file"),
            ("relative", "real/to-come"),
            ("twice", "real/to-come"),
            // From where the link really lies, not from where it was found.
            ("folder/upwards", "real/to-come"),
            ("dangling", "nowhere/file"),
            ("circle", "circle"),
        ] {
            assert_eq!(behind_links(&at(named)), at(real), "{named}");
        }
    }

    #[test]
    fn homes_keep_away_from_what_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("data/keys")).unwrap();
        std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
        for (homes, database, expected) in [
            ("data/homes", "data/layover.db", false),
            ("homes", "data/layover.db", false),
            ("data-homes", "data/layover.db", false),
            ("data", "data/layover.db", true),
            ("link", "data/layover.db", true),
            ("data/not/../..", "data/layover.db", true),
            ("", "data/layover.db", true),
            ("data/keys", "data/layover.db", true),
            ("link/keys/homes", "data/layover.db", true),
            ("homes", "homes/p/layover.db", true),
        ] {
            let found = overlaps(&at(homes), &at("data"), Some(&at(database)));
            assert_eq!(found, expected, "{homes}");
        }
    }
}
