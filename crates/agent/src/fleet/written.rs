//! What a write came to, in the words of the API.

use hafleet_api::fleet::Written;
use hafleet_cluster::{Cluster, Confirmed};
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

/// The revision that is there already, when nothing had to be written, and who holds it by now; or, where that one may yet
/// lose, the one with the same body that `author` has written after it.
pub(super) async fn as_it_is(
    cluster: &Cluster,
    current: &Document,
    author: &str,
    warnings: Vec<Finding>,
) -> Written {
    let confirmed = cluster.confirm(current, author, HOLDERS_WAIT).await;
    let Confirmed { header, holding } = confirmed;
    Written {
        is_unchanged: header.stamp == current.stamp(),
        header,
        stored_by: holding.nodes,
        known_nodes: holding.known,
        is_committed: holding.is_committed,
        warnings,
    }
}
