//! What operators did by hand, as this node has it: read from the overrides document, and laid over what is rendered.
//!
//! An override that has expired holds for nobody from that moment on, whether or not the leader has taken it out of the
//! document yet ([`expiry`] does that). A document that cannot be read takes nothing away: the one before it is used.

pub(crate) mod change;
pub(crate) mod expiry;
pub(crate) mod known;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hafleet_cluster::Cluster;
use hafleet_haproxy::Rendered;
use hafleet_haproxy::runtime::AdminState;
use hafleet_model::overrides::{ServerOverride, ServerPath, ServerState};
use hafleet_model::{Document, DocumentKind, NodeId, Overrides, Revision, Spec, Stamp};

/// The longest time that is slept until an expiry, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How long the newest document may take to be known to be stored by a majority: gossip may lag behind.
const SETTLING: Duration = Duration::from_secs(3);

/// The nodes that the fleet has removed, as `document` says; none when it cannot be read.
pub(crate) fn removed(document: &Document) -> Option<BTreeSet<NodeId>> {
    match Overrides::parse(document.body()) {
        Ok(overrides) => Some(overrides.removed.into_keys().collect()),
        Err(error) => {
            let revision = document.revision();
            tracing::error!(%revision, %error, "who was removed cannot be read, and stays as it was");
            None
        }
    }
}

/// Reads the overrides document, each revision once. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct OverridesKeeper {
    cluster: Cluster,
    last: Arc<Mutex<Last>>,
    /// Changes are one at a time: all are to the same document, and so none of them has to be tried anew.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Last {
    /// The newest document that there is.
    head: Option<Stamp>,
    /// The newest that can be read.
    newest: Laid,
}

/// The overrides of one revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Laid {
    /// Which revision; none when there is none yet, and nothing is asked.
    pub(crate) revision: Option<Revision>,
    /// What it says, expired overrides too.
    pub(crate) overrides: Arc<Overrides>,
}

impl OverridesKeeper {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            last: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// The newest document that this node has stored.
    pub(crate) fn document(&self) -> Option<Arc<Document>> {
        let document = self.cluster.document(DocumentKind::Overrides);
        document.borrow().clone()
    }

    /// The newest overrides that can be read.
    pub(crate) fn newest(&self) -> Laid {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let document = self.document();
        if let Some(document) = document.filter(|document| last.head != Some(document.stamp())) {
            last.head = Some(document.stamp());
            match Overrides::parse(document.body()) {
                Ok(overrides) => {
                    last.newest = Laid {
                        revision: Some(document.revision()),
                        overrides: Arc::new(overrides),
                    };
                }
                Err(error) => {
                    let revision = document.revision();
                    tracing::error!(%revision, %error, "the overrides document is not used");
                }
            }
        }
        last.newest.clone()
    }

    /// Whether the newest document is certain to stay, so that who counts may change once more. Where it is not, the leader
    /// makes it so, as `author`.
    pub(crate) async fn is_settled(&self, author: &str) -> bool {
        let Some(document) = self.document() else {
            return true;
        };
        let confirmed = self.cluster.confirm(&document, author, SETTLING);
        confirmed.await.holding.is_committed
    }

    /// Those that hold now. Whoever looks at drained nodes finds them here.
    pub(crate) fn holding(&self) -> Overrides {
        Overrides::clone(&self.newest().overrides).holding(now_ms())
    }
}

/// What is asked at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// By which revision.
    pub(crate) revision: Option<Revision>,
    /// Of servers.
    pub(crate) servers: ServerOverrides,
    /// When some of it is over, in milliseconds since 1970.
    pub(crate) next_expiry: Option<i64>,
}

impl From<Laid> for Asked {
    /// What holds now.
    fn from(laid: Laid) -> Self {
        let holding = Overrides::clone(&laid.overrides).holding(now_ms());
        Self {
            revision: laid.revision,
            servers: ServerOverrides::from(&holding),
            next_expiry: holding.next_expiry(),
        }
    }
}

/// What is asked of servers by hand at one moment, without who and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServerOverrides {
    asked: BTreeMap<ServerPath, (Option<ServerState>, Option<u16>)>,
}

impl From<&Overrides> for ServerOverrides {
    fn from(overrides: &Overrides) -> Self {
        let asked = |(path, server): (&ServerPath, &ServerOverride)| {
            (path.clone(), (server.state, server.weight))
        };
        Self {
            asked: overrides.servers.iter().map(asked).collect(),
        }
    }
}

impl ServerOverrides {
    /// Gives servers of `spec` the weights that are asked of them. Templates get the weights that the spec has: what
    /// they make of servers is theirs.
    pub(crate) fn weigh(&self, spec: &mut Spec) {
        if spec.template.is_some() {
            return;
        }
        let weights = self.asked.iter();
        for (path, weight) in weights.filter_map(|(path, (_, weight))| Some((path, (*weight)?))) {
            let mut backends = spec.backends.iter_mut();
            let backend = backends.find(|backend| backend.name == path.backend);
            let mut servers = backend.into_iter().flat_map(|backend| &mut backend.servers);
            if let Some(server) = servers.find(|server| server.name == path.server) {
                server.weight = weight;
            }
        }
    }

    /// Asks the states of servers that `rendered` has. The others may come back, so what is asked of them is kept.
    pub(crate) fn ask_states(&self, rendered: &mut Rendered) {
        for (path, (state, _)) in &self.asked {
            if let Some(state) = state {
                let admin = match state {
                    ServerState::Ready => AdminState::Ready,
                    ServerState::Drain => AdminState::Drain,
                    ServerState::Maint => AdminState::Maint,
                };
                rendered.set_admin(&path.backend, &path.server, admin);
            }
        }
    }
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Ends at `until_ms`, or a while before it if that is far; never when there is no such time. Cancel-safe.
pub(crate) async fn wait_until(until_ms: Option<i64>) {
    let Some(until_ms) = until_ms else {
        return std::future::pending().await;
    };
    let left = u64::try_from(until_ms.saturating_sub(now_ms())).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(left).min(LONGEST_SLEEP)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use hafleet_model::overrides::Provenance;
    use hafleet_model::spec;

    const SPEC: &str = "
version: 1
backends: [{name: app, servers: [{name: s1, address: 192.0.2.1, port: 80}, {name: s2, address: 192.0.2.2, port: 80}]}]
";

    #[test]
    fn weights_are_laid_over_servers_that_are_there_and_no_others() {
        let server = ServerOverride {
            state: None,
            weight: Some(7),
            provenance: Provenance {
                author: "ada".into(),
                comment: String::new(),
                since_ms: 0,
                until_ms: None,
            },
        };
        let paths = ["app/s2", "app/gone", "gone/s1"];
        let servers = paths.map(|path| (path.parse().unwrap(), server.clone()));
        let overrides = Overrides {
            servers: servers.into(),
            ..Overrides::default()
        };
        let mut spec = spec::load(SPEC).unwrap().spec;
        ServerOverrides::from(&overrides).weigh(&mut spec);
        let weights = spec.backends[0].servers.iter().map(|server| server.weight);
        assert_eq!(weights.collect::<Vec<_>>(), [100, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_not_waited_for() {
        wait_until(Some(now_ms() - 5)).await;
        let never = tokio::time::timeout(Duration::from_secs(3_600), wait_until(None));
        assert!(never.await.is_err());
    }
}
