//! What a node has while it leads: the engine that asks, and what it was told.

use std::collections::BTreeSet;
use std::sync::Arc;

use hafleet_discovery::{Answer, BackendState, Engine, Launch, SourceError};
use hafleet_model::{Document, Endpoints, NodeId, Stamp, Term, spec};

use super::board::Unconfirmed;
use crate::fitness::Inability;

/// The kind of sources that need the machine's own credentials.
const EC2: &str = "ec2";

/// What there is only while this node leads.
pub(super) struct Lead {
    pub(super) term: Term,
    pub(super) engine: Engine,
    /// The spec that the engine has.
    pub(super) spec: Option<Stamp>,
    /// Nodes whose containers were forgotten.
    forgotten: BTreeSet<NodeId>,
}

impl Lead {
    pub(super) fn new(fleet: &str, term: Term, launch: Arc<dyn Launch>) -> Self {
        Self {
            term,
            engine: Engine::new(fleet, launch),
            spec: None,
            forgotten: BTreeSet::new(),
        }
    }

    /// Asks what the spec `document` wants asked.
    pub(super) fn follow(&mut self, document: &Document) -> Result<(), String> {
        if self.spec != Some(document.stamp()) {
            let loaded = spec::load(document.body()).map_err(|error| error.to_string())?;
            self.engine.set_spec(&loaded.spec);
            self.spec = Some(document.stamp());
        }
        Ok(())
    }

    /// Why EC2 cannot be asked from here, where another node may be able to: a refusal of any question, or silence to all.
    pub(super) fn inability(&self) -> Option<Inability> {
        let sources = self.engine.status().sources.into_iter();
        let errors: Vec<_> = sources
            .filter(|source| source.kind == EC2)
            .map(|source| source.error.map(|(_, error)| error))
            .collect();
        let of = |wanted: fn(&SourceError) -> bool| {
            let errors = errors.iter().map(Option::as_ref);
            errors.map(move |error| error.filter(|error| wanted(error)))
        };
        let refused = of(|error| matches!(error, SourceError::Refused { .. }));
        if let Some(refused) = refused.flatten().next() {
            return Some(Inability::Refused(refused.to_string()));
        }
        let silent: Option<Vec<_>> =
            of(|error| matches!(error, SourceError::Unreachable { .. })).collect();
        let first = silent?.into_iter().next()?;
        Some(Inability::Unreachable(first.to_string()))
    }

    /// Takes what the engine of `node` has.
    pub(super) fn publish(&mut self, node: NodeId, result: Result<Answer, SourceError>) {
        self.forgotten.remove(&node);
        self.engine.publish(node, result);
    }

    /// Lets through what is held back of `backend`; the servers that go.
    pub(super) fn confirm(&mut self, backend: &str) -> Result<Vec<String>, Unconfirmed> {
        let status = self.engine.status();
        let state = status.backends.iter().find(|state| state.name == backend);
        let Some(state) = state else {
            let known = status.backends.into_iter().map(|state| state.name);
            return Err(Unconfirmed::UnknownBackend {
                known: known.collect(),
            });
        };
        let going = match &state.state {
            BackendState::Held(held) => held.going.iter().cloned().collect(),
            BackendState::Followed | BackendState::Waiting(_) => Vec::new(),
        };
        self.engine.confirm(backend);
        Ok(going)
    }

    /// Forgets the containers of nodes that are members no more. Those of a node that is merely gone for now stay.
    pub(super) fn forget_strangers(&mut self, endpoints: &Endpoints, members: &BTreeSet<NodeId>) {
        let servers = endpoints.backends.values().flatten();
        let nodes = servers.filter_map(|server| server.source.strip_prefix("docker "));
        let nodes: BTreeSet<_> = nodes.filter_map(|node| NodeId::new(node).ok()).collect();
        for node in nodes {
            if !members.contains(&node) && self.forgotten.insert(node.clone()) {
                tracing::info!(%node, "is no member any more, and its containers are forgotten");
                self.engine.forget(&node);
            }
        }
    }
}
