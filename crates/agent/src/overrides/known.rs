//! What there is that operators can mean, and words for what there is not.

use std::collections::{BTreeMap, BTreeSet};

use hafleet_haproxy::Rendered;
use hafleet_model::overrides::{Removal, ServerPath};
use hafleet_model::{DocumentKind, NodeId, Stamp};

/// How many names are offered in place of one that there is not.
const MAX_OFFERED: usize = 5;

/// What there is at one moment.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The nodes, removed ones that are live too.
    pub(crate) nodes: Vec<KnownNode>,
    /// The servers.
    pub(crate) servers: KnownServers,
    /// The revisions that lost, dismissed ones too.
    pub(crate) conflicts: Vec<(DocumentKind, Stamp)>,
}

/// A node of the fleet.
#[derive(Debug)]
pub(crate) struct KnownNode {
    pub(crate) id: NodeId,
    /// The last run of it that is known.
    pub(crate) generation: u64,
    pub(crate) is_live: bool,
}

impl Known {
    /// The node `id`.
    pub(crate) fn of(&self, id: &NodeId) -> Option<&KnownNode> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// Whether the fleet has a live node besides `node` that is not `removed`.
    pub(crate) fn has_another(&self, node: &NodeId, removed: &BTreeMap<NodeId, Removal>) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|other| other.id != *node && other.is_live && !removed.contains_key(&other.id))
    }
}

/// The servers that a node has from the spec, from what was found and in text, by backend.
#[derive(Debug, Default)]
pub(crate) struct KnownServers {
    all: BTreeMap<String, BTreeSet<String>>,
    /// Those that stand in text, whose weight is not ours.
    written: BTreeSet<ServerPath>,
}

impl KnownServers {
    pub(crate) fn of(rendered: &Rendered) -> Self {
        let servers = rendered.servers();
        let servers = servers.map(|server| (&server.backend, &server.name));
        let written = rendered.written().iter();
        let written = written.map(|server| (&server.backend, &server.name));
        let mut known = Self::default();
        for (backend, name) in servers.chain(written.clone()) {
            let servers = known.all.entry(backend.clone()).or_default();
            servers.insert(name.clone());
        }
        known.written = written
            .map(|(backend, server)| ServerPath {
                backend: backend.clone(),
                server: server.clone(),
            })
            .collect();
        known
    }

    /// Whether the server at `path` stands in text: it can be asked to drain and to be in maintenance, and has the weight
    /// that its text gives it.
    pub(crate) fn is_written(&self, path: &ServerPath) -> bool {
        self.written.contains(path)
    }

    /// Why there is nothing to ask of `path`, and what is there instead; none when it is there.
    pub(crate) fn lack_of(&self, path: &ServerPath) -> Option<String> {
        let ServerPath { backend, server } = path;
        let Some(servers) = self.all.get(backend) else {
            let offer = offer(backend, self.all.keys().map(String::as_str));
            return Some(match offer.as_str() {
                "" => format!(
                    "there is no backend {backend} with servers; those of `server-template` lines are not known"
                ),
                names => format!("there is no backend {backend} with servers; there are {names}"),
            });
        };
        let names = offer(server, servers.iter().map(String::as_str));
        let is_there = servers.contains(server);
        (!is_there).then(|| format!("backend {backend} has no server {server}; it has {names}"))
    }
}

/// Those of `names` that are most like `wanted`, in words.
pub(crate) fn offer<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .collect();
    names.sort_by(|(one, a), (other, b)| other.total_cmp(one).then_with(|| a.cmp(b)));
    let more = names.len().saturating_sub(MAX_OFFERED);
    names.truncate(MAX_OFFERED);
    let names: Vec<_> = names.into_iter().map(|(_, name)| name).collect();
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> KnownServers {
        let servers = (1..=8).map(|number| format!("web{number}"));
        KnownServers {
            all: [("shop".to_owned(), servers.collect())].into(),
            written: BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is_like_it() {
        let lack = |path: &str| known().lack_of(&path.parse().unwrap());
        assert_eq!(lack("shop/web3"), None);
        let words = lack("shop/web33").unwrap();
        assert!(words.contains("it has web3, "), "{words}");
        assert!(words.contains("and 3 more"), "{words}");
        let words = lack("shp/web3").unwrap();
        assert!(words.contains("no backend shp") && words.contains("there are shop"));
        let words = KnownServers::default().lack_of(&"a/b".parse().unwrap());
        assert!(words.unwrap().contains("server-template"));
    }
}
