//! This node's own addresses, where EC2 has to be asked for them: before the node first speaks of itself, and again and
//! again, since a public address may be another one from one day to the next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use hafleet_cluster::Cluster;
use hafleet_ec2::{Metadata, MetadataAddress};
use hafleet_model::spec::NodeAddress;

use crate::config::AddressSource;
use crate::reconcile::{Activation, Outcome, Pace, Reconcile};

/// The metadata service is on the machine's own link, and what it says hardly ever changes.
pub(crate) const PACE: Pace = Pace {
    interval: Duration::from_secs(60),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(60),
};

/// How long the start of an agent waits for the metadata service. A node that begins without its address is not published
/// until it has it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where this node's addresses are known from.
#[derive(Clone)]
pub(crate) struct Addresses {
    sources: BTreeMap<NodeAddress, AddressSource>,
    metadata: Metadata,
}

impl Addresses {
    pub(crate) fn new(sources: BTreeMap<NodeAddress, AddressSource>) -> Self {
        Self {
            sources,
            metadata: Metadata::new(),
        }
    }

    /// Those that are known when the agent starts.
    pub(crate) async fn at_start(&self) -> BTreeMap<NodeAddress, IpAddr> {
        let mut known = self.given();
        match tokio::time::timeout(PATIENCE, self.ask(&mut known)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error, "an own address is not known yet"),
            Err(_) => tracing::error!("the instance metadata service is slow to tell an address"),
        }
        known
    }

    fn given(&self) -> BTreeMap<NodeAddress, IpAddr> {
        let given = self
            .sources
            .iter()
            .filter_map(|(kind, source)| match source {
                AddressSource::Given(address) => Some((*kind, *address)),
                AddressSource::Metadata => None,
            });
        given.collect()
    }

    /// Puts the others to `known`, and takes away those that the machine does not have. Where the service does not
    /// answer, what is known stays.
    async fn ask(&self, known: &mut BTreeMap<NodeAddress, IpAddr>) -> Result<(), String> {
        let mut failed = None;
        for (kind, source) in &self.sources {
            if *source != AddressSource::Metadata {
                continue;
            }
            match self.metadata.address(category(*kind)).await {
                Ok(Some(address)) => drop(known.insert(*kind, address)),
                Ok(None) => drop(known.remove(kind)),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn category(kind: NodeAddress) -> MetadataAddress {
    match kind {
        NodeAddress::Public => MetadataAddress::Public,
        NodeAddress::Private => MetadataAddress::Private,
        NodeAddress::Ipv6 => MetadataAddress::Ipv6,
    }
}

/// Keeps what the node says of its addresses equal to what EC2 says of them.
pub(crate) struct AddressesLoop {
    addresses: Addresses,
    known: BTreeMap<NodeAddress, IpAddr>,
    cluster: Cluster,
}

impl AddressesLoop {
    /// One that begins with what was `known` at the start.
    pub(crate) fn new(
        addresses: Addresses,
        known: BTreeMap<NodeAddress, IpAddr>,
        cluster: Cluster,
    ) -> Self {
        Self {
            addresses,
            known,
            cluster,
        }
    }
}

#[async_trait]
impl Reconcile for AddressesLoop {
    const NAME: &'static str = "addresses";

    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }

    async fn reconcile(&mut self, _: Activation) -> Outcome {
        let is_asked = self.addresses.sources.values();
        if !is_asked
            .into_iter()
            .any(|source| *source == AddressSource::Metadata)
        {
            return Outcome::Inert("all addresses are in the agent's file");
        }
        let mut known = self.known.clone();
        let asked = self.addresses.ask(&mut known).await;
        if known != self.known {
            tracing::info!(?known, "this node's addresses");
            self.known.clone_from(&known);
            self.cluster.report(|report| report.addresses = known);
        }
        match asked {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error),
        }
    }
}
