//! A storage for tests: keeps everything in memory, records every verb, and
//! shows what a power cut after any prefix of them would leave behind.
//!
//! The model is the strict reading of POSIX: content is safe after `sync`,
//! a name is safe after its directory was synchronised, nothing else is.
//! What is not safe may or may not survive; [`Survival`] chooses. One thing
//! is granted, as by every journalling file system: a rename happened at both
//! ends or at neither.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{
    Entries, Entry, FileKind, HiddenName, Identity, OpenFile, Place, Replace, Storage, StorageId,
    StorageSpace,
};
use crate::HomeName;

type NodeId = i64;

const HOMES: NodeId = 1;
const HIDDEN: NodeId = 2;
const FIRST_FREE: NodeId = 3;

/// One recorded verb that changes something, or a test's own mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    MakeHome(HomeName),
    MakeDir(Place),
    RemoveDir(Place),
    Rename {
        from: Place,
        to: Place,
        replace: Replace,
    },
    SyncDir(Place),
    CreateHidden(HiddenName),
    CopyToHidden {
        source: Place,
        name: HiddenName,
    },
    UnlinkHidden(HiddenName),
    SyncHidden,
    Publish {
        name: HiddenName,
        to: Place,
        replace: Replace,
    },
    Hide {
        from: Place,
        name: HiddenName,
    },
    Write {
        node: NodeId,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        node: NodeId,
        size_bytes: u64,
    },
    SyncFile {
        node: NodeId,
    },
    /// A look at a name: shown to the hook, not recorded.
    Stat(Place),
    /// Names of this directory were looked at: shown to the hook, not recorded.
    Entries(Place),
    /// Changes nothing: a point in time that a test wants to look at.
    Mark(String),
}

/// What an unlucky or lucky disk kept of everything that was not safe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Survival {
    pub(crate) content: bool,
    pub(crate) tree_names: bool,
    pub(crate) hidden_names: bool,
}

impl Survival {
    /// Every combination.
    pub(crate) fn all() -> impl Iterator<Item = Survival> {
        (0..8_u8).map(|bits| Survival {
            content: bits & 1 != 0,
            tree_names: bits & 2 != 0,
            hidden_names: bits & 4 != 0,
        })
    }
}

/// Called before each recorded verb: may look, wait, or make the verb fail.
pub(crate) type Hook = Box<dyn Fn(&Op) -> io::Result<()> + Send + Sync>;

/// The recording storage. Clones share one state.
#[derive(Clone)]
pub(crate) struct RecordingStorage {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    log: Mutex<Vec<Op>>,
    hook: Mutex<Option<Arc<Hook>>>,
}

impl fmt::Debug for RecordingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingStorage").finish_non_exhaustive()
    }
}

impl RecordingStorage {
    pub(crate) fn new() -> RecordingStorage {
        RecordingStorage::with_state(State::new())
    }

