//! One node's part in keeping a name in DNS while it leads: the pure rules of `hafleet-dns`, in the order in which a
//! publisher goes through them, without the publisher's pauses and budgets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hafleet_cluster::View;
use hafleet_dns::lease::{Claimant, Lease, lease};
use hafleet_dns::plan::{difference, fenced, present};
use hafleet_dns::provider::Change;
use hafleet_dns::service::{NodeEvidence, Probe, service};
use hafleet_dns::wanted::{HealthChecks, wanted};
use hafleet_dns::{Ownership, RecordData, RecordSet};
use hafleet_model::spec::{NodeAddress, PublishedName, Routing, TimeSpan};
use hafleet_model::{FleetName, NodeId, Term};

use crate::plan::Millis;

/// The name that the fleet publishes.
pub(crate) const NAME: &str = "www.test";
/// The mark of the authority under which the fleet's certificates are.
const AUTHORITY: &str = "a1";
/// How long nothing must have been written before a leader without a majority takes the name.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// What a leader does about what it read.
#[derive(Debug)]
pub(crate) enum Verdict {
    Write(Vec<Change>),
    Nothing,
    /// A leader of this term has written: it has to be claimed above.
    Superseded(Term),
}

/// The leader that decides.
#[derive(Debug)]
pub(crate) struct Leading<'a> {
    pub(crate) fleet: &'a FleetName,
    pub(crate) view: &'a View,
    pub(crate) term: Term,
    /// Whether it takes itself for one with a majority.
    pub(crate) has_majority: bool,
}

/// What a leader remembers of the name, for as long as its term lasts.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    seen: Option<(Ownership, Millis)>,
}

impl Publication {
    /// What to do, when `records` were read and `nonce` was drawn. `probe` is the leader's own look at a node's listeners.
    pub(crate) fn decide(
        &mut self,
        leader: &Leading<'_>,
        records: &[RecordSet],
        probe: impl Fn(&NodeId) -> bool,
        now: Millis,
        nonce: u64,
    ) -> Verdict {
        let Leading {
            fleet,
            view,
            term,
            has_majority,
        } = *leader;
        let Some(own) = view.own() else {
            return Verdict::Nothing;
        };
        let me = own.report.id.clone();
        let there = present(NAME, records);
        let unchanged = match (&self.seen, &there.ownership) {
            (Some((seen, since)), Some(found)) if seen == found => now - since,
            (_, Some(found)) => {
                self.seen = Some((found.clone(), now));
                0
            }
            (_, None) => 0,
        };
        let claimant = Claimant {
            fleet: fleet.clone(),
            authorities: vec![AUTHORITY.to_owned()],
            node: me.clone(),
            term,
            has_majority,
        };
        let unchanged = Duration::from_millis(unchanged);
        let lease = lease(&claimant, there.ownership.as_ref(), unchanged, LEASE);
        if let Some(term) = rival(&lease, term) {
            return Verdict::Superseded(term);
        }
        if !lease.may_write() {
            return Verdict::Nothing;
        }
        let nodes = evidence(view, probe);
        let before = before(&nodes, &there.sets);
        let name = published();
        let in_service = service(&nodes, &before, name.min_published);
        let sets = wanted(&name, fleet, &nodes, &in_service, &HealthChecks::default());
        let Some(sets) = sets.get(NAME).filter(|sets| !sets.is_empty()) else {
            return Verdict::Nothing;
        };
        let Ok(changes) = difference(NAME, &there, sets, fleet) else {
            return Verdict::Nothing;
        };
        if changes.is_empty() && matches!(lease, Lease::Held) {
            return Verdict::Nothing;
        }
        let next = match &there.ownership {
            Some(found) => found.successor(term, &me, nonce),
            None => Ownership {
                fleet: fleet.clone(),
                term,
                leader: me,
                sequence: 1,
                nonce,
                authority: Some(AUTHORITY.to_owned()),
            },
        };
        Verdict::Write(fenced(NAME, &there, changes, &next).changes)
    }
}

/// The term to claim above. Of two leaders in one term only a higher one decides, so the one that comes second goes above
/// it too.
fn rival(lease: &Lease, own: Term) -> Option<Term> {
    match lease {
        Lease::Superseded { term, .. } => Some(*term),
        Lease::Tied { .. } => Some(own.next()),
        _ => None,
    }
}

fn published() -> PublishedName {
    PublishedName {
        zone: "test".into(),
        name: NAME.into(),
        provider: Default::default(),
        ttl: TimeSpan::from_secs(30),
        addresses: vec![NodeAddress::Public],
        routing: Routing::Simple,
        min_published: 1,
        health_check: None,
        aliases: Vec::new(),
    }
}

fn evidence(view: &View, probe: impl Fn(&NodeId) -> bool) -> BTreeMap<NodeId, NodeEvidence> {
    let members = view.members.iter();
    let evidence = members.map(|member| {
        let id = member.report.id.clone();
        let answers = probe(&id);
        let evidence = NodeEvidence {
            addresses: BTreeMap::from([(NodeAddress::Public, member.report.data_address)]),
            weight: 1,
            is_live: member.liveness.is_live(),
            is_serving: true,
            has_spec: true,
            is_drained: false,
            probe: Some(if answers {
                Probe::Answers
            } else {
                Probe::Fails
            }),
        };
        (id, evidence)
    });
    evidence.collect()
}

fn before(nodes: &BTreeMap<NodeId, NodeEvidence>, sets: &[RecordSet]) -> BTreeSet<NodeId> {
    let addresses: BTreeSet<IpAddr> = sets
        .iter()
        .flat_map(|set| match &set.data {
            RecordData::Values { values, .. } => values.iter().cloned().collect::<Vec<_>>(),
            RecordData::Alias { .. } => Vec::new(),
        })
        .filter_map(|value| value.parse().ok())
        .collect();
    let was = nodes.iter().filter(|(_, node)| {
        let mut own = node.addresses.values();
        own.any(|address| addresses.contains(address))
    });
    was.map(|(id, _)| id.clone()).collect()
}
