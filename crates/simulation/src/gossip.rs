//! The spread of facts that stands for chitchat's: the same values, heartbeats, and a failure detector that takes as long
//! as chitchat's was measured to (phi 8 at an interval of 1 s: 4.5 to 7 s).

use std::collections::BTreeMap;
use std::sync::Arc;

use hafleet_cluster::machines::{Facts, Heard, HeardNode};

use crate::flaw::Keeping;
use crate::packet::Entry;
use crate::plan::Millis;

/// What one node has heard.
#[derive(Debug)]
pub(crate) struct Gossip {
    me: usize,
    generation: u64,
    own: Entry,
    /// After how long silence counts as death.
    detection: Millis,
    others: BTreeMap<(usize, u64), Known>,
}

#[derive(Debug)]
struct Known {
    entry: Entry,
    /// When a heartbeat came that was not its first, which is no proof of life.
    last_beat: Option<Millis>,
}

/// What came of a message.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Whether anything but heartbeats is new.
    pub(crate) is_news: bool,
    /// A later run of this very node.
    pub(crate) later_run: Option<u64>,
}

impl Gossip {
    pub(crate) fn new(me: usize, generation: u64, facts: Facts, detection: Millis) -> Self {
        let own = Entry {
            node: me,
            generation,
            version: 0,
            heartbeat: 0,
            facts: Arc::new(facts),
        };
        Self {
            me,
            generation,
            own,
            detection,
            others: BTreeMap::new(),
        }
    }

    /// This node says something else from now on; false when it is what it said before.
    pub(crate) fn publish(&mut self, facts: Facts) -> bool {
        if *self.own.facts == facts {
            return false;
        }
        self.own.version += 1;
        self.own.facts = Arc::new(facts);
        true
    }

    pub(crate) fn beat(&mut self) {
        self.own.heartbeat += 1;
    }

    /// All that there is to tell.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let others = self.others.values().map(|known| known.entry.clone());
        others.chain([self.own.clone()]).collect()
    }

    pub(crate) fn merge(&mut self, entries: &[Entry], now: Millis) -> Merged {
        let mut merged = Merged::default();
        for entry in entries {
            if entry.node == self.me {
                if entry.generation > self.generation {
                    merged.later_run = Some(entry.generation);
                }
                continue;
            }
            match self.others.get_mut(&(entry.node, entry.generation)) {
                None => {
                    let known = Known {
                        entry: entry.clone(),
                        last_beat: None,
                    };
                    self.others.insert((entry.node, entry.generation), known);
                    merged.is_news = true;
                }
                Some(known) => {
                    if entry.heartbeat > known.entry.heartbeat {
                        merged.is_news |= known.last_beat.is_none();
                        known.entry.heartbeat = entry.heartbeat;
                        known.last_beat = Some(now);
                    }
                    if entry.version > known.entry.version {
                        known.entry.version = entry.version;
                        known.entry.facts = Arc::clone(&entry.facts);
                        merged.is_news = true;
                    }
                }
            }
        }
        merged
    }

    /// Whom it has heard of.
    pub(crate) fn peers(&self) -> Vec<usize> {
        let mut peers: Vec<_> = self.others.keys().map(|(node, _)| *node).collect();
        peers.dedup();
        peers
    }

    fn is_beating(&self, known: &Known, now: Millis) -> bool {
        known
            .last_beat
            .is_some_and(|last| now.saturating_sub(last) < self.detection)
    }

    pub(crate) fn heard(&self, now: Millis, keeping: Keeping) -> Heard {
        let mut heard = Heard::default();
        let mut before = None;
        // The runs of a node come one after the other, the oldest first.
        for known in self.others.values() {
            let is_oldest = before.replace(known.entry.node) != Some(known.entry.node);
            if !keeping.believes(is_oldest) {
                continue;
            }
            heard.add(HeardNode {
                facts: keeping.facts(&known.entry.facts),
                is_alive: self.is_beating(known, now),
                is_fading: false,
            });
        }
        heard
    }
}