    fn with_state(state: State) -> RecordingStorage {
        RecordingStorage {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                log: Mutex::new(Vec::new()),
                hook: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        *lock(&self.shared.hook) = Some(Arc::new(hook));
    }

    pub(crate) fn clear_hook(&self) {
        *lock(&self.shared.hook) = None;
    }

    pub(crate) fn log(&self) -> Vec<Op> {
        lock(&self.shared.log).clone()
    }

    pub(crate) fn mark(&self, text: &str) {
        self.record(Op::Mark(text.to_owned())).unwrap();
    }

    /// The disk after a power cut that came after `ops`.
    pub(crate) fn after_crash(ops: &[Op], survival: Survival) -> RecordingStorage {
        let mut state = State::new();
        for op in ops {
            // A verb that failed when it was recorded fails again, and
            // changes as little.
            let _ = state.apply(op);
        }
        state.crash(survival);
        RecordingStorage::with_state(state)
    }

    /// Every file of a home with its content.
    pub(crate) fn files(&self, home: &str) -> BTreeMap<String, Vec<u8>> {
        let state = lock(&self.shared.state);
        let mut found = BTreeMap::new();
        let Some(root) = state.child(HOMES, home.as_bytes()) else {
            return found;
        };
        let mut left = vec![(String::new(), root)];
        while let Some((path, node)) = left.pop() {
            match &state.nodes[&node] {
                Node::File(file) => {
                    found.insert(path, file.now.clone());
                }
                Node::Directory(directory) => {
                    for (name, child) in &directory.now {
                        left.push((format!("{path}/{}", String::from_utf8_lossy(name)), *child));
                    }
                }
            }
        }
        found
    }

    /// Puts a file into the tree as an operator would: unrecorded.
    pub(crate) fn drop_in(&self, home: &str, path: &str, content: &[u8]) {
        let mut state = lock(&self.shared.state);
        let place = Place {
            home: home.parse().unwrap(),
            path: path.parse().unwrap(),
        };
        let (parent, name) = state.parent(&place).unwrap();
        let node = state.add(Node::File(FileNode {
            now: content.to_vec(),
            safe: content.to_vec(),
            modified_us: 0,
        }));
        let directory = state.directory_mut(parent).unwrap();
        directory.now.insert(name.clone(), node);
        directory.safe.insert(name, node);
    }

    /// Takes a file out of the tree as an operator would: unrecorded.
    pub(crate) fn take_away(&self, home: &str, path: &str) {
        let mut state = lock(&self.shared.state);
        let place = Place {
            home: home.parse().unwrap(),
            path: path.parse().unwrap(),
        };
        let (parent, name) = state.parent(&place).unwrap();
        let directory = state.directory_mut(parent).unwrap();
        directory.now.remove(&name).unwrap();
        directory.safe.remove(&name);
    }

    fn record(&self, op: Op) -> io::Result<NodeId> {
        self.call_hook(&op)?;
        let mut state = lock(&self.shared.state);
        lock(&self.shared.log).push(op.clone());
        state.apply(&op)
    }

    fn call_hook(&self, op: &Op) -> io::Result<()> {
        let hook = lock(&self.shared.hook).clone();
        hook.map_or(Ok(()), |hook| hook(op))
    }

    fn handle(&self, node: NodeId) -> Arc<dyn OpenFile> {
        Arc::new(RecordingFile {
            storage: self.clone(),
            node,
        })
    }

    fn hidden_node(&self, name: &HiddenName) -> io::Result<NodeId> {
        lock(&self.shared.state)
            .child(HIDDEN, name.as_str().as_bytes())
            .ok_or_else(|| Errno::NOENT.into())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Default)]
struct DirectoryNode {
    now: BTreeMap<Vec<u8>, NodeId>,
    safe: BTreeMap<Vec<u8>, NodeId>,
    /// Counts what may have changed it: its time of change.
    changes: i64,
}

#[derive(Clone, Default)]
struct FileNode {
    now: Vec<u8>,
    safe: Vec<u8>,
    modified_us: i64,
}

#[derive(Clone)]
enum Node {
    File(FileNode),
    Directory(DirectoryNode),
}

#[derive(Clone)]
struct State {
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
    /// Renames between two directories, neither of them synchronised since.
    renames: Vec<UnsafeRename>,
}

#[derive(Clone)]
struct UnsafeRename {
    source: (NodeId, Vec<u8>),
    target: (NodeId, Vec<u8>),
    node: NodeId,
}

impl State {
    fn new() -> State {
        let directory = || Node::Directory(DirectoryNode::default());
        State {
            nodes: HashMap::from([(HOMES, directory()), (HIDDEN, directory())]),
            next: FIRST_FREE,
            renames: Vec::new(),
        }
    }

    fn entries(&self, dir: &Place, names: Vec<Vec<u8>>) -> io::Result<Vec<(Vec<u8>, Entry)>> {
        let node = self.node(dir)?;
        let Some(Node::Directory(directory)) = self.nodes.get(&node) else {
            return Err(Errno::NOTDIR.into());
        };
        let there = names
            .into_iter()
            .filter_map(|name| Some((directory.now.get(&name).copied()?, name)));
        there
            .map(|(child, name)| Ok((name, self.entry(child)?)))
            .collect()
    }

