//! Which gossip messages may reach chitchat.
//!
//! chitchat trusts its peers: some messages that it accepts would later stop it with a failed assertion, and with it
//! this node's sight of the fleet. So each message is taken apart here first, in chitchat's own format (its source,
//! `message.rs`, `digest.rs`, `delta.rs` and `serialize.rs`, version 0.11.2):
//!
//! - a delta whose last version is lower than one of its values, or with versions near the end of the number range,
//! - more nodes than fit the digest that a node has to be able to send,
//! - what others say of this very node that it does not know itself. What it does know passes, and changes nothing:
//!   a peer that heard of a change before our digest came, which is older, answers with that change. What it does not
//!   know is noted: whoever has heard that listens to this run no more, so that it has to begin anew,
//! - word of a later run of this very node, which is noted: its peers listen to that one only.
//!
//! What one peer says of another cannot be verified: facts are hearsay, and what rests on them is made for that.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chitchat::{ChitchatId, ChitchatMessage, Deserializable, Serializable as _};
use hafleet_model::{FleetName, NodeId};

use crate::facts::MAX_VALUE_LEN;
use crate::limits::MAX_FRAME_LEN;

/// The longest key.
const MAX_KEY_LEN: usize = 64;
/// No version, heartbeat or generation can be higher: counting up once a microsecond takes 146,000 years to get there.
const MAX_COUNT: u64 = 1 << 62;
/// No generation can be higher: they are milliseconds since 1970, or few above. One that is, is made up, and would
/// leave that node no room for its next.
const MAX_GENERATION: u64 = 1 << 52;
/// What all nodes' entries in a digest may take together, of the 65,507 bytes of a message.
const MAX_DIGEST_LEN: usize = 48_000;
/// What the values of one message may take, unpacked.
const MAX_UNPACKED_LEN: usize = 1024 * 1024;
/// The largest block that chitchat unpacks.
const MAX_BLOCK_LEN: usize = u16::MAX as usize;
/// chitchat's mark, the version of its protocol, and the kind of message.
const PREAMBLE_LEN: usize = 4;
/// The counters in an entry of a digest.
const COUNTERS_LEN: usize = 24;

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("it has {len} bytes, and {MAX_FRAME_LEN} are allowed")]
    TooLarge { len: usize },
    #[error("it is not a gossip message: {reason}")]
    Malformed { reason: String },
    #[error("it is of fleet {found:?}")]
    OtherFleet { found: String },
    #[error("{what} is out of bounds")]
    OutOfBounds { what: &'static str },
    #[error("it names a node that cannot be: {0}")]
    BadNode(#[from] hafleet_model::NameError),
    #[error("it says of this very node what that never said")]
    SpeaksForUs,
    #[error("it knows a later run of this node, {generation}")]
    LaterRun { generation: u64 },
    #[error("it names more nodes than gossip can carry")]
    TooManyNodes,
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(reason: impl ToString) -> FrameError {
    FrameError::Malformed {
        reason: reason.to_string(),
    }
}

/// The rules, with what they need to know.
#[derive(Debug, Clone)]
pub(crate) struct FrameRules {
    fleet: FleetName,
    me: NodeId,
    generation: u64,
    /// The nodes of which is known that they fit, each as it is written in a digest.
    known: Arc<Mutex<HashSet<Box<[u8]>>>>,
    /// The version of the last change that this node made to its own keys.
    own_version: Arc<AtomicU64>,
    /// The highest generation of this node of which a peer knows, when it is not this run's.
    later_run: Arc<AtomicU64>,
    /// Whether a peer said of this run what this run has never said.
    is_spoken_for: Arc<AtomicBool>,
}

impl FrameRules {
    pub(crate) fn new(fleet: FleetName, me: NodeId, generation: u64) -> Self {
        Self {
            fleet,
            me,
            generation,
            known: Arc::default(),
            own_version: Arc::default(),
            later_run: Arc::default(),
            is_spoken_for: Arc::default(),
        }
    }

    /// Says what the last version of this node's own keys is. To be called before anybody can hear of it.
    pub(crate) fn set_own_version(&self, version: u64) {
        self.own_version.fetch_max(version, Ordering::SeqCst);
    }

    /// The generation of a later run of this node, if a peer knows of one.
    pub(crate) fn later_run(&self) -> Option<u64> {
        Some(self.later_run.load(Ordering::SeqCst)).filter(|later| *later > self.generation)
    }

    /// Whether a peer has said of this run what this run never said, under a version that is yet to come: its own words
    /// are not heard where that is believed.
    pub(crate) fn is_spoken_for(&self) -> bool {
        self.is_spoken_for.load(Ordering::SeqCst)
    }

    /// Says which nodes chitchat has, so that those it forgot make room.
    pub(crate) fn set_known<'a>(&self, ids: impl ExactSizeIterator<Item = &'a ChitchatId> + Clone) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = Vec::new();
        let is_known = |id: &ChitchatId| {
            written.clear();
            id.serialize(&mut written);
            known.contains(written.as_slice())
        };
        if known.len() != ids.len() || !ids.clone().all(is_known) {
            *known = ids.map(|id| id.serialize_to_vec().into()).collect();
        }
    }

    /// Turns a frame into a message that chitchat can take.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<ChitchatMessage, FrameError> {
        let checked = self.take_apart(bytes);
        if checked == Err(FrameError::SpeaksForUs) {
            self.is_spoken_for.store(true, Ordering::SeqCst);
        }
        checked
    }

    fn take_apart(&self, bytes: &[u8]) -> Result<ChitchatMessage, FrameError> {
        if bytes.len() > MAX_FRAME_LEN {
            return Err(FrameError::TooLarge { len: bytes.len() });
        }
        let kind = *bytes
            .get(PREAMBLE_LEN - 1)
            .ok_or_else(|| malformed("it is too short"))?;
        let mut rest = bytes.get(PREAMBLE_LEN..).unwrap_or_default();
        // Syn, SynAck, Ack, BadCluster; chitchat itself checks what comes before.
        match kind {
            0 => {
                self.check_digest(&mut rest)?;
                let found: String = read(&mut rest)?;
                if found != self.fleet.as_str() {
                    return Err(FrameError::OtherFleet {
                        found: found.chars().take(80).collect(),
                    });
                }
            }
            1 => {
                self.check_digest(&mut rest)?;
                self.check_delta(&mut rest)?;
            }
            2 => self.check_delta(&mut rest)?,
            _ => {}
        }
        let mut whole = bytes;
        let message = ChitchatMessage::deserialize(&mut whole).map_err(malformed)?;
        if whole.is_empty() {
            Ok(message)
        } else {
            Err(malformed("something follows it"))
        }
    }

    fn check_digest(&self, rest: &mut &[u8]) -> Result<(), FrameError> {
        let count: u16 = read(rest)?;
        let mut new = HashSet::new();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let mut written = written_id(rest)?;
            for what in ["a heartbeat", "a version", "a version"] {
                check_count(read(rest)?, what)?;
            }
            if !known.contains(written) {
                new.insert(written);
                let id: ChitchatId = read(&mut written)?;
                check_node(&id)?;
                self.check_run(&id)?;
            }
        }
        // The usual case, and the only one in which the time that this takes matters.
        if new.is_empty() {
            return Ok(());
        }
        let lens = known.iter().map(|id| id.len());
        let lens = lens.chain(new.iter().map(|id| id.len()));
        if lens.map(|len| len + COUNTERS_LEN).sum::<usize>() > MAX_DIGEST_LEN {
            return Err(FrameError::TooManyNodes);
        }
        known.extend(new.into_iter().map(Box::from));
        Ok(())
    }

    fn check_delta(&self, rest: &mut &[u8]) -> Result<(), FrameError> {
        let unpacked = unpack(rest)?;
        let mut rest = unpacked.as_slice();
        let mut highest: Option<u64> = None;
        // The highest version that may be said of the node at hand.
        let mut limit = MAX_COUNT;
        while !rest.is_empty() {
            // Node, KeyValue, SetMaxVersion.
            match read::<u8>(&mut rest)? {
                0 => {
                    let id: ChitchatId = read(&mut rest)?;
                    limit = self.check_subject(&id)?;
                    let collected = check_count(read(&mut rest)?, "a version")?;
                    check_count(read(&mut rest)?, "a version")?;
                    check_limit(collected, limit)?;
                    highest = Some(0);
                }
                1 => {
                    let before = highest.ok_or_else(|| malformed("a value belongs to no node"))?;
                    highest = Some(check_limit(check_value(&mut rest, before)?, limit)?);
                }
                2 => {
                    let before =
                        highest.ok_or_else(|| malformed("a version belongs to no node"))?;
                    let version = check_count(read(&mut rest)?, "a version")?;
                    if version < before {
                        return Err(FrameError::OutOfBounds {
                            what: "a last version",
                        });
                    }
                    highest = Some(check_limit(version, limit)?);
                }
                _ => return Err(malformed("an unknown operation")),
            }
        }
        Ok(())
    }

    /// Returns the highest version that others may say of `id`: of this very node, what it has said itself.
    fn check_subject(&self, id: &ChitchatId) -> Result<u64, FrameError> {
        check_node(id)?;
        self.check_run(id)?;
        let is_us = *id.node_id == *self.me.as_str() && id.generation_id == self.generation;
        Ok(if is_us {
            self.own_version.load(Ordering::SeqCst)
        } else {
            MAX_COUNT
        })
    }

    fn check_run(&self, id: &ChitchatId) -> Result<(), FrameError> {
        let generation = id.generation_id;
        if *id.node_id != *self.me.as_str() || generation <= self.generation {
            return Ok(());
        }
        self.later_run.fetch_max(generation, Ordering::SeqCst);
        Err(FrameError::LaterRun { generation })
    }
}

