//! What a write came to, in the words of the API.

use hafleet_api::fleet::Written;
use hafleet_cluster::Cluster;
use hafleet_model::Document;
use hafleet_model::spec::Finding;

use super::HOLDERS_WAIT;

/// A revision that was made just now.
pub(super) fn new_revision(written: hafleet_cluster::Written, warnings: Vec<Finding>) -> Written {
    Written {
        header: written.header,
        stored_by: written.stored_by,
        known_nodes: written.known_members,
        is_committed: written.committed,
        is_unchanged: false,
        warnings,
    }
}

/// The revision that is there already, when nothing had to be written: and who holds it by now.
pub(super) async fn as_it_is(
    cluster: &Cluster,
    current: &Document,
    warnings: Vec<Finding>,
) -> Written {
    let holding = cluster
        .holding(current.kind(), current.stamp(), HOLDERS_WAIT)
        .await;
    Written {
        header: current.header().clone(),
        stored_by: holding.nodes,
        known_nodes: holding.known,
        is_committed: holding.is_majority,
        is_unchanged: true,
        warnings,
    }
}
