//! What a round is given: who leads, what is known of the nodes, what the spec wants.

use std::collections::BTreeMap;

use hafleet_model::NodeId;
use hafleet_model::spec::{DnsProvider, Publication, PublishedName};

use crate::lease::Claimant;
use crate::service::NodeEvidence;

/// All that a round is given. It has to be of now: a claimant that was looked at before a pause may lead no more.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The leader that publishes.
    pub claimant: Claimant,
    /// All nodes that the fleet knows, also those that are dead. A node that is missing here is not held in DNS.
    pub nodes: BTreeMap<NodeId, NodeEvidence>,
    /// What the spec says.
    pub publication: Publication,
}

/// A zone as a spec names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) provider: DnsProvider,
    pub(super) zone: String,
}

impl Place {
    pub(super) fn of(record: &PublishedName) -> Self {
        Self {
            provider: record.provider.clone(),
            zone: record.zone.clone(),
        }
    }
}
