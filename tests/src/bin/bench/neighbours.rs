//! How many nodes with a namespace each the kernel bears.

/// How many neighbours the kernel remembers, of all namespaces together: each node has all others.
const LIMIT: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";

/// What to do where the kernel remembers too few neighbours for a fleet of so many nodes.
pub(crate) fn remedy_for(nodes: u8) -> Option<String> {
    let needed = u32::from(nodes) * u32::from(nodes + 1);
    let known = std::fs::read_to_string(LIMIT).ok()?;
    let known: u32 = known.trim().parse().ok()?;
    (known < needed).then(|| {
        format!(
            "the kernel remembers {known} neighbours: raise net.ipv4.neigh.default.gc_thresh3 to {needed} and gc_thresh2 with it"
        )
    })
}
