//! One node: the real rules on a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hafleet_cluster::machines::repair::{Course, Next, take_in};
use hafleet_cluster::machines::{Clock, Documents, Storage, answer, blank_report};
use hafleet_cluster::{Liveness, Member, Role, Standing, View};
use hafleet_model::{DocumentKind, NodeId, Stamp, Term};
use hafleet_simulation::disk::MemoryStorage;

/// The one kind of document that is written.
pub(crate) const KIND: DocumentKind = DocumentKind::Spec;
const HISTORY: usize = 100;

/// A node, and what it knows without its disk.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    disk: Arc<MemoryStorage>,
    /// Of what is on the disk.
    fingerprint: u64,
    /// The term in which it leads, and whether its documents were made ready for that.
    pub(crate) leads: Option<Term>,
    pub(crate) ready: Option<Term>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        (self.fingerprint, self.leads, self.ready) == (other.fingerprint, other.leads, other.ready)
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.fingerprint.hash(hasher);
        self.leads.map(|term| term.0).hash(hasher);
        self.ready.map(|term| term.0).hash(hasher);
    }
}

pub(crate) fn id(node: usize) -> Option<NodeId> {
    NodeId::new(format!("n{node}")).ok()
}

pub(crate) fn index_of(id: &NodeId) -> Option<usize> {
    id.as_str().strip_prefix('n')?.parse().ok()
}

fn clock() -> Clock {
    let begun = Instant::now();
    Clock::new(move || begun, || 0)
}

fn load(disk: &Arc<MemoryStorage>) -> Option<Documents> {
    let storage = Arc::clone(disk) as Arc<dyn Storage>;
    Documents::load(storage, clock(), HISTORY, Arc::default()).ok()
}

impl Node {
    pub(crate) fn new() -> Self {
        let mut node = Self {
            disk: Arc::default(),
            fingerprint: 0,
            leads: None,
            ready: None,
        };
        node.take_fingerprint();
        node
    }

    fn take_fingerprint(&mut self) {
        let mut hasher = DefaultHasher::new();
        self.disk.content().hash(&mut hasher);
        self.fingerprint = hasher.finish();
    }

    /// Lets the rules do something on its disk. Other states have theirs.
    pub(crate) fn act<T>(&mut self, act: impl FnOnce(&Documents) -> T) -> Option<T> {
        let disk = Arc::new(MemoryStorage::clone(&self.disk));
        let done = act(&load(&disk)?);
        self.disk = disk;
        self.take_fingerprint();
        Some(done)
    }

    /// Looks at what the rules say, without a change.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Documents) -> T) -> Option<T> {
        load(&self.disk).map(|documents| look(&documents))
    }

    pub(crate) fn highest_term(&self) -> Term {
        self.disk.highest_term().unwrap_or_default()
    }

    pub(crate) fn head(&self) -> Option<Stamp> {
        self.look(|documents| documents.newest(KIND).map(|newest| newest.stamp()))?
    }

    /// All that it has with its body: in the line or as a conflict.
    pub(crate) fn held(&self) -> BTreeSet<Stamp> {
        let held = self.look(|documents| {
            let line = documents.history(KIND).unwrap_or_default();
            let line = line.into_iter().map(|header| header.stamp);
            line.chain(answer::conflicts(documents, KIND)).collect()
        });
        held.unwrap_or_default()
    }

    /// Its line.
    pub(crate) fn line(&self) -> BTreeSet<Stamp> {
        let line = self.look(|documents| {
            let head = documents.newest(KIND).map(|newest| newest.stamp());
            let before = head.map_or_else(Vec::new, |head| documents.ancestry(KIND, head));
            before.into_iter().chain(head).collect()
        });
        line.unwrap_or_default()
    }

    /// Catches up by one revision that `peer` has, when the rules of repair find that there is one.
    pub(crate) fn repair(&mut self, me: usize, peer: usize, other: &Self) -> Option<()> {
        let view = fleet(me, None, [(peer, other.head())])?;
        let mut course = Course::new(KIND, Duration::ZERO, Duration::from_secs(1));
        let mut fetch =
            self.look(
                |documents| match course.next(&view, documents, Instant::now()) {
                    Next::Fetch(fetch) => Some(fetch),
                    Next::Wait(_) => None,
                },
            )??;
        fetch.next_holder(index_of)?;
        let stamp = fetch.stamp();
        let fetched = other.look(|documents| answer::fetch(documents, KIND, Some(stamp)))?;
        let (document, ancestry) = fetched.ok()?;
        self.act(|documents| take_in(documents, document, &ancestry))?
            .ok()
    }

    /// Takes in what `other` keeps as conflicts.
    pub(crate) fn gather(&mut self, other: &Self) -> Option<bool> {
        let stamps = other.look(|documents| answer::conflicts(documents, KIND))?;
        let mut has_changed = false;
        for stamp in stamps {
            let is_known = self.look(|documents| documents.is_known(KIND, stamp))?;
            let fetched = other.look(|documents| answer::fetch(documents, KIND, Some(stamp)))?;
            if let (false, Ok((document, _))) = (is_known, fetched) {
                self.act(|documents| documents.gather(document))?.ok()?;
                has_changed = true;
            }
        }
        Some(has_changed)
    }
}

fn address(node: usize) -> SocketAddr {
    let last = u8::try_from(node + 1).unwrap_or(u8::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 7400)
}

/// The fleet as `me` sees it, all live: with those `others` and what they say is their newest.
pub(crate) fn fleet(
    me: usize,
    leads: Option<Term>,
    others: impl IntoIterator<Item = (usize, Option<Stamp>)>,
) -> Option<Arc<View>> {
    let member = |(node, held): (usize, Option<Stamp>)| {
        let mut report = blank_report(id(node)?, 1, address(node));
        report.held = BTreeMap::from_iter(held.map(|stamp| (KIND, stamp)));
        Some(Member {
            report: report.into(),
            liveness: Liveness::Live,
            last_seen_ms: 0,
            is_self: node == me,
            link: None,
            lost: BTreeMap::new(),
            is_counted: true,
        })
    };
    let members = others.into_iter().chain([(me, None)]).map(member);
    let role = leads.map_or(Role::Settling { reason: "" }, Role::Leader);
    Some(Arc::new(View {
        members: members.collect::<Option<_>>()?,
        unmet_seeds: Vec::new(),
        seeds_short: None,
        leadership: Standing {
            role,
            leader: leads.and(id(me)),
            term: leads.unwrap_or_default(),
        },
    }))
}
