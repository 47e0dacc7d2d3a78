//! What publication says of itself, as messages of the wire.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use hafleet_api::{convert, v1};
use hafleet_dns::lease::Claimant;
use hafleet_dns::provider::Change;
use hafleet_dns::publisher::{NamePlan, NameStatus, Round};
use hafleet_dns::record::{Policy, RecordData};
use hafleet_dns::service::{NodeEvidence, Standing};
use hafleet_dns::{Ownership, RecordSet};
use hafleet_model::NodeId;

/// How names and nodes stand after a round.
pub(super) fn list_of(
    claimant: &Claimant,
    nodes: &BTreeMap<NodeId, NodeEvidence>,
    round: Round,
) -> v1::ListDnsResponse {
    v1::ListDnsResponse {
        leader: claimant.node.to_string(),
        term: claimant.term.0,
        has_majority: claimant.has_majority,
        names: round.names.into_iter().map(name_of).collect(),
        nodes: nodes.iter().map(|(id, node)| node_of(id, node)).collect(),
    }
}

/// What a round would change.
pub(crate) fn plan_of(names: Vec<NamePlan>) -> v1::PlanDnsResponse {
    let names = names.into_iter().map(|plan| v1::DnsNamePlan {
        zone: plan.zone,
        name: plan.name,
        changes: plan.changes.into_iter().map(change_of).collect(),
        held_back: plan.held_back,
    });
    v1::PlanDnsResponse {
        names: names.collect(),
    }
}

fn name_of(status: NameStatus) -> v1::DnsName {
    let last = status.last_change;
    let in_sync_at = last.and_then(|last| last.in_sync_at);
    v1::DnsName {
        zone: status.zone,
        name: status.name,
        wanted: status.wanted.into_iter().map(record_of).collect(),
        published: status.published.into_iter().map(record_of).collect(),
        nodes: status.nodes.iter().map(ToString::to_string).collect(),
        changed_at: last.map(|last| timestamp(last.at)),
        in_sync_at: in_sync_at.map(timestamp),
        holder: status.holder.as_ref().map(holder_of),
        held_back: status.held_back,
    }
}

fn holder_of(ownership: &Ownership) -> v1::DnsHolder {
    v1::DnsHolder {
        fleet: ownership.fleet.to_string(),
        leader: ownership.leader.to_string(),
        term: ownership.term.0,
        sequence: ownership.sequence,
    }
}

fn node_of(id: &NodeId, node: &NodeEvidence) -> v1::DnsNode {
    use v1::dns_node::Standing as Word;
    let (standing, reason) = match node.standing() {
        Standing::InService => (Word::InService, ""),
        Standing::Draining => (Word::Draining, ""),
        Standing::Out(reason) => (Word::Out, reason),
        Standing::Doubtful(reason) => (Word::Doubtful, reason),
    };
    v1::DnsNode {
        id: id.to_string(),
        standing: standing.into(),
        reason: reason.to_owned(),
    }
}

fn record_of(set: RecordSet) -> v1::DnsRecord {
    let (routing, weight) = match set.policy {
        Policy::Simple => ("simple", None),
        Policy::Multivalue => ("multivalue", None),
        Policy::Weighted(weight) => ("weighted", Some(weight)),
        Policy::Primary => ("primary", None),
        Policy::Secondary => ("secondary", None),
        Policy::Other => ("other", None),
    };
    let (ttl, values, alias) = match set.data {
        RecordData::Values { ttl, values } => (ttl, values.into_iter().collect(), String::new()),
        RecordData::Alias { target, .. } => (0, Vec::new(), target),
    };
    v1::DnsRecord {
        name: set.key.name,
        r#type: set.key.record_type.as_str().to_owned(),
        identifier: set.key.identifier.unwrap_or_default(),
        ttl,
        values,
        alias,
        routing: routing.to_owned(),
        weight: weight.map(u32::from),
        health_check: set.health_check.unwrap_or_default(),
    }
}

fn change_of(change: Change) -> v1::DnsChange {
    use v1::dns_change::Action;
    let (action, set) = match change {
        Change::Create(set) => (Action::Create, set),
        Change::Delete(set) => (Action::Delete, set),
        Change::Upsert(set) => (Action::Replace, set),
    };
    v1::DnsChange {
        action: action.into(),
        record: Some(record_of(set)),
    }
}

fn timestamp(at: SystemTime) -> pbjson_types::Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    convert::timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