    fn crash(&mut self, survival: Survival) {
        let kept = |id: NodeId| {
            if id == HIDDEN {
                survival.hidden_names
            } else {
                survival.tree_names
            }
        };
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids.iter().filter(|id| kept(**id)) {
            // Files are not directories; the others keep what they have.
            let _ = self.sync_directory(*id);
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) if survival.content => file.safe = file.now.clone(),
                Node::File(file) => file.now = file.safe.clone(),
                Node::Directory(directory) => directory.now = directory.safe.clone(),
            }
        }
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        id
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match self.nodes.get(&parent) {
            Some(Node::Directory(directory)) => directory.now.get(name).copied(),
            _ => None,
        }
    }

    fn node(&self, at: &Place) -> io::Result<NodeId> {
        let mut node = self
            .child(HOMES, at.home.as_str().as_bytes())
            .ok_or(Errno::NOENT)?;
        for name in at.path.components() {
            if !matches!(self.nodes.get(&node), Some(Node::Directory(_))) {
                return Err(Errno::NOTDIR.into());
            }
            node = self.child(node, name).ok_or(Errno::NOENT)?;
        }
        Ok(node)
    }

    fn parent(&self, at: &Place) -> io::Result<(NodeId, Vec<u8>)> {
        let name = at.path.name().ok_or(Errno::BUSY)?;
        let parent = self.node(&at.dir())?;
        match self.nodes.get(&parent) {
            Some(Node::Directory(_)) => Ok((parent, name.to_vec())),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> io::Result<&mut DirectoryNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::Directory(directory)) => {
                directory.changes += 1;
                Ok(directory)
            }
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(Errno::ISDIR.into()),
        }
    }

    fn entry(&self, id: NodeId) -> io::Result<Entry> {
        let (kind, size_bytes, modified_us) = match self.nodes.get(&id).ok_or(Errno::NOENT)? {
            Node::File(file) => (FileKind::File, file.now.len() as u64, file.modified_us),
            Node::Directory(directory) => (FileKind::Directory, 0, directory.changes),
        };
        let identity = Identity {
            inode: id,
            born_us: 0,
        };
        Ok(Entry {
            kind,
            size_bytes,
            modified_us,
            changed_us: modified_us,
            identity,
            mode: 0o600,
            is_linked: false,
        })
    }

    fn link(&mut self, parent: NodeId, name: Vec<u8>, node: NodeId) -> io::Result<()> {
        self.directory_mut(parent)?.now.insert(name, node);
        Ok(())
    }

    fn unlink(&mut self, parent: NodeId, name: &[u8]) -> io::Result<NodeId> {
        self.directory_mut(parent)?
            .now
            .remove(name)
            .ok_or_else(|| Errno::NOENT.into())
    }

    fn movable(
        &self,
        source: (NodeId, &[u8]),
        target: (NodeId, &[u8]),
        replace: Replace,
    ) -> io::Result<()> {
        let moved = self.child(source.0, source.1).ok_or(Errno::NOENT)?;
        let Some(taken) = self.child(target.0, target.1) else {
            return Ok(());
        };
        if replace == Replace::Refuse {
            return Err(Errno::EXIST.into());
        }
        match (&self.nodes[&moved], &self.nodes[&taken]) {
            (Node::File(_), Node::Directory(_)) => Err(Errno::ISDIR.into()),
            (Node::Directory(_), Node::File(_)) => Err(Errno::NOTDIR.into()),
            (_, Node::Directory(directory)) if !directory.now.is_empty() => {
                Err(Errno::NOTEMPTY.into())
            }
            _ => Ok(()),
        }
    }

    fn shift(
        &mut self,
        source: (NodeId, Vec<u8>),
        target: (NodeId, Vec<u8>),
        replace: Replace,
    ) -> io::Result<NodeId> {
        self.movable((source.0, &source.1), (target.0, &target.1), replace)?;
        let node = self.unlink(source.0, &source.1)?;
        self.link(target.0, target.1.clone(), node)?;
        if source.0 != target.0 {
            self.renames.push(UnsafeRename {
                source,
                target,
                node,
            });
        }
        Ok(node)
    }

    fn apply(&mut self, op: &Op) -> io::Result<NodeId> {
        match op {
            Op::MakeHome(home) => {
                if self.child(HOMES, home.as_str().as_bytes()).is_none() {
                    let node = self.add(Node::Directory(DirectoryNode::default()));
                    self.link(HOMES, home.as_str().as_bytes().to_vec(), node)?;
                }
                let homes = self.directory_mut(HOMES)?;
                homes.safe = homes.now.clone();
                Ok(HOMES)
            }
            Op::MakeDir(at) => {
                let (parent, name) = self.parent(at)?;
                if self.child(parent, &name).is_some() {
                    return Err(Errno::EXIST.into());
                }
                let node = self.add(Node::Directory(DirectoryNode::default()));
                self.link(parent, name, node)?;
                Ok(node)
            }
            Op::RemoveDir(at) => {
                let (parent, name) = self.parent(at)?;
                let node = self.child(parent, &name).ok_or(Errno::NOENT)?;
                if !self.directory_mut(node)?.now.is_empty() {
                    return Err(Errno::NOTEMPTY.into());
                }
                self.unlink(parent, &name)
            }
            Op::Rename { from, to, replace } => {
                let (source, target) = (self.parent(from)?, self.parent(to)?);
                self.shift(source, target, *replace)
            }
            Op::SyncDir(dir) => {
                let node = self.node(dir)?;
                self.sync_directory(node)
            }
            Op::SyncHidden => self.sync_directory(HIDDEN),
            Op::CreateHidden(name) => self.create_hidden(name, Vec::new()),
            Op::CopyToHidden { source, name } => {
                let node = self.node(source)?;
                let content = self.file_mut(node)?.now.clone();
                self.create_hidden(name, content)
            }
            Op::UnlinkHidden(name) => self.unlink(HIDDEN, name.as_str().as_bytes()),
            Op::Publish { name, to, replace } => {
                let target = self.parent(to)?;
                self.shift(
                    (HIDDEN, name.as_str().as_bytes().to_vec()),
                    target,
                    *replace,
                )
            }
            Op::Hide { from, name } => {
                let (parent, file) = self.parent(from)?;
                let node = self.child(parent, &file).ok_or(Errno::NOENT)?;
                self.file_mut(node)?;
                let target = (HIDDEN, name.as_str().as_bytes().to_vec());
                self.shift((parent, file), target, Replace::Refuse)
            }
            Op::Write {
                node,
                offset,
                bytes,
            } => {
                let start = usize::try_from(*offset).map_err(|_| Errno::FBIG)?;
                let end = start + bytes.len();
                let file = self.file_mut(*node)?;
                file.now.resize(file.now.len().max(end), 0);
                file.now[start..end].copy_from_slice(bytes);
                Ok(*node)
            }
            Op::SetLen { node, size_bytes } => {
                let size = usize::try_from(*size_bytes).map_err(|_| Errno::FBIG)?;
                self.file_mut(*node)?.now.resize(size, 0);
                Ok(*node)
            }
            Op::SyncFile { node } => {
                let file = self.file_mut(*node)?;
                file.safe = file.now.clone();
                Ok(*node)
            }
            Op::Stat(_) | Op::Entries(_) | Op::Mark(_) => Ok(HOMES),
        }
    }

    fn sync_directory(&mut self, node: NodeId) -> io::Result<NodeId> {
        let directory = self.directory_mut(node)?;
        directory.safe = directory.now.clone();
        let (with_us, others) = std::mem::take(&mut self.renames)
            .into_iter()
            .partition(|rename| rename.source.0 == node || rename.target.0 == node);
        self.renames = others;
        let with_us: Vec<UnsafeRename> = with_us;
        for rename in with_us {
            let source = self.directory_mut(rename.source.0)?;
            if source.safe.get(&rename.source.1) == Some(&rename.node) {
                source.safe.remove(&rename.source.1);
            }
            // Where it has been moved on since, the later rename counts.
            let target = self.directory_mut(rename.target.0)?;
            if target.now.get(&rename.target.1) == Some(&rename.node) {
                target.safe.insert(rename.target.1, rename.node);
            }
        }
        Ok(node)
    }

    fn create_hidden(&mut self, name: &HiddenName, now: Vec<u8>) -> io::Result<NodeId> {
        if self.child(HIDDEN, name.as_str().as_bytes()).is_some() {
            return Err(Errno::EXIST.into());
        }
        let node = self.add(Node::File(FileNode {
            now,
            ..FileNode::default()
        }));
        self.link(HIDDEN, name.as_str().as_bytes().to_vec(), node)?;
        Ok(node)
    }
}

