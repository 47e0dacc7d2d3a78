//! What people are told of names in DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use hafleet_model::{NodeId, Term};

use crate::fence::Ownership;
use crate::provider::{Change, ProviderError};
use crate::record::RecordSet;

/// What a round came to.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Every name that the spec has, its aliases, and names that are being given up.
    pub names: Vec<NameStatus>,
    /// The leader of the highest term that holds a name, where that is not this one. Whoever sees it leads no more, or has to
    /// claim above its term.
    pub rival: Option<Rival>,
    /// What keeps whole zones from being read or written, by zone. A leader that is refused everywhere
    /// ([`ProviderError::Refused`]) cannot publish, and another may be able to.
    pub troubles: BTreeMap<String, ProviderError>,
    /// When the next round is due if nothing changes until then.
    pub next: Duration,
}

/// A leader that another one was stopped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// Its term. It may equal the own one.
    pub term: Term,
    /// Its id.
    pub leader: NodeId,
}

/// How a name stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameStatus {
    /// The zone, as the provider calls it; as the spec does while it was not found.
    pub zone: String,
    /// The name.
    pub name: String,
    /// What should be there.
    pub wanted: Vec<RecordSet>,
    /// What is there, as far as is known.
    pub published: Vec<RecordSet>,
    /// The nodes that are published there with a weight above 0; for aliases none.
    pub nodes: BTreeSet<NodeId>,
    /// The write that changed it last, by this leader.
    pub last_change: Option<LastChange>,
    /// Who holds the lease, and in which term.
    pub holder: Option<Ownership>,
    /// What is held back, and why. Empty: it is as it should be, or becomes so with the next write.
    pub held_back: Vec<String>,
}

/// A write that was accepted. The times are for people to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastChange {
    /// When it was accepted.
    pub at: SystemTime,
    /// When all name servers had it; none if that is not known yet.
    pub in_sync_at: Option<SystemTime>,
}

/// What a round would change at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePlan {
    /// The zone, as the provider calls it.
    pub zone: String,
    /// The name.
    pub name: String,
    /// What would be made of its records, without those of ownership.
    pub changes: Vec<Change>,
    /// What is held back, and why.
    pub held_back: Vec<String>,
}
