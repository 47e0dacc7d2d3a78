//! What becomes of a fleet when nothing goes wrong any more.

use std::collections::BTreeSet;

use crate::node::Node;
use crate::state::State;

/// How often everyone catches up with everyone, at most; a fleet that needs more does not come to rest.
const ROUNDS: usize = 12;

/// Lets everyone catch up with everyone until nobody has anything to fetch; false when that does not end.
fn rest(nodes: &mut [Node]) -> bool {
    for _ in 0..ROUNDS {
        let mut is_quiet = true;
        for me in 0..nodes.len() {
            for peer in 0..nodes.len() {
                let (Some(mut node), Some(other)) = (nodes.get(me).cloned(), nodes.get(peer))
                else {
                    continue;
                };
                if me == peer {
                    continue;
                }
                let has_fetched = node.repair(me, peer, other).is_some();
                let has_gathered = node.gather(other).unwrap_or_default();
                is_quiet &= !has_fetched && !has_gathered;
                if let Some(place) = nodes.get_mut(me) {
                    *place = node;
                }
            }
        }
        if is_quiet {
            return true;
        }
    }
    false
}

/// Whether all nodes would come to have the same, with all that clients were told of, and what is committed in their line.
pub(crate) fn heals(state: &State) -> bool {
    let mut nodes = state.nodes.clone();
    if !rest(&mut nodes) {
        return false;
    }
    let heads: Vec<_> = nodes.iter().map(Node::head).collect();
    let is_one = heads.windows(2).all(|pair| pair.first() == pair.last());
    is_one
        && nodes.iter().all(|node| {
            let (held, line): (BTreeSet<_>, BTreeSet<_>) = (node.held(), node.line());
            let mut told = state.acknowledged.iter();
            told.all(|(stamp, is_committed)| {
                held.contains(stamp) && (!is_committed || line.contains(stamp))
            })
        })
}