impl Storage for RecordingStorage {
    fn make_home(&self, home: &HomeName) -> io::Result<()> {
        self.record(Op::MakeHome(home.clone())).map(drop)
    }

    fn stat(&self, at: &Place) -> io::Result<Entry> {
        self.call_hook(&Op::Stat(at.clone()))?;
        let state = lock(&self.shared.state);
        state.entry(state.node(at)?)
    }

    fn list(&self, dir: &Place, limit: usize) -> io::Result<Entries> {
        let state = lock(&self.shared.state);
        let node = state.node(dir)?;
        let Some(Node::Directory(directory)) = state.nodes.get(&node) else {
            return Err(Errno::NOTDIR.into());
        };
        let entries = directory
            .now
            .iter()
            .take(limit)
            .map(|(name, child)| Ok((name.clone(), state.entry(*child)?)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Entries {
            entries,
            more: directory.now.len() > limit,
            foreign: 0,
        })
    }

    fn names(&self, dir: &Place, tell: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let listing = self.list(dir, usize::MAX)?;
        for (name, _) in listing.entries.iter().rev() {
            tell(name);
        }
        Ok(())
    }

    fn entries(&self, dir: &Place, names: Vec<Vec<u8>>) -> io::Result<Vec<(Vec<u8>, Entry)>> {
        let found = lock(&self.shared.state).entries(dir, names);
        self.call_hook(&Op::Entries(dir.clone()))?;
        found
    }

    fn open(&self, at: &Place) -> io::Result<(Arc<dyn OpenFile>, Entry)> {
        let state = lock(&self.shared.state);
        let node = state.node(at)?;
        let entry = state.entry(node)?;
        match entry.kind {
            FileKind::File => Ok((self.handle(node), entry)),
            FileKind::Directory => Err(Errno::ISDIR.into()),
        }
    }

    fn set_modified(&self, at: &Place, modified_us: i64) -> io::Result<()> {
        let mut state = lock(&self.shared.state);
        let node = state.node(at)?;
        if let Ok(file) = state.file_mut(node) {
            file.modified_us = modified_us;
        }
        Ok(())
    }

    fn set_mode(&self, at: &Place, _mode: u32) -> io::Result<()> {
        self.stat(at).map(drop)
    }

    fn make_dir(&self, at: &Place) -> io::Result<()> {
        self.record(Op::MakeDir(at.clone())).map(drop)
    }

    fn remove_dir(&self, at: &Place) -> io::Result<()> {
        self.record(Op::RemoveDir(at.clone())).map(drop)
    }

    fn rename(&self, from: &Place, to: &Place, replace: Replace) -> io::Result<()> {
        self.record(Op::Rename {
            from: from.clone(),
            to: to.clone(),
            replace,
        })
        .map(drop)
    }

    fn sync_dir(&self, dir: &Place) -> io::Result<()> {
        self.record(Op::SyncDir(dir.clone())).map(drop)
    }

    fn create_hidden(&self, name: &HiddenName) -> io::Result<Arc<dyn OpenFile>> {
        Ok(self.handle(self.record(Op::CreateHidden(name.clone()))?))
    }

    fn open_hidden(&self, name: &HiddenName) -> io::Result<Arc<dyn OpenFile>> {
        Ok(self.handle(self.hidden_node(name)?))
    }

    fn copy_to_hidden(
        &self,
        source: &Place,
        name: &HiddenName,
    ) -> io::Result<(Arc<dyn OpenFile>, Identity)> {
        let identity = self.stat(source)?.identity;
        let op = Op::CopyToHidden {
            source: source.clone(),
            name: name.clone(),
        };
        Ok((self.handle(self.record(op)?), identity))
    }

    fn stat_hidden(&self, name: &HiddenName) -> io::Result<Entry> {
        let node = self.hidden_node(name)?;
        lock(&self.shared.state).entry(node)
    }

    fn list_hidden(&self) -> io::Result<Vec<HiddenName>> {
        let state = lock(&self.shared.state);
        let Some(Node::Directory(hidden)) = state.nodes.get(&HIDDEN) else {
            return Ok(Vec::new());
        };
        Ok(hidden
            .now
            .keys()
            .filter_map(|name| HiddenName::parse(std::str::from_utf8(name).ok()?))
            .collect())
    }

    fn unlink_hidden(&self, name: &HiddenName) -> io::Result<()> {
        self.record(Op::UnlinkHidden(name.clone())).map(drop)
    }

    fn sync_hidden(&self) -> io::Result<()> {
        self.record(Op::SyncHidden).map(drop)
    }

    fn publish(&self, name: &HiddenName, to: &Place, replace: Replace) -> io::Result<()> {
        self.record(Op::Publish {
            name: name.clone(),
            to: to.clone(),
            replace,
        })
        .map(drop)
    }

    fn hide(&self, from: &Place, name: &HiddenName) -> io::Result<()> {
        self.record(Op::Hide {
            from: from.clone(),
            name: name.clone(),
        })
        .map(drop)
    }

    fn space(&self) -> io::Result<StorageSpace> {
        Ok(StorageSpace {
            total_bytes: 1 << 40,
            free_bytes: 1 << 39,
            inodes: None,
        })
    }

    /// Tests hold verbs up at will.
    fn may_answer_at_once(&self) -> bool {
        false
    }

    // A storage in memory cannot be mounted: it says nothing of itself.
    fn storage_id(&self) -> io::Result<Option<StorageId>> {
        Ok(None)
    }

    fn mark_storage(&self, fresh: &StorageId) -> io::Result<StorageId> {
        Ok(fresh.clone())
    }
}

struct RecordingFile {
    storage: RecordingStorage,
    node: NodeId,
}

impl fmt::Debug for RecordingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingFile")
            .field("node", &self.node)
            .finish()
    }
}

impl OpenFile for RecordingFile {
    fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut state = lock(&self.storage.shared.state);
        let content = &state.file_mut(self.node)?.now;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let end = start.saturating_add(len).min(content.len());
        Ok(content[start..end].to_vec())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let op = Op::Write {
            node: self.node,
            offset,
            bytes: bytes.to_vec(),
        };
        self.storage.record(op).map(drop)
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.storage
            .record(Op::SetLen {
                node: self.node,
                size_bytes,
            })
            .map(drop)
    }

    fn set_modified(&self, modified_us: i64) -> io::Result<()> {
        lock(&self.storage.shared.state)
            .file_mut(self.node)?
            .modified_us = modified_us;
        Ok(())
    }

    fn set_mode(&self, _mode: u32) -> io::Result<()> {
        lock(&self.storage.shared.state)
            .file_mut(self.node)
            .map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        self.storage
            .record(Op::SyncFile { node: self.node })
            .map(drop)
    }

    fn entry(&self) -> io::Result<Entry> {
        lock(&self.storage.shared.state).entry(self.node)
    }
}