fn check_limit(version: u64, limit: u64) -> Result<u64, FrameError> {
    if version <= limit {
        Ok(version)
    } else {
        Err(FrameError::SpeaksForUs)
    }
}

fn check_value(rest: &mut &[u8], before: u64) -> Result<u64, FrameError> {
    let key: String = read(rest)?;
    let value: String = read(rest)?;
    let version = check_count(read(rest)?, "a version")?;
    let status: u8 = read(rest)?;
    if key.len() > MAX_KEY_LEN || value.len() > MAX_VALUE_LEN {
        return Err(FrameError::OutOfBounds { what: "a value" });
    }
    if version <= before || status > 2 {
        return Err(FrameError::OutOfBounds {
            what: "a value's version",
        });
    }
    Ok(version)
}

fn check_node(id: &ChitchatId) -> Result<(), FrameError> {
    NodeId::new(&*id.node_id)?;
    if id.generation_id >= MAX_GENERATION {
        return Err(FrameError::OutOfBounds {
            what: "a generation",
        });
    }
    check_address(id.gossip_advertise_addr)
}

fn check_address(address: SocketAddr) -> Result<(), FrameError> {
    let is_usable =
        address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
    if is_usable {
        Ok(())
    } else {
        Err(FrameError::OutOfBounds { what: "an address" })
    }
}

