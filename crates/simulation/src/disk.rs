//! A node's disk in memory: the storage of the rules, which a loss of power interrupts.
//!
//! What a call has made durable stays; the call under way at the loss of power has happened or not, and nothing is
//! answered any more. [`MemoryStorage`] keeps the contract of [`Storage`] by itself, and is fast; [`Blocks`] is a device
//! under the real store, redb's, that loses blocks which were written and not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hafleet_cluster::machines::{Change, KnownMember, LineRecord, Promises, Storage};
use hafleet_cluster::{Conflict, ConflictReason, StoreError};
use hafleet_model::{Document, DocumentKind, Header, NodeId, Stamp, Term};
use redb::StorageBackend;

use crate::flaw::Lie;
use crate::rng::Rng;

/// What goes wrong with a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The power fails in so many writes from now, the next being 1.
    pub power_fails_in: Option<u64>,
    /// Whether the write that it interrupts has happened.
    pub is_last_kept: bool,
    /// It takes no writes, and says so.
    pub is_full: bool,
}

#[derive(Debug, Clone, Default)]
struct Shelf {
    line: BTreeMap<(u64, u64), LineRecord>,
    conflicts: BTreeMap<Stamp, Conflict>,
    bodies: BTreeMap<Stamp, String>,
}

/// All that is on the disk.
#[derive(Debug, Clone, Default)]
struct Content {
    owner: Option<NodeId>,
    generation: u64,
    term: Term,
    promised: Option<(Term, NodeId)>,
    is_established: bool,
    members: BTreeMap<String, KnownMember>,
    shelves: BTreeMap<DocumentKind, Shelf>,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    lie: Option<Unsynced>,
    trouble: Trouble,
    is_dead: bool,
}

/// A disk that lies, and what is on it for certain.
#[derive(Debug)]
struct Unsynced {
    lie: Lie,
    synced: Content,
    /// Since then.
    writes: u64,
}

/// A disk that lies syncs once in so many writes.
const SYNC_EVERY: u64 = 4;

/// Storage in memory, for one node, over all its restarts.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