fn check_count(count: u64, what: &'static str) -> Result<u64, FrameError> {
    if count < MAX_COUNT {
        Ok(count)
    } else {
        Err(FrameError::OutOfBounds { what })
    }
}

/// Takes a node's id off a digest, as it is written.
fn written_id<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], FrameError> {
    let whole = *rest;
    let name_len = usize::from(read::<u16>(rest)?);
    // The generation has 8 bytes, and the port that follows the address has 2.
    skip(rest, name_len + 8)?;
    let ip_len = match read::<u8>(rest)? {
        4 => 4,
        6 => 16,
        _ => return Err(malformed("an address of no kind")),
    };
    skip(rest, ip_len + 2)?;
    Ok(whole.get(..whole.len() - rest.len()).unwrap_or_default())
}

fn skip(rest: &mut &[u8], len: usize) -> Result<(), FrameError> {
    let after = rest.get(len..).ok_or_else(|| malformed("it is cut off"))?;
    *rest = after;
    Ok(())
}

fn read<T: Deserializable>(rest: &mut &[u8]) -> Result<T, FrameError> {
    T::deserialize(rest).map_err(malformed)
}

/// Unpacks the blocks of a delta.
fn unpack(rest: &mut &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut unpacked = Vec::new();
    loop {
        // NoMoreBlocks, Compressed, Uncompressed.
        let block = read::<u8>(rest)?;
        if block == 0 {
            return Ok(unpacked);
        }
        let len = usize::from(read::<u16>(rest)?);
        let (bytes, after) = rest
            .split_at_checked(len)
            .ok_or_else(|| malformed("a block is cut off"))?;
        *rest = after;
        match block {
            1 => unpacked.extend(decompress(bytes).map_err(malformed)?),
            2 => unpacked.extend_from_slice(bytes),
            _ => return Err(malformed("an unknown block")),
        }
        if unpacked.len() > MAX_UNPACKED_LEN {
            return Err(FrameError::OutOfBounds {
                what: "the unpacked length",
            });
        }
    }
}

fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::decompress(bytes, MAX_BLOCK_LEN)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