impl Clone for MemoryStorage {
    /// Another disk with the same on it, with which nothing goes wrong.
    fn clone(&self) -> Self {
        let state = State {
            content: self.state().content.clone(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl MemoryStorage {
    /// All that is on it, in words that differ where it does.
    pub fn content(&self) -> String {
        format!("{:?}", self.state().content)
    }

    /// From now on this goes wrong.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Whether the power has failed.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// The power is back.
    pub fn revive(&self) {
        let mut state = self.state();
        state.is_dead = false;
        state.trouble = Trouble::default();
    }

    /// From now on it says that it has kept what it has not.
    pub fn set_lie(&self, lie: Lie) {
        let mut state = self.state();
        state.lie = Some(Unsynced {
            lie,
            synced: state.content.clone(),
            writes: 0,
        });
    }

    /// The power is gone: what a disk that lies has not kept is gone too.
    pub fn lose_power(&self) {
        let state = &mut *self.state();
        let Some(Unsynced { lie, synced, .. }) = &state.lie else {
            return;
        };
        match lie {
            Lie::Terms => state.content.term = synced.term,
            Lie::Revisions => state.content.shelves.clone_from(&synced.shelves),
            Lie::Generations => state.content.generation = 0,
            Lie::Conflicts => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Content) -> T) -> Result<T, StoreError> {
        let state = self.state();
        match state.is_dead {
            true => Err(failed("the power has failed")),
            false => Ok(read(&state.content)),
        }
    }

    fn write<T>(&self, write: impl FnOnce(&mut Content) -> T) -> Result<T, StoreError> {
        let mut state = self.state();
        if state.is_dead {
            return Err(failed("the power has failed"));
        }
        if state.trouble.is_full {
            return Err(failed("no space left on device"));
        }
        if let Some(left) = &mut state.trouble.power_fails_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.is_dead = true;
                if state.trouble.is_last_kept {
                    write(&mut state.content);
                }
                return Err(failed("the power has failed"));
            }
        }
        state.sync_sometimes();
        Ok(write(&mut state.content))
    }
}

impl State {
    fn sync_sometimes(&mut self) {
        if let Some(unsynced) = &mut self.lie {
            unsynced.writes += 1;
            if unsynced.writes % SYNC_EVERY == 0 {
                unsynced.synced = self.content.clone();
            }
        }
    }
}

fn failed(reason: &str) -> StoreError {
    StoreError::Transaction {
        path: "memory".into(),
        reason: reason.into(),
    }
}

impl Shelf {
    fn apply(&mut self, change: &Change) {
        for (stamp, reason) in &change.lost {
            let is_lost = |record: &LineRecord| record.stamp == *stamp;
            if !self.line.get(&key(*stamp)).is_some_and(is_lost) {
                continue;
            }
            let record = self.line.remove(&key(*stamp));
            if let Some(header) = record.and_then(|record| record.header) {
                self.conflict(header, *reason, change.now_ms);
            }
        }
        for stamp in &change.between {
            let conflict = self.conflicts.remove(stamp);
            let there = self.line.get(&key(*stamp));
            let there = there.filter(|record| record.stamp == *stamp);
            let held = there.and_then(|record| record.header.clone());
            let header = conflict.map(|conflict| conflict.header);
            self.insert(*stamp, header.or(held));
        }
        if let Some(document) = &change.put {
            self.conflicts.remove(&document.stamp());
            self.insert(document.stamp(), Some(document.header().clone()));
            self.body(document);
        }
        if let Some((document, reason)) = &change.conflict {
            self.conflict(document.header().clone(), *reason, change.now_ms);
            self.body(document);
        }
        for stamp in &change.trimmed {
            self.line.remove(&key(*stamp));
            self.bodies.remove(stamp);
        }
        while change
            .conflict_limit
            .is_some_and(|limit| self.conflicts.len() > limit)
        {
            if let Some((stamp, _)) = self.conflicts.pop_first() {
                self.bodies.remove(&stamp);
            }
        }
    }

    fn insert(&mut self, stamp: Stamp, header: Option<Header>) {
        self.line.insert(key(stamp), LineRecord { stamp, header });
    }

    fn body(&mut self, document: &Document) {
        self.bodies
            .insert(document.stamp(), document.body().to_owned());
    }

    fn conflict(&mut self, header: Header, reason: ConflictReason, found_at_ms: i64) {
        let conflict = Conflict {
            reason,
            found_at_ms,
            header,
        };
        self.conflicts.insert(conflict.header.stamp, conflict);
    }
}

fn key(stamp: Stamp) -> (u64, u64) {
    (stamp.revision.term.0, stamp.revision.sequence)
}

impl Storage for MemoryStorage {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn begin_generation(&self, node: &NodeId, now_ms: i64) -> Result<u64, StoreError> {
        let owner = self.read(|state| state.owner.clone())?;
        if let Some(owner) = owner.filter(|owner| owner != node) {
            return Err(StoreError::OtherNode {
                path: "memory".into(),
                found: owner.to_string(),
                expected: node.clone(),
            });
        }
        self.write(|state| {
            state.owner = Some(node.clone());
            let now = u64::try_from(now_ms).unwrap_or_default();
            state.generation = state.generation.saturating_add(1).max(now);
            state.generation
        })
    }

    fn raise_generation(&self, generation: u64) -> Result<(), StoreError> {
        self.write(|state| state.generation = state.generation.max(generation))
    }

    fn is_established(&self) -> Result<bool, StoreError> {
        self.read(|state| state.is_established)
    }

    fn establish(&self) -> Result<(), StoreError> {
        self.write(|state| state.is_established = true)
    }

    fn highest_term(&self) -> Result<Term, StoreError> {
        self.read(|state| state.term)
    }

    fn raise_term(&self, term: Term) -> Result<Term, StoreError> {
        let known = self.highest_term()?;
        if known >= term {
            return Ok(known);
        }
        self.write(|state| {
            state.term = state.term.max(term);
            state.term
        })
    }

    fn promise(&self, term: Term, leader: &NodeId) -> Result<Term, StoreError> {
        let answer = |state: &Content| {
            let promises = Promises {
                highest: state.term,
                last: state.promised.clone(),
            };
            promises.answer(term, leader)
        };
        if let Some(answer) = self.read(answer)? {
            return Ok(answer);
        }
        self.write(|state| {
            state.term = term;
            state.promised = Some((term, leader.clone()));
            term
        })
    }

    fn line(&self, kind: DocumentKind) -> Result<Vec<LineRecord>, StoreError> {
        self.read(|state| {
            let shelf = state.shelves.get(&kind);
            shelf.map_or_else(Vec::new, |shelf| shelf.line.values().cloned().collect())
        })
    }

    fn body(&self, kind: DocumentKind, stamp: Stamp) -> Result<Option<String>, StoreError> {
        self.read(|state| state.shelves.get(&kind)?.bodies.get(&stamp).cloned())
    }

    fn conflicts(&self, kind: DocumentKind) -> Result<Vec<Conflict>, StoreError> {
        self.read(|state| {
            let shelf = state.shelves.get(&kind);
            shelf.map_or_else(Vec::new, |shelf| {
                shelf.conflicts.values().cloned().collect()
            })
        })
    }

    fn change(&self, kind: DocumentKind, change: &Change) -> Result<(), StoreError> {
        let lie = self.state().lie.as_ref().map(|unsynced| unsynced.lie);
        self.write(|state| {
            let shelf = state.shelves.entry(kind).or_default();
            shelf.apply(change);
            if lie == Some(Lie::Conflicts) {
                shelf.conflicts.clear();
            }
        })
    }

    fn members(&self) -> Result<Vec<KnownMember>, StoreError> {
        self.read(|state| state.members.values().cloned().collect())
    }

    fn remember_members(&self, seen: &[KnownMember], gone: &[String]) -> Result<(), StoreError> {
        self.write(|state| {
            for member in seen {
                let id = member.report.id.to_string();
                state.members.insert(id, member.clone());
            }
            for id in gone {
                state.members.remove(id);
            }
        })
    }
}

/// A block device in memory. What was written and not synced is lost at a loss of power, in parts: each write by itself
/// has come down or not, and the last of them perhaps to its half.
#[derive(Debug, Default)]
pub struct Blocks {
    bytes: Mutex<Bytes>,
    is_dead: AtomicBool,
}

#[derive(Debug, Default)]
struct Bytes {
    synced: Vec<u8>,
    /// As the store sees it.
    now: Vec<u8>,
    /// Since the last sync.
    writes: Vec<Write>,
    trouble: Trouble,
}

#[derive(Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

impl Blocks {
    /// From now on this goes wrong. Writes are counted by their syncs.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.bytes().trouble = trouble;
    }

    /// Whether the power has failed.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// The power is back, and of what was not synced `rng` says what came down.
    pub fn revive(&self, rng: &mut Rng) {
        let mut bytes = self.bytes();
        let mut kept = std::mem::take(&mut bytes.synced);
        for write in std::mem::take(&mut bytes.writes) {
            match write {
                Write::Bytes(at, data) if rng.happens(50) => {
                    let end = match rng.happens(10) {
                        true => data.len() / 2,
                        false => data.len(),
                    };
                    put(&mut kept, at, data.get(..end).unwrap_or_default());
                }
                Write::Length(length) => kept.resize(size(length), 0),
                Write::Bytes(..) => {}
            }
        }
        bytes.now.clone_from(&kept);
        bytes.synced = kept;
        bytes.trouble = Trouble::default();
        self.is_dead.store(false, Ordering::SeqCst);
    }

    fn bytes(&self) -> MutexGuard<'_, Bytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<MutexGuard<'_, Bytes>, io::Error> {
        match self.is_dead() {
            true => Err(io::Error::other("the power has failed")),
            false => Ok(self.bytes()),
        }
    }
}

fn size(length: u64) -> usize {
    usize::try_from(length).unwrap_or_default()
}

fn put(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let start = size(at);
    if bytes.len() < start + data.len() {
        bytes.resize(start + data.len(), 0);
    }
    if let Some(place) = bytes.get_mut(start..start + data.len()) {
        place.copy_from_slice(data);
    }
}

/// The device as one opening of the store has it.
#[derive(Debug, Clone)]
pub struct Opened(pub Arc<Blocks>);

impl StorageBackend for Opened {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.alive()?.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let bytes = self.0.alive()?;
        let start = size(offset);
        let found = bytes.now.get(start..start + out.len());
        let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut bytes = self.0.alive()?;
        bytes.now.resize(size(len), 0);
        bytes.writes.push(Write::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut bytes = self.0.alive()?;
        if bytes.trouble.is_full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if let Some(left) = &mut bytes.trouble.power_fails_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                if bytes.trouble.is_last_kept {
                    settle(&mut bytes);
                }
                self.0.is_dead.store(true, Ordering::SeqCst);
                return Err(io::Error::other("the power has failed"));
            }
        }
        settle(&mut bytes);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut bytes = self.0.alive()?;
        put(&mut bytes.now, offset, data);
        bytes.writes.push(Write::Bytes(offset, data.to_vec()));
        Ok(())
    }
}

fn settle(bytes: &mut Bytes) {
    for write in std::mem::take(&mut bytes.writes) {
        match write {
            Write::Bytes(at, data) => put(&mut bytes.synced, at, &data),
            Write::Length(length) => bytes.synced.resize(size(length), 0),
        }
    }
}
